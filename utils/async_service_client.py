"""The one way to call the backend from asyncio: `utils.service_client`, awaited.

    async with AsyncServiceClient("127.0.0.1:50051") as client:
        answers = await asyncio.gather(*(client.detect(path.read_bytes()) for path in paths))
        for path, detection in zip(paths, answers):
            print(path, len(detection.faces))

Build it in the event loop that uses it, after any fork. Cancelling a task cancels its call.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from types import TracebackType
from typing import Any, Self, Unpack

import grpc

from utils import calls
from utils.async_stream import Requests, detect_many
from utils.call_options import CallDefaults, CallOptions, Key
from utils.calls import Call, Streams, T
from utils.channel import MIB, channel_options
from utils.connector import Connector
from utils.domain import Detection, DetectRequest
from utils.models import ModelDescription, Prediction
from utils.tls import ClientTls
from utils.window import Outcome


class AsyncServiceClient:
    """A channel to the backend. One for each event loop is enough.

    Arguments, methods and errors are those of ServiceClient; the methods take CallOptions by keyword.
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
        self._connector = Connector(grpc.aio, target, options, tls)
        self._streams = Streams(self._connector.current, self._defaults, most_bytes)

    async def detect(self, request: DetectRequest | bytes, **options: Unpack[CallOptions]) -> Detection:
        """Find the faces in one encoded picture."""
        return await self._make(calls.detect(request), **options)

    def detect_many(self, requests: Requests, **options: Unpack[CallOptions]) -> AsyncIterator[Outcome]:
        """Find the faces in any number of pictures, which may be awaited, too; gives what comes of each."""
        connect, window = self._streams.begin(**options)
        return detect_many(connect, requests, window)

    async def predict(
        self,
        name: str,
        inputs: Mapping[str, Any] | bytes,
        *,
        version: str = "",
        **options: Unpack[CallOptions],
    ) -> dict[str, Any]:
        """Have a model answer one input."""
        return await self._make(calls.predict(name, inputs, version), **options)

    async def predict_raw(
        self,
        name: str,
        content_type: str,
        content: bytes,
        *,
        version: str = "",
        **options: Unpack[CallOptions],
    ) -> Prediction:
        """Have a model answer the body of an HTTP request as it came."""
        return await self._make(calls.predict_raw(name, content_type, content, version), **options)

    async def predict_encoded(
        self,
        name: str,
        operation: str,
        content: bytes,
        *,
        parameters: bytes = b"",
        version: str = "",
        **options: Unpack[CallOptions],
    ) -> Prediction:
        """Have a model answer an input in any of the encodings that it lists."""
        call = calls.predict_encoded(name, operation, content, parameters, version)
        return await self._make(call, **options)

    async def models(self, **options: Unpack[CallOptions]) -> list[ModelDescription]:
        """Every version of every model."""
        return await self._make(calls.models(), **options)

    async def describe(
        self, name: str, version: str = "", **options: Unpack[CallOptions]
    ) -> ModelDescription:
        """One version of a model."""
        return await self._make(calls.describe(name, version), **options)

    async def inference_protocol(
        self, method: str, arguments: Mapping[str, Any], **options: Unpack[CallOptions]
    ) -> dict[str, Any]:
        """Ask a method of the Open Inference Protocol whose messages have no tensors."""
        return await self._make(calls.inference_protocol(method, arguments), **options)

    async def check_ready(self, *, timeout: float | None = None) -> None:
        """Return when the backend serves."""
        await self._make(calls.check_ready(), timeout=timeout)

    async def _make(self, call: Call[T], **options: Unpack[CallOptions]) -> T:
        """Every call goes through here: deadline, then gRPC's retries, then our errors."""
        connection = self._connector.current()
        try:
            reply = await connection.methods[call.rpc](call.message, **self._defaults.arguments(**options))
        except grpc.aio.AioRpcError as error:
            raise call.error_of(error) from error
        return call.decode(reply)

    async def close(self) -> None:
        """Close the channel; calls that are under way are cancelled."""
        await asyncio.gather(*self._connector.close())

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()
