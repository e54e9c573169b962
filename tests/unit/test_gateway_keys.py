"""Rules of keys at the gateway, without processes: which paths need one, and what is answered."""

import json
import re
import threading
import time
from pathlib import Path
from typing import Any, Unpack

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from gateway.app import Gateway
from gateway.routes import need_of
from tests.support import batches
from tests.support.batches import Line
from tests.support.gateway_fakes import FakeBackend, app_for
from tests.support.keys import KeyFile, bearer
from tests.support.openapi import check_answer
from tests.support.processes import ROOT
from utils.api_keys import GATEWAY, MANAGE, PREDICT
from utils.domain import Detection, DetectRequest
from utils.service_client import BlockingCallOptions

OPEN = {
    "/",
    "/docs",
    "/docs/<file>",
    "/page/<file>",
    "/openapi.json",
    "/version",
    "/healthz",
    "/readyz",
    "/v2/health/live",
    "/v2/health/ready",
}
"""Paths of the main application that need no key."""
OPEN_TORCHSERVE = {"/ping", "/api-description"}
MANAGED = {"/v2/repository/models/<name>/load", "/v2/repository/models/<name>/unload"}
PICTURE: dict[str, Any] = {"data": b"picture", "content_type": "image/jpeg"}


@pytest.fixture
def keys(tmp_path: Path) -> KeyFile:
    """Those that are demanded."""
    return KeyFile(tmp_path)


@pytest.fixture
def backend() -> FakeBackend:
    """What is called where a request is let in."""
    return FakeBackend()


def app_with(keys: KeyFile, backend: FakeBackend, **environ: str) -> Gateway:
    """The gateway, with TorchServe's address, too."""
    settings = {"FACET_TORCHSERVE_HTTP_ADDRESS": "127.0.0.1:0", **keys.environ, **environ}
    app = app_for(backend, **settings)
    assert isinstance(app, Gateway)
    return app


@pytest.fixture
def app(keys: KeyFile, backend: FakeBackend) -> Gateway:
    """The gateway that demands them."""
    return app_with(keys, backend)


def requests_of(app: Any) -> list[tuple[str, str, str]]:  # noqa: ANN401 - a Flask
    """Rule, path and method of all that can be asked for."""
    return [
        (rule.rule, re.sub(r"<[^>]*>", "x", rule.rule), method)
        for rule in app.url_map.iter_rules()
        for method in sorted((rule.methods or set()) - {"OPTIONS"})
    ]


def plain(rule: str) -> str:
    """A rule without the kinds of its parameters."""
    return re.sub(r"<(?:[^:>]*:)?(\w+)>", r"<\1>", rule.replace("'", ""))


def problem(response: TestResponse) -> tuple[int, str]:
    """Status and reason."""
    return response.status_code, json.loads(response.data)["reason"]


@pytest.mark.security(
    endpoint="keys",
    attack="Each path of the gateway without a key, also paths that do not exist",
    outcome="401, except for those that are listed above",
)
def test_every_path_needs_a_key_but_those_that_are_named(app: Gateway, backend: FakeBackend) -> None:
    """A path that is added needs one; and so does one that there is not."""
    client = app.test_client()
    found = set()
    for rule, path, method in [*requests_of(app), ("", "/nothing", "GET"), ("", "/docsx", "GET")]:
        response = client.open(path, method=method)
        if response.status_code != 401:
            found.add(plain(rule))
        elif method != "HEAD":
            assert problem(response) == (401, "KEY_MISSING")
            assert response.headers["WWW-Authenticate"] == "Bearer"
            assert ("error" in response.get_json(force=True)) == path.startswith("/v2")
    assert found == OPEN
    assert (backend.requests, backend.predictions, backend.asked, backend.encoded) == ([], [], [], [])


def test_torchserves_paths_need_one_in_its_own_words(app: Gateway, backend: FakeBackend) -> None:
    """But for its health and its description; other methods are none of its own."""
    other = app.others["torchserve_http_address"]
    found = set()
    for rule, path, method in requests_of(other):
        response = other.test_client().open(path, method=method)
        if response.status_code != 401:
            found.add(plain(rule))
        elif method != "HEAD":
            told = json.loads(response.data)
            assert (told["code"], told["type"]) == (401, "InvalidKeyException")
            assert response.headers["WWW-Authenticate"] == "Bearer"
    assert found == OPEN_TORCHSERVE
    assert other.test_client().options("/").status_code == 200
    assert backend.encoded == []


