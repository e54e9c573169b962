"""Rules of the gateway's answers: headers, problems, permits, readiness, the line in the log."""

import json
import logging
import re
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import cycle
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from gateway.readiness import Readiness
from tests.support.gateway_fakes import FakeBackend, app_for
from utils import errors
from utils.errors import FacetError
from utils.logs import JsonFormatter

IMAGE = {"data": b"picture", "content_type": "image/jpeg"}


def predict(client: FlaskClient, **headers: str) -> TestResponse:
    """Post a picture with these headers, named with underscores."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    # Buffered: read to the end and closed, as a server does.
    return client.post("/predict", headers=named, buffered=True, **IMAGE)


# --- answers ----------------------------------------------------------------------------------------


def test_the_answer_has_the_published_shape(client: FlaskClient) -> None:
    """Every member is there, zeros included, and a float has nine digits at most."""
    response = predict(client)
    assert response.content_type == "application/json"
    assert response.get_json() == {
        "message": "",
        "image_id": "",
        "metadata": {},
        "results": [
            {
                "box": {"upLeft": {"x": 10.5, "y": 0.0}, "lowerRight": {"x": 99.25, "y": 120.0}},
                "landmarks": {
                    "leftEye": {"x": 30, "y": 40},
                    "rightEye": {"x": 70, "y": 40},
                    "nose": {"x": 50, "y": 60},
                    "mouthLeft": {"x": 35, "y": 90},
                    "mouthRight": {"x": 65, "y": 90},
                },
                "confidence": 0.998765432,
            }
        ],
        "image": {"width": 200, "height": 150, "exif_orientation": 6},
        "model": {"name": "mtcnn", "version": "1.0.0", "engine": "onnx"},
        "timings": {"queue_ms": 0.0, "decode_ms": 1.5, "detect_ms": 20.1234568, "total_ms": 21.75},
    }


def test_the_root_says_where_to_read_on(client: FlaskClient) -> None:
    """And shows two commands for the host that was asked."""
    text = client.get("/", headers={"Host": "faces:1"}).get_data(as_text=True)
    assert "docs/" in text
    assert text.count("http://faces:1/predict") == 2


# --- headers ----------------------------------------------------------------------------------------


def test_a_request_id_is_kept_and_passed_on(client: FlaskClient, backend: FakeBackend) -> None:
    """The same id is in the answer and in the backend's call."""
    response = predict(client, X_Request_ID="order-7/~")
    assert response.headers["X-Request-ID"] == "order-7/~"
    assert backend.request_ids == ["order-7/~"]


@pytest.mark.parametrize("sent", [None, "", "a b", "x" * 129, "tab\there", "é"])
def test_an_unusable_request_id_is_replaced(client: FlaskClient, sent: str | None) -> None:
    """By a fresh one each time."""
    headers = {} if sent is None else {"X_Request_ID": sent}
    made = {predict(client, **headers).headers["X-Request-ID"] for _ in range(2)}
    assert len(made) == 2
    assert sent not in made


def test_every_answer_names_its_request(client: FlaskClient) -> None:
    """Errors in their body, too."""
    for response in (client.get("/healthz"), client.get("/nowhere"), client.put("/predict")):
        assert re.fullmatch(r"[\x21-\x7e]{1,128}", response.headers["X-Request-ID"])
    problem = client.get("/nowhere", headers={"X-Request-ID": "mine"}).get_json()
    assert problem["request_id"] == "mine"


@pytest.mark.parametrize(
    ("sent", "seconds"), [(None, 5), ("20", 20), ("9.5", 9.5), (".5e2", 50), ("1e1", 10), ("61", 60)]
)
def test_a_request_has_the_time_it_asks_for_up_to_the_maximum(
    client: FlaskClient, backend: FakeBackend, sent: str | None, seconds: float
) -> None:
    """What the gateway itself has used is no longer there for the backend."""
    began = time.monotonic()
    assert predict(client, **({} if sent is None else {"X_Request_Timeout": sent})).status_code == 200
    took = time.monotonic() - began
    left = backend.timeouts[0]
    assert left is not None
    assert seconds - took <= left < seconds
    assert backend.timeouts_named == [sent is not None]


