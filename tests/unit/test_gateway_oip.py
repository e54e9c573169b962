"""Rules of the Open Inference Protocol over HTTP, before a backend made by hand."""

import gzip
import json
import logging
import struct
import zlib
from typing import Any

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from gateway.arrival import BodyRule, Environ
from gateway.routes import body_rule
from tests.support.gateway_fakes import FakeBackend, app_for
from tests.support.gateway_forms import assert_refused
from utils import errors
from utils.settings import Settings

INFER = "/v2/models/iris/infer"
JSON = "application/json"
HEADER = "Inference-Header-Content-Length"


def answer(head: bytes, binary: bytes = b"") -> bytes:
    """What the operation `oip_http` gives: the length of the JSON, and all of the body."""
    return struct.pack("<I", len(head)) + head + binary


def infer(client: FlaskClient, body: bytes, path: str = INFER, **headers: str) -> TestResponse:
    """Post an inference; headers are named with underscores. The fake's answer is what it is sent."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return client.post(path, data=body, headers=named)


def assert_error(response: TestResponse, status: int, reason: str, field: str | None = None) -> str:
    """Check a problem that clients of the protocol can read, and return what they read."""
    detail = assert_refused(response, status, reason, field)
    error: str = response.get_json()["error"]
    assert detail in error
    return error


# --- inferences -------------------------------------------------------------------------------------


@pytest.mark.parametrize(("path", "version"), [(INFER, ""), ("/v2/models/iris/versions/3/infer", "3")])
def test_a_body_is_passed_on_as_it_came(
    client: FlaskClient, backend: FakeBackend, path: str, version: str
) -> None:
    """With the length of its JSON, where a part of it is binary; and so is the answer."""
    body = answer(b'{"outputs": []}')
    response = infer(client, body, path)
    assert (response.status_code, response.content_type, response.data) == (200, JSON, body[4:])
    assert HEADER not in response.headers
    assert backend.encoded == [("iris", version, "oip_http", b'{"header_length":null}', body)]


def test_binary_parts_are_behind_the_json_whose_length_the_header_says(
    client: FlaskClient, backend: FakeBackend
) -> None:
    """In the request and in the answer."""
    body = answer(b'{"outputs": []}', b"\x00\xff")
    response = infer(client, body, Inference_Header_Content_Length="19")
    assert (response.status_code, response.data) == (200, b'{"outputs": []}\x00\xff')
    assert (response.content_type, response.headers[HEADER]) == ("application/octet-stream", "15")
    assert backend.encoded[0][3:] == (b'{"header_length":19}', body)


@pytest.mark.parametrize(("coding", "packed"), [("gzip", gzip.compress), ("deflate", zlib.compress)])
def test_a_compressed_body_is_unpacked_before_it_is_cut(
    client: FlaskClient,
    backend: FakeBackend,
    coding: str,
    packed: Any,  # noqa: ANN401
) -> None:
    """The length that the header says is that of what was compressed."""
    body = answer(b"{}", b"\x00\xff")
    response = infer(client, packed(body), Content_Encoding=coding, Inference_Header_Content_Length="6")
    assert response.data == b"{}\x00\xff"
    assert backend.encoded[0][3:] == (b'{"header_length":6}', body)


@pytest.mark.parametrize(
    ("header", "timeout", "expected"),
    [
        (None, 2_500_000, (2.5, True)),
        (None, 30_000_000, (30, True)),
        (None, 10**12, (Settings().max_timeout_seconds, True)),
        ("9", 2_500_000, (2.5, True)),
        ("1", 2_500_000, (1, True)),
        (None, 0, (Settings().timeout_seconds, False)),
    ],
)
def test_the_timeout_of_a_request_is_a_time_that_its_caller_names(
    client: FlaskClient,
    backend: FakeBackend,
    header: str | None,
    timeout: int,
    expected: tuple[float, bool],
) -> None:
    """In microseconds; the earlier one of it and of the header counts."""
    head = json.dumps({"parameters": {"timeout": timeout}, "inputs": []}).encode()
    named = {"X_Request_Timeout": header} if header else {}
    infer(client, head + bytes(100_000), **named, **{HEADER.replace("-", "_"): str(len(head))})
    assert backend.timeouts[-1] == pytest.approx(expected[0], abs=0.5)
    assert backend.timeouts_named[-1] is expected[1]


@pytest.mark.parametrize("timeout", [-1, "1000", 1.5, True, None])
def test_a_timeout_that_is_no_whole_number_is_refused(
    client: FlaskClient, backend: FakeBackend, timeout: object
) -> None:
    """As over gRPC."""
    body = json.dumps({"parameters": {"timeout": timeout}}).encode()
    assert_error(infer(client, body), 422, "INVALID_INPUT", "timeout")
    assert not backend.encoded


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"parameters": []}', b'{"parameters": null}', b"{}"])
def test_what_else_is_wrong_with_a_body_is_the_models_to_say(
    client: FlaskClient, backend: FakeBackend, body: bytes
) -> None:
    """It reaches it as it came."""
    infer(client, body)
    assert backend.encoded[-1][-1] == body


@pytest.mark.security(
    endpoint="oip",
    attack="A length of the JSON that is negative, has a point, is no number, or has 19 digits",
    outcome="400",
)
@pytest.mark.parametrize("length", ["-1", "1.0", "x", "", "9" * 19, "1, 2"])
def test_a_length_that_is_no_number_is_refused(
    client: FlaskClient, backend: FakeBackend, length: str
) -> None:
    """The header is named."""
    response = infer(client, b"{}", Inference_Header_Content_Length=length)
    assert_error(response, 400, "INVALID_HEADER", HEADER)
    assert backend.encoded == []


@pytest.mark.security(
    endpoint="oip",
    attack="1 MiB in a small body of gzip or deflate, where 2 KiB are accepted",
    outcome="413",
)
def test_a_bomb_is_refused_before_it_is_unpacked() -> None:
    """By the limit of any request to a model."""
    backend = FakeBackend()
    client = app_for(backend, FACET_MAX_REQUEST_BYTES="2048").test_client()
    for coding, body in (("gzip", gzip.compress(bytes(2**20))), ("deflate", zlib.compress(bytes(2**20)))):
        response = infer(client, body, Content_Encoding=coding)
        assert "FACET_MAX_REQUEST_BYTES" in assert_error(response, 413, "BODY_TOO_LARGE")
    assert backend.encoded == []


def test_a_query_is_refused(client: FlaskClient) -> None:
    """It would look like an option that has no effect."""
    assert_error(infer(client, b"{}", f"{INFER}?top=3"), 400, "UNKNOWN_OPTION", "top")


# --- failures ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("failure", "error"),
    [
        (errors.ModelNotFound("There is none.", field="name"), "Request for unknown model: There is none."),
        (errors.ModelNotFound("Request for unknown model: 'x'"), "Request for unknown model: 'x'"),
        (errors.InvalidInput("Wrong.", field="image"), "Wrong."),
        (errors.QueueFull("Full.", retry_after=1), "Full."),
        (errors.BackendUnavailable("Gone."), "Gone."),
    ],
    ids=lambda value: value if isinstance(value, str) else value.reason,
)
@pytest.mark.parametrize("path", [INFER, "/v2/models/iris"])
def test_a_failure_is_a_problem_that_has_what_the_protocols_clients_read(
    client: FlaskClient, backend: FakeBackend, failure: errors.FacetError, error: str, path: str
) -> None:
    """Its text; that of an unknown model begins as clients of Triton know it."""
    backend.failure = failure
    response = infer(client, b"{}") if path == INFER else client.get(path)
    assert assert_error(response, failure.http_status, failure.reason, failure.field) == error
    assert response.content_type == "application/problem+json"


def test_other_paths_have_no_such_member(client: FlaskClient) -> None:
    """And each path of the protocol has it, whatever is wrong."""
    assert "error" not in client.get("/predict").get_json()
    assert "error" not in client.get("/v2x").get_json()
    for path, status in (("/v2/", 404), ("/v2/models/iris/trace", 404), (INFER, 405), ("/v2//health", 404)):
        assert client.get(path).status_code == status
        assert client.get(path).get_json()["error"]


def test_an_answer_that_cannot_be_read_is_a_fault_of_ours(client: FlaskClient) -> None:
    """It is no answer of the protocol's."""
    assert_error(infer(client, b"{}"), 500, "INTERNAL")


