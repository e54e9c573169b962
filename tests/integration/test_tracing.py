"""Rules of traces through gateway and backend, real both: where the time of a request went, by its spans."""

import contextlib
import itertools
import secrets
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from tests.support import processes
from tests.support.collector import ERROR, SERVER, Collector, collector
from tests.support.facet import ROOMY, inference
from tests.support.gateway_process import Gateway, gateway
from tests.support.pictures import ASTRONAUT, png, portrait
from tests.support.processes import Process, wait_until
from utils.domain import DetectRequest
from utils.errors import ModelFailed
from utils.extras import Wanted
from utils.service_client import ServiceClient

PREDICT = "Inference/Predict"
STAGES = ("queue", "decode", "predict")
SETTINGS = {**ROOMY, "FACET_GRPC_ADDRESS": "127.0.0.1:0", "FACET_MODELS": "echo", "FACET_TRACES_RATIO": "0"}
"""What is traced is what the callers say."""


def context() -> tuple[str, str]:
    """A trace's id, and the trace context of a caller that traces it."""
    trace = secrets.token_hex(16)
    return trace, f"00-{trace}-{secrets.token_hex(8)}-01"


def below(path: str, *names: str) -> list[str]:
    """The path, and those of these spans in it."""
    return [path, *(f"{path} > {name}" for name in names)]


@pytest.fixture(scope="module")
def collecting() -> Iterator[Collector]:
    """The collector of all processes of this module."""
    with collector() as running:
        yield running


@contextlib.contextmanager
def hooked(url: str, **settings: str) -> Iterator[tuple[Process, ServiceClient, str]]:
    """A backend of hooked workers that traces, a client of it, and its address."""
    command = [sys.executable, "-m", "tests.support.hooked_backend"]
    with processes.running(command, **{**SETTINGS, "FACET_TRACES_ENDPOINT": url, **settings}) as process:
        address = process.wait_for("ready")["grpc_address"]
        with ServiceClient(address, timeout=60) as client:
            yield process, client, address


@pytest.fixture(scope="module")
def backend(collecting: Collector) -> Iterator[tuple[Process, ServiceClient, str]]:
    """One for all tests that neither end nor kill it."""
    with hooked(collecting.url) as serving:
        yield serving


@pytest.fixture(scope="module")
def client(backend: tuple[Process, ServiceClient, str]) -> ServiceClient:
    """Its client."""
    return backend[1]


@pytest.fixture(scope="module")
def web(collecting: Collector, backend: tuple[Process, ServiceClient, str]) -> Iterator[Gateway]:
    """A gateway before it."""
    settings = {"FACET_TRACES_ENDPOINT": collecting.url, "FACET_TRACES_RATIO": "0"}
    with gateway(backend[2], **settings) as running:
        yield running


def test_a_request_is_one_trace_from_the_gateway_to_the_prediction(
    collecting: Collector, backend: tuple[Process, ServiceClient, str], web: Gateway
) -> None:
    """The worker's log line has the id of its span, within the same trace."""
    trace, came_with = context()
    reply = web.predict(ASTRONAUT.read_bytes(), traceparent=came_with, X_Request_ID="t-1")
    assert len(reply.json["results"]) == 1
    call = f"POST /predict > {PREDICT}"
    paths = [*below("POST /predict", "receive body"), call, *below(f"{call} > {PREDICT}", *STAGES)]
    spans = collecting.wait_for(trace, *paths)
    worker = spans[f"{call} > {PREDICT}"]
    assert (worker.service, worker.kind, worker.status) == ("facet-backend", SERVER, 0)
    assert worker.attributes == {
        "rpc.system.name": "grpc",
        "rpc.method": PREDICT,
        "rpc.response.status_code": "OK",
        "facet.model": "face_detection",
        "facet.bytes": ASTRONAUT.stat().st_size,
        "facet.width": 512,
        "facet.height": 512,
        "facet.faces": 1,
    }
    queue, decode, predict = (spans[f"{call} > {PREDICT} > {stage}"] for stage in STAGES)
    assert queue.ended == decode.began < decode.ended == predict.began < predict.ended
    line = backend[0].wait_for("request", request_id="t-1")
    assert line["traceparent"] == f"00-{trace}-{worker.id}-01"
    assert line["decode_ms"] == pytest.approx((decode.ended - decode.began) / 1e6, abs=0.001)


def test_extras_and_calls_of_models_have_their_spans(collecting: Collector, client: ServiceClient) -> None:
    """A model's call has no decoding, and the name of the version that has answered."""
    trace, came_with = context()
    client.detect(DetectRequest(png(portrait()), wanted=Wanted(quality=True)), traceparent=came_with)
    collecting.wait_for(trace, *below(PREDICT, *STAGES, "extras"))
    trace, came_with = context()
    client.predict("echo", {"text": "secret"}, traceparent=came_with)
    spans = collecting.wait_for(trace, *below("Models/Predict", "queue", "predict"))
    assert spans["Models/Predict"].attributes["facet.model"] == "echo/1.0"
    trace, came_with = context()
    with pytest.raises(ModelFailed):
        client.predict("echo", {"fail": True}, traceparent=came_with)
    failed = collecting.wait_for(trace, "Models/Predict")["Models/Predict"]
    assert (failed.attributes["error.type"], failed.status) == ("MODEL_FAILED", ERROR)