@pytest.mark.parametrize("sent", ["0", "-1", "", "x", "nan", "inf", "1_0", "1e999", "5s", "٣"])
def test_a_timeout_that_is_no_positive_number_is_refused(client: FlaskClient, sent: str) -> None:
    """By the name of its header."""
    response = predict(client, X_Request_Timeout=sent)
    assert response.status_code == 400
    assert response.get_json()["reason"] == "INVALID_HEADER"
    assert response.get_json()["field"] == "X-Request-Timeout"


def test_a_request_that_is_late_already_is_not_passed_on(client: FlaskClient, backend: FakeBackend) -> None:
    """It is out of time."""
    response = predict(client, X_Request_Timeout="1e-9")
    assert (response.status_code, response.get_json()["reason"]) == (504, "DEADLINE_EXCEEDED")
    assert backend.requests == []


# --- problems ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", errors.error_classes(), ids=lambda kind: kind.reason)
def test_every_error_of_the_tree_becomes_its_problem(kind: type[FacetError]) -> None:
    """Status, reason, type and title are the class's; there is no member that looks like an answer."""
    client = app_for(FakeBackend(kind("What happened.", field="options.x", retry_after=1.2))).test_client()
    response = predict(client, X_Request_ID="r")
    assert response.status_code == kind.http_status
    assert response.content_type == "application/problem+json"
    assert response.headers["Retry-After"] == "2"
    assert response.get_json() == {
        "type": "urn:facet:problem:" + kind.reason.lower().replace("_", "-"),
        "title": kind.title,
        "status": kind.http_status,
        "detail": "What happened.",
        "message": "What happened.",
        "reason": kind.reason,
        "request_id": "r",
        "field": "options.x",
    }


def test_a_problem_has_only_what_applies() -> None:
    """No field where none is at fault, no Retry-After where trying again does not help."""
    client = app_for(FakeBackend(errors.BrokenImage("Truncated."))).test_client()
    response = predict(client)
    assert "field" not in response.get_json()
    assert "Retry-After" not in response.headers


def test_a_delay_is_told_in_whole_seconds_and_never_as_zero() -> None:
    """Zero would mean at once."""
    client = app_for(FakeBackend(errors.QueueFull("Full.", retry_after=0.0))).test_client()
    assert predict(client).headers["Retry-After"] == "1"


def test_an_unexpected_exception_tells_the_caller_nothing_of_itself(caplog: pytest.LogCaptureFixture) -> None:
    """The log has the traceback, under the request's id."""
    client = app_for(FakeBackend(ValueError("secret"))).test_client()
    response = predict(client, X_Request_ID="r7")
    assert (response.status_code, response.get_json()["reason"]) == (500, "INTERNAL")
    assert "secret" not in response.get_data(as_text=True)
    [record] = [record for record in caplog.records if record.exc_info]
    line = json.loads(JsonFormatter().format(record))
    assert line["request_id"] == "r7"
    assert "secret" in line["traceback"]


@pytest.mark.parametrize(
    "path",
    [
        "/predict/",
        "//predict",
        "///predict",
        "//predict/",
        "predict",
        "/a//predict",
        "/Predict",
        "/\n",
        "//",
        "/x",
    ],
)
def test_an_unknown_path_is_a_problem(
    client: FlaskClient, caplog: pytest.LogCaptureFixture, path: str
) -> None:
    """Nothing is redirected, and no slash passed over: a proxy's rule for /predict must not be passed by."""
    caplog.set_level(logging.INFO)
    # The client itself would take //predict for a host.
    response = client.post("/", environ_overrides={"PATH_INFO": path}, buffered=True, **IMAGE)
    assert (response.status_code, response.get_json()["reason"]) == (404, "ROUTE_NOT_FOUND")
    assert lines(caplog)[0]["path"] == path.replace("\n", "%0A")


