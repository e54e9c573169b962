"""Rules of the client, against real gRPC servers."""

import socket
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2

from protos import models_pb2
from tests.support.facet import found
from tests.support.fake_backend import failing, fake_backend
from tests.support.processes import wait_until
from utils import codec
from utils.cancellation import Cancellation
from utils.domain import DetectOptions, DetectRequest
from utils.errors import (
    AnswerTooLarge,
    BackendUnavailable,
    BrokenImage,
    DeadlineExceeded,
    InternalError,
    MessageTooLarge,
    OptionOutOfRange,
    QueueFull,
    RouteNotFound,
)
from utils.service_client import ServiceClient


def test_a_call_carries_picture_options_id_and_deadline() -> None:
    """Everything that the caller said arrives, the time that is left included."""
    request = DetectRequest(b"picture", DetectOptions(min_face_size=40), "me.jpg", {"a": "b"})
    with fake_backend() as backend, ServiceClient(backend.target) as client:
        detection = client.detect(request, timeout=700, request_id="id-1")
    assert (detection.image.width, detection.image_id) == (7, "me.jpg")
    [call] = backend.calls
    assert call.message == codec.encode_request(request)
    assert call.metadata["x-request-id"] == "id-1"
    assert 500 < call.remaining < 701  # seconds travel rounded up


@pytest.mark.parametrize(
    "error",
    [
        BrokenImage("cut"),
        OptionOutOfRange("x", field="options.max_faces"),
        QueueFull("full", retry_after=1.5),
        InternalError(),
    ],
    ids=lambda error: error.reason,
)
def test_an_error_of_the_backend_is_raised_as_it_was(error: Any) -> None:  # noqa: ANN401
    """Class, detail, field, delay; and it is asked once, because none of these passes by a retry."""
    with fake_backend(failing(error)) as backend, ServiceClient(backend.target) as client:
        with pytest.raises(type(error)) as caught:
            client.detect(b"x")
        assert (caught.value.detail, caught.value.field, caught.value.retry_after) == (
            error.detail,
            error.field,
            error.retry_after,
        )
        assert isinstance(caught.value.__cause__, grpc.RpcError)
        assert len(backend.calls) == 1


@pytest.mark.parametrize("code", [grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED])
@pytest.mark.parametrize("size", [1000, 1024**2, 10 * 1024**2])
def test_a_picture_of_any_allowed_size_is_sent_again(code: grpc.StatusCode, size: int) -> None:
    """A worker that stops answers UNAVAILABLE or CANCELLED; gRPC's own buffer would stop at 256 KiB."""
    with (
        fake_backend(failing(code, times=2)) as backend,
        ServiceClient(backend.target) as client,
    ):
        assert client.detect(bytes(size), timeout=20).image.width == size
        assert len(backend.calls) == 3


def test_a_storm_of_failures_raises_the_load_by_a_tenth_at_most() -> None:
    """When most calls fail, the budget is used up and a call is made once."""
    answer = failing(grpc.StatusCode.UNAVAILABLE)
    with fake_backend(answer) as backend, ServiceClient(backend.target) as client:

        def fail(_: int) -> bool:
            with pytest.raises(BackendUnavailable):
                client.detect(b"x", timeout=60)
            return True

        with ThreadPoolExecutor(32) as threads:
            assert all(threads.map(fail, range(2000)))
        assert len(backend.calls) <= 2200


def test_a_deadline_ends_a_call_that_is_not_answered() -> None:
    """The caller's own time, not the default."""
    with fake_backend() as backend, ServiceClient(backend.target, timeout=3600) as client:
        backend.answer = backend.hold
        with pytest.raises(DeadlineExceeded, match="min_face_size"):
            client.detect(b"x", timeout=0.2)


