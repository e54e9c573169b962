"""Rules of `detect_many` of both clients, against real gRPC servers that answer as a test says."""

import asyncio
import itertools
import queue
import threading
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from typing import Any

import grpc
import pytest

from protos import infer_pb2 as pb
from tests.support.fake_backend import echo, failing, fake_backend
from tests.support.processes import PATIENCE, wait_until
from utils import codec
from utils.async_service_client import AsyncServiceClient
from utils.channel import MIB
from utils.domain import Detection, DetectOptions, DetectRequest
from utils.errors import (
    BackendUnavailable,
    BrokenImage,
    DeadlineExceeded,
    FacetError,
    MessageTooLarge,
    QueueFull,
    TooManyUnfinishedMessages,
)
from utils.service_client import ServiceClient
from utils.status import encode_error, error_metadata
from utils.stream_codec import encode_problem
from utils.window import Outcome

Requests = Iterable[DetectRequest | bytes]
Many = Callable[..., Iterator[Outcome]]
"""A `detect_many` of either kind, of a client of its own, given a target."""


def blocking(
    target: str,
    requests: Requests,
    limits: dict[str, Any] | None = None,
    **options: Any,  # noqa: ANN401
) -> Iterator[Outcome]:
    """The blocking client's."""
    with ServiceClient(target, **(limits or {})) as client:
        yield from client.detect_many(requests, **options)


def awaited(
    target: str,
    requests: Requests,
    limits: dict[str, Any] | None = None,
    **options: Any,  # noqa: ANN401
) -> Iterator[Outcome]:
    """The asyncio client's, whose event loop turns while an outcome is waited for."""

    async def begin() -> tuple[AsyncServiceClient, AsyncIterator[Outcome]]:
        client = AsyncServiceClient(target, **(limits or {}))
        return client, client.detect_many(requests, **options)

    async def following(outcomes: AsyncIterator[Outcome]) -> Outcome | None:
        return await anext(outcomes, None)

    with asyncio.Runner() as runner:
        client, outcomes = runner.run(begin())
        try:
            while (outcome := runner.run(following(outcomes))) is not None:
                yield outcome
        finally:
            runner.run(outcomes.aclose())  # type: ignore[attr-defined]
            runner.run(client.close())


@pytest.fixture(params=[blocking, awaited], ids=["blocking", "asyncio"])
def many(request: pytest.FixtureRequest) -> Many:
    """Of either client."""
    kind: Many = request.param
    return kind


def widths(outcomes: Iterable[Outcome]) -> dict[int, int | str]:
    """By their places: the width of each picture, which a fake backend makes of its size, or the reason."""
    return {number: one.image.width if isinstance(one, Detection) else one.reason for number, one in outcomes}


def replied(request: pb.PredictStreamRequest) -> pb.PredictStreamReply:
    """Its echo."""
    results: Any = echo(request.image, None)
    return pb.PredictStreamReply(number=request.number, results=results)


def refused(request: pb.PredictStreamRequest, error: FacetError) -> pb.PredictStreamReply:
    """Its problem."""
    return pb.PredictStreamReply(number=request.number, problem=encode_problem(error))


def end(context: Any, error: FacetError) -> None:  # noqa: ANN401
    """End a stream as a worker does."""
    context.set_trailing_metadata(error_metadata(encode_error(error)))
    context.abort(getattr(grpc.StatusCode, error.code.name), error.detail)


def first_alone(requests: Iterator[pb.PredictStreamRequest], _context: Any) -> Iterator[Any]:  # noqa: ANN401
    """The answer to the first picture, and to no other."""
    yield replied(next(requests))
    for _ in requests:
        pass


GONE = BackendUnavailable("This worker stops.", retry_after=1.0)


def test_pictures_travel_with_their_options_and_come_back_as_they_are_done(many: Many) -> None:
    """By their places, under one id; and in the end both sides close the stream."""
    request = DetectRequest(b"picture", DetectOptions(min_face_size=40), "me.jpg", {"a": "b"})

    def last_first(requests: Iterator[pb.PredictStreamRequest], _context: Any) -> Iterator[Any]:  # noqa: ANN401
        first, second = itertools.islice(requests, 2)
        yield from map(replied, itertools.chain((second, first), requests))

    with fake_backend() as backend:
        backend.answer_stream = last_first
        outcomes = list(many(backend.target, [request, b"xx"], timeout=700, request_id="id-1"))
        [stream] = backend.streams
        assert stream.half_closed.wait(PATIENCE)
    assert [number for number, _ in outcomes] == [1, 0]
    assert (outcomes[1][1].image_id, widths(outcomes)) == ("me.jpg", {0: 7, 1: 2})  # type: ignore[union-attr]
    assert stream.requests[0].image == codec.encode_request(request)
    assert 500 < stream.requests[0].timeout_seconds <= 700
    assert stream.metadata["x-request-id"] == "id-1"
    assert stream.remaining is None or stream.remaining > 1e6


