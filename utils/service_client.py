"""The one way to call the backend: typed methods, deadlines, retries, and errors of our own tree.

`utils.async_service_client` is the same for asyncio.

    with ServiceClient("127.0.0.1:50051") as client:
        for face in client.detect(Path("photo.jpg").read_bytes()).faces:
            print(face.box, face.confidence)
        print(client.predict("echo", {"text": "hello"}))

Build it after a fork, never before: gRPC's threads do not survive one. A process that sends many pictures
of a megabyte and more gains from `utils.memory.tune_heap`, called once at its start.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from types import TracebackType
from typing import Any, Self, Unpack

import grpc
from grpc.experimental import ChannelOptions

from utils import calls
from utils.blocking_stream import detect_many
from utils.call_options import CallDefaults, CallOptions, Key
from utils.calls import Call, Streams, T
from utils.cancellation import Cancellation
from utils.channel import MIB, channel_options
from utils.connector import Connector
from utils.domain import Detection, DetectRequest
from utils.models import ModelDescription, Prediction
from utils.tls import ClientTls
from utils.window import Outcome


class BlockingCallOptions(CallOptions, total=False):
    """What the methods of ServiceClient take by keyword.

    Attributes:
        cancellation: Lets another thread give the call up, so that its place in the backend is free.
    """

    cancellation: Cancellation | None


class ServiceClient:
    """A channel to the backend. Thread-safe; one for each process is enough.

    It connects when it is first used and again whenever the backend comes back, so it can be built
    before there is a backend. Its methods take BlockingCallOptions by keyword. What goes wrong they raise as
    the class of utils.errors that says so: an InvalidRequest for what the caller must change, QueueFull,
    BackendUnavailable, DeadlineExceeded, ...; Cancelled where the call was given up.

    Args:
        target: The backend's `host:port`, or another gRPC target: `dns:///name:port` for all addresses of a
            name, `ipv4:10.0.0.1:50051,10.0.0.2:50051` for a list; calls take turns over them.
        timeout: Seconds that a call has where it is not told otherwise. None: 5, which count as a default.
        key: An API key, or what gives it at each call. None: what FACET_API_KEY of the environment has.
        max_image_bytes: The backend's image limit.
        max_request_bytes: The backend's limit for other models. Requests up to the larger one of the two can
            be sent and retried.
        tls: How it speaks TLS: `ClientTls(Path("ca.pem"))` of utils.tls. None: not at all. Files that change
            are read again, for new calls, within a second. While they cannot be used, those of before count;
            where there are none calls raise BackendUnavailable.
    """

    def __init__(
        self,
        target: str,
        *,
        timeout: float | None = None,
        key: Key | None = None,
        max_image_bytes: int = 10 * MIB,
        max_request_bytes: int = 32 * MIB,
        tls: ClientTls | None = None,
    ) -> None:
        self._defaults = CallDefaults(timeout, key)
        most_bytes = max(max_image_bytes, max_request_bytes)
        options = channel_options(most_bytes)
        options.append((ChannelOptions.SingleThreadedUnaryStream, 1))
        self._connector = Connector(grpc, target, options, tls)
        self._streams = Streams(self._connector.current, self._defaults, most_bytes)

    def detect(self, request: DetectRequest | bytes, **options: Unpack[BlockingCallOptions]) -> Detection:
        """Find the faces in one encoded picture with its options, or in just the bytes of its file."""
        return self._make(calls.detect(request), **options)

    def detect_many(
        self, requests: Iterable[DetectRequest | bytes], **options: Unpack[CallOptions]
    ) -> Iterator[Outcome]:
        """Find the faces in any number of pictures, 16 at once; gives what comes of each as it is done.

        Each has the time of a call, from when it is taken from `requests` on. One that a worker has no room
        for is sent again within that, and so is one whose worker goes away.

        Args:
            requests: Pictures. The next one is asked for, in this thread, while fewer than 16 are under way.
            **options: As of CallOptions, for each picture.

        Returns:
            The place of a picture in `requests`, counted from 0, and its faces, or why there are none.
        """
        connect, window = self._streams.begin(**options)
        return detect_many(connect, requests, window)

    def predict(
        self,
        name: str,
        inputs: Mapping[str, Any] | bytes,
        *,
        version: str = "",
        **options: Unpack[BlockingCallOptions],
    ) -> dict[str, Any]:
        """Have a model answer one input.

        Args:
            name: The model's.
            inputs: What its input schema describes, bytes as they are; or the JSON of it.
            version: One of the model's. Empty: its default, or one that canary weights choose by
                `request_id`.
            **options: As of BlockingCallOptions.

        Returns:
            What its output schema describes, where bytes are base64.
        """
        return self._make(calls.predict(name, inputs, version), **options)

    def predict_raw(
        self,
        name: str,
        content_type: str,
        content: bytes,
        *,
        version: str = "",
        **options: Unpack[BlockingCallOptions],
    ) -> Prediction:
        """Have a model answer the body of an HTTP request as it came; arguments as of `predict`.

        Args:
            name: The model's.
            content_type: `application/json`, or multipart/form-data with its boundary.
            content: The body.
            version: One of the model's, or empty.
            **options: As of BlockingCallOptions.
        """
        return self._make(calls.predict_raw(name, content_type, content, version), **options)

    def predict_encoded(
        self,
        name: str,
        operation: str,
        content: bytes,
        *,
        parameters: bytes = b"",
        version: str = "",
        **options: Unpack[BlockingCallOptions],
    ) -> Prediction:
        """Have a model answer an input in any of the encodings that it lists, as another protocol has it.

        Args:
            name: The model's.
            operation: The encoding, one of the model's `operations`.
            content: The input.
            parameters: What the encoding needs to know beside it, such as its content type. 1,024 bytes at
                most.
            version: One of the model's, or empty.
            **options: As of BlockingCallOptions.

        Returns:
            The answer in the same encoding.
        """
        return self._make(calls.predict_encoded(name, operation, content, parameters, version), **options)

    def models(self, **options: Unpack[BlockingCallOptions]) -> list[ModelDescription]:
        """Every version of every model, by name and version."""
        return self._make(calls.models(), **options)

    def describe(
        self, name: str, version: str = "", **options: Unpack[BlockingCallOptions]
    ) -> ModelDescription:
        """One version of a model; without one named that which serves calls that name none."""
        return self._make(calls.describe(name, version), **options)

    def inference_protocol(
        self, method: str, arguments: Mapping[str, Any], **options: Unpack[BlockingCallOptions]
    ) -> dict[str, Any]:
        """Ask a method of the Open Inference Protocol, such as ModelMetadata, whose messages have no tensors.

        Args:
            method: Its name.
            arguments: Fields of its request.
            **options: As of BlockingCallOptions.

        Returns:
            All fields of its answer.
        """
        return self._make(calls.inference_protocol(method, arguments), **options)

    def check_ready(self, *, timeout: float | None = None) -> None:
        """Return when the backend serves.

        Raises:
            BackendUnavailable: It cannot be reached, or is starting or draining.
            DeadlineExceeded: It did not answer in time.
        """
        self._make(calls.check_ready(), timeout=timeout)

    def _make(
        self, call: Call[T], *, cancellation: Cancellation | None = None, **options: Unpack[CallOptions]
    ) -> T:
        """Every call goes through here: deadline, then gRPC's retries, then our errors."""
        connection = self._connector.current()
        method: Callable[..., Any] = connection.methods[call.rpc]
        if cancellation is not None:
            method = cancellation.of(connection.cancellable_methods[call.rpc])
        try:
            reply = method(call.message, **self._defaults.arguments(**options))
        except grpc.RpcError as error:
            raise call.error_of(error) from error
        return call.decode(reply)

    def close(self) -> None:
        """Close the channel; calls that are under way are cancelled."""
        self._connector.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
