"""Rules of the gateway's traces: which spans there are, and what a collector that is away does."""

import contextlib
import secrets
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import batches, processes
from tests.support.collector import CLIENT, ERROR, SERVER, Collector, collector
from tests.support.fake_backend import Backend, echo, failing
from tests.support.gateway_process import COMMAND, Gateway, gateway
from utils import errors
from utils.metadata import trace_context

REQUEST = "POST /predict"
CALL = f"{REQUEST} > Inference/Predict"
BODY = f"{REQUEST} > receive body"


def context(flags: str = "01") -> tuple[str, str]:
    """A trace's id, and the trace context of a caller that is in it."""
    trace = secrets.token_hex(16)
    return trace, f"00-{trace}-{secrets.token_hex(8)}-{flags}"


@pytest.fixture(scope="module")
def collecting() -> Iterator[Collector]:
    """A collector for the gateways of this module."""
    with collector() as running:
        yield running


@pytest.fixture(scope="module")
def tracing(collecting: Collector, backend: Backend) -> Iterator[Gateway]:
    """One that traces what its callers want to be traced."""
    with traced(backend, collecting.url, ratio="0") as running:
        yield running


@contextlib.contextmanager
def traced(backend: Backend, url: str, ratio: str) -> Iterator[Gateway]:
    """A gateway that traces this share of its requests for this collector, and would wait for it for long."""
    settings = {"FACET_TRACES_ENDPOINT": url, "FACET_TRACES_RATIO": ratio, "OTEL_EXPORTER_OTLP_TIMEOUT": "60"}
    with gateway(backend.target, **settings) as running:
        yield running


def test_a_request_whose_caller_traces_it_has_spans_within_each_other(
    collecting: Collector, backend: Backend, tracing: Gateway
) -> None:
    """The request within the caller's span, the call within the request; the backend gets the call's."""
    trace, came_with = context()
    reply = tracing.predict(b"x" * 1000, traceparent=came_with, tracestate="vendor=1", X_Request_ID="t-1")
    assert reply.status == 200
    spans = collecting.wait_for(trace, REQUEST, BODY, CALL)
    request, body, call = spans[REQUEST], spans[BODY], spans[CALL]
    assert (request.kind, request.parent, call.kind) == (SERVER, came_with.split("-")[2], CLIENT)
    assert request.began == body.began < body.ended < call.began
    assert request.attributes == {
        "http.request.method": "POST",
        "http.route": "/predict",
        "http.response.status_code": 200,
        "facet.body_bytes": 1000,
        "facet.bytes": 1000,
        "facet.width": 1000,
        "facet.height": 1,
        "facet.faces": 0,
    }
    metadata = backend.calls[-1].metadata
    assert metadata["traceparent"] == f"00-{trace}-{call.id}-01"
    assert metadata["tracestate"] == "vendor=1"
    line = tracing.process.wait_for("request", request_id="t-1")
    assert line["traceparent"] == f"00-{trace}-{request.id}-01"


def test_a_request_whose_caller_does_not_trace_it_has_no_spans(
    collecting: Collector, backend: Backend, tracing: Gateway
) -> None:
    """Its trace context is passed on as it came; nor has one without, as the ratio is 0."""
    trace, came_with = context("00")
    assert tracing.predict(traceparent=came_with).status == 200
    assert backend.calls[-1].metadata["traceparent"] == came_with
    assert tracing.predict().status == 200
    decided = backend.calls[-1].metadata["traceparent"]
    assert trace_context(decided) == decided
    assert decided.endswith("-00")
    last, came_with = context()
    assert tracing.predict(traceparent=came_with).status == 200
    collecting.wait_for(last, REQUEST, BODY, CALL)  # what was before it would have come before it
    assert collecting.of(trace) == collecting.of(decided.split("-")[1]) == []


@pytest.mark.security(
    endpoint="gateway",
    attack="Pictures, request ids, methods and paths of callers, which traces must not have",
    outcome="None of them is in a span",
)
def test_a_failure_has_its_reason_and_nothing_that_the_caller_wrote(
    collecting: Collector, backend: Backend, tracing: Gateway
) -> None:
    """An error of the caller's is no fault of the gateway's."""
    trace, came_with = context()
    backend.answer = failing(errors.BrokenImage("It ends early."))
    try:
        assert tracing.predict(b"secret", traceparent=came_with, X_Request_ID="secret").status == 422
    finally:
        backend.answer = echo
    spans = collecting.wait_for(trace, REQUEST, BODY, CALL)
    request, call = spans[REQUEST], spans[CALL]
    assert request.attributes["error.type"] == call.attributes["error.type"] == "BROKEN_IMAGE"
    assert (request.status, call.status) == (0, ERROR)
    trace, came_with = context()
    with contextlib.closing(tracing.open()) as connection:
        connection.request("PROPFIND", "/secret?secret", headers={"traceparent": came_with})
        assert connection.getresponse().status == 404
    spans = collecting.wait_for(trace, "_OTHER")
    assert spans["_OTHER"].attributes["error.type"] == "ROUTE_NOT_FOUND"
    assert "secret" not in repr(collecting.spans).lower()


def test_a_body_that_is_refused_has_a_span(collecting: Collector, tracing: Gateway) -> None:
    """Though no application was asked."""
    trace, came_with = context()
    with contextlib.closing(tracing.open()) as connection:
        connection.putrequest("POST", "/predict")
        connection.putheader("Content-Type", "image/jpeg")
        connection.putheader("Content-Length", str(10**9))
        connection.putheader("traceparent", came_with)
        connection.endheaders()
        assert connection.getresponse().status == 413
    span = collecting.wait_for(trace, REQUEST)[REQUEST]
    assert span.attributes["error.type"] == "IMAGE_TOO_LARGE"


