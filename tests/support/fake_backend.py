"""A real but simple gRPC backend, which answers as a test says."""

import contextlib
import threading
from collections.abc import Callable, Iterator
from concurrent import futures
from dataclasses import dataclass, field
from typing import Any

import grpc
from google.protobuf.message import Message
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from protos import infer_pb2 as pb
from protos import infer_pb2_grpc, models_pb2, models_pb2_grpc
from utils.credentials import listen
from utils.errors import FacetError
from utils.status import encode_error, error_metadata
from utils.tls import TlsFiles

Answer = Callable[[Any, Any], Any]
"""Takes a message and gRPC's context; gives the message that is the answer."""

StreamAnswer = Callable[[Iterator[pb.PredictStreamRequest], Any], Iterator[pb.PredictStreamReply]]
"""Takes the messages of a stream and gRPC's context; gives the answers."""

MODELS = [
    models_pb2.ModelDescription(name="face_detection", version="1.0", state="ready", default=True),
    models_pb2.ModelDescription(name="iris", version="2.10", state="loading", kind="onnx"),
    models_pb2.ModelDescription(
        name="iris",
        version="2.9",
        state="ready",
        default=True,
        display_name="Iris",
        description="Names a flower.",
        kind="python",
        max_batch=8,
        operations=["typed", "json", "multipart"],
        input_schema=b'{"type": "object"}',
        output_schema=b'{"type": "object", "title": "Species"}',
        descriptor=b"a descriptor",
        input_type="iris_input",
        output_type="iris_output",
        tensors=b'{"inputs": [], "outputs": [], "batched": true}',
    ),
]
"""What a fake backend serves, beside anything that a test calls."""


@dataclass(frozen=True)
class Call:
    """What came: the message, the metadata, and the seconds until its deadline."""

    message: Any
    metadata: dict[str, str]
    remaining: float


@dataclass(frozen=True)
class Stream:
    """A stream of pictures: what came, and whether its sender has said that this was all."""

    requests: list[pb.PredictStreamRequest]
    metadata: dict[str, str]
    remaining: float | None
    half_closed: threading.Event = field(default_factory=threading.Event)

    @property
    def numbers(self) -> list[int]:
        return [request.number for request in self.requests]


class Backend(infer_pb2_grpc.InferenceServicer):
    """Answers each call by `answer`; remembers the calls, and counts those that were cancelled.

    Streams of pictures it answers by `answer_stream`, and remembers in `streams`.
    """

    def __init__(self, answer: Answer) -> None:
        self.answer = answer
        self.answer_stream: StreamAnswer = self._answer_each
        self.streams: list[Stream] = []
        self.port = 0
        self.calls: list[Call] = []
        self.began = threading.Semaphore(0)
        self.cancelled = threading.Event()
        self.held = threading.Event()
        """What a backend that `hold`s waits for."""

    def Predict(self, message: Message, context: Any) -> Message:  # noqa: ANN401, N802
        context.add_callback(lambda: None if context.is_active() else self._ended(context))
        self.calls.append(Call(message, dict(context.invocation_metadata()), context.time_remaining()))
        self.began.release()
        answer: Message = self.answer(message, context)
        return answer

    def PredictStream(self, requests: Any, context: Any) -> Iterator[Any]:  # noqa: ANN401, N802
        stream = Stream([], dict(context.invocation_metadata()), context.time_remaining())
        self.streams.append(stream)
        all_sent = threading.Event()
        context.add_callback(lambda: None if all_sent.is_set() else self.cancelled.set())

        def remembered() -> Iterator[pb.PredictStreamRequest]:
            for request in requests:
                stream.requests.append(request)
                yield request
            stream.half_closed.set()

        yield from self.answer_stream(remembered(), context)
        all_sent.set()

    def _answer_each(
        self,
        requests: Iterator[pb.PredictStreamRequest],
        context: Any,  # noqa: ANN401
    ) -> Iterator[pb.PredictStreamReply]:
        for request in requests:
            answer = self.answer(request.image, context)
            yield pb.PredictStreamReply(number=request.number, results=answer)

    def _ended(self, context: Any) -> None:  # noqa: ANN401
        if context.code() is None:
            self.cancelled.set()

    def hold(self, message: Message, context: Any) -> Message:  # noqa: ANN401
        """Answer when the test says so, or when nobody waits any more."""
        while context.is_active() and not self.held.wait(0.02):
            pass
        return echo(message, context)

    @property
    def target(self) -> str:
        return f"127.0.0.1:{self.port}"


class Models(models_pb2_grpc.ModelsServicer):
    """The other service of a Backend, by which calls come to it as well."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    def List(self, message: Message, context: Any) -> Message:  # noqa: ANN401, N802
        return self._backend.Predict(message, context)

    Describe = Predict = List


def echo(message: Message, _context: Any) -> Message:  # noqa: ANN401
    """Answer a picture with the number of its bytes as its width, and a model's input with itself.

    A version is as it was named, 2.9 where none was.
    """
    match message:
        case pb.Image():
            width = len(message.raw_data)
            return pb.InferResults(image_id=message.image_id, image=pb.ImageInfo(width=width, height=1))
        case models_pb2.PredictRequest():
            reply = models_pb2.PredictReply(name=message.name, version=message.version or "2.9")
            if message.HasField("encoded"):
                reply.encoded = message.encoded.content
            else:
                reply.json = message.json or message.body.content
            return reply
        case models_pb2.ListRequest():
            return models_pb2.ListReply(models=MODELS)
        case models_pb2.DescribeRequest():
            named = (message.name, message.version or "2.9")
            [model] = [one for one in MODELS if (one.name, one.version) == named]
            return model
        case _:
            raise AssertionError(f"no answer to {message}")


def failing(failure: FacetError | grpc.StatusCode, *, times: int = 10**9) -> Answer:
    """Fail so many times, by an error of ours or a bare status, then answer."""
    left = [times]

    def answer(message: Message, context: Any) -> Message:  # noqa: ANN401
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
    answer: Answer = echo,
    *,
    port: int = 0,
    status: int = health_pb2.HealthCheckResponse.SERVING,
    most_bytes: int = 34 * 1024**2,
    tls: TlsFiles | None = None,
) -> Iterator[Backend]:
    """A backend with this answer, this health and this limit, on a port of its own or on this one."""
    servicer = Backend(answer)
    server = grpc.server(
        futures.ThreadPoolExecutor(8),
        options=[
            ("grpc.so_reuseport", 0),
            ("grpc.max_receive_message_length", most_bytes),
            ("grpc.max_send_message_length", most_bytes),
        ],
    )
    infer_pb2_grpc.add_InferenceServicer_to_server(servicer, server)
    models_pb2_grpc.add_ModelsServicer_to_server(Models(servicer), server)
    checks = health.HealthServicer()
    checks.set("Inference", status)
    health_pb2_grpc.add_HealthServicer_to_server(checks, server)
    servicer.port = listen(server, f"127.0.0.1:{port}", tls)
    server.start()
    try:
        yield servicer
    finally:
        servicer.held.set()
        server.stop(None).wait()
