"""Rules of the gateway's routes for models, before a backend made by hand."""

import gzip
import json
import logging
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from gateway.arrival import BodyRule, Environ
from gateway.routes import body_rule
from tests.support.gateway_fakes import FakeBackend, app_for
from tests.support.gateway_forms import assert_refused, form
from utils import errors
from utils.logs import JsonFormatter
from utils.settings import Settings

JSON = "application/json"
PREDICT = "/models/iris/predict"


def predict(
    client: FlaskClient,
    path: str = PREDICT,
    body: bytes = b'{"a":  1}',
    content_type: str | None = JSON,
    **headers: str,
) -> TestResponse:
    """Post an input with these headers, named with underscores."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return client.post(path, data=body, content_type=content_type, headers=named, buffered=True)


# --- what there is ----------------------------------------------------------------------------------


def test_the_models_are_listed(client: FlaskClient) -> None:
    """In the backend's order, without what only the callers of one need to know."""
    response = client.get("/models")
    assert (response.status_code, response.content_type) == (200, JSON)
    assert response.get_json() == {
        "models": [
            {
                "name": "iris",
                "version": "2.10",
                "state": "loading",
                "default": False,
                "display_name": "",
                "description": "",
                "kind": "onnx",
            },
            {
                "name": "iris",
                "version": "2.9",
                "state": "ready",
                "default": True,
                "display_name": "Iris",
                "description": "Names a flower.",
                "kind": "python",
            },
        ]
    }


@pytest.mark.parametrize("path", ["/models/iris", "/models/iris/2.9"])
def test_a_model_is_described_with_its_schemas(client: FlaskClient, path: str) -> None:
    """Without a version in the path it is the default one."""
    response = client.get(path)
    assert (response.status_code, response.content_type) == (200, JSON)
    assert response.get_json() == {
        "name": "iris",
        "version": "2.9",
        "state": "ready",
        "default": True,
        "display_name": "Iris",
        "description": "Names a flower.",
        "kind": "python",
        "max_batch": 8,
        "operations": ["typed", "json", "multipart"],
        "input_schema": {"type": "object"},
        "output_schema": {"type": "object", "title": "Species"},
    }


def test_schemas_that_are_not_known_are_null(client: FlaskClient) -> None:
    """As of a version that has never been loaded; an empty schema would allow anything."""
    document = client.get("/models/iris/2.10").get_json()
    assert (document["state"], document["input_schema"], document["output_schema"]) == ("loading", None, None)


# --- what a model answers ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "version", "answered"), [(PREDICT, "", "2.9"), ("/models/iris/2.10/predict", "2.10", "2.10")]
)
def test_json_is_passed_on_as_it_came(
    client: FlaskClient, backend: FakeBackend, path: str, version: str, answered: str
) -> None:
    """And so is the answer; X-Model says which version gave it."""
    response = predict(client, path, content_type="Application/JSON; charset=utf-8", X_Request_ID="r1")
    assert (response.status_code, response.content_type, response.data) == (200, JSON, b'{"answer": 1}')
    assert response.headers["X-Model"] == f"iris/{answered}"
    assert response.headers["X-Request-ID"] == "r1"
    assert backend.predictions == [("iris", version, JSON, b'{"a":  1}')]
    assert backend.request_ids == ["r1"]


def test_a_form_is_passed_on_as_it_came(client: FlaskClient, backend: FakeBackend) -> None:
    """With its boundary; the gateway does not take it apart."""
    body, content_type = form(("picture", b"\x00\xff"), ("name", b"x"))
    assert predict(client, body=body, content_type=content_type).status_code == 200
    assert backend.predictions == [("iris", "", content_type, body)]


def test_gzip_is_undone(client: FlaskClient, backend: FakeBackend) -> None:
    """The model gets what is in it."""
    assert predict(client, body=gzip.compress(b"{}"), Content_Encoding="gzip").status_code == 200
    assert backend.predictions == [("iris", "", JSON, b"{}")]


@pytest.mark.parametrize("kind", [None, "", "text/plain", "image/jpeg", "application/x-www-form-urlencoded"])
def test_another_content_type_is_refused(client: FlaskClient, backend: FakeBackend, kind: str | None) -> None:
    """With a command that works: curl's -d alone sends none that does."""
    detail = assert_refused(
        predict(client, content_type=kind), 415, "UNSUPPORTED_CONTENT_TYPE", "Content-Type"
    )
    assert (
        "curl -H 'Content-Type: application/json' -d '{...}' http://localhost/models/iris/predict" in detail
    )
    assert (kind or "") in detail
    assert backend.predictions == []


def test_another_coding_than_gzip_is_refused(client: FlaskClient) -> None:
    """As of a picture."""
    response = predict(client, Content_Encoding="br")
    assert_refused(response, 415, "UNSUPPORTED_CONTENT_ENCODING", "Content-Encoding")
    assert response.headers["Accept-Encoding"] == "gzip, deflate, identity"


