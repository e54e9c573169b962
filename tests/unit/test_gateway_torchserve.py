"""Rules of TorchServe's inference API over HTTP, before a backend made by hand."""

import gzip
import json
import logging
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from gateway.app import Gateway
from gateway.arrival import Environ
from tests.support.gateway_fakes import MODELS, FakeBackend, app_for
from tests.support.gateway_forms import form
from utils import errors
from utils.errors import FacetError
from utils.logs import JsonFormatter
from utils.torchserve_keys import Tokens, write_keys

ADDRESS = {"FACET_TORCHSERVE_HTTP_ADDRESS": "127.0.0.1:8080"}
IRIS = "/predictions/iris"


def torchserve_app(backend: FakeBackend, **environ: str) -> Flask:
    """What answers at TorchServe's address."""
    return cast(Gateway, app_for(backend, **ADDRESS, **environ)).others["torchserve_http_address"]


@pytest.fixture
def client(backend: FakeBackend) -> FlaskClient:
    """TorchServe's API before a backend that answers."""
    return torchserve_app(backend).test_client()


def assert_told(response: TestResponse, status: int, kind: str) -> str:
    """Check an error in TorchServe's form and return its message."""
    assert response.content_type == "application/json"
    document = response.get_json()
    assert list(document) == ["code", "type", "message"]
    assert (response.status_code, document["code"], document["type"]) == (status, status, kind), document
    assert response.text == json.dumps(document, indent=2, ensure_ascii=False) + "\n"
    message: str = document["message"]
    return message


def test_without_its_address_there_is_no_torchserve(backend: FakeBackend) -> None:
    """And the main application never has its paths."""
    app = cast(Gateway, app_for(backend))
    assert "torchserve_http_address" not in app.others
    assert app.test_client().post(IRIS, data=b"x").status_code == 404
    assert cast(Gateway, app_for(backend, **ADDRESS)).test_client().get("/ping").status_code == 404


# --- predictions ------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["POST", "PUT"])
@pytest.mark.parametrize(
    ("path", "version"),
    [
        (IRIS, ""),
        (f"{IRIS}/2.10", "2.10"),
        ("/models/iris/invoke", ""),
        ("/invocations?model_name=iris", ""),
    ],
)
def test_a_body_is_passed_on_as_it_came(
    client: FlaskClient, backend: FakeBackend, method: str, path: str, version: str
) -> None:
    """With its content type, whatever that is; and so is the answer."""
    response = client.open(path, method=method, data=b"\x00\xff", content_type="image/PNG; a=B")
    assert (response.status_code, response.data) == (200, b"\x00\xff")
    assert response.content_type == "application/octet-stream"
    assert backend.encoded == [("iris", version, "torchserve_http", b"image/PNG; a=B", b"\x00\xff")]


def test_a_form_and_a_body_without_a_type_are_passed_on_too(
    client: FlaskClient, backend: FakeBackend
) -> None:
    """The gateway takes none apart."""
    body, kind = form(("data", b"\x00\xff"))
    client.post(IRIS, data=body, content_type=kind)
    client.post(IRIS, data=b"x", content_type=None)
    assert [call[3:] for call in backend.encoded] == [(kind.encode(), body), (b"", b"x")]


def test_gzip_is_undone(client: FlaskClient, backend: FakeBackend) -> None:
    """The model gets what is in it."""
    client.post(IRIS, data=gzip.compress(b"picture"), headers={"Content-Encoding": "gzip"})
    assert backend.encoded[0][-1] == b"picture"


def test_without_a_name_the_only_model_is_invoked(backend: FakeBackend, monkeypatch: Any) -> None:  # noqa: ANN401
    """However many versions it has; where there are two, the name is missed."""
    client = torchserve_app(backend).test_client()
    assert client.post("/invocations", data=b"x").data == b"x"
    assert backend.encoded[0][0] == "iris"
    two = [*MODELS, replace(MODELS[0], name="rose")]
    monkeypatch.setattr(backend, "models", lambda **_: two)
    response = client.post("/invocations", data=b"x")
    assert assert_told(response, 400, "BadRequestException") == "Parameter model_name is required."


