"""The one way to call the backend from asyncio: `utils.service_client`, awaited.

    async with AsyncServiceClient("127.0.0.1:50051") as client:
        answers = await asyncio.gather(*(client.detect(path.read_bytes()) for path in paths))
        for path, detection in zip(paths, answers):
            print(path, len(detection.faces))

Build it in the event loop that uses it, after any fork. Cancelling a task cancels its call.
"""

from types import TracebackType
from typing import Any, Self

import grpc
from google.protobuf.message import Message
from grpc_health.v1 import health_pb2_grpc

from protos import infer_pb2_grpc
from utils import codec
from utils.channel import (
    DEFAULT_TIMEOUT,
    HEALTH_REQUEST,
    MIB,
    UNCHECKED,
    channel_options,
    error_of,
    require_serving,
)
from utils.domain import Detection, DetectRequest
from utils.errors import DeadlineExceeded
from utils.metadata import Metadata, call_metadata


class AsyncServiceClient:
    """A channel to the backend. One for each event loop is enough; arguments as of ServiceClient."""

    def __init__(self, target: str, *, timeout: float | None = None, max_image_bytes: int = 10 * MIB) -> None:
        self._timeout = DEFAULT_TIMEOUT if timeout is None else timeout
        self._timeout_named = timeout is not None
        self._channel = grpc.aio.insecure_channel(target, options=channel_options(max_image_bytes))
        self._inference: Any = infer_pb2_grpc.InferenceStub(self._channel)
        self._health: Any = health_pb2_grpc.HealthStub(self._channel)

    async def detect(
        self,
        request: DetectRequest | bytes,
        *,
        timeout: float | None = None,
        timeout_named: bool = True,
        request_id: str = "",
        traceparent: str = "",
    ) -> Detection:
        """Find the faces in one encoded picture; arguments and errors as of ServiceClient.detect."""
        if isinstance(request, bytes):
            request = DetectRequest(request)
        message = codec.encode_request(request)
        named = timeout_named and (timeout is not None or self._timeout_named)
        metadata = call_metadata(request_id, traceparent, timeout_named=named)
        return codec.decode_detection(await self._call(self._inference.Predict, message, timeout, metadata))

    async def check_ready(self, *, timeout: float | None = None) -> None:
        """Return when the backend serves; errors as of ServiceClient.check_ready."""
        try:
            reply = await self._call(self._health.Check, HEALTH_REQUEST, timeout)
        except DeadlineExceeded as error:
            raise DeadlineExceeded(UNCHECKED) from error
        require_serving(reply)

    async def _call(
        self,
        method: Any,  # noqa: ANN401 - a stub's
        message: Message,
        timeout: float | None,
        metadata: Metadata = (),
    ) -> Any:  # noqa: ANN401
        """Every call goes through here: deadline, then gRPC's retries, then our errors."""
        seconds = self._timeout if timeout is None else timeout
        try:
            return await method(message, timeout=seconds, metadata=metadata)
        except grpc.aio.AioRpcError as error:
            raise error_of(error) from error

    async def close(self) -> None:
        """Close the channel; calls that are under way are cancelled."""
        await self._channel.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()