def test_with_torchserves_own_tokens_its_paths_need_no_other(
    keys: KeyFile, backend: FakeBackend, tmp_path: Path
) -> None:
    """One header field cannot have two."""
    tokens = tmp_path / "key_file.json"
    tokens.write_text('{"inference": {"key": "token"}}')
    app = app_with(keys, backend, FACET_TORCHSERVE_KEY_FILE=str(tokens))
    client = app.others["torchserve_http_address"].test_client()
    path = "/predictions/iris"
    assert client.post(path, data=b"{}", headers=bearer("token")).status_code == 200
    assert client.post(path, data=b"{}", headers=bearer(keys.add("shop", PREDICT))).status_code == 400
    assert app.test_client().post("/predict", **PICTURE).status_code == 401


@pytest.mark.parametrize(
    ("shown", "reason"),
    [
        (None, "KEY_MISSING"),
        ("", "KEY_MISSING"),
        ("{}", "KEY_MISSING"),
        ("Bearer", "KEY_MISSING"),
        ("Basic {}", "KEY_MISSING"),
        ("Bearer {}x", "KEY_UNKNOWN"),
        ("Bearer {},{}", "KEY_UNKNOWN"),
        ("Bearer facet_", "KEY_UNKNOWN"),
        ("Bearer {}", ""),
        ("bearer  {} ", ""),
    ],
)
def test_a_key_is_shown_as_a_bearer_token(
    app: Gateway, keys: KeyFile, backend: FakeBackend, shown: str | None, reason: str
) -> None:
    """By RFC 6750; nobody without one is let in."""
    secret = keys.add("shop", PREDICT)
    app = app_with(keys, backend)
    headers = {} if shown is None else {"Authorization": shown.replace("{}", secret)}
    response = app.test_client().post("/predict", headers=headers, **PICTURE)
    if not reason:
        assert (response.status_code, len(backend.requests)) == (200, 1)
        return
    assert problem(response) == (401, reason)
    assert response.get_json(force=True).get("field") == (
        "Authorization" if reason == "KEY_MISSING" else None
    )
    assert secret not in response.text
    assert backend.requests == []


@pytest.mark.security(
    endpoint="keys",
    attack="Each path of the gateway with a key of another scope",
    outcome="403",
)
@pytest.mark.parametrize("scope", [PREDICT, MANAGE, GATEWAY])
def test_each_path_needs_one_scope(keys: KeyFile, backend: FakeBackend, scope: str) -> None:
    """Calls of models predict, changes of them manage; gateway is for nobody's own requests."""
    headers = bearer(keys.add("somebody", scope))
    app = app_with(keys, backend)
    allowed = set()
    for rule, path, method in requests_of(app):
        if plain(rule) not in OPEN:
            response = app.test_client().open(path, method=method, headers=headers)
            if response.status_code != 403:
                allowed.add(plain(rule))
            elif method != "HEAD":
                assert problem(response) == (403, "KEY_LACKS_SCOPE")
                needed = "manage" if plain(rule) in MANAGED else "predict"
                detail = response.get_json(force=True)["detail"]
                assert detail == f"The key somebody is for {scope}; needed here: {needed}"
    keyed = {plain(rule) for rule, _, _ in requests_of(app)} - OPEN
    assert allowed == {PREDICT: keyed - MANAGED, MANAGE: MANAGED, GATEWAY: set()}[scope]


def test_browsers_may_ask_what_is_allowed(keys: KeyFile, backend: FakeBackend) -> None:
    """They send no key before; and they may then read why they were refused, and what is left."""
    origin = "https://page.example"
    app = app_with(keys, backend, FACET_ALLOWED_ORIGINS=origin)
    asked = {"Origin": origin, "Access-Control-Request-Method": "POST"}
    response = app.test_client().options("/predict", headers=asked)
    assert response.status_code == 200
    assert "Authorization" in response.headers["Access-Control-Allow-Headers"]
    refused = app.test_client().post("/predict", headers={"Origin": origin}, **PICTURE)
    assert (refused.status_code, refused.headers["Access-Control-Allow-Origin"]) == (401, origin)
    assert {"RateLimit", "RateLimit-Policy"} <= {
        *refused.headers["Access-Control-Expose-Headers"].split(", ")
    }


@pytest.mark.security(
    endpoint="keys",
    attack="A header field by which a caller says that it is somebody else",
    outcome="Not passed on",
)
def test_the_backend_is_told_for_whom_it_is_called(keys: KeyFile, backend: FakeBackend) -> None:
    """By the name of the key, and by no header field of the caller's."""
    headers = {**bearer(keys.add("shop", PREDICT)), "X-Facet-Caller": "boss"}
    client = app_with(keys, backend).test_client()
    client.post("/predict", headers=headers, **PICTURE)
    client.get("/models", headers=headers)
    client.post("/models/iris/predict", data=b"{}", content_type="application/json", headers=headers)
    client.post("/v2/models/iris/infer", data=b"{}", headers=headers)
    assert backend.callers == ["shop"] * 4
    app_for(backend).test_client().post("/predict", headers=headers, **PICTURE)
    assert backend.callers[-1] == ""


