"""The one way to call the backend: typed methods, deadlines, retries, and errors of our own tree.

`utils.async_service_client` is the same for asyncio.

    with ServiceClient("127.0.0.1:50051") as client:
        for face in client.detect(Path("photo.jpg").read_bytes()).faces:
            print(face.box, face.confidence)

Build it after a fork, never before: gRPC's threads do not survive one. A process that sends many pictures
of a megabyte and more gains from `utils.memory.tune_heap`, called once at its start.
"""

import threading
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

import grpc
from google.protobuf.message import Message
from grpc.experimental import ChannelOptions
from grpc_health.v1 import health_pb2_grpc

from protos import infer_pb2, infer_pb2_grpc
from utils import codec
from utils.channel import (
    DEFAULT_TIMEOUT,
    HEALTH_REQUEST,
    MIB,
    PREDICT,
    UNCHECKED,
    channel_options,
    error_of,
    require_serving,
)
from utils.domain import Detection, DetectRequest
from utils.errors import Cancelled, DeadlineExceeded
from utils.metadata import Metadata, call_metadata


class Cancellation:
    """Gives up one call of a ServiceClient from another thread, at any time before, during or after it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._requested = False
        self._call: Any = None

    def cancel(self) -> None:
        """Give the call up; nothing happens where it has ended."""
        with self._lock:
            self._requested = True
            if self._call is not None:
                self._call.cancel()

    def of(self, method: Callable[..., Any]) -> Callable[..., Any]:
        """A method whose answer is a stream of one, as one that blocks until the answer or a `cancel`."""

        def blocking(*args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - a stub's
            with self._lock:
                self._call = method(*args, **kwargs)
                if self._requested:
                    self._call.cancel()
            try:
                [reply] = self._call
            except grpc.RpcError as error:
                if self._requested:
                    raise Cancelled("The caller went away.") from error
                raise
            return reply

        return blocking


class ServiceClient:
    """A channel to the backend. Thread-safe; one for each process is enough.

    It connects when it is first used and again whenever the backend comes back, so it can be built
    before there is a backend.

    Args:
        target: The backend's `host:port`, or another gRPC target: `dns:///name:port` for all addresses of a
            name, `ipv4:10.0.0.1:50051,10.0.0.2:50051` for a list; calls take turns over them.
        timeout: Seconds that a call has where it is not told otherwise. None: 5, which count as a default.
        max_image_bytes: The backend's image limit; requests up to it can be sent and retried.
    """

    def __init__(self, target: str, *, timeout: float | None = None, max_image_bytes: int = 10 * MIB) -> None:
        self._timeout = DEFAULT_TIMEOUT if timeout is None else timeout
        self._timeout_named = timeout is not None
        options = [*channel_options(max_image_bytes), (ChannelOptions.SingleThreadedUnaryStream, 1)]
        self._channel = grpc.insecure_channel(target, options=options)
        self._inference: Any = infer_pb2_grpc.InferenceStub(self._channel)
        # As a stream of one, the only kind of call that gRPC can cancel from another thread without
        # making a thread of its own for it: half of the time that a gateway adds to a call.
        self._predict: Any = self._channel.unary_stream(
            PREDICT,
            request_serializer=infer_pb2.Image.SerializeToString,
            response_deserializer=infer_pb2.InferResults.FromString,
        )
        self._health: Any = health_pb2_grpc.HealthStub(self._channel)

    def detect(
        self,
        request: DetectRequest | bytes,
        *,
        timeout: float | None = None,
        timeout_named: bool = True,
        request_id: str = "",
        traceparent: str = "",
        cancellation: Cancellation | None = None,
    ) -> Detection:
        """Find the faces in one encoded picture.

        Args:
            request: The picture with its options, or just the bytes of its file.
            timeout: Seconds until the call is given up, retries included. Who names a time, here or for the
                whole client, may wait in the backend's queue for as long as that lets it; who names none
                waits for FACET_QUEUE_SECONDS at most.
            timeout_named: False where `timeout` is a default that no caller has asked for.
            request_id: Names the request in the backend's log.
            traceparent: Its place in a distributed trace, by W3C Trace Context.
            cancellation: Lets another thread give the call up, so that its place in the backend is free.

        Raises:
            Cancelled: The call was given up.
            FacetError: What went wrong, as the class of utils.errors that says so: an InvalidRequest
                for what the caller must change, QueueFull, BackendUnavailable, DeadlineExceeded, ...
        """
        if isinstance(request, bytes):
            request = DetectRequest(request)
        message = codec.encode_request(request)
        method = self._inference.Predict if cancellation is None else cancellation.of(self._predict)
        named = timeout_named and (timeout is not None or self._timeout_named)
        metadata = call_metadata(request_id, traceparent, timeout_named=named)
        return codec.decode_detection(self._call(method, message, timeout, metadata))

    def check_ready(self, *, timeout: float | None = None) -> None:
        """Return when the backend serves.

        Raises:
            BackendUnavailable: It cannot be reached, or is starting or draining.
            DeadlineExceeded: It did not answer in time.
        """
        try:
            reply = self._call(self._health.Check, HEALTH_REQUEST, timeout)
        except DeadlineExceeded as error:
            raise DeadlineExceeded(UNCHECKED) from error
        require_serving(reply)

    def _call(
        self,
        method: Any,  # noqa: ANN401 - a stub's
        message: Message,
        timeout: float | None,
        metadata: Metadata = (),
    ) -> Any:  # noqa: ANN401
        """Every call goes through here: deadline, then gRPC's retries, then our errors."""
        seconds = self._timeout if timeout is None else timeout
        try:
            return method(message, timeout=seconds, metadata=metadata)
        except grpc.RpcError as error:
            raise error_of(error) from error

    def close(self) -> None:
        """Close the channel; calls that are under way are cancelled."""
        self._channel.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
