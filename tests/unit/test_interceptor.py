"""Rules of what surrounds a call, of whichever kind."""

import asyncio
import gc
import logging
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import grpc
import pytest

from inference_server.api.interceptor import CallInterceptor, note
from inference_server.api.messages import MessageReceiver
from utils.channel import MIB, error_of
from utils.errors import FacetError, InternalError, QueueFull

OURS, OTHER = "Ours", "Other"
KINDS = ("unary_unary", "unary_stream", "stream_unary", "stream_stream")


def shouted(message: bytes) -> bytes:
    """The answer to a message; some are refused."""
    if message == b"full":
        error = QueueFull("no room", retry_after=2.0)
        REFUSALS.append(weakref.ref(error))
        try:
            raise error
        finally:
            del error
    if message == b"fault":
        raise ZeroDivisionError
    note(heard=message.decode())
    return message.upper()


REFUSALS: list[weakref.ref[Exception]] = []


class Shouting:
    """One method of each kind."""

    async def unary_unary(self, message: bytes, _context: Any) -> bytes:  # noqa: ANN401
        return shouted(message)

    async def unary_stream(self, message: bytes, _context: Any) -> AsyncIterator[bytes]:  # noqa: ANN401
        yield b"first"
        yield shouted(message)

    async def stream_unary(self, messages: AsyncIterator[bytes], _context: Any) -> bytes:  # noqa: ANN401
        return b" ".join([shouted(message) async for message in messages])

    async def stream_stream(self, messages: AsyncIterator[bytes], _context: Any) -> AsyncIterator[bytes]:  # noqa: ANN401
        async for message in messages:
            yield shouted(message)


def serve(play: Callable[[grpc.aio.Channel], Awaitable[None]]) -> None:
    """Play with a server of these methods under both names, of which one is our own."""

    async def played() -> None:
        names = {OURS}
        server = grpc.aio.server(interceptors=[CallInterceptor(names, MessageReceiver(names, MIB, 60.0))])
        handlers: dict[str, Any] = {
            kind: getattr(grpc, f"{kind}_rpc_method_handler")(getattr(Shouting(), kind)) for kind in KINDS
        }
        for name in (OURS, OTHER):
            server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(name, handlers),))
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            await play(channel)
        await server.stop(None)

    asyncio.run(played())


def called(channel: grpc.aio.Channel, kind: str, message: bytes, service: str = OURS) -> Any:  # noqa: ANN401
    """A call with a message, or with a stream of `ok` and that message."""
    method: Any = getattr(channel, kind)(f"/{service}/{kind}")
    sent = iter([b"ok", message]) if kind.startswith("stream") else message
    return method(sent, metadata=[("x-request-id", "id-1")])


async def answers(call: Any, received: list[bytes]) -> list[bytes]:  # noqa: ANN401
    """All that a call is answered with; what came before an error is received, too."""
    if not hasattr(call, "__aiter__"):
        return [await call]
    async for each in call:
        received.append(each)  # noqa: PERF401 - kept when it raises
    return received


def lines(caplog: pytest.LogCaptureFixture, message: str = "request") -> list[dict[str, Any]]:
    """The fields of the lines with this message."""
    return [record.__dict__["facet_fields"] for record in caplog.records if record.message == message]


@pytest.mark.parametrize("kind", KINDS)
def test_a_call_of_ours_has_one_line_and_its_id_back(kind: str, caplog: pytest.LogCaptureFixture) -> None:
    """Of every kind, with what its service notes; a call of another service has none."""

    async def play(channel: grpc.aio.Channel) -> None:
        call = called(channel, kind, b"hello")
        assert (await answers(call, []))[-1].endswith(b"HELLO")
        assert ("x-request-id", "id-1") in tuple(await call.trailing_metadata())
        await answers(called(channel, kind, b"hello", OTHER), [])

    with caplog.at_level(logging.INFO):
        serve(play)
    [line] = lines(caplog)
    expected = {"method": f"/{OURS}/{kind}", "status": "OK", "request_id": "id-1", "heard": "hello"}
    assert expected.items() <= line.items()


@pytest.mark.security(
    endpoint="grpc",
    attack="A fault of a worker's own, in calls of every kind",
    outcome="INTERNAL with nothing of the exception; one line in the log",
)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("message", "expected"), [(b"full", QueueFull), (b"fault", InternalError)])
def test_an_error_is_told_as_ours_and_logged_once(
    kind: str, message: bytes, expected: type[FacetError], caplog: pytest.LogCaptureFixture
) -> None:
    """Of every kind, also after a part of the answer, which arrives; a fault says nothing of itself."""

    async def play(channel: grpc.aio.Channel) -> None:
        received: list[bytes] = []
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await answers(called(channel, kind, message), received)
        assert len(received) == kind.endswith("stream")
        error = error_of(caught.value)
        assert type(error) is expected
        assert error.retry_after == (2.0 if expected is QueueFull else None)
        assert "Zero" not in error.detail

    with caplog.at_level(logging.INFO):
        serve(play)
    [line] = lines(caplog)
    assert line["reason"] == expected.reason


def test_a_stream_ends_when_its_caller_leaves(caplog: pytest.LogCaptureFixture) -> None:
    """Its service is told, and the line says that the caller went away."""
    ended = asyncio.Event()

    async def forever(_message: bytes, _context: Any) -> AsyncIterator[bytes]:  # noqa: ANN401
        try:
            while True:
                yield b"more"
                await asyncio.sleep(0.01)
        finally:
            ended.set()

    async def play(channel: grpc.aio.Channel) -> None:
        call = called(channel, "unary_stream", b"")
        async for _ in call:
            break
        call.cancel()
        await asyncio.wait_for(ended.wait(), 30)

    with pytest.MonkeyPatch.context() as patch, caplog.at_level(logging.INFO):
        patch.setattr(Shouting, "unary_stream", staticmethod(forever))
        serve(play)
    assert [line["status"] for line in lines(caplog)] == ["CANCELLED"]


def test_the_log_names_the_method_of_a_call_that_failed(caplog: pytest.LogCaptureFixture) -> None:
    """Whichever service it is of: of others than ours there is no line of the request."""

    async def play(channel: grpc.aio.Channel) -> None:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await called(channel, "unary_unary", b"fault", OTHER)
        assert caught.value.code() is grpc.StatusCode.INTERNAL

    with caplog.at_level(logging.ERROR):
        serve(play)
    assert [line["method"] for line in lines(caplog, "call failed")] == [f"/{OTHER}/unary_unary"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_refused_call_keeps_nothing_alive(kind: str) -> None:
    """Its message would else stay in memory until a garbage collection, which is rare."""

    async def play(channel: grpc.aio.Channel) -> None:
        REFUSALS.clear()
        with pytest.raises(grpc.aio.AioRpcError):
            await answers(called(channel, kind, b"full"), [])
        for _ in range(100):
            if REFUSALS[0]() is None:
                return
            await asyncio.sleep(0.01)
        raise AssertionError("the error is still there")

    gc.disable()
    try:
        serve(play)
    finally:
        gc.enable()