def test_a_backend_is_told_where_nobody_has_named_a_time() -> None:
    """Neither for the call nor for the client; or where a gateway's caller has not."""
    with (
        fake_backend() as backend,
        ServiceClient(backend.target) as unnamed,
        ServiceClient(backend.target, timeout=30) as named,
    ):
        for call in (
            partial(unnamed.detect, b"x"),
            partial(unnamed.detect, b"x", timeout=30, timeout_named=False),
            partial(named.detect, b"x", timeout_named=False),
            partial(unnamed.detect, b"x", timeout=30),
            partial(named.detect, b"x"),
        ):
            call()
    told = [call.metadata.get("x-timeout-source") for call in backend.calls]
    assert told == ["default"] * 3 + [None] * 2


def test_no_backend_is_unavailable_and_a_new_one_is_found() -> None:
    """The client fails without waiting for the deadline, says when to come back, and recovers by itself."""
    with fake_backend() as gone:
        pass
    with ServiceClient(gone.target, timeout=3600) as client:
        with pytest.raises(BackendUnavailable) as caught:
            client.detect(b"x")
        assert caught.value.retry_after == 1
        assert caught.value.cause.startswith("UNAVAILABLE: ")
        assert gone.target in caught.value.cause
        with fake_backend(port=gone.port):
            wait_until(lambda: found(client, b"x") == 0, "the client has found the new backend")


def test_a_request_over_the_transport_limit_is_too_large() -> None:
    """Not a full queue: another try cannot help."""
    with fake_backend() as backend:
        with (
            ServiceClient(backend.target, max_image_bytes=1024, max_request_bytes=2048) as client,
            pytest.raises(MessageTooLarge),
        ):
            client.detect(bytes(3 * 1024**2))
        assert backend.calls == []


@pytest.mark.parametrize(
    ("of_server", "of_client", "limit"), [(2048, 2**21, 2048), (2**25, 2048, 2**20 + 2048)]
)
def test_an_answer_over_a_transport_limit_is_not_taken_for_a_request_that_is(
    of_server: int, of_client: int, limit: int
) -> None:
    """Whichever end of gRPC refuses it; its size is told, and the limit."""
    answer = models_pb2.PredictReply(json=bytes(2**21))
    with (
        fake_backend(lambda *_: answer, most_bytes=of_server) as backend,
        ServiceClient(backend.target, max_image_bytes=1024, max_request_bytes=of_client) as client,
        pytest.raises(AnswerTooLarge) as caught,
    ):
        client.predict_raw("iris", "application/json", b"{}")
    assert f"{answer.ByteSize()} bytes" in caught.value.detail
    assert f"{limit} at most" in caught.value.detail
    assert "message larger than max" in caught.value.cause


def test_a_backend_that_does_not_serve_is_not_ready() -> None:
    """It starts or drains."""
    with (
        fake_backend(status=health_pb2.HealthCheckResponse.NOT_SERVING) as backend,
        ServiceClient(backend.target) as client,
        pytest.raises(BackendUnavailable),
    ):
        client.check_ready(timeout=5)


def test_a_backend_that_does_not_answer_is_not_ready() -> None:
    """It is told as that: nothing that helps a picture helps here."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        target = f"127.0.0.1:{silent.getsockname()[1]}"
        with (
            ServiceClient(target) as client,
            pytest.raises(DeadlineExceeded, match=r"health check in time\.$"),
        ):
            client.check_ready(timeout=0.2)


def test_a_backend_that_serves_is_ready() -> None:
    """By the standard health service."""
    with (
        fake_backend(status=health_pb2.HealthCheckResponse.SERVING) as backend,
        ServiceClient(backend.target) as client,
    ):
        client.check_ready(timeout=5)


@pytest.mark.parametrize("cancellation", [None, Cancellation()])
def test_a_backend_without_the_open_inference_protocol_is_told_as_that(
    cancellation: Cancellation | None,
) -> None:
    """And not as a fault of ours; the log has the words of gRPC."""
    with fake_backend() as backend, ServiceClient(backend.target, timeout=30) as client:
        with pytest.raises(RouteNotFound, match="FACET_OIP is off there") as caught:
            client.inference_protocol("ServerMetadata", {}, cancellation=cancellation)
        assert caught.value.cause.startswith("UNIMPLEMENTED: ")