def test_a_name_that_no_model_has_is_in_no_span(
    collecting: Collector, backend: tuple[Process, ServiceClient, str]
) -> None:
    """Nor is what a caller has sent to one that there is."""
    service = "model_grpc_service.ModelgRPCService"
    trace, came_with = context()
    with grpc.insecure_channel(backend[2]) as channel:
        call: Any = channel.unary_unary(f"/{service}/secret_predict")
        with pytest.raises(grpc.RpcError):
            call(b"secret", metadata=(("traceparent", came_with), ("x-request-id", "secret")))
    name = f"{service}/*_predict"
    span = collecting.wait_for(trace, name)[name]
    assert span.attributes["error.type"] == "MODEL_NOT_FOUND"
    assert "secret" not in repr(collecting.spans)


def test_each_picture_of_a_stream_has_a_span(collecting: Collector, client: ServiceClient) -> None:
    """One that fails, too, with its reason."""
    trace, came_with = context()
    outcomes = list(client.detect_many([png(portrait()), b"no picture"], traceparent=came_with))
    assert len(outcomes) == 2
    stream = "Inference/PredictStream"
    item = f"{stream} > item"
    collecting.wait_for(trace, stream, item, *below(item, *STAGES))
    items = [span for span in collecting.of(trace) if span.name == "item"]
    reasons = [span.attributes.get("error.type") for span in items]
    assert sorted(map(str, reasons)) == ["None", "UNSUPPORTED_IMAGE_FORMAT"]


def test_a_stream_without_end_has_so_many_spans_and_no_more(
    collecting: Collector, client: ServiceClient
) -> None:
    """The span of the stream says how many items there were."""
    trace, came_with = context()
    pictures = itertools.repeat(b"no picture", 300)
    assert len(list(client.detect_many(pictures, traceparent=came_with))) == 300
    stream = "Inference/PredictStream"
    spans = collecting.wait_for(trace, stream, *[f"{stream} > item"] * 256)
    assert spans[stream].attributes["facet.items"] == 300


def test_a_call_that_is_not_traced_has_no_span(collecting: Collector, client: ServiceClient) -> None:
    """Neither one whose caller says so, nor, at the ratio 0, one whose caller says nothing."""
    trace, came_with = context()
    client.detect(png(portrait()), traceparent=came_with.removesuffix("01") + "00")
    before = len(collecting.spans)
    client.predict("echo", {"text": "hello"})
    last, came_with = context()
    for _ in range(2):  # so that each worker has had one, with luck; nothing is asserted of that
        client.detect(png(portrait()), traceparent=came_with)
    wait_until(lambda: len(collecting.of(last)) == 8, "two calls")
    assert collecting.of(trace) == []
    assert {span.trace for span in collecting.spans[before:]} == {last}


def test_a_stop_exports_what_is_left(collecting: Collector) -> None:
    """Of the workers: what has just been answered included."""
    trace, came_with = context()
    with hooked(collecting.url, FACET_WORKERS="1") as (process, client, _):
        client.detect(png(portrait()), traceparent=came_with)
        process.send(signal.SIGTERM)
        assert process.wait() == 0
        assert process.logged("spans not exported") == []
    collecting.wait_for(trace, *below(PREDICT, *STAGES))


def test_a_collector_that_takes_nothing_holds_up_no_stop() -> None:
    """The worker says so, and ends as ever."""
    _, came_with = context()
    settings = {"FACET_WORKERS": "1", "OTEL_EXPORTER_OTLP_TIMEOUT": "60"}
    with collector() as slow, hooked(slow.url, **settings) as (process, client, _):
        slow.open.clear()
        client.detect(png(portrait()), traceparent=came_with)
        process.send(signal.SIGTERM)
        assert process.wait(15) == 0
        [line] = process.logged("spans not exported")
        assert line["level"] == "warning"


def test_a_trace_is_whole_though_a_worker_was_killed_that_had_its_request(
    collecting: Collector, tmp_path: Path
) -> None:
    """The gateway's call is one span, below which is the attempt that was answered."""
    token = tmp_path / "die"
    token.touch()
    trace, came_with = context()
    with (
        hooked(collecting.url, TEST_DIE_BEFORE_CLAIM=str(token)) as (process, _, address),
        gateway(address, FACET_TRACES_ENDPOINT=collecting.url, FACET_TRACES_RATIO="0") as running,
    ):
        assert running.predict(png(portrait()), traceparent=came_with).status == 200
        process.wait_for("worker crashed", how="killed by SIGKILL")
        call = f"POST /predict > {PREDICT}"
        paths = [*below("POST /predict", "receive body"), call, *below(f"{call} > {PREDICT}", *STAGES)]
        collecting.wait_for(trace, *paths)


SPY = """
import os, pathlib
pathlib.Path(os.environ["TEST_IMPORTED"]).touch()
"""


def test_without_a_collector_no_process_of_the_backend_imports_opentelemetry(tmp_path: Path) -> None:
    """Not even for a call whose caller traces it."""
    imported = tmp_path / "imported"
    (tmp_path / "opentelemetry.py").write_text(SPY)
    _, came_with = context()
    with inference(FACET_WORKERS="1", PYTHONPATH=str(tmp_path), TEST_IMPORTED=str(imported)) as (_, grpc):
        with ServiceClient(grpc, timeout=60) as client:
            client.detect(png(portrait()), traceparent=came_with)
        assert not imported.exists()