def test_a_query_is_refused(client: FlaskClient, backend: FakeBackend) -> None:
    """It would look like an option that has no effect."""
    detail = assert_refused(predict(client, f"{PREDICT}?top+k=3&b"), 400, "UNKNOWN_OPTION", "top k")
    assert "'top k'" in detail
    assert backend.predictions == []


def test_an_input_has_a_limit_of_its_own() -> None:
    """That of pictures does not bound it; and it bounds what is in gzip."""
    client = app_for(
        FakeBackend(), FACET_MAX_IMAGE_BYTES="1024", FACET_MAX_REQUEST_BYTES="2048"
    ).test_client()
    assert predict(client, body=gzip.compress(bytes(2048)), Content_Encoding="gzip").status_code == 200
    refused = predict(client, body=gzip.compress(bytes(2049)), Content_Encoding="gzip")
    assert "FACET_MAX_REQUEST_BYTES" in assert_refused(refused, 413, "BODY_TOO_LARGE")


# --- names and paths --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["-x", "a b", "é", "x" * 65, "%00", "a:b"])
@pytest.mark.parametrize("path", ["/models/{}", "/models/{}/1", "/models/{}/predict", "/models/{}/1/predict"])
def test_what_is_no_name_of_a_model_is_not_found(
    client: FlaskClient, backend: FakeBackend, path: str, name: str
) -> None:
    """The backend need not be asked."""
    method = "POST" if path.endswith("predict") else "GET"
    response = client.open(path.format(name), method=method, data=b"{}", content_type=JSON)
    assert_refused(response, 404, "MODEL_NOT_FOUND", "name")
    assert backend.request_ids == []


@pytest.mark.parametrize(
    "path",
    [
        "/models/",
        "/models/iris/",
        "/models/iris/predict/",
        "/models//predict",
        "/models/iris/2.9/",
        "/models/iris/2.9/predict/now",
        "/models/iris/2.9/3/predict",
        "/models/iris/predict/predict",
        "/Models",
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_no_other_path_is_a_model_s(
    client: FlaskClient, backend: FakeBackend, method: str, path: str
) -> None:
    """Nothing is put right or redirected."""
    response = client.open(path, method=method, data=b"{}", content_type=JSON)
    assert_refused(response, 404, "ROUTE_NOT_FOUND")
    assert backend.request_ids == []


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("POST", "/models", "GET, HEAD, OPTIONS"),
        ("PUT", "/models/iris", "GET, HEAD, OPTIONS"),
        ("DELETE", "/models/iris/2.9", "GET, HEAD, OPTIONS"),
        ("GET", "/models/iris/predict", "OPTIONS, POST"),
        ("HEAD", "/models/iris/2.9/predict", "OPTIONS, POST"),
    ],
)
def test_a_wrong_method_is_told_the_right_ones(
    client: FlaskClient, method: str, path: str, allowed: str
) -> None:
    """`predict` is never taken for a version."""
    response = client.open(path, method=method)
    assert response.status_code == 405
    assert set(response.headers["Allow"].split(", ")) == set(allowed.split(", "))


def test_options_and_head_are_answered(client: FlaskClient) -> None:
    """As of the other paths."""
    assert set(client.options(PREDICT).headers["Allow"].split(", ")) == {"POST", "OPTIONS"}
    for path in ("/models", "/models/iris", "/models/iris/2.9"):
        head = client.head(path)
        assert (head.status_code, head.data) == (200, b"")
        assert int(head.headers["Content-Length"]) == len(client.get(path).data)


# --- bodies, as the server asks for their rules ------------------------------------------------------


def rule(path: str, method: str = "POST", **environ: str) -> BodyRule | None:
    """The rule for a body of 2,048 bytes at most."""
    request: Environ = {"REQUEST_METHOD": method, "PATH_INFO": path, "CONTENT_TYPE": JSON, **environ}
    return body_rule(request, Settings(max_request_bytes=2048))


@pytest.mark.parametrize("path", [PREDICT, "/models/iris/2.9/predict", "/models/predict/predict"])
def test_a_model_s_body_is_collected_within_its_limit(path: str) -> None:
    """Room for what gzip adds included; by the time that its request names."""
    found = rule(path, HTTP_X_REQUEST_TIMEOUT="7")
    assert found is not None
    assert (found.limit, found.seconds) == (2048, 7)
    assert isinstance(found.too_large("3000"), errors.BodyTooLarge)
    packed = rule(path, HTTP_CONTENT_ENCODING="gzip")
    assert packed is not None
    assert packed.limit == 2048 + 2 + 1024
    assert "3000 compressed" in packed.too_large("3000").detail


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", PREDICT), ("POST", "/models"), ("POST", "/models/iris"), ("POST", "/models/a/b/c/predict")],
)
def test_no_other_body_is_wanted(method: str, path: str) -> None:
    """It is not collected for an answer that does not need it."""
    assert rule(path, method) is None