# --- server and models ------------------------------------------------------------------------------


def test_health_is_told_by_bodies_that_clients_read(
    client: FlaskClient, backend: FakeBackend, caplog: pytest.LogCaptureFixture
) -> None:
    """A probe that succeeds writes no line; not ready is 503."""
    caplog.set_level(logging.INFO)
    for path, body in (("live", b'{"live":true}'), ("ready", b'{"ready":true}')):
        response = client.get(f"/v2/health/{path}", buffered=True)
        assert (response.status_code, response.data) == (200, body)
    assert not caplog.records
    backend.not_ready = errors.BackendUnavailable("Gone.")
    gone = app_for(backend).test_client()
    assert gone.get("/v2/health/live").status_code == 200
    assert assert_error(gone.get("/v2/health/ready"), 503, "BACKEND_UNAVAILABLE") == "Gone."


@pytest.mark.parametrize(
    ("path", "method", "told", "answered"),
    [
        ("/v2", "ServerMetadata", {"name": "facet"}, {"name": "facet"}),
        ("/v2/models/iris", "ModelMetadata", {"inputs": []}, {"inputs": []}),
        ("/v2/models/iris/config", "ModelConfig", {"config": {"name": "iris"}}, {"name": "iris"}),
        ("/v2/models/iris/ready", "ModelReady", {"ready": True}, {"name": "iris", "ready": True}),
        ("/v2/models/iris/stats", "ModelStatistics", {"model_stats": []}, {"model_stats": []}),
        ("/v2/models/stats", "ModelStatistics", {"model_stats": []}, {"model_stats": []}),
    ],
)
def test_what_a_server_tells_comes_from_the_backend(
    path: str, method: str, told: dict[str, Any], answered: dict[str, Any]
) -> None:
    """By the same service as over gRPC; of a version, where the path names one."""
    for version in ("", "3"):
        backend = FakeBackend()
        backend.told = told
        of_version = path.replace("/iris", f"/iris/versions/{version}") if version else path
        response = app_for(backend).test_client().get(of_version)
        assert (response.status_code, response.content_type, response.get_json()) == (200, JSON, answered)
        arguments = {"name": "iris", "version": version} if "/iris" in path else {}
        assert backend.asked == [(method, arguments)]


