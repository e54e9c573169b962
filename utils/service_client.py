"""The one way to call the backend: typed methods, deadlines, retries, and errors of our own tree.

    with ServiceClient("127.0.0.1:50051") as client:
        for face in client.detect(Path("photo.jpg").read_bytes()).faces:
            print(face.box, face.confidence)

Build it after a fork, never before: gRPC's threads do not survive one.
"""

import json
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

import grpc
import grpc.experimental
from google.protobuf.message import Message
from grpc_health.v1 import health_pb2, health_pb2_grpc

from protos import infer_pb2, infer_pb2_grpc
from utils import codec
from utils.domain import Detection, DetectRequest
from utils.errors import BackendUnavailable, Cancelled, Code

SERVICE = "Inference"
REQUEST_ID = "x-request-id"
"""The metadata key under which a request's id travels."""

_MIB = 1024**2
TRANSPORT_MARGIN = _MIB
"""Bytes that a message may exceed the image limit by: everything in it that is not the image."""

# gRPC retries while more than half of its tokens are left; a failed attempt takes one, ten good calls
# give one back. A worker that dies takes all calls of its connection with it, so half of the tokens must
# be more than the calls that a busy gateway process has under way, twice over.
_RETRY_TOKENS = 256

_KEEPALIVE_MS = 20_000
SERVER_KEEPALIVE = (
    ("grpc.http2.min_ping_interval_without_data_ms", _KEEPALIVE_MS // 2),
    ("grpc.keepalive_permit_without_calls", 1),
)
"""What a server must be told, or it closes connections that ping as often as our clients do."""


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
        target: The backend's `host:port`, or another gRPC target.
        timeout: Seconds that a call has where it is not told otherwise.
        max_image_bytes: The backend's image limit; requests up to it can be sent and retried.
    """

    def __init__(self, target: str, *, timeout: float = 5.0, max_image_bytes: int = 10 * _MIB) -> None:
        self._timeout = timeout
        self._channel = grpc.insecure_channel(target, options=channel_options(max_image_bytes))
        self._inference: Any = infer_pb2_grpc.InferenceStub(self._channel)
        # As a stream of one, the only kind of call that gRPC can cancel from another thread without
        # making a thread of its own for it: half of the time that a gateway adds to a call.
        self._predict: Any = self._channel.unary_stream(
            "/Inference/Predict",
            request_serializer=infer_pb2.Image.SerializeToString,
            response_deserializer=infer_pb2.InferResults.FromString,
        )
        self._health: Any = health_pb2_grpc.HealthStub(self._channel)

    def detect(
        self,
        request: DetectRequest | bytes,
        *,
        timeout: float | None = None,
        request_id: str = "",
        cancellation: Cancellation | None = None,
    ) -> Detection:
        """Find the faces in one encoded picture.

        Args:
            request: The picture with its options, or just the bytes of its file.
            timeout: Seconds until the call is given up, retries included.
            request_id: Names the request in the backend's log.
            cancellation: Lets another thread give the call up, so that its place in the backend is free.

        Raises:
            Cancelled: The call was given up.
            FacetError: What went wrong, as the class of utils.errors that says so: an InvalidRequest
                for what the caller must change, QueueFull, BackendUnavailable, DeadlineExceeded, ...
        """
        if isinstance(request, bytes):
            request = DetectRequest(request)
        message = codec.encode_request(request)
        if cancellation is None:
            reply = self._call(self._inference.Predict, message, timeout, request_id)
        else:
            reply = self._call(cancellation.of(self._predict), message, timeout, request_id)
        return codec.decode_detection(reply)

    def check_ready(self, *, timeout: float | None = None) -> None:
        """Return when the backend serves.

        Raises:
            BackendUnavailable: It cannot be reached, or is starting or draining.
            DeadlineExceeded: It did not answer in time.
        """
        request = health_pb2.HealthCheckRequest(service=SERVICE)
        reply = self._call(self._health.Check, request, timeout, "")
        if reply.status != health_pb2.HealthCheckResponse.SERVING:
            raise BackendUnavailable("The backend is not serving.", retry_after=codec.RETRY_SECONDS)

    def _call(self, method: Any, message: Message, timeout: float | None, request_id: str) -> Any:  # noqa: ANN401
        """Every call goes through here: deadline, then gRPC's retries, then our errors."""
        metadata = ((REQUEST_ID, request_id),) if request_id else None
        try:
            return method(message, timeout=self._timeout if timeout is None else timeout, metadata=metadata)
        except grpc.RpcError as error:
            raise codec.decode_error(_status(error)) from error

    def close(self) -> None:
        """Close the channel; calls that are under way are cancelled."""
        self._channel.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _status(error: Any) -> Any:  # noqa: ANN401 - an RpcError that is also a Call
    trailing = dict(error.trailing_metadata() or ())
    return codec.status_of(Code(error.code().value[0]), error.details() or "", trailing)


def channel_options(max_image_bytes: int) -> list[tuple[str, Any]]:
    """How a channel to the backend behaves: retries, reconnection, limits.

    Retries are gRPC's own. A call that met UNAVAILABLE, or CANCELLED by a server that stops, is sent
    again up to 4 times within its deadline; the throttle stops that when more than half of the recent
    calls fail, so that an outage is not made worse. gRPC silently gives up retrying a request that is
    larger than its replay buffer, 256 KiB unless told otherwise.
    """
    service_config = {
        "methodConfig": [
            {
                "name": [{}],
                "retryPolicy": {
                    "maxAttempts": 5,
                    "initialBackoff": "0.05s",
                    "maxBackoff": "1s",
                    "backoffMultiplier": 2,
                    "retryableStatusCodes": ["UNAVAILABLE", "CANCELLED"],
                },
            }
        ],
        "retryThrottling": {"maxTokens": _RETRY_TOKENS, "tokenRatio": 0.1},
    }
    return [
        (grpc.experimental.ChannelOptions.SingleThreadedUnaryStream, 1),
        ("grpc.service_config", json.dumps(service_config)),
        ("grpc.per_rpc_retry_buffer_size", max_image_bytes + 2 * TRANSPORT_MARGIN),
        ("grpc.max_send_message_length", max_image_bytes + TRANSPORT_MARGIN),
        ("grpc.max_receive_message_length", max_image_bytes + TRANSPORT_MARGIN),
        ("grpc.initial_reconnect_backoff_ms", 100),
        ("grpc.min_reconnect_backoff_ms", 100),
        ("grpc.max_reconnect_backoff_ms", 1000),
        # A connection whose other end vanished without a word is found out within half a minute.
        ("grpc.keepalive_time_ms", _KEEPALIVE_MS),
        ("grpc.keepalive_timeout_ms", 5_000),
        # The backend is inside; a proxy variable of the environment is meant for the outside.
        ("grpc.enable_http_proxy", 0),
    ]