def test_a_body_that_cannot_be_answered_is_refused_before_it_comes() -> None:
    """By its path, its type, its coding or its time."""
    with pytest.raises(errors.ModelNotFound, match="'é'"):
        rule("/models/é/predict".encode().decode("latin-1"))
    with pytest.raises(errors.UnsupportedContentType):
        rule(PREDICT, CONTENT_TYPE="text/plain")
    with pytest.raises(errors.UnsupportedContentEncoding):
        rule(PREDICT, HTTP_CONTENT_ENCODING="br")
    with pytest.raises(errors.InvalidHeader):
        rule(PREDICT, HTTP_X_REQUEST_TIMEOUT="soon")


# --- times, permits, failures, the log --------------------------------------------------------------

CALLS: list[tuple[str, str]] = [
    ("GET", "/models"),
    ("GET", "/models/iris"),
    ("GET", "/models/iris/2.9"),
    ("POST", PREDICT),
]
"""Whatever asks the backend for models."""


def ask(client: FlaskClient, method: str, path: str, **headers: str) -> TestResponse:
    """One of CALLS."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    body: dict[str, Any] = {"data": b"{}", "content_type": JSON} if method == "POST" else {}
    return client.open(path, method=method, headers=named, buffered=True, **body)


@pytest.mark.parametrize(("method", "path"), CALLS)
def test_a_request_has_the_time_that_it_names(
    client: FlaskClient, backend: FakeBackend, method: str, path: str
) -> None:
    """Or the default, of which the backend is told that nobody has asked for it."""
    assert ask(client, method, path, X_Request_Timeout="20").status_code == 200
    assert ask(client, method, path).status_code == 200
    named, default = backend.timeouts
    assert named is not None
    assert default is not None
    assert 5 < named < 20
    assert default < 5
    assert backend.timeouts_named == [True, False]
    assert_refused(
        ask(client, method, path, X_Request_Timeout="x"), 400, "INVALID_HEADER", "X-Request-Timeout"
    )


@pytest.mark.parametrize(("method", "path"), CALLS)
def test_what_asks_the_backend_takes_a_permit(backend: FakeBackend, method: str, path: str) -> None:
    """The same ones as pictures do: where no backend answers, threads are left for the gateway's health."""
    app = app_for(backend, FACET_HTTP_THREADS="9")
    backend.holding = threading.Event()
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(lambda: ask(app.test_client(), method, path))
        assert backend.held.acquire(timeout=30)
        refused = ask(app.test_client(), method, path)
        picture = app.test_client().post("/predict", data=b"x", content_type="image/jpeg")
        alive = app.test_client().get("/healthz")
        backend.holding.set()
        assert running.result(30).status_code == 200
    assert_refused(refused, 429, "GATEWAY_BUSY")
    assert refused.headers["Retry-After"] == "1"
    assert_refused(picture, 429, "GATEWAY_BUSY")
    assert alive.status_code == 200
    assert ask(app.test_client(), method, path).status_code == 200


@pytest.mark.parametrize(("method", "path"), CALLS)
def test_an_error_of_the_backend_is_a_problem(
    client: FlaskClient, backend: FakeBackend, method: str, path: str
) -> None:
    """With its field and its delay; the permit is given back."""
    backend.failure = errors.ModelNotReady("It is loading.", field="version", retry_after=2.5)
    for _ in range(70):
        response = ask(client, method, path)
        assert assert_refused(response, 503, "MODEL_NOT_READY", "version") == "It is loading."
        assert response.headers["Retry-After"] == "3"
        assert "X-Model" not in response.headers


def line(caplog: pytest.LogCaptureFixture) -> dict[str, Any]:
    """The one line about a request, without what differs each time."""
    [record] = [record for record in caplog.records if record.message == "request"]
    document: dict[str, Any] = json.loads(JsonFormatter().format(record))
    varying = {"time", "pid", "logger", "level", "message", "elapsed_ms", "request_id"}
    return {name: value for name, value in document.items() if name not in varying}


def test_a_prediction_writes_one_line(client: FlaskClient, caplog: pytest.LogCaptureFixture) -> None:
    """With the model and the version that has answered, and nothing of what was asked."""
    caplog.set_level(logging.INFO)
    body = gzip.compress(b'{"who": "private"}')
    predict(client, body=body, Content_Encoding="gzip")
    assert line(caplog) == {
        "method": "POST",
        "path": PREDICT,
        "status": 200,
        "model": "iris",
        "version": "2.9",
        "body_bytes": len(body),
        "bytes": 18,
    }


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_failure_names_the_model_that_was_asked_for(
    client: FlaskClient, backend: FakeBackend, caplog: pytest.LogCaptureFixture, method: str
) -> None:
    """And the version, where the caller named one."""
    caplog.set_level(logging.INFO)
    backend.failure = errors.ModelNotFound("None.", field="name")
    ask(client, method, "/models/rose/3" + ("/predict" if method == "POST" else ""))
    written = line(caplog)
    assert (written["model"], written["version"], written["reason"]) == ("rose", "3", "MODEL_NOT_FOUND")
