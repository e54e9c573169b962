"""Rules of the client, against real gRPC servers."""

import contextlib
import time
from collections.abc import Callable, Iterator
from concurrent import futures
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from protos import infer_pb2 as pb
from protos import infer_pb2_grpc
from utils import codec
from utils.domain import DetectOptions, DetectRequest
from utils.errors import (
    BackendUnavailable,
    BrokenImage,
    DeadlineExceeded,
    FacetError,
    InternalError,
    MessageTooLarge,
    OptionOutOfRange,
    QueueFull,
)
from utils.service_client import ServiceClient

Answer = Callable[[pb.Image, Any], pb.InferResults]


class Servicer(infer_pb2_grpc.InferenceServicer):
    """Answers as a test says, and remembers what it was asked."""

    def __init__(self, answer: Answer) -> None:
        self.answer = answer
        self.calls: list[tuple[pb.Image, dict[str, str], float]] = []

    def Predict(self, message: pb.Image, context: Any) -> pb.InferResults:  # noqa: ANN401, N802
        self.calls.append((message, dict(context.invocation_metadata()), context.time_remaining()))
        return self.answer(message, context)


@contextlib.contextmanager
def serving(answer: Answer, port: int = 0, status: int | None = None) -> Iterator[tuple[Servicer, int]]:
    """A server with this answer on a port of its own."""
    server = grpc.server(
        futures.ThreadPoolExecutor(4),
        options=[("grpc.so_reuseport", 0), ("grpc.max_receive_message_length", 12 * 1024**2)],
    )
    servicer = Servicer(answer)
    infer_pb2_grpc.add_InferenceServicer_to_server(servicer, server)
    if status is not None:
        checks = health.HealthServicer()
        checks.set("Inference", status)
        health_pb2_grpc.add_HealthServicer_to_server(checks, server)
    port = server.add_insecure_port(f"127.0.0.1:{port}")
    server.start()
    try:
        yield servicer, port
    finally:
        server.stop(None).wait()


def echo(message: pb.Image, _context: Any) -> pb.InferResults:  # noqa: ANN401
    """Answer with the number of bytes as the picture's width."""
    width = len(message.raw_data)
    return pb.InferResults(image_id=message.image_id, image=pb.ImageInfo(width=width, height=1))


def failing(
    error: FacetError | None = None, *, code: grpc.StatusCode | None = None, times: int = 10**9
) -> Answer:
    """Fail so many times, by an error of ours or a bare status, then answer."""
    left = [times]

    def answer(message: pb.Image, context: Any) -> pb.InferResults:  # noqa: ANN401
        left[0] -= 1
        if left[0] < 0:
            return echo(message, context)
        if code is not None:
            context.abort(code, "as the test said")
        assert error is not None
        status = codec.encode_error(error)
        context.set_trailing_metadata(codec.error_metadata(status))
        context.abort({c.value[0]: c for c in grpc.StatusCode}[status.code], status.message)
        raise AssertionError

    return answer


def test_a_call_carries_picture_options_id_and_deadline() -> None:
    """Everything that the caller said arrives, the time that is left included."""
    request = DetectRequest(b"picture", DetectOptions(min_face_size=40), "me.jpg", {"a": "b"})
    with serving(echo) as (servicer, port), ServiceClient(f"127.0.0.1:{port}") as client:
        detection = client.detect(request, timeout=7, request_id="id-1")
    assert (detection.image.width, detection.image_id) == (7, "me.jpg")
    message, metadata, remaining = servicer.calls[0]
    assert codec.decode_request(message, message.raw_data) == request
    assert metadata["x-request-id"] == "id-1"
    assert 5 < remaining < 7.5  # seconds travel rounded up


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
    with serving(failing(error)) as (servicer, port), ServiceClient(f"127.0.0.1:{port}") as client:
        with pytest.raises(type(error)) as caught:
            client.detect(b"x")
        assert (caught.value.detail, caught.value.field, caught.value.retry_after) == (
            error.detail,
            error.field,
            error.retry_after,
        )
        assert isinstance(caught.value.__cause__, grpc.RpcError)
        assert len(servicer.calls) == 1


