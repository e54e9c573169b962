"""A real but simple gRPC backend, which answers as a test says."""

import contextlib
import threading
from collections.abc import Callable, Iterator
from concurrent import futures
from dataclasses import dataclass
from typing import Any

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from protos import infer_pb2 as pb
from protos import infer_pb2_grpc
from utils.errors import FacetError
from utils.status import encode_error, error_metadata

Answer = Callable[[pb.Image, Any], pb.InferResults]


@dataclass(frozen=True)
class Call:
    """What came: the message, the metadata, and the seconds until its deadline."""

    message: pb.Image
    metadata: dict[str, str]
    remaining: float


class Backend(infer_pb2_grpc.InferenceServicer):
    """Answers each picture by `answer`; remembers the calls, and counts those that were cancelled."""

    def __init__(self, answer: Answer) -> None:
        self.answer = answer
        self.port = 0
        self.calls: list[Call] = []
        self.began = threading.Semaphore(0)
        self.cancelled = threading.Event()
        self.held = threading.Event()
        """What a backend that `hold`s waits for."""

    def Predict(self, message: pb.Image, context: Any) -> pb.InferResults:  # noqa: ANN401, N802
        context.add_callback(lambda: None if context.is_active() else self._ended(context))
        self.calls.append(Call(message, dict(context.invocation_metadata()), context.time_remaining()))
        self.began.release()
        return self.answer(message, context)

    def _ended(self, context: Any) -> None:  # noqa: ANN401
        if context.code() is None:
            self.cancelled.set()

    def hold(self, message: pb.Image, context: Any) -> pb.InferResults:  # noqa: ANN401
        """Answer when the test says so, or when nobody waits any more."""
        while context.is_active() and not self.held.wait(0.02):
            pass
        return echo(message, context)

    @property
    def target(self) -> str:
        return f"127.0.0.1:{self.port}"


def echo(message: pb.Image, _context: Any) -> pb.InferResults:  # noqa: ANN401
    """Answer with the number of bytes as the picture's width."""
    width = len(message.raw_data)
    return pb.InferResults(image_id=message.image_id, image=pb.ImageInfo(width=width, height=1))


def failing(failure: FacetError | grpc.StatusCode, *, times: int = 10**9) -> Answer:
    """Fail so many times, by an error of ours or a bare status, then answer."""
    left = [times]

    def answer(message: pb.Image, context: Any) -> pb.InferResults:  # noqa: ANN401
        left[0] -= 1
        if left[0] < 0:
            return echo(message, context)
        if isinstance(failure, FacetError):
            status = encode_error(failure)
            context.set_trailing_metadata(error_metadata(status))
            context.abort({code.value[0]: code for code in grpc.StatusCode}[status.code], status.message)
        context.abort(failure, "as the test said")
        raise AssertionError("abort raises")

    return answer


@contextlib.contextmanager
def fake_backend(
    answer: Answer = echo, *, port: int = 0, status: int = health_pb2.HealthCheckResponse.SERVING
) -> Iterator[Backend]:
    """A backend with this answer and this health, on a port of its own or on this one."""
    servicer = Backend(answer)
    server = grpc.server(
        futures.ThreadPoolExecutor(8),
        options=[("grpc.so_reuseport", 0), ("grpc.max_receive_message_length", 12 * 1024**2)],
    )
    infer_pb2_grpc.add_InferenceServicer_to_server(servicer, server)
    checks = health.HealthServicer()
    checks.set("Inference", status)
    health_pb2_grpc.add_HealthServicer_to_server(checks, server)
    servicer.port = server.add_insecure_port(f"127.0.0.1:{port}")
    server.start()
    try:
        yield servicer
    finally:
        servicer.held.set()
        server.stop(None).wait()