def test_no_path_is_the_root(client: FlaskClient) -> None:
    """As HTTP has it of a URL that ends with its host; it is not redirected to where the Host header says."""
    empty = {"PATH_INFO": ""}
    assert client.get("/", environ_overrides=empty).status_code == 200
    refused = client.post("/", environ_overrides=empty, headers={"Host": "evil.example"}, **IMAGE)
    assert (refused.status_code, refused.get_json()["reason"]) == (405, "METHOD_NOT_ALLOWED")


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [("GET", "/predict", "OPTIONS, POST"), ("POST", "/healthz", "GET, HEAD, OPTIONS")],
)
def test_a_wrong_method_is_told_the_right_ones(
    client: FlaskClient, method: str, path: str, allowed: str
) -> None:
    """In Allow, and in the body, for who reads that alone."""
    response = client.open(path, method=method)
    assert (response.status_code, response.get_json()["reason"]) == (405, "METHOD_NOT_ALLOWED")
    assert response.headers["Allow"] == allowed
    assert response.get_json()["detail"] == f"This path does not take {method}; accepted: {allowed}."


def test_options_and_head_are_answered(client: FlaskClient) -> None:
    """As HTTP has them: the methods of a path, and a GET without its body."""
    response = client.options("/predict")
    assert response.status_code == 200
    assert set(response.headers["Allow"].split(", ")) == {"POST", "OPTIONS"}
    head = client.head("/healthz")
    assert (head.status_code, head.data) == (200, b"")


# --- permits ----------------------------------------------------------------------------------------


@pytest.mark.security(
    endpoint="gateway",
    attack="More pictures at once than there are permits",
    outcome="429 with `Retry-After`; health is answered",
)
def test_predict_leaves_eight_threads_to_the_other_paths(backend: FakeBackend) -> None:
    """With 10 threads two pictures are under way at most; the third is told when to come again."""
    app = app_for(backend, FACET_HTTP_THREADS="10")
    backend.holding = threading.Event()
    with ThreadPoolExecutor(2) as pool:
        running = [pool.submit(lambda: predict(app.test_client())) for _ in range(2)]
        for _ in running:
            assert backend.held.acquire(timeout=30)
        refused = predict(app.test_client())
        alive = app.test_client().get("/healthz")
        backend.holding.set()
        assert [response.result(30).status_code for response in running] == [200, 200]
    assert (refused.status_code, refused.get_json()["reason"]) == (429, "GATEWAY_BUSY")
    assert refused.headers["Retry-After"] == "1"
    assert alive.status_code == 200
    assert predict(app.test_client()).status_code == 200


@pytest.mark.parametrize(
    "break_it",
    [lambda b: setattr(b, "failure", errors.QueueFull("Full.")), lambda b: setattr(b, "failure", OSError())],
)
def test_a_failed_request_gives_its_permit_back(backend: FakeBackend, break_it: Any) -> None:  # noqa: ANN401
    """However it failed."""
    app = app_for(backend, FACET_HTTP_THREADS="9")
    break_it(backend)
    for _ in range(3):
        assert predict(app.test_client()).get_json()["reason"] != "GATEWAY_BUSY"


# --- health -----------------------------------------------------------------------------------------


def test_healthz_asks_nobody(client: FlaskClient, backend: FakeBackend) -> None:
    """It lives while the backend does not."""
    backend.not_ready = errors.BackendUnavailable("Gone.")
    response = client.get("/healthz")
    assert (response.status_code, response.get_json()) == (200, {"status": "ok"})
    assert backend.probes == 0


@pytest.mark.parametrize(
    "failure", [errors.BackendUnavailable("Gone.", retry_after=3), errors.DeadlineExceeded("Slow.")]
)
def test_readyz_says_whether_the_backend_serves(
    client: FlaskClient, backend: FakeBackend, failure: FacetError
) -> None:
    """Whatever keeps it from serving is a 503 with a Retry-After."""
    backend.not_ready = failure
    response = client.get("/readyz")
    assert (response.status_code, response.get_json()["reason"]) == (503, "BACKEND_UNAVAILABLE")
    assert response.headers["Retry-After"] == ("3" if failure.retry_after else "1")
    assert app_for(FakeBackend()).test_client().get("/readyz").status_code == 200