@pytest.mark.parametrize("code", [grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED])
@pytest.mark.parametrize("size", [1000, 1024**2, 10 * 1024**2])
def test_a_picture_of_any_allowed_size_is_sent_again(code: grpc.StatusCode, size: int) -> None:
    """A worker that stops answers UNAVAILABLE or CANCELLED; gRPC's own buffer would stop at 256 KiB."""
    with (
        serving(failing(code=code, times=2)) as (servicer, port),
        ServiceClient(f"127.0.0.1:{port}") as client,
    ):
        assert client.detect(bytes(size), timeout=20).image.width == size
        assert len(servicer.calls) == 3


def test_a_storm_of_failures_raises_the_load_by_a_tenth_at_most() -> None:
    """When most calls fail, the budget is used up and a call is made once."""
    answer = failing(code=grpc.StatusCode.UNAVAILABLE)
    with serving(answer) as (servicer, port), ServiceClient(f"127.0.0.1:{port}") as client:

        def fail(_: int) -> bool:
            with pytest.raises(BackendUnavailable):
                client.detect(b"x", timeout=60)
            return True

        with futures.ThreadPoolExecutor(32) as threads:
            assert all(threads.map(fail, range(2000)))
        assert len(servicer.calls) <= 2200


def test_a_deadline_ends_a_call_that_is_not_answered() -> None:
    """The caller's own time, not the default."""

    def late(message: pb.Image, context: Any) -> pb.InferResults:  # noqa: ANN401
        gone = futures.Future[None]()
        context.add_callback(lambda: gone.set_result(None))
        gone.result(30)
        return echo(message, context)

    with serving(late) as (_, port), ServiceClient(f"127.0.0.1:{port}", timeout=30) as client:
        started = time.monotonic()
        with pytest.raises(DeadlineExceeded):
            client.detect(b"x", timeout=0.2)
        assert time.monotonic() - started < 10


def test_no_backend_is_unavailable_and_a_new_one_is_found() -> None:
    """The client fails without waiting for the deadline, says when to come back, and recovers by itself."""
    with serving(echo) as (_, port):
        pass
    with ServiceClient(f"127.0.0.1:{port}", timeout=30) as client:
        with pytest.raises(BackendUnavailable) as caught:
            client.detect(b"x")
        assert caught.value.retry_after == 1
        with serving(echo, port=port):
            give_up = time.monotonic() + 10
            while True:
                with contextlib.suppress(BackendUnavailable):
                    assert client.detect(b"x").image.width == 1
                    break
                assert time.monotonic() < give_up


def test_a_request_over_the_transport_limit_is_too_large() -> None:
    """Not a full queue: another try cannot help."""
    with serving(echo) as (servicer, port):
        with (
            ServiceClient(f"127.0.0.1:{port}", max_image_bytes=1024) as client,
            pytest.raises(MessageTooLarge),
        ):
            client.detect(bytes(3 * 1024**2))
        assert servicer.calls == []


def test_a_backend_that_does_not_serve_is_not_ready() -> None:
    """It starts or drains."""
    with (
        serving(echo, status=health_pb2.HealthCheckResponse.NOT_SERVING) as (_, port),
        ServiceClient(f"127.0.0.1:{port}") as client,
        pytest.raises(BackendUnavailable),
    ):
        client.check_ready(timeout=5)


def test_a_backend_that_serves_is_ready() -> None:
    """By the standard health service."""
    with (
        serving(echo, status=health_pb2.HealthCheckResponse.SERVING) as (_, port),
        ServiceClient(f"127.0.0.1:{port}") as client,
    ):
        client.check_ready(timeout=5)
