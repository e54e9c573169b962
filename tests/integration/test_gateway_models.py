"""Rules of the gateway's routes for models, as a process before a real gRPC server."""

import contextlib
import gzip
from pathlib import Path

import pytest

from tests.support import gateway_process, processes
from tests.support.fake_backend import Backend, echo, failing
from tests.support.gateway_forms import form
from tests.support.gateway_process import Gateway, Reply, ended, read_reply
from tests.support.raw_http import answered, chunk, post_head, request_line
from utils import errors
from utils.errors import FacetError

JSON = "application/json"
PREDICT = "/models/iris/predict"
MIB = 1024**2


def predict(gateway: Gateway, body: bytes, kind: str = JSON, path: str = PREDICT, **headers: str) -> Reply:
    """Post an input on a connection of its own; headers are named with underscores."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    with contextlib.closing(gateway.open()) as connection:
        connection.request("POST", path, body, {"Content-Type": kind, **named})
        return gateway_process.read(connection.getresponse())


def test_an_input_is_passed_on_and_answered_under_its_id(gateway: Gateway, backend: Backend) -> None:
    """With its time, and with one line in the log."""
    reply = predict(gateway, b'{"a": 1}', X_Request_ID="model-1", X_Request_Timeout="50")
    assert (reply.status, reply.headers["Content-Type"], reply.body) == (200, JSON, b'{"a": 1}')
    assert (reply.headers["X-Model"], reply.headers["X-Request-ID"]) == ("iris/2.9", "model-1")
    call = backend.calls[-1]
    assert (call.message.name, call.message.version, call.message.json) == ("iris", "", b'{"a": 1}')
    assert call.metadata["x-request-id"] == "model-1"
    assert "x-timeout-source" not in call.metadata
    assert 20 < call.remaining < 51
    line = request_line(gateway, "model-1")
    assert (line["status"], line["model"], line["version"], line["bytes"]) == (200, "iris", "2.9", 8)


def test_a_form_is_passed_on_with_its_boundary(gateway: Gateway, backend: Backend) -> None:
    """Without the gzip that it came in, to the version that the path names."""
    body, kind = form(("picture", b"\x00\xff\r\n"))
    reply = predict(gateway, gzip.compress(body), kind, "/models/iris/2.10/predict", Content_Encoding="gzip")
    assert (reply.status, reply.headers["X-Model"]) == (200, "iris/2.10")
    assert reply.body == body  # for the backend answers with what it gets
    message = backend.calls[-1].message
    assert (message.version, message.body.content_type, message.body.content) == ("2.10", kind, body)


def test_models_are_listed_and_described(gateway: Gateway, backend: Backend) -> None:
    """By the backend."""
    listed = gateway.get("/models").json["models"]
    assert [(one["name"], one["version"], one["default"]) for one in listed] == [
        ("face_detection", "1.0", True),
        ("iris", "2.10", False),
        ("iris", "2.9", True),
    ]
    described = gateway.get("/models/iris")
    assert described.json["output_schema"] == {"type": "object", "title": "Species"}
    assert gateway.get("/models/iris/2.9").body == described.body
    assert [call.message.version for call in backend.calls[-2:]] == ["", "2.9"]


def test_an_input_of_32_mib_is_answered_and_no_larger_one(gateway: Gateway) -> None:
    """By the default limit, though a picture may have 10 MiB; as it comes, chunked, or in gzip."""
    reply = predict(gateway, bytes(32 * MIB), X_Request_Timeout="60")
    assert (reply.status, len(reply.body)) == (200, 32 * MIB)
    for refused in (
        predict(gateway, bytes(32 * MIB + 1)),
        predict(gateway, gzip.compress(bytes(32 * MIB + 1), 1), Content_Encoding="gzip"),
    ):
        assert (refused.status, refused.json["reason"]) == (413, "BODY_TOO_LARGE")
        assert "FACET_MAX_REQUEST_BYTES" in refused.json["detail"]


@pytest.mark.parametrize(
    ("path", "kind", "status", "reason"),
    [
        (PREDICT, JSON, 413, "BODY_TOO_LARGE"),
        (PREDICT, "text/plain", 415, "UNSUPPORTED_CONTENT_TYPE"),
        ("/models/-/predict", JSON, 404, "MODEL_NOT_FOUND"),
    ],
)
def test_what_the_head_speaks_against_is_refused_unread(
    gateway: Gateway, path: str, kind: str, status: int, reason: str
) -> None:
    """The client has not sent a byte of the body."""
    with contextlib.closing(gateway.connect()) as connection:
        connection.sendall(post_head(32 * MIB + 1, "Expect: 100-continue", path=path, kind=kind))
        reply = read_reply(connection)
        assert (reply.status, reply.json["reason"]) == (status, reason)
        assert ended(connection)


def test_a_chunked_input_over_the_limit_is_refused_while_it_comes(gateway: Gateway) -> None:
    """Its end need not be seen."""
    with contextlib.closing(gateway.connect()) as connection:
        connection.sendall(post_head(None, path=PREDICT, kind=JSON))
        sent = 0
        while sent <= 64 * MIB and not answered(connection):
            with contextlib.suppress(ConnectionError):
                connection.sendall(chunk(bytes(MIB)))
            sent += MIB
        reply = read_reply(connection)
    assert (reply.status, reply.json["reason"]) == (413, "BODY_TOO_LARGE")


@pytest.mark.parametrize(
    "error",
    [
        errors.ModelNotFound("There is none.", field="version"),
        errors.ModelNotReady("It is loading.", retry_after=2.5),
        errors.InvalidInput("It is text.", field="pictures.2.data"),
        errors.ModelFailed("It raised an error."),
        errors.QueueFull("Full.", retry_after=1.0),
    ],
    ids=lambda error: error.reason,
)
@pytest.mark.parametrize("path", ["/models/iris", PREDICT])
def test_an_error_of_the_backend_reaches_the_caller(
    gateway: Gateway, backend: Backend, error: FacetError, path: str
) -> None:
    """With reason, field and delay."""
    backend.answer = failing(error)
    try:
        reply = predict(gateway, b"{}", X_Request_Timeout="30") if path == PREDICT else gateway.get(path)
    finally:
        backend.answer = echo
    assert reply.headers["Content-Type"] == "application/problem+json"
    assert (reply.status, reply.json["reason"], reply.json.get("field"), reply.json["detail"]) == (
        error.http_status,
        error.reason,
        error.field,
        error.detail,
    )
    assert ("Retry-After" in reply.headers) == (error.retry_after is not None)


def test_a_request_ends_at_its_deadline(gateway: Gateway, holding: Backend) -> None:
    """And the backend's call with it."""
    reply = predict(gateway, b"{}", X_Request_Timeout="1")
    assert (reply.status, reply.json["reason"]) == (504, "DEADLINE_EXCEEDED")
    assert holding.cancelled.wait(processes.PATIENCE)


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_client_that_leaves_cancels_its_call(gateway: Gateway, holding: Backend, method: str) -> None:
    """Its place in the backend is free, and the log says why."""
    name = f"leaver-{method}"
    headers = {"Content-Type": JSON, "X-Request-Timeout": "60", "X-Request-ID": name}
    with contextlib.closing(gateway.open()) as connection:
        connection.request(method, PREDICT if method == "POST" else "/models/iris", b"{}", headers)
        assert holding.began.acquire(timeout=processes.PATIENCE)
    assert holding.cancelled.wait(processes.PATIENCE)
    line = request_line(gateway, name)
    assert (line["status"], line["reason"], line["model"]) == (499, "CANCELLED", "iris")


def test_no_process_of_the_gateway_loads_what_models_need(gateway: Gateway) -> None:
    """Inputs pass through it as they come, and schemas as JSON."""
    for kind in (JSON, "multipart/form-data; boundary=B"):
        assert predict(gateway, b"{}", kind).status == 200
    assert gateway.get("/models/iris").status == 200
    for pid in (gateway.process.pid, *gateway.workers()):
        maps = Path(f"/proc/{pid}/maps").read_text()
        for name in ("numpy", "PIL", "pydantic", "onnx"):
            assert name not in maps
