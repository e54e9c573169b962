"""Rules of /Inference/PredictStream: pictures of which each is a request of its own."""

import asyncio
import logging
import math
import time
from collections.abc import AsyncIterator, Callable, Iterable
from typing import Any

import grpc
import numpy as np
import pytest

from inference_server.dispatch.admission import Load
from inference_server.dispatch.work import Work
from inference_server.models.encoding import pack_answer, unpack_context
from protos import infer_pb2 as pb
from tests.support.models import Models, Served, lines, serving
from tests.support.pictures import ASTRONAUT, png
from utils.channel import SERVICE, error_of
from utils.errors import (
    BackendUnavailable,
    ImageEmpty,
    ImageTooLarge,
    InternalError,
    MalformedRequest,
    OptionOutOfRange,
    QueueFull,
    TooManyUnfinishedMessages,
    UnsupportedImageFormat,
)

STREAM = f"/{SERVICE}/PredictStream"
PICTURE = ASTRONAUT.read_bytes()
TINY = png(np.zeros((24, 24, 3), np.uint8))
FAULT, FULL = 100, 101
"""Numbers of pictures at which the dispatcher fails, and for which it has no room."""


class Held(Models):
    """A dispatcher that answers a picture, which ends with its number, when the test says so.

    Attributes:
        admitted: How long each picture may take and wait.
    """

    def __init__(self) -> None:
        super().__init__()
        self._answered: set[int] = set()
        self._answers_all = True
        self.admitted: list[tuple[float, float]] = []

    def hold(self) -> None:
        """Answer nothing from now on."""
        self._answers_all = False

    def answer(self, *numbers: int) -> None:
        """Answer these; without one named, all."""
        self._answered.update(numbers)
        self._answers_all = not numbers
        self.changed.set()

    def admit(self, load: Load, deadline: float, longest_wait: float, queue: int = 0) -> None:  # noqa: ARG002
        """Remember it."""
        self.admitted.append((deadline - time.monotonic(), longest_wait))

    async def submit(self, work: Work, longest_wait: float) -> bytes:
        """Answer with the number as the picture's width."""
        number = work.payload[-1]
        self.works.append((work, longest_wait))
        self.changed.set()
        if number == FULL:
            raise QueueFull("no room", retry_after=2.5)
        if number == FAULT:
            raise ZeroDivisionError
        try:
            await self.until(lambda: self._answers_all or number in self._answered)
        except asyncio.CancelledError:
            self.cancelled.append(work.payload[-1:])
            self.changed.set()
            raise
        results = pb.InferResults(image=pb.ImageInfo(width=number, height=1))
        return pack_answer(results.SerializeToString(), {"faces": 0})

    @property
    def numbers(self) -> list[int]:
        """Those that were dispatched."""
        return [work.payload[-1] for work, _ in self.works]


def play(scene: Callable[[Served, Held], Any], **limits: Any) -> None:  # noqa: ANN401
    """Play a scene with a server."""

    async def played() -> None:
        models = Held()
        async with asyncio.timeout(60), serving(models, **limits) as served:
            await scene(served, models)

    asyncio.run(played())


def picture(number: int, **more: Any) -> pb.PredictStreamRequest:  # noqa: ANN401
    """A picture whose bytes end with its number."""
    image = pb.Image(raw_data=PICTURE + bytes([number]), image_id=f"id-{number}")
    return pb.PredictStreamRequest(number=number, image=image, **more)


class Call:
    """A stream, which a scene writes to and reads from."""

    def __init__(self, served: Served, *, timeout: float | None = None, **metadata: str) -> None:
        method: Any = served.channel.stream_stream(STREAM)
        pairs = tuple((key.replace("_", "-"), value) for key, value in metadata.items())
        self.grpc = method(timeout=timeout, metadata=pairs)

    async def send(self, *requests: pb.PredictStreamRequest) -> None:
        """Send these."""
        for request in requests:
            await self.grpc.write(request.SerializeToString())

    async def receive(self) -> pb.PredictStreamReply:
        """The next answer."""
        return pb.PredictStreamReply.FromString(await self.grpc.read())

    async def rest(self) -> list[pb.PredictStreamReply]:
        """End the sending; gives all further answers."""
        await self.grpc.done_writing()
        replies = []
        while (raw := await self.grpc.read()) is not grpc.aio.EOF:
            replies.append(pb.PredictStreamReply.FromString(raw))
        return replies


async def answered(served: Served, requests: Iterable[pb.PredictStreamRequest]) -> dict[int, Any]:
    """What a stream of these is answered with, by their numbers."""

    async def sent() -> AsyncIterator[bytes]:
        for request in requests:
            yield request.SerializeToString()

    raw = [pb.PredictStreamReply.FromString(each) async for each in served.stream(STREAM, sent())]
    return {reply.number: reply for reply in raw}


