"""Rules of NAME_predict_stream: a stream of inputs, each answered in its place."""

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any

import grpc
import pytest

from inference_server.api.ordered import in_order
from inference_server.models.encoding import unpack_context
from protos import models_pb2
from tests.support.models import BAD, FAULT, SERVICE, Served, message_class, play, version
from utils.channel import error_of
from utils.errors import Code, MessageTooLarge, ModelNotFound

STREAM = f"/{SERVICE}/echo_predict_stream"


async def sent(*messages: bytes) -> AsyncGenerator[bytes, None]:
    """A stream of them, which then ends."""
    for message in messages:
        yield message


async def answered(call: Any) -> list[models_pb2.StreamItem]:  # noqa: ANN401
    """All items of an answer."""
    return [models_pb2.StreamItem.FromString(raw) async for raw in call]


def test_a_wrong_item_is_answered_in_its_place_and_the_stream_goes_on() -> None:
    """Also one that is too large, and a fault of ours, which says nothing of itself."""
    messages = (b"a", BAD, FAULT, bytes(2000), b"", b"e")

    async def scene(served: Served) -> None:
        items = await answered(served.stream(STREAM, sent(*messages)))
        assert [item.index for item in items] == list(range(6))
        assert [item.output for item in items if not item.HasField("error")] == [b"a", b"", b"e"]
        bad, fault, large = (item.error for item in items[1:4])
        assert (bad.code, bad.reason) == (Code.INVALID_ARGUMENT, "INVALID_INPUT")
        assert (bad.field, bad.detail) == ("text", "text is bad")
        assert (fault.reason, "Zero" in fault.detail) == ("INTERNAL", False)
        assert large.reason == MessageTooLarge.reason

    play(scene, version("echo"), max_request_bytes=1024)


def test_items_are_messages_of_the_models_own() -> None:
    """NAME_item, as reflection declares it."""
    echo = version("echo")

    async def scene(served: Served) -> None:
        text = message_class(echo, "echo_input")(text="ä").SerializeToString()
        item = message_class(echo, "echo_item")
        first, second = [item.FromString(raw) async for raw in served.stream(STREAM, sent(text, BAD))]
        assert (first.index, first.output.text, first.HasField("error")) == (0, "ä", False)
        assert (second.index, second.error.reason, second.HasField("output")) == (1, "INVALID_INPUT", False)

    play(scene, echo)


def test_items_are_requests_of_their_own_and_few_at_once() -> None:
    """Eight are under way, and another when the first of them is answered, in the order of the stream."""

    async def scene(served: Served) -> None:
        served.models.gate.clear()
        messages = [bytes([65 + number]) for number in range(20)]
        call = served.stream(STREAM, sent(*messages), x_request_id="id-1")
        await served.models.until(lambda: len(served.models.works) == 8)
        await served.unary(f"/{SERVICE}/get_models", b"")  # meanwhile no further one was begun
        assert len(served.models.works) == 8
        served.models.gate.set()
        items = await answered(call)
        assert [item.output for item in items] == messages
        assert [unpack_context(work.context)[0] for work, _ in served.models.works] == ["id-1"] * 20

    play(scene, version("echo"))


def test_a_stream_is_answered_while_it_is_sent() -> None:
    """Its caller may wait for an answer before it sends the next input."""

    async def scene(served: Served) -> None:
        call = served.stream(STREAM, None)  # type: ignore[arg-type] # which writes
        for message in (b"a", b"b", b"c"):
            await call.write(message)
            assert models_pb2.StreamItem.FromString(await call.read()).output == message
        await call.done_writing()
        assert await call.read() is grpc.aio.EOF

    play(scene, version("echo"))


def test_who_leaves_a_stream_cancels_what_is_under_way(caplog: pytest.LogCaptureFixture) -> None:
    """All of it."""

    async def scene(served: Served) -> None:
        served.models.gate.clear()
        call = served.stream(STREAM, sent(b"a", b"b", b"c"))
        reading = asyncio.ensure_future(answered(call))
        await served.models.until(lambda: len(served.models.works) == 3)
        call.cancel()
        await served.models.until(lambda: sorted(served.models.cancelled) == [b"a", b"b", b"c"])
        await asyncio.gather(reading, return_exceptions=True)

    with caplog.at_level(logging.INFO):
        play(scene, version("echo"))
    assert not [record for record in caplog.records if record.levelno > logging.INFO]


def test_a_model_that_goes_amid_a_stream_is_told_in_its_place() -> None:
    """And one that comes again serves the rest."""

    async def scene(served: Served) -> None:
        call = served.stream(STREAM, None)  # type: ignore[arg-type]
        outcomes = []
        for versions in ((version("echo"),), (), (version("echo", "2.0", 2),)):
            served.models.publish(*versions)
            await call.write(b"a")
            outcomes.append(models_pb2.StreamItem.FromString(await call.read()).error.reason)
        await call.done_writing()
        assert outcomes == ["", ModelNotFound.reason, ""]
        assert [work.queue for work, _ in served.models.works] == [1, 2]

    play(scene, version("echo"))


def test_a_stream_has_one_line_that_counts_its_items(caplog: pytest.LogCaptureFixture) -> None:
    """And nothing that is true of one of them only."""

    async def scene(served: Served) -> None:
        await answered(served.stream(STREAM, sent(b"a", BAD, b"c"), x_request_id="id-1"))
        await answered(served.stream(STREAM, sent()))

    with caplog.at_level(logging.INFO):
        play(scene, version("echo"))
    first, second = (
        record.__dict__["facet_fields"] for record in caplog.records if record.message == "request"
    )
    expected = {"request_id": "id-1", "method": STREAM, "model": "echo", "version": "1.0", "items": 3}
    assert {**expected, "failed": 1, "status": "OK"}.items() <= first.items()
    assert not {"bytes", "compute_ms"} & first.keys()
    assert (second["items"], second["failed"]) == (0, 0)


def test_where_items_end_with_an_error_the_others_are_answered_before() -> None:
    """Though they take longer."""

    async def items() -> AsyncIterator[int]:
        yield 1
        yield 2
        raise EOFError

    async def slowly(index: int, item: int) -> tuple[int, int]:
        await asyncio.sleep(0.01)
        return index, item

    received = []

    async def played() -> None:
        async for each in in_order(items(), slowly, 8):
            received.append(each)  # noqa: PERF401 - kept when it raises

    with pytest.raises(EOFError):
        asyncio.run(played())
    assert received == [(0, 1), (1, 2)]


def test_a_stream_of_no_readable_size_ends_with_its_error() -> None:
    """A message over the transport's limit is no item."""

    async def scene(served: Served) -> None:
        call = served.stream(STREAM, sent(b"a", bytes(16 * 1024**2)))
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await answered(call)
        assert error_of(caught.value).code is Code.RESOURCE_EXHAUSTED

    play(scene, version("echo"), max_request_bytes=1024)
