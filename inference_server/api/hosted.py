"""The services of a worker behind a server of somebody else's, such as Ray's, which has received the calls.

They are surrounded as in a server of ours: their messages, errors, keys and log lines are the same. How a
call ends is told by its context alone, whose code and trailing metadata the other server sends; it gets an
empty message then, because what such servers make of an exception has no trailing metadata.
"""

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any, NamedTuple, NoReturn, Protocol

import grpc

from inference_server.api.interceptor import CallInterceptor
from inference_server.api.server import Service


class HostContext(Protocol):
    """What the other server knows of a call, and is told of its end."""

    def invocation_metadata(self) -> Iterable[tuple[str, str | bytes]]:
        """What the call came with."""

    def peer(self) -> str:
        """Who made it."""

    def set_code(self, code: grpc.StatusCode) -> None:
        """Say how it ends."""

    def set_details(self, details: str) -> None:
        """Say why."""

    def set_trailing_metadata(self, trailing_metadata: list[tuple[str, str | bytes]]) -> None:
        """Say what is sent with its end."""


class HostedServices:
    """Answers calls.

    Args:
        services: All there are.
        interceptor: Surrounds them.
        longest_seconds: Time that a call has. Its caller's own deadline is not known here: it ends the call
            where it was received, by which this is cancelled.
    """

    def __init__(
        self, services: Sequence[Service], interceptor: CallInterceptor, longest_seconds: float
    ) -> None:
        self._methods = _Methods()
        for service in services:
            service.add_to(self._methods)  # type: ignore[arg-type] # which has what is used of a server
        self._interceptor = interceptor
        self._longest_seconds = longest_seconds

    async def unary(self, method: str, message: bytes, context: HostContext) -> bytes:
        """Answer a call of one message; where it fails, the context says so, and the answer is empty.

        Args:
            method: Its path, which one of the services has.
            message: Serialized.
            context: Of the call.
        """

        async def only() -> AsyncIterator[bytes]:
            yield message

        handler = await self._surrounded(method)
        call = _Call(context, only(), self._longest_seconds)
        with suppress(grpc.aio.AbortError):
            return _serialized(handler, await handler.stream_unary(None, call))
        return b""

    async def stream(
        self, method: str, messages: AsyncIterator[bytes], context: HostContext
    ) -> AsyncGenerator[bytes, None]:
        """Answer a stream of messages, as `unary`; cancels it when this is closed early."""
        handler = await self._surrounded(method)
        call = _Call(context, messages, self._longest_seconds)
        answering = asyncio.ensure_future(handler.stream_stream(None, call))
        answering.add_done_callback(lambda _: call.written.put_nowait(None))
        try:
            while (reply := await call.written.get()) is not None:
                yield _serialized(handler, reply)
            with suppress(grpc.aio.AbortError):
                await answering
        finally:
            answering.cancel()

    async def _surrounded(self, method: str) -> Any:  # noqa: ANN401
        details = _Details(method, ())

        async def find(details: Any) -> Any:  # noqa: ANN401
            return self._methods.find(details)

        return await self._interceptor.intercept_service(find, details)  # type: ignore[arg-type] # as grpc's


class _Details(NamedTuple):
    """grpc.HandlerCallDetails."""

    method: str
    invocation_metadata: tuple[()]


class _Methods:
    """What services register their methods with."""

    def __init__(self) -> None:
        self._handlers: list[Any] = []

    def add_generic_rpc_handlers(self, handlers: Sequence[Any]) -> None:
        """As of grpc.aio.Server."""
        self._handlers += handlers

    def add_registered_method_handlers(self, service: str, handlers: Mapping[str, Any]) -> None:
        """As of grpc.aio.Server; generated code registers the same twice."""

    def find(self, details: _Details) -> Any:  # noqa: ANN401 - a method's handler
        """The handler of a method."""
        found = (handlers.service(details) for handlers in self._handlers)
        return next(handler for handler in found if handler is not None)


class _Call:
    """A call as a handler has it: the part of grpc.aio.ServicerContext that is used here.

    Args:
        context: What the other server has.
        messages: Serialized.
        longest_seconds: Time that it has, from now on.
    """

    def __init__(self, context: HostContext, messages: AsyncIterator[bytes], longest_seconds: float) -> None:
        self.invocation_metadata = context.invocation_metadata
        self.peer = context.peer
        self.written: asyncio.Queue[Any] = asyncio.Queue(maxsize=0)
        self._context = context
        self._messages = messages
        self._deadline = time.monotonic() + longest_seconds

    def time_remaining(self) -> float:
        return max(self._deadline - time.monotonic(), 0.0)

    async def read(self) -> Any:  # noqa: ANN401
        return await anext(self._messages, grpc.aio.EOF)

    async def write(self, reply: Any) -> None:  # noqa: ANN401
        self.written.put_nowait(reply)

    def set_trailing_metadata(self, metadata: Iterable[tuple[str, str | bytes]]) -> None:
        self._context.set_trailing_metadata([*metadata])

    async def abort(
        self, code: grpc.StatusCode, details: str = "", trailing_metadata: Iterable[tuple[str, Any]] = ()
    ) -> NoReturn:
        self._context.set_code(code)
        self._context.set_details(details)
        self.set_trailing_metadata(trailing_metadata)
        raise grpc.aio.AbortError


def _serialized(handler: Any, reply: Any) -> bytes:  # noqa: ANN401
    serialize: Callable[[Any], bytes] | None = handler.response_serializer
    return reply if serialize is None else serialize(reply)