def test_answers_come_as_they_are_ready_with_the_numbers_of_their_pictures() -> None:
    """Each with what its picture was sent with."""

    async def scene(served: Served, models: Held) -> None:
        models.hold()
        call = Call(served)
        await call.send(*map(picture, (7, 8, 9)))
        for number in (9, 7, 8):
            models.answer(number)
            reply = await call.receive()
            assert (reply.number, reply.results.image.width) == (number, number)
            assert reply.results.image_id == f"id-{number}"
        assert await call.rest() == []
        assert await call.grpc.code() is grpc.StatusCode.OK

    play(scene)


def test_a_picture_that_fails_is_told_in_its_place_and_the_stream_goes_on() -> None:
    """By class, field and delay; a fault of ours says nothing of itself."""
    wrong = {
        1: (pb.Image(raw_data=bytes(3000)), ImageTooLarge, ""),
        2: (pb.Image(raw_data=b"text"), UnsupportedImageFormat, ""),
        3: (None, ImageEmpty, ""),
        4: (
            pb.Image(raw_data=b"x", options=pb.DetectOptions(max_faces=0)),
            OptionOutOfRange,
            "options.max_faces",
        ),
    }
    requests = [pb.PredictStreamRequest(number=n, image=image) for n, (image, _, _) in wrong.items()]
    small = [
        pb.PredictStreamRequest(number=n, image=pb.Image(raw_data=TINY + bytes([n])))
        for n in (FAULT, FULL, 5)
    ]

    async def scene(served: Served, _models: Held) -> None:
        replies = await answered(served, [*requests, *small])
        for number, (_, expected, field) in wrong.items():
            problem = replies[number].problem
            assert (problem.reason, problem.code) == (expected.reason, expected.code.value), number
            assert problem.field.endswith(field)
        assert replies[FAULT].problem.reason == InternalError.reason
        assert "Zero" not in replies[FAULT].problem.detail
        full = replies[FULL].problem
        assert (full.reason, full.retry_after_seconds) == (QueueFull.reason, 2.5)
        assert not replies[FAULT].problem.HasField("retry_after_seconds")
        assert replies[5].results.image.width == 5

    play(scene, max_image_bytes=2000)


@pytest.mark.security(
    endpoint="grpc",
    attack="The number of a picture under way, used for another in the same stream",
    outcome="INVALID_ARGUMENT for the second one; the first is answered",
)
def test_a_number_is_used_again_only_when_its_picture_is_answered() -> None:
    """Else the second picture is refused, and the first one is not touched."""

    async def scene(served: Served, models: Held) -> None:
        models.hold()
        call = Call(served)
        await call.send(picture(1), picture(1))
        refused = (await call.receive()).problem
        assert (refused.reason, refused.field) == (MalformedRequest.reason, "number")
        models.answer(1)
        assert (await call.receive()).results.image.width == 1
        await call.send(picture(1))
        assert [reply.results.image.width for reply in await call.rest()] == [1]

    play(scene)


@pytest.mark.parametrize("seconds", [0.0, -1.0, math.nan])
def test_a_time_that_is_none_is_refused(seconds: float) -> None:
    """With the value."""

    async def scene(served: Served, _models: Held) -> None:
        [reply] = (await answered(served, [picture(1, timeout_seconds=seconds)])).values()
        assert (reply.problem.reason, reply.problem.field) == (OptionOutOfRange.reason, "timeout_seconds")
        assert f"{seconds:g}" in reply.problem.detail

    play(scene)


@pytest.mark.parametrize(
    ("of_call", "of_picture", "source", "expected", "named"),
    [
        (None, None, None, 5, False),
        (None, 20.0, None, 20, True),
        (None, 1e9, None, 60, True),
        (None, math.inf, None, 60, True),
        (30.0, None, None, 30, True),
        (30.0, None, "default", 30, False),
        (30.0, 20.0, "default", 20, True),
        (30.0, 50.0, None, 30, True),
    ],
)
def test_a_picture_has_the_time_that_its_caller_names(
    of_call: float | None, of_picture: float | None, source: str | None, expected: float, named: bool
) -> None:
    """Its own, within that of the call; else the call's, else the default with its limit of waiting."""

    async def scene(served: Served, models: Held) -> None:
        call = Call(served, timeout=of_call, **({"x_timeout_source": source} if source else {}))
        await call.send(picture(1, timeout_seconds=of_picture))
        await call.rest()
        [(deadline, longest_wait)] = models.admitted
        assert expected - 3 < deadline <= expected + 0.1
        assert longest_wait == (math.inf if named else 5.0)

    play(scene, queue_seconds=5.0, timeout_seconds=5.0, max_timeout_seconds=60.0)