def test_one_backend_of_several_that_drains_leaves_the_gateway_ready(monkeypatch: pytest.MonkeyPatch) -> None:
    """Calls go to each in turn."""
    backend = FakeBackend()
    turns = cycle([errors.BackendUnavailable("draining"), None])

    def check_ready(*, timeout: float) -> None:
        assert 0 < timeout <= 1
        if (failure := next(turns)) is not None:
            raise failure

    monkeypatch.setattr(backend, "check_ready", check_ready)
    for _ in range(3):
        assert app_for(backend).test_client().get("/readyz").status_code == 200
    turns = cycle([errors.BackendUnavailable("gone")])
    assert app_for(backend).test_client().get("/readyz").status_code == 503


def test_readiness_is_asked_again_after_half_a_second() -> None:
    """And not before."""
    now, probes = [0.0], []
    readiness = Readiness(lambda: probes.append(now[0]), clock=lambda: now[0])
    for now[0] in (100.0, 100.2, 100.49, 100.5, 100.7, 101.1):
        assert readiness.check() is None
    assert probes == [100.0, 100.5, 101.1]


def test_who_asks_during_a_probe_gets_the_answer_before_it() -> None:
    """A backend that does not answer holds one thread only."""
    now, begun, release = [0.0], threading.Semaphore(0), threading.Event()
    release.set()

    def probe() -> None:
        begun.release()
        assert release.wait(30)

    readiness = Readiness(probe, clock=lambda: now[0])
    assert readiness.check() is None
    assert begun.acquire(timeout=30)
    release.clear()
    now[0] = 1.0
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(readiness.check)
        assert begun.acquire(timeout=30)
        assert readiness.check() is None
        assert not begun.acquire(blocking=False)
        release.set()
        assert waiting.result(30) is None


def test_who_asks_during_a_probe_after_a_pause_waits_for_its_answer() -> None:
    """The answer before it may be of any age."""
    now, begun, release = [0.0], threading.Semaphore(0), threading.Event()
    asker = threading.current_thread()

    def probe() -> None:
        begun.release()
        assert release.wait(30)
        if now[0]:
            raise errors.BackendUnavailable("Gone.")

    def clock() -> float:
        if threading.current_thread() is asker and now[0]:
            release.set()  # the probe ends only once the second has begun to ask
        return now[0]

    release.set()
    readiness = Readiness(probe, clock)
    assert readiness.check() is None
    assert begun.acquire(timeout=30)
    release.clear()
    now[0] = 600.0
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(readiness.check)
        assert begun.acquire(timeout=30)
        assert isinstance(readiness.check(), errors.BackendUnavailable)
        assert isinstance(first.result(30), errors.BackendUnavailable)
    assert not begun.acquire(blocking=False)


def test_nobody_waits_for_a_probe_longer_than_a_probe_may_take() -> None:
    """It is as if the backend had not answered."""
    begun, release = threading.Semaphore(0), threading.Event()

    def probe() -> None:
        begun.release()
        assert release.wait(30)

    readiness = Readiness(probe, patience=0.01)
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(readiness.check)
        assert begun.acquire(timeout=30)
        assert isinstance(readiness.check(), errors.DeadlineExceeded)
        release.set()
        assert first.result(30) is None


# --- log --------------------------------------------------------------------------------------------


def lines(caplog: pytest.LogCaptureFixture) -> list[dict[str, Any]]:
    """The lines about requests."""
    formatted = [json.loads(JsonFormatter().format(record)) for record in caplog.records]
    return [line for line in formatted if line["message"] == "request"]


@pytest.mark.security(
    endpoint="gateway",
    attack="The picture and metadata of a caller, which a log must not have",
    outcome="Neither is in the line of the request",
)
def test_a_request_writes_one_line(client: FlaskClient, caplog: pytest.LogCaptureFixture) -> None:
    """With what an operator asks for, and without the picture or the caller's notes."""
    caplog.set_level(logging.INFO)
    client.post(
        "/predict",
        data=b'{"image": "c2VjcmV0", "metadata": {"who": "private"}}',
        content_type="application/json",
        headers={"X-Request-ID": "r1"},
    ).close()
    [line] = lines(caplog)
    assert line.pop("elapsed_ms") > 0
    assert {name: line[name] for name in line if name not in {"time", "pid", "logger", "level"}} == {
        "message": "request",
        "request_id": "r1",
        "method": "POST",
        "path": "/predict",
        "status": 200,
        "body_bytes": 53,
        "bytes": 6,
        "width": 200,
        "height": 150,
        "faces": 1,
        "queue_ms": 0.0,
        "decode_ms": 1.5,
        "detect_ms": 20.123,
        "backend_ms": 21.75,
    }