def test_the_backend_is_told_no_time_that_nobody_has_named(many: Many) -> None:
    """So that its default holds, and its limit of waiting."""
    with fake_backend() as backend:
        assert widths(many(backend.target, [b"x"])) == {0: 1}
        assert not backend.streams[0].requests[0].HasField("timeout_seconds")
        assert backend.streams[0].metadata["x-timeout-source"] == "default"


def test_a_picture_that_fails_is_an_outcome_and_the_others_go_on(many: Many) -> None:
    """Whoever says so: the backend, or the client for one that it cannot send."""
    error = BrokenImage("cut", field="image")

    def broken(requests: Iterator[pb.PredictStreamRequest], _context: Any) -> Iterator[Any]:  # noqa: ANN401
        for request in requests:
            yield refused(request, error) if request.image.raw_data == b"bad" else replied(request)

    limits = {"max_image_bytes": 1024, "max_request_bytes": 1024}
    with fake_backend() as backend:
        backend.answer_stream = broken
        outcomes = dict(many(backend.target, [b"x", b"bad", bytes(2 * MIB), b"y"], limits))
        assert backend.streams[0].numbers == [0, 1, 3]
    assert isinstance(outcomes[1], BrokenImage)
    assert (outcomes[1].detail, outcomes[1].field) == ("cut", "image")
    assert isinstance(outcomes[2], MessageTooLarge)
    assert all(isinstance(outcomes[number], Detection) for number in (0, 3))


def test_no_pictures_are_no_call(many: Many) -> None:
    """Not even to a backend that is not there."""
    assert list(many("127.0.0.1:1", [])) == []


def test_sixteen_pictures_are_under_way_and_more_only_when_some_have_an_outcome(many: Many) -> None:
    """However many there are: none is asked for before."""
    taken: list[int] = []
    let: queue.SimpleQueue[int] = queue.SimpleQueue()

    def endless() -> Iterator[bytes]:
        for number in itertools.count():
            taken.append(number)
            yield b"x"

    def slowly(requests: Iterator[pb.PredictStreamRequest], _context: Any) -> Iterator[Any]:  # noqa: ANN401
        waiting = list(itertools.islice(requests, 16))
        for request in waiting:
            let.get()
            yield replied(request)

    with fake_backend() as backend:
        backend.answer_stream = slowly
        outcomes = many(backend.target, endless(), timeout=PATIENCE)
        let.put(1)
        assert next(outcomes)[0] == 0
        assert len(taken) == 16
        let.put(1)
        assert next(outcomes)[0] == 1
        assert len(taken) == 17
        outcomes.close()  # type: ignore[attr-defined]
        for _ in range(14):
            let.put(1)
        assert backend.cancelled.wait(PATIENCE)


def test_what_a_worker_that_leaves_has_not_answered_is_sent_again(many: Many) -> None:
    """And nothing else, over another stream."""

    def leaving(requests: Iterator[pb.PredictStreamRequest], context: Any) -> Iterator[Any]:  # noqa: ANN401
        if len(backend.streams) > 1:
            yield from map(replied, requests)
            return
        first, second, third = itertools.islice(requests, 3)
        yield replied(second)
        del first, third
        end(context, GONE)

    with fake_backend() as backend:
        backend.answer_stream = leaving
        assert widths(many(backend.target, [b"x", b"xx", b"xxx"], timeout=PATIENCE)) == {0: 1, 1: 2, 2: 3}
        assert [sorted(stream.numbers) for stream in backend.streams] == [[0, 1, 2], [0, 2]]


def test_a_picture_is_lost_with_five_streams_at_most(many: Many) -> None:
    """Then its outcome is the last error; those that come after it are tried as often."""
    with fake_backend(failing(grpc.StatusCode.UNAVAILABLE)) as backend:
        outcomes = widths(many(backend.target, [b"x"] * 20, timeout=PATIENCE))
        counts = [sum(number in stream.numbers for stream in backend.streams) for number in range(20)]
    assert outcomes == dict.fromkeys(range(20), BackendUnavailable.reason)
    assert max(counts) <= 5
    assert len(backend.streams) >= 5


def test_a_backend_that_comes_back_answers_the_rest(many: Many) -> None:
    """Whatever was under way when it died."""
    with fake_backend() as first:

        def then_gone(requests: Iterator[pb.PredictStreamRequest], context: Any) -> Iterator[Any]:  # noqa: ANN401
            yield replied(next(requests))
            first.held.wait(PATIENCE)
            context.abort(grpc.StatusCode.UNAVAILABLE, "gone")

        first.answer_stream = then_gone
        outcomes = many(first.target, [b"x"] * 30, timeout=PATIENCE)
        got = [next(outcomes)]
    with fake_backend(port=first.port):
        got.extend(outcomes)
    assert sorted(widths(got).items()) == [(number, 1) for number in range(30)]