def test_each_picture_of_a_batch_has_a_span_with_its_call(collecting: Collector, tracing: Gateway) -> None:
    """Both pictures', beside each other."""
    trace, came_with = context()
    body = batches.of_files([b"x" * 10, b"x" * 20])
    assert len(batches.send(tracing, body, traceparent=came_with).items) == 2
    batch = "POST /predict/batch"
    item = f"{batch} > item"
    collecting.wait_for(trace, batch, item, item, *[f"{item} > Inference/Predict"] * 2)


def test_probes_have_no_spans(collecting: Collector, tracing: Gateway) -> None:
    """Not even where somebody asks for them."""
    trace, came_with = context()
    last, last_context = context()
    for path, sent in (("/healthz", came_with), ("/readyz", came_with), ("/version", last_context)):
        with contextlib.closing(tracing.open()) as connection:
            connection.request("GET", path, headers={"traceparent": sent})
            assert connection.getresponse().status == 200
    collecting.wait_for(last, "GET /version")
    assert collecting.of(trace) == []


def test_with_ratio_1_all_is_traced_and_a_stop_exports_what_is_left(
    collecting: Collector, backend: Backend
) -> None:
    """What has just been answered included."""
    with traced(backend, collecting.url, ratio="1") as running:
        assert running.predict().status == 200
        trace = backend.calls[-1].metadata["traceparent"].split("-")[1]
        running.process.send(signal.SIGTERM)
        assert running.process.wait() == 0
    spans = collecting.wait_for(trace, REQUEST, BODY, CALL)
    assert spans[REQUEST].parent == ""


@pytest.mark.parametrize("state", ["away", "failing", "slow"])
def test_a_collector_that_takes_no_spans_harms_no_request_and_no_stop(state: str, backend: Backend) -> None:
    """All requests are answered, one line tells of it, and the end comes no later than it must."""
    with collector() as other, contextlib.ExitStack() as away:
        url = other.url
        match state:
            case "away":
                url = away.enter_context(nobody())
            case "failing":
                other.status = 500
            case _:
                other.open.clear()
        with traced(backend, url, ratio="1") as running:
            for _ in range(20):
                assert running.predict().status == 200
            if state != "slow":
                told = running.process.wait_for("spans not exported")
                assert told["level"] == "warning"
            running.process.send(signal.SIGTERM)
            assert running.process.wait(15) == 0
            assert len(running.process.logged("spans not exported")) == 1
            assert "Traceback" not in running.process.log()


def test_a_collector_that_is_back_gets_all_that_comes_then(backend: Backend) -> None:
    """What is left at a stop included; nothing of its absence is remembered."""
    with collector() as other, traced(backend, other.url, ratio="1") as running:
        other.status = 500
        assert running.predict().status == 200
        running.process.wait_for("spans not exported")
        other.status = 200
        traces = []
        for _ in range(2):
            assert running.predict().status == 200
            traces.append(backend.calls[-1].metadata["traceparent"].split("-")[1])
            if len(traces) == 1:
                other.wait_for(traces[0], REQUEST, BODY, CALL)
        running.process.send(signal.SIGTERM)
        assert running.process.wait() == 0
        other.wait_for(traces[1], REQUEST, BODY, CALL)


@contextlib.contextmanager
def nobody() -> Iterator[str]:
    """The URL of a collector that has ended."""
    with collector() as ended:
        url = ended.url
    yield url


SPY = """
import os, pathlib
pathlib.Path(os.environ["TEST_IMPORTED"]).touch()
raise ModuleNotFoundError("No module named 'opentelemetry'", name="opentelemetry")
"""


def test_without_a_collector_opentelemetry_is_not_imported(tmp_path: Path, backend: Backend) -> None:
    """Not even for a request whose caller traces it; with one it is."""
    imported = tmp_path / "imported"
    (tmp_path / "opentelemetry.py").write_text(SPY)
    spied = {"PYTHONPATH": str(tmp_path), "TEST_IMPORTED": str(imported)}
    _, came_with = context()
    with gateway(backend.target, **spied) as running:
        assert running.predict(traceparent=came_with).status == 200
        assert backend.calls[-1].metadata["traceparent"] == came_with
        assert not imported.exists()
    settings = {"FACET_HTTP_ADDRESS": "127.0.0.1:0", "FACET_TRACES_ENDPOINT": "http://127.0.0.1:4318"}
    with processes.running(COMMAND, **settings, **spied) as process:
        assert process.wait() != 0
        assert imported.exists()


def test_the_start_fails_where_the_packages_are_missing(tmp_path: Path) -> None:
    """In one line, which says how they are installed."""
    (tmp_path / "sitecustomize.py").write_text(
        "import importlib.metadata as metadata\n"
        "def version(name):\n"
        "    raise metadata.PackageNotFoundError(name)\n"
        "metadata.version = version\n"
    )
    settings = {"FACET_TRACES_ENDPOINT": "http://127.0.0.1:4318", "PYTHONPATH": str(tmp_path)}
    with processes.running(COMMAND, **settings) as process:
        assert process.wait() != 0
        [line] = process.lines
        assert line.startswith("facet gateway: FACET_TRACES_ENDPOINT is set, but the package opentelemetry-")
        assert line.endswith("pip install --require-hashes -r locks/requirements-tracing.txt")
