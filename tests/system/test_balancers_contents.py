"""What passes each balancer that deploy/ has a file for: names, times, errors, large bodies, streams."""

import queue
from collections.abc import Iterator
from typing import Any

import grpc
import pytest

from protos import infer_pb2 as pb
from protos import infer_pb2_grpc
from tests.support import gateway_process
from tests.support.balancers import ENVOY, HAPROXY, NGINX, Balancer, Machines, balancer
from tests.support.batches import END, NEXT, PATH, file, sending
from tests.support.endpoints import http_request
from tests.support.fake_backend import Backend, echo, failing, fake_backend
from tests.support.framing import assert_read_alike
from tests.support.gateway_process import Gateway
from utils.errors import QueueFull
from utils.service_client import ServiceClient

TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
LARGEST = 32 * 1024**2
"""Bytes of an input of a model, by default."""


@pytest.fixture(scope="module")
def backend() -> Iterator[Backend]:
    """The backend of all balancers."""
    with fake_backend() as serving:
        yield serving


@pytest.fixture(scope="module")
def gateway(backend: Backend) -> Iterator[Gateway]:
    """The gateway of all balancers."""
    with gateway_process.gateway(backend.target) as running:
        yield running


@pytest.fixture(scope="module", params=[NGINX, HAPROXY, ENVOY], ids=lambda kind: kind.name)
def between(
    request: pytest.FixtureRequest,
    gateway: Gateway,
    backend: Backend,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Balancer]:
    """Each balancer before them."""
    machines = Machines([gateway.where], [backend.target])
    with balancer(request.param, tmp_path_factory.mktemp(request.param.name), machines) as running:
        yield running


@pytest.mark.security(
    endpoint="balancers",
    attack="The same through haproxy and Envoy",
    outcome=(
        "The same of haproxy and Envoy, but that Envoy has passed on the head of what it refuses for its body"
    ),
)
@pytest.mark.parametrize("path", ["/predict", "/predict/batch"])
@pytest.mark.parametrize("kind", [HAPROXY, ENVOY], ids=lambda kind: kind.name)
def test_the_gateway_serves_as_many_requests_as_a_balancer_has_passed_on(
    kind: Any,  # noqa: ANN401
    path: str,
    backend: Backend,
    tmp_path: Any,  # noqa: ANN401
) -> None:
    """None of what a balancer took for a body is a request to the gateway, nor the other way round."""
    with (
        gateway_process.gateway(backend.target) as gateway,
        balancer(kind, tmp_path, Machines([gateway.where], [backend.target])) as between,
    ):
        assert_read_alike(gateway, between.http, between.passed_on, path, heads_first=kind is ENVOY)


def test_names_traces_and_times_of_requests_reach_the_backend(between: Balancer, backend: Backend) -> None:
    """Over HTTP and gRPC, as their callers gave them."""
    backend.calls.clear()
    headers = {
        "Content-Type": "image/jpeg",
        "X-Request-ID": "over-http",
        "traceparent": TRACE,
        "X-Request-Timeout": "50",
    }
    status, answered, _ = http_request(between.http, "POST", "/predict", b"picture", headers)
    assert (status, answered["x-request-id"]) == (200, "over-http")
    with ServiceClient(between.grpc) as client:
        client.detect(b"picture", request_id="over-grpc", traceparent=TRACE, timeout=50)
    assert [call.metadata["x-request-id"] for call in backend.calls] == ["over-http", "over-grpc"]
    for call in backend.calls:
        assert call.metadata["traceparent"] == TRACE
        assert 40 < call.remaining <= 51


def test_an_answer_has_no_header_fields_of_a_balancer(between: Balancer, gateway: Gateway) -> None:
    """Which would tell callers what is there; `Server` is nginx's word for itself."""
    alone = {name.lower() for name in gateway.get("/version").headers}
    _, answered, _ = http_request(between.http, "GET", "/version")
    assert answered.keys() - alone <= {"server", "connection"}
    assert ("server" in answered) == (between.kind is NGINX)


def test_an_error_comes_back_over_grpc_as_it_was(between: Balancer, backend: Backend) -> None:
    """With its reason and its delay; and it is asked once, because another one would say the same."""
    backend.calls.clear()
    backend.answer = failing(QueueFull("full", retry_after=1.5))
    try:
        with ServiceClient(between.grpc) as client, pytest.raises(QueueFull) as caught:
            client.detect(b"picture")
    finally:
        backend.answer = echo
    assert (caught.value.detail, caught.value.retry_after) == ("full", 1.5)
    assert len(backend.calls) == 1


def test_the_largest_input_of_a_model_passes(between: Balancer) -> None:
    """Over HTTP and gRPC."""
    text = b'"%s"' % (b"x" * (LARGEST - 2))
    headers = {"Content-Type": "application/json"}
    status, _, body = http_request(between.http, "POST", "/models/iris/predict", text, headers)
    assert (status, len(body)) == (200, LARGEST)
    with ServiceClient(between.grpc) as client:
        answer = client.predict_raw("iris", "application/json", text, timeout=60)
    assert answer.content == text


def test_what_is_too_large_is_refused_by_facet(between: Balancer) -> None:
    """With its reason, where the head says so."""
    headers = {"Content-Type": "multipart/form-data; boundary=B", "Content-Length": str(256 * 1024**2 + 1)}
    status, answered, _ = http_request(between.http, "POST", PATH, b"", headers)
    assert (status, answered["content-type"]) == (413, "application/problem+json")


def test_a_batch_is_answered_picture_by_picture(between: Balancer, gateway: Gateway) -> None:
    """Nothing of it is held back, on either way."""
    with sending(Gateway(gateway.process, between.http), file(b"one"), NEXT) as begun:
        assert begun.line()["index"] == 0
        begun.send(b"another", b"\r\n", END)
        begun.end()
        assert [line.get("index", "last") for line in begun.rest()] == [1, "last"]


def test_a_stream_is_answered_picture_by_picture(between: Balancer) -> None:
    """Each before the next one is sent."""
    pictures: queue.Queue[pb.PredictStreamRequest | None] = queue.Queue()
    with grpc.insecure_channel(between.grpc) as channel:
        stub: Any = infer_pb2_grpc.InferenceStub(channel)
        answers = stub.PredictStream(iter(pictures.get, None), timeout=60)
        for number in range(3):
            pictures.put(pb.PredictStreamRequest(number=number, image=pb.Image(raw_data=bytes(100_000))))
            assert next(answers).number == number
        pictures.put(None)
        assert list(answers) == []