def test_a_full_queue_is_waited_out_within_the_time_of_the_picture(many: Many) -> None:
    """After the delay that the backend names; where that is too long, it is told."""
    delays = {b"short": 0.01, b"long": 3600.0}

    def full(requests: Iterator[pb.PredictStreamRequest], _context: Any) -> Iterator[Any]:  # noqa: ANN401
        for request in requests:
            times = sum(stream.numbers.count(request.number) for stream in backend.streams)
            delay = delays.get(request.image.raw_data)
            if delay is not None and times <= 10:
                yield refused(request, QueueFull("full", retry_after=delay))
            else:
                yield replied(request)

    with fake_backend() as backend:
        backend.answer_stream = full
        outcomes = widths(many(backend.target, [b"short", b"long", b"x"], timeout=PATIENCE))
    assert outcomes == {0: 5, 1: QueueFull.reason, 2: 1}


def test_a_stream_that_finds_no_place_is_begun_again_later(many: Many) -> None:
    """More often than a worker that goes away, for the pictures lose nothing but time."""

    def crowded(requests: Iterator[pb.PredictStreamRequest], context: Any) -> Iterator[Any]:  # noqa: ANN401
        if len(backend.streams) <= 6:
            list(itertools.islice(requests, 3))
            end(context, TooManyUnfinishedMessages("crowded", retry_after=0.01))
        yield from map(replied, requests)

    with fake_backend() as backend:
        backend.answer_stream = crowded
        assert widths(many(backend.target, [b"x"] * 3, timeout=PATIENCE)) == {0: 1, 1: 1, 2: 1}


def test_a_picture_without_an_answer_ends_with_its_time(many: Many) -> None:
    """Also where the backend does not say a word, and while others are answered."""

    def mute(requests: Iterator[pb.PredictStreamRequest], _context: Any) -> Iterator[Any]:  # noqa: ANN401
        for request in requests:
            if request.image.raw_data == b"answer":
                yield replied(request)

    with fake_backend() as backend:
        backend.answer_stream = mute
        outcomes = dict(many(backend.target, [b"answer", b"none", b"answer"], timeout=0.5))
    late = outcomes.pop(1)
    assert isinstance(late, DeadlineExceeded)
    assert "min_face_size" in late.detail
    assert widths(outcomes.items()) == {0: 6, 2: 6}


def test_a_picture_that_the_backend_cannot_receive_is_the_one_that_is_told(many: Many) -> None:
    """The others are sent again."""
    with fake_backend(most_bytes=2 * MIB) as backend:
        outcomes = widths(many(backend.target, [b"x", bytes(3 * MIB), b"xx"], timeout=PATIENCE))
    assert outcomes == {0: 1, 1: MessageTooLarge.reason, 2: 2}


def test_an_error_of_the_source_reaches_the_caller_and_gives_up_what_is_under_way(many: Many) -> None:
    """As it was raised."""

    def source() -> Iterator[bytes]:
        yield from [b"x"] * 16
        raise ZeroDivisionError

    with fake_backend() as backend:
        backend.answer_stream = first_alone
        with pytest.raises(ZeroDivisionError):
            list(many(backend.target, source(), timeout=PATIENCE))
        assert backend.cancelled.wait(PATIENCE)


def test_pictures_may_come_one_after_the_others_outcome() -> None:
    """For asyncio: while the next one is awaited, outcomes are given."""
    outcomes: list[int] = []

    async def source(seen: asyncio.Event) -> AsyncIterator[bytes]:
        for _ in range(3):
            yield b"x"
            await seen.wait()
            seen.clear()

    async def scenario(target: str) -> None:
        seen = asyncio.Event()
        async with AsyncServiceClient(target) as client, asyncio.timeout(PATIENCE):
            async for number, _ in client.detect_many(source(seen), timeout=PATIENCE):
                outcomes.append(number)
                seen.set()

    with fake_backend() as backend:
        asyncio.run(scenario(backend.target))
        assert len(backend.streams) == 1
    assert outcomes == [0, 1, 2]


def test_who_leaves_an_awaited_stream_gives_up_what_is_under_way() -> None:
    """While the client stays."""

    async def scenario(target: str, cancelled: threading.Event) -> None:
        async with AsyncServiceClient(target, timeout=PATIENCE) as client:
            outcomes: Any = client.detect_many([b"x"] * 20)
            await anext(outcomes)
            await outcomes.aclose()
            assert await asyncio.to_thread(cancelled.wait, PATIENCE)

    with fake_backend() as backend:
        backend.answer_stream = first_alone
        asyncio.run(scenario(backend.target, backend.cancelled))


def test_who_leaves_gives_up_what_is_under_way_and_leaves_no_thread_behind() -> None:
    """Of streams that ended, that were left while their client stays, and that never began."""

    def threads() -> set[threading.Thread]:
        return {one for one in threading.enumerate() if "Executor" not in one.name}  # the fake backend's

    before = threads()
    with fake_backend() as backend, ServiceClient(backend.target, timeout=PATIENCE) as client:
        assert len(list(client.detect_many([b"x"] * 20))) == 20
        assert not backend.cancelled.is_set()
        backend.answer_stream = first_alone
        for _ in client.detect_many([b"x"] * 20):
            break
        assert backend.cancelled.wait(PATIENCE)
        with ServiceClient("127.0.0.1:1") as nobody:
            list(nobody.detect_many([b"x"]))
    wait_until(lambda: threads() <= before, "all threads have ended")