def test_sixteen_pictures_are_under_way_and_another_when_an_answer_was_taken() -> None:
    """Under the stream's own id."""

    async def scene(served: Served, models: Held) -> None:
        models.hold()
        call = Call(served, x_request_id="id-1")
        sending = asyncio.ensure_future(call.send(*map(picture, range(40))))
        await models.until(lambda: len(models.works) == 16)
        await served.unary("/Models/List", b"")  # meanwhile no further one was begun
        assert sorted(models.numbers) == list(range(16))
        models.answer(3)
        await models.until(lambda: len(models.works) == 17)
        models.answer()
        await sending
        assert sorted(reply.number for reply in await call.rest()) == list(range(40))
        assert {unpack_context(work.context)[0] for work, _ in models.works} == {"id-1"}

    play(scene)


@pytest.mark.security(
    endpoint="grpc",
    attack="A stream of pictures whose answers nobody reads",
    outcome="Fewer than 300 pictures are taken",
)
def test_a_caller_that_reads_no_answers_has_no_more_pictures_taken() -> None:
    """What it pins is bounded, whatever it sends: connections take some answers in, and sixteen wait."""
    notes = pb.MetaData(values={"note": "x" * 60_000})

    async def scene(served: Served, models: Held) -> None:
        call = Call(served)

        async def endless() -> None:
            while True:
                request = picture(len(models.works) % 100)
                request.image._meta_data.CopyFrom(notes)
                await call.send(request)

        sending = asyncio.ensure_future(endless())
        count = -1
        while count != len(models.works):  # until a second brings no further one
            count = len(models.works)
            await asyncio.sleep(1)
        assert 16 <= count < 300
        sending.cancel()
        call.grpc.cancel()

    play(scene)


def test_who_leaves_cancels_what_waits(caplog: pytest.LogCaptureFixture) -> None:
    """All of it."""

    async def scene(served: Served, models: Held) -> None:
        models.hold()
        call = Call(served)
        await call.send(*map(picture, range(3)))
        await models.until(lambda: len(models.works) == 3)
        call.grpc.cancel()
        await models.until(lambda: len(models.cancelled) == 3)

    with caplog.at_level(logging.INFO):
        play(scene)
    assert [line["status"] for line in lines(caplog)] == ["CANCELLED"]


def test_a_stream_has_one_line_that_counts_its_pictures(caplog: pytest.LogCaptureFixture) -> None:
    """And says nothing that is true of one of them only."""

    async def scene(served: Served, _models: Held) -> None:
        await answered(served, [picture(1), pb.PredictStreamRequest(number=2), picture(3)])

    with caplog.at_level(logging.INFO):
        play(scene)
    [line] = lines(caplog)
    assert {"method": STREAM, "status": "OK", "items": 3, "failed": 1}.items() <= line.items()
    assert not {"bytes", "faces", "format"} & line.keys()


@pytest.mark.parametrize("under_way", [0, 2])
def test_a_worker_that_leaves_answers_what_it_took_and_ends_the_stream(under_way: int) -> None:
    """With UNAVAILABLE, so that its caller sends the rest to another one; an idle stream ends at once."""

    async def scene(served: Served, models: Held) -> None:
        models.hold()
        call = Call(served, x_request_id="id-1")
        await call.send(*map(picture, range(under_way)))
        await models.until(lambda: len(models.works) == under_way)
        await served.unary("/Models/List", b"")  # behind it the stream is waited for
        served.receiver.leave()
        models.answer()
        assert sorted([(await call.receive()).number for _ in range(under_way)]) == list(range(under_way))
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call.receive()
        error = error_of(caught.value)
        assert (type(error), error.retry_after) == (BackendUnavailable, 1.0)
        assert ("x-request-id", "id-1") in tuple(await call.grpc.trailing_metadata())
        with pytest.raises(grpc.aio.AioRpcError, match="UNAVAILABLE"):
            await answered(served, [picture(1)])

    play(scene)


@pytest.mark.security(
    endpoint="grpc",
    attack="30 streams that send nothing",
    outcome="A single picture is answered",
)
def test_streams_that_send_nothing_hold_up_no_single_picture() -> None:
    """They have places of their own, of which each has one while it is waited for."""

    async def scene(served: Served, models: Held) -> None:
        idle = [Call(served) for _ in range(30)]
        for call in idle:
            await call.grpc.wait_for_connection()
        reading = [asyncio.ensure_future(call.receive()) for call in idle]
        message = pb.Image(raw_data=PICTURE + bytes([1]))
        await served.unary(f"/{SERVICE}/Predict", message, seconds=30)
        done, _ = await asyncio.wait(reading, return_when=asyncio.FIRST_COMPLETED)
        for each in done:
            assert isinstance(error_of(each.exception()), TooManyUnfinishedMessages)
        for call in idle:
            call.grpc.cancel()
        await asyncio.gather(*reading, return_exceptions=True)
        assert models.numbers == [1]

    play(scene)
