"""Rules of how a call's message is received, and of what surrounds the call."""

import asyncio
import logging
from typing import Any

import grpc
import pytest

from inference_server import messages
from inference_server.interceptors import CallInterceptor
from inference_server.message_limits import MOST_UNFINISHED_BYTES
from inference_server.messages import MessageReceiver
from utils.channel import MIB, PREDICT
from utils.errors import DeadlineExceeded, FacetError, TooManyUnfinishedMessages


class Unfinished:
    """The context of a call whose message does not come."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    def peer(self) -> str:
        """Its connection."""
        return "ipv4:127.0.0.1:1"

    def time_remaining(self) -> float:
        """Until its deadline."""
        return self._seconds

    async def read(self) -> Any:  # noqa: ANN401
        """Wait for the message."""
        await asyncio.Event().wait()


async def outcomes(receiver: MessageReceiver, count: int) -> list[Any]:
    """What calls with unfinished messages end with, in the order in which they began."""
    calls = [receiver.only(PREDICT, Unfinished(0.2), bytes) for _ in range(count)]
    return await asyncio.gather(*calls, return_exceptions=True)


def test_a_call_whose_deadline_came_before_a_place_is_told_so() -> None:
    """And to come again; its message cannot have been unfinished."""

    async def play() -> None:
        received, waited = await outcomes(MessageReceiver(MOST_UNFINISHED_BYTES, 60.0), 2)
        assert isinstance(received, DeadlineExceeded)
        assert isinstance(waited, TooManyUnfinishedMessages)
        assert waited.retry_after
        assert "No place" in waited.detail

    asyncio.run(play())


def test_memory_is_given_back_only_after_large_messages_were_given_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """16 MiB of them; of fewer it is kept for the next requests, which would have to take it anew."""
    trims: list[int] = []
    monkeypatch.setattr(messages, "_TRIM_SECONDS", 0.0)
    monkeypatch.setattr(messages, "trim_heap", lambda: trims.append(1))

    async def play() -> None:
        receiver = MessageReceiver(MIB, 60.0)
        for count, expected in ((15, 0), (1, 1), (15, 1), (1, 2)):
            errors = await outcomes(receiver, count)
            assert all(isinstance(error, FacetError) for error in errors)
            await asyncio.sleep(0.01)  # the event loop's next round
            assert len(trims) == expected

    asyncio.run(play())


def test_the_log_names_the_method_of_a_call_that_failed(caplog: pytest.LogCaptureFixture) -> None:
    """Whichever service it is of: of health and reflection there is no line of the request."""

    async def fail(_message: bytes, _context: Any) -> bytes:  # noqa: ANN401
        raise ZeroDivisionError

    async def play() -> None:
        server = grpc.aio.server(interceptors=[CallInterceptor(MessageReceiver(MIB, 60.0))])
        handler: Any = grpc.unary_unary_rpc_method_handler(fail, request_deserializer=bytes)
        methods = {"Fail": handler}
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("Other", methods),))
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            call: Any = channel.unary_unary("/Other/Fail")
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await call(b"")
            assert caught.value.code() is grpc.StatusCode.INTERNAL
        await server.stop(None)

    with caplog.at_level(logging.ERROR):
        asyncio.run(play())
    [record] = [record for record in caplog.records if record.message == "call failed"]
    assert record.__dict__["facet_fields"]["method"] == "/Other/Fail"