@pytest.mark.parametrize("path", [f"{IRIS}?top=3", "/models/iris/invoke?top=3", "/invocations?top=3"])
def test_a_parameter_that_would_have_no_effect_is_refused(
    client: FlaskClient, backend: FakeBackend, path: str
) -> None:
    """It is named."""
    assert "'top'" in assert_told(client.post(path, data=b"x"), 400, "BadRequestException")
    assert backend.encoded == []


# --- failures ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("failure", "told"),
    [
        (errors.ModelNotFound("-", field="name"), "404 ModelNotFoundException Model not found: iris"),
        (
            errors.ModelNotFound("-", field="version"),
            "404 ModelVersionNotFoundException Model version: 3 does not exist for model: iris",
        ),
        (
            errors.ModelNotReady("-"),
            '503 ServiceUnavailableException Model "iris" Version 3 has no worker to serve inference request',
        ),
        (errors.ModelFailed("-"), "503 InternalServerException Prediction failed"),
        (errors.WorkerCrashed("-"), "500 InternalServerException Worker died."),
        (errors.BrokenImage("Broken."), "400 BadRequestException Broken."),
        (errors.InvalidInput("Wrong."), "400 BadRequestException Wrong."),
        (errors.DeadlineExceeded("Late."), "504 RequestTimeoutException Late."),
        (errors.QueueFull("Full."), "429 ServiceUnavailableException Full."),
        (errors.BackendUnavailable("Gone."), "503 InternalServerException Gone."),
    ],
    ids=lambda value: value.reason if isinstance(value, FacetError) else "",
)
def test_a_failure_is_told_as_torchserve_tells_it(
    client: FlaskClient, backend: FakeBackend, failure: FacetError, told: str
) -> None:
    """With its status, its exception and its text, where it has one."""
    backend.failure = failure
    status, kind, message = told.split(" ", 2)
    response = client.post(f"{IRIS}/3", data=b"x")
    assert assert_told(response, int(status), kind).startswith(message)


def test_a_fault_of_ours_is_told_without_its_cause(client: FlaskClient, backend: FakeBackend) -> None:
    """The log has it."""
    backend.failure = OSError("/secret")
    assert "secret" not in assert_told(client.post(IRIS, data=b"x"), 500, "InternalServerException")


def test_what_is_no_name_of_a_model_is_not_found(client: FlaskClient, backend: FakeBackend) -> None:
    """The backend need not be asked."""
    message = assert_told(client.post("/predictions/-x", data=b"x"), 404, "ModelNotFoundException")
    assert message == "Model not found: -x"
    assert backend.encoded == []


@pytest.mark.security(
    endpoint="torchserve",
    attack="The management's paths, and Facet's own, at the inference port",
    outcome="404, and 405 for `/`",
)
@pytest.mark.parametrize(
    "path", ["/", "/predict", "/models", "/models/iris", "/healthz", "/predictions/iris/1/2", "/ping/"]
)
def test_there_is_no_other_path(client: FlaskClient, path: str) -> None:
    """Neither the main application's nor TorchServe's management."""
    response = client.get(path)
    if path == "/":
        assert_told(response, 405, "MethodNotAllowedException")
        assert response.headers["Allow"] == "OPTIONS"
    else:
        message = assert_told(response, 404, "ResourceNotFoundException")
        assert message == "Requested resource is not found, please refer to API document."


def test_a_body_has_the_limit_of_any_model_s(backend: FakeBackend) -> None:
    """In gzip, too."""
    client = torchserve_app(backend, FACET_MAX_REQUEST_BYTES="2048").test_client()
    bomb = gzip.compress(bytes(2049))
    response = client.post(IRIS, data=bomb, headers={"Content-Encoding": "gzip"})
    assert "FACET_MAX_REQUEST_BYTES" in assert_told(response, 413, "RequestEntityTooLargeException")
    assert backend.encoded == []


# --- tokens -----------------------------------------------------------------------------------------