def test_a_model_that_is_not_ready_is_an_error(client: FlaskClient, backend: FakeBackend) -> None:
    """For clients of the protocol take anything but 200 for one."""
    backend.told = {"ready": False}
    assert_error(client.get("/v2/models/iris/ready"), 503, "MODEL_NOT_READY", "name")


@pytest.mark.parametrize("path", ["/v2/models/-x", "/v2/models/-x/config", "/v2/models/-x/infer"])
def test_what_is_no_name_of_a_model_is_not_found(
    client: FlaskClient, backend: FakeBackend, path: str
) -> None:
    """The backend need not be asked."""
    response = client.post(path, data=b"{}") if path.endswith("infer") else client.get(path)
    assert assert_error(response, 404, "MODEL_NOT_FOUND", "name").startswith("Request for unknown model")
    assert (backend.asked, backend.encoded) == ([], [])


# --- the repository ---------------------------------------------------------------------------------


@pytest.mark.parametrize(("body", "ready"), [(b"", False), (b"{}", False), (b'{"ready": true}', True)])
def test_the_models_are_listed(client: FlaskClient, backend: FakeBackend, body: bytes, ready: bool) -> None:
    """Those that are ready, where the body asks for them."""
    backend.told = {"models": [{"name": "iris", "version": "1", "state": "READY", "reason": ""}]}
    response = client.post("/v2/repository/index", data=body)
    assert (response.status_code, response.get_json()) == (200, backend.told["models"])
    assert backend.asked == [("RepositoryIndex", {"ready": ready})]