# --- limits -------------------------------------------------------------------------------------------


@pytest.fixture
def limited(keys: KeyFile, backend: FakeBackend) -> tuple[FlaskClient, dict[str, str]]:
    """A client, and the header field of a key that may make two requests, and one each 100 s."""
    headers = bearer(keys.add("shop", PREDICT, rate=0.01, burst=2))
    return app_with(keys, backend).test_client(), headers


@pytest.mark.security(
    endpoint="keys",
    attack="More requests than the limit of a key allows",
    outcome="429 with `Retry-After` and `RateLimit`; the backend is not called",
)
def test_a_key_beyond_its_limit_is_told_when_to_come_again(
    limited: tuple[FlaskClient, dict[str, str]], backend: FakeBackend
) -> None:
    """Each answer says what is left, and the refusal costs nothing."""
    client, headers = limited
    answers = [client.post("/predict", headers=headers, **PICTURE) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert [answer.headers["RateLimit-Policy"] for answer in answers] == ['"key";q=2;w=200'] * 3
    told = [re.fullmatch(r'"key";r=(\d);t=(\d+)', answer.headers["RateLimit"]) for answer in answers]
    assert [match and match[1] for match in told] == ["1", "0", "0"]
    # Less by the seconds that the requests before took.
    assert [match and int(match[2]) for match in told] == pytest.approx([100, 200, 100], abs=20)
    assert int(answers[2].headers["Retry-After"]) == pytest.approx(100, abs=20)
    assert problem(answers[2]) == (429, "RATE_LIMITED")
    assert (
        answers[2].get_json(force=True)["detail"]
        == "The key shop may make 0.01 requests a second, 2 at once."
    )
    assert len(backend.requests) == 2


@pytest.mark.security(
    endpoint="keys",
    attack="Requests that fail, to get around a limit",
    outcome="They count",
)
def test_every_request_that_needs_a_key_counts(limited: tuple[FlaskClient, dict[str, str]]) -> None:
    """Those that fail, too; those that need none do not."""
    client, headers = limited
    for path in ("/healthz", "/", "/openapi.json", "/v2/health/ready"):
        response = client.get(path, headers=headers)
        assert (response.status_code, "RateLimit" in response.headers) == (200, False)
    assert client.get("/models/nobody-has-this!", headers=headers).headers["RateLimit"] == '"key";r=1;t=100'
    assert client.get("/nothing", headers=headers).status_code == 404
    assert client.get("/models", headers=headers).status_code == 429


def test_a_key_without_a_limit_has_no_header_fields_of_one(keys: KeyFile, backend: FakeBackend) -> None:
    """There is nothing to say."""
    headers = bearer(keys.add("shop", PREDICT))
    response = app_with(keys, backend).test_client().post("/predict", headers=headers, **PICTURE)
    assert not {"RateLimit", "RateLimit-Policy"} & {*response.headers.keys()}


# --- batches ------------------------------------------------------------------------------------------


def items_of(client: FlaskClient, headers: dict[str, str], count: int) -> list[Line]:
    """The lines of a batch of so many pictures, but for the last one; each has a second."""
    response = client.post(
        batches.PATH,
        data=batches.of_files(b"x" * (index + 1) for index in range(count)),
        content_type=batches.KIND,
        headers={**headers, "X-Request-Timeout": "5"},
        buffered=True,
    )
    fields = {name.lower(): value for name, value in response.headers.items()}
    return batches.Answered(response.status_code, fields, response.data).items


@pytest.mark.security(
    endpoint="keys",
    attack="Batches, to get around a limit",
    outcome="Each picture counts",
)
def test_each_picture_of_a_batch_counts_and_the_batch_does_not(
    limited: tuple[FlaskClient, dict[str, str]], backend: FakeBackend
) -> None:
    """Those beyond the limit have the problem that /predict would have answered with."""
    client, headers = limited
    items = items_of(client, headers, 4)
    assert sorted(item["status"] for item in items) == [200, 200, 429, 429]
    for item in items:
        if item["status"] == 429:
            assert (item["problem"]["reason"], item["problem"]["retry_after"]) == ("RATE_LIMITED", 100)
    assert backend.callers == ["shop", "shop"]


def test_pictures_of_a_batch_wait_for_the_limit_within_their_time(
    keys: KeyFile, backend: FakeBackend
) -> None:
    """As they wait for a backend that has no room."""
    headers = bearer(keys.add("shop", PREDICT, rate=20, burst=1))
    items = items_of(app_with(keys, backend).test_client(), headers, 5)
    assert [item["status"] for item in items] == [200] * 5


class _Revoking(FakeBackend):
    """Has a key revoked by the first call, and answers each when all must know it."""

    def __init__(self, keys: KeyFile) -> None:
        super().__init__()
        self._keys = keys
        self._first = threading.Lock()

    def detect(self, request: DetectRequest, **options: Unpack[BlockingCallOptions]) -> Detection:
        with self._first:
            if not self.requests:
                self._keys.revoke("shop")
                time.sleep(1)
        return super().detect(request, **options)


def test_pictures_that_come_after_the_key_was_revoked_are_refused(keys: KeyFile) -> None:
    """Each with a problem of its own; those that were let in before are answered."""
    headers = bearer(keys.add("shop", PREDICT))
    backend = _Revoking(keys)
    items = items_of(app_with(keys, backend).test_client(), headers, 40)
    statuses = [item["status"] for item in items]
    assert {*statuses} == {200, 401}
    assert statuses.count(200) == len(backend.requests)
    assert {item["problem"]["reason"] for item in items if item["status"] == 401} == {"KEY_UNKNOWN"}


# --- what is said of it -------------------------------------------------------------------------------


def test_the_description_says_which_operations_need_a_key(app: Gateway) -> None:
    """Exactly those that are refused without one."""
    document = app.test_client().get("/openapi.json").get_json()
    scheme = document["components"]["securitySchemes"]["key"]
    assert (scheme["type"], scheme["scheme"]) == ("http", "bearer")
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            environ = {"REQUEST_METHOD": method.upper(), "PATH_INFO": path.replace("{", "").replace("}", "")}
            needed = need_of(environ) is not None
            assert operation.get("security", document["security"]) == ([{"key": []}] if needed else [])
            assert needed <= ({"401", "403", "429"} <= {*operation["responses"]})


@pytest.mark.parametrize(("scopes", "needed"), [("predict", {PREDICT}), ("manage", {MANAGE})])
def test_keys_may_be_demanded_for_one_scope_alone(
    keys: KeyFile, backend: FakeBackend, scopes: str, needed: set[str]
) -> None:
    """The rest is open, and is described as that."""
    app = app_with(keys, backend, FACET_API_KEY_SCOPES=scopes)
    client = app.test_client()
    assert (client.post("/predict", **PICTURE).status_code == 401) == (PREDICT in needed)
    loaded = client.post("/v2/repository/models/iris/load", data=b"{}")
    assert (loaded.status_code == 401) == (MANAGE in needed)
    document = client.get("/openapi.json").get_json()
    for path, scope in (("/predict", PREDICT), ("/v2/repository/models/{name}/load", MANAGE)):
        told = document["paths"][path]["post"].get("security", document.get("security"))
        assert bool(told) == (scope in needed)


def test_the_page_names_the_paths_that_need_no_key() -> None:
    """All of them, and no other."""
    page = (ROOT / "docs" / "security.md").read_text()
    for row, expected in (("| gateway | ", OPEN), ("| gateway, TorchServe's address | ", OPEN_TORCHSERVE)):
        [told] = [line for line in page.splitlines() if line.startswith(row)]
        named = {path.replace("FILE", "<file>") for path in re.findall(r"`([^`]*)`", told)}
        assert named == expected


def test_without_keys_nothing_is_said_of_them(backend: FakeBackend) -> None:
    """And nothing needs one; one that is shown all the same is not looked at."""
    client = app_for(backend).test_client()
    document = client.get("/openapi.json").get_json()
    assert "security" not in json.dumps({**document, "components": {}})
    assert "securitySchemes" not in document["components"]
    assert client.post("/predict", headers=bearer("facet_x"), **PICTURE).status_code == 200


def test_refusals_are_as_described(keys: KeyFile, backend: FakeBackend) -> None:
    """By the document of the gateway that refuses."""
    limited = bearer(keys.add("limited", PREDICT, rate=0.01, burst=1))
    manager = bearer(keys.add("manager", MANAGE))
    client = app_with(keys, backend).test_client()
    document = client.get("/openapi.json").get_json()
    shown: tuple[dict[str, str], ...] = ({}, bearer("facet_x"), manager, limited, limited)
    for path in ("/predict", "/models/iris/predict", "/v2/models/iris/infer"):
        body = {"data": b"{}", "content_type": "application/json"} if "models" in path else PICTURE
        answers = [client.post(path, headers=headers, **body) for headers in shown]
        assert [answer.status_code for answer in answers][:3] == [401, 401, 403]
        assert answers[4].status_code == 429
        for answer in (*answers[:3], answers[4]):
            check_answer(document, path, "POST", answer)