REFUSED = "Token Authorization failed. Token either incorrect, expired, or not provided correctly"


@pytest.mark.parametrize("path", ["/ping", IRIS, "/api-description", "/nothing"])
def test_where_keys_are_demanded_each_path_needs_the_one_for_inference(
    backend: FakeBackend, tmp_path: Path, path: str
) -> None:
    """By the scheme Bearer, in these very letters; a new key counts at once."""
    file = tmp_path / "key_file.json"
    write_keys(file)
    app = torchserve_app(backend, FACET_TORCHSERVE_KEY_FILE=str(file))
    keys = json.loads(file.read_text())

    def ask(authorization: str | None) -> TestResponse:
        headers = {} if authorization is None else {"Authorization": authorization}
        return app.test_client().open(path, method="POST" if path == IRIS else "GET", headers=headers)

    inference = keys["inference"]["key"]
    others = [None, "", inference, f"bearer {inference}", f"Bearer {inference}x", "Bearer \xff"]
    for wrong in [*others, *(f"Bearer {keys[name]['key']}" for name in ("management", "API"))]:
        assert assert_told(ask(wrong), 400, "InvalidKeyException") == REFUSED
    accepted = 404 if path == "/nothing" else 200
    assert ask(f"Bearer {inference}").status_code == accepted
    Tokens(file, "API").renew("inference")
    assert ask(f"Bearer {inference}").status_code == 400


@pytest.mark.security(
    endpoint="torchserve",
    attack="A body without a token where one is demanded",
    outcome="Refused before the body comes",
)
def test_who_has_no_token_sends_its_body_in_vain(backend: FakeBackend, tmp_path: Path) -> None:
    """It is refused before the body comes."""
    file = tmp_path / "key_file.json"
    write_keys(file)
    app = cast(Gateway, torchserve_app(backend, FACET_TORCHSERVE_KEY_FILE=str(file)))
    environ: Environ = {"REQUEST_METHOD": "POST", "PATH_INFO": IRIS}
    with pytest.raises(errors.TokenRefused):
        app.body_rules(environ)
    key = json.loads(file.read_text())["inference"]["key"]
    rule = app.body_rules({**environ, "HTTP_AUTHORIZATION": f"Bearer {key}"})
    assert rule is not None
    assert rule.limit == 32 * 1024**2


# --- the other paths --------------------------------------------------------------------------------


def test_ping_says_whether_the_backend_serves(backend: FakeBackend, caplog: pytest.LogCaptureFixture) -> None:
    """Where it does not, the log has the reason; a probe that succeeds writes no line."""
    caplog.set_level(logging.INFO)
    healthy = torchserve_app(backend).test_client().get("/ping", buffered=True)
    assert (healthy.status_code, healthy.text) == (200, '{\n  "status": "Healthy"\n}\n')
    assert not caplog.records
    backend.not_ready = errors.BackendUnavailable("Gone.")
    unhealthy = torchserve_app(backend).test_client().get("/ping", buffered=True)
    assert (unhealthy.status_code, unhealthy.text) == (500, '{\n  "status": "Unhealthy"\n}\n')
    [record] = caplog.records
    line = json.loads(JsonFormatter().format(record))
    assert (line["status"], line["reason"]) == (500, "BACKEND_UNAVAILABLE")
    assert line["level"] == "info"  # it is no fault of the gateway's


def test_the_paths_are_described_as_openapi_does(client: FlaskClient, backend: FakeBackend) -> None:
    """All of them, with their methods, and no others; at both places where TorchServe has it."""
    document = client.get("/api-description").get_json()
    assert client.options("/").get_json() == document
    assert document["openapi"].startswith("3.")
    described = {
        (path.replace("{model_name}", "<name>").replace("{model_version}", "<version>"), method.upper())
        for path, methods in document["paths"].items()
        for method in methods
    }
    rules = {
        (rule.rule, method)
        for rule in torchserve_app(backend).url_map.iter_rules()
        for method in rule.methods or ()
        if method != "HEAD" and (method != "OPTIONS" or rule.rule == "/")
    }
    assert described == rules