def test_a_failed_request_writes_one_line_with_its_reason(
    client: FlaskClient, caplog: pytest.LogCaptureFixture
) -> None:
    """The reason is the one that the caller is told."""
    caplog.set_level(logging.INFO)
    client.post("/nowhere%0D%0A%1B[31m" + "x" * 500, **IMAGE).close()
    predict(client, X_Request_Timeout="never").close()
    lost, refused = lines(caplog)
    assert (lost["status"], lost["reason"]) == (404, "ROUTE_NOT_FOUND")
    assert lost["path"].startswith("/nowhere%0D%0A%1B%5B31mxxx")
    assert len(lost["path"]) <= 200
    assert (refused["status"], refused["reason"]) == (400, "INVALID_HEADER")


@pytest.mark.parametrize("failure", [errors.InternalError(), errors.BackendUnavailable("Gone.")])
def test_what_gRPC_says_of_a_failure_is_in_its_line_and_in_no_answer(  # noqa: N802 - its name
    backend: FakeBackend, caplog: pytest.LogCaptureFixture, failure: FacetError
) -> None:
    """The caller is told nothing of it; who is on call must see what happened. A check's line has it, too."""
    caplog.set_level(logging.INFO)
    failure.cause = "UNIMPLEMENTED: no such method"
    backend.failure = backend.not_ready = failure
    client = app_for(backend).test_client()
    for response in (predict(client), client.get("/readyz", buffered=True)):
        assert "UNIMPLEMENTED" not in response.text
    assert [line["cause"] for line in lines(caplog)] == ["UNIMPLEMENTED: no such method"] * 2
    assert [record.message for record in caplog.records] == ["request"] * 2
    assert lines(caplog)[0]["level"] == ("error" if failure.http_status == 500 else "info")


@pytest.mark.security(
    endpoint="gateway",
    attack="A request while no backend is there, to learn of the network inside",
    outcome="503 without an address",
)
def test_the_backend_that_could_not_be_reached_is_named_in_the_log_alone(
    backend: FakeBackend, caplog: pytest.LogCaptureFixture
) -> None:
    """By the address that was asked; a caller may be a stranger, and learns nothing of the network inside."""
    caplog.set_level(logging.INFO)
    client = app_for(backend, FACET_BACKEND="inside:50051").test_client()
    backend.failure = backend.not_ready = errors.BackendUnavailable("Gone.")
    answers = [predict(client), client.get("/readyz", buffered=True)]
    backend.failure = errors.QueueFull("Full.")
    answers.append(predict(client))
    assert [answer.status_code for answer in answers] == [503, 503, 429]
    assert [line.get("backend") for line in lines(caplog)] == ["inside:50051", "inside:50051", None]
    assert not any("inside" in answer.text for answer in answers)


def test_probes_that_succeed_write_no_line(
    client: FlaskClient, backend: FakeBackend, caplog: pytest.LogCaptureFixture
) -> None:
    """They would drown the rest; one that fails is worth a line."""
    caplog.set_level(logging.INFO)
    client.get("/healthz").close()
    client.get("/readyz").close()
    assert lines(caplog) == []
    backend.not_ready = errors.BackendUnavailable("Gone.")
    app_for(backend).test_client().get("/readyz").close()
    assert [line["status"] for line in lines(caplog)] == [503]


def test_building_the_gateway_reads_the_given_settings_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """An invalid environment does not matter to who brings settings."""
    monkeypatch.setenv("FACET_HTTP_THREADS", "none")
    assert isinstance(app_for(FakeBackend()), Flask)