@pytest.mark.parametrize(
    ("action", "method"), [("load", "RepositoryModelLoad"), ("unload", "RepositoryModelUnload")]
)
def test_a_model_is_changed_by_the_backend_if_at_all(
    client: FlaskClient, backend: FakeBackend, action: str, method: str
) -> None:
    """With the names of its parameters, and with the longest time that a request may have."""
    body = json.dumps({"parameters": {"config": "{}"}}).encode()
    response = client.post(f"/v2/repository/models/iris/{action}", data=body)
    assert (response.status_code, response.get_json()) == (200, {})
    parameters = {"config": {"bool_param": True}}
    assert backend.asked == [(method, {"model_name": "iris", "parameters": parameters})]
    [seconds] = backend.timeouts
    assert seconds is not None
    assert 30 < seconds <= 60
    backend.failure = errors.ModelApiDisabled("Off.")
    refused = client.post(f"/v2/repository/models/iris/{action}")
    assert assert_error(refused, 403, "MODEL_API_DISABLED") == "Off."


@pytest.mark.parametrize("body", [b"[]", b"{", b'{"ready": 1}', b'{"ready": true, "ready": true}'])
def test_a_body_of_another_form_is_refused(client: FlaskClient, backend: FakeBackend, body: bytes) -> None:
    """It is not taken for one that says nothing."""
    assert client.post("/v2/repository/index", data=body).get_json()["reason"] == "MALFORMED_REQUEST"
    assert backend.asked == []


# --- what the server asks of the application --------------------------------------------------------


def rule(path: str, method: str = "POST", *, oip: bool = True, **environ: str) -> BodyRule | None:
    """The rule for a body, with a limit of 2,048 bytes for requests to models."""
    request: Environ = {"REQUEST_METHOD": method, "PATH_INFO": path, **environ}
    return body_rule(request, Settings(oip=oip, max_request_bytes=2048))


@pytest.mark.parametrize(
    ("path", "limit"),
    [
        (INFER, 2048),
        ("/v2/models/iris/versions/1/infer", 2048),
        ("/v2/repository/index", 65536),
        ("/v2/repository/models/iris/load", 65536),
    ],
)
def test_a_body_is_collected_within_its_limit(path: str, limit: int) -> None:
    """And where nothing in the head speaks against the request."""
    found = rule(path, HTTP_X_REQUEST_TIMEOUT="7")
    assert found is not None
    assert (found.limit, found.seconds) == (limit, 7)
    for other in (rule(path, "GET"), rule(path, oip=False), rule(f"{path}/x")):
        assert other is None
    with pytest.raises(errors.UnsupportedContentEncoding):
        rule(path, HTTP_CONTENT_ENCODING="br")
    if path == INFER:
        with pytest.raises(errors.InvalidHeader):
            rule(path, HTTP_INFERENCE_HEADER_CONTENT_LENGTH="x")


def test_where_the_protocol_is_off_there_is_none_of_its_paths(backend: FakeBackend) -> None:
    """As of any path that there is not."""
    client = app_for(backend, FACET_OIP="off").test_client()
    for path in ("/v2", "/v2/health/live", "/v2/models/iris"):
        assert client.get(path).get_json()["reason"] == "ROUTE_NOT_FOUND"
    assert infer(client, b"{}").status_code == 404
    assert backend.encoded == []
