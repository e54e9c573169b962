"""Rules of the places in which messages are received."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

import pytest

from inference_server.api import message_limits
from inference_server.api.message_limits import MOST_UNFINISHED_BYTES, Place, Places
from utils.errors import TooManyUnfinishedMessages


class Call:
    """A call that takes a place and does not give it back before it is told to."""

    def __init__(self, places: Places, connection: str) -> None:
        self.has_place = asyncio.Event()
        self._finish = asyncio.Event()
        self.task = asyncio.create_task(self._run(places, connection))

    async def _run(self, places: Places, connection: str) -> None:
        limit = asyncio.timeout(60)
        place = Place(connection, limit)
        try:
            async with limit:
                await places.take(place)
                self.has_place.set()
                await self._finish.wait()
        finally:
            places.give_back(place)

    async def finish(self) -> None:
        """Have its message whole."""
        self._finish.set()
        await self.task


def run(scene: Callable[[Places], Awaitable[None]], slow_seconds: float = 10.0) -> None:
    """Play a scene with three places, and end what is left of it."""

    async def play() -> None:
        async with asyncio.timeout(60):
            await scene(Places(3, slow_seconds))
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    asyncio.run(play())


async def calls(places: Places, *connections: str) -> list[Call]:
    """A call of each connection, begun in this order."""
    made = [Call(places, connection) for connection in connections]
    await asyncio.sleep(0)
    return made


def test_the_larger_messages_may_be_the_fewer_are_received_at_once() -> None:
    """Never more than 24, and always one."""
    for largest, count in ((1000, 24), (MOST_UNFINISHED_BYTES // 3, 3), (10 * MOST_UNFINISHED_BYTES, 1)):

        async def play(largest: int = largest, count: int = count) -> None:
            made = await calls(Places.for_large(largest), *["a"] * (count + 1))
            assert [call.has_place.is_set() for call in made] == [True] * count + [False]
            for call in made:
                call.task.cancel()
            await asyncio.gather(*(call.task for call in made), return_exceptions=True)

        asyncio.run(play())


def test_a_place_that_is_given_back_goes_to_who_has_fewest() -> None:
    """Not to who has waited longest."""

    async def scene(places: Places) -> None:
        first, *_, greedy, modest = await calls(places, "a", "a", "a", "a", "b")
        await first.finish()
        await modest.has_place.wait()
        assert not greedy.has_place.is_set()

    run(scene)


def test_a_call_that_leaves_while_it_waits_takes_no_place() -> None:
    """Also where it was given one in that moment."""

    async def scene(places: Places) -> None:
        first, *_, leaver, stayer = await calls(places, "a", "a", "a", "b", "a")
        await first.finish()
        leaver.task.cancel()
        await stayer.has_place.wait()
        assert leaver.task.cancelled()

    run(scene)


@pytest.mark.security(
    endpoint="grpc",
    attack="One connection that takes all places of unfinished messages",
    outcome="Its oldest message is ended for another connection; it keeps the others",
)
def test_the_oldest_message_of_a_connection_with_too_many_is_ended_for_another_connection() -> None:
    """Once that has waited for a moment; it keeps the others."""

    async def scene(places: Places) -> None:
        oldest, *others, modest = await calls(places, "a", "a", "a", "b")
        await modest.has_place.wait()
        with pytest.raises(TimeoutError):
            await oldest.task
        assert not any(call.task.done() for call in others)

    run(scene)


def test_a_connection_ends_no_message_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who sends more at once than there are places is refused after a while, and told when to come again."""
    monkeypatch.setattr(message_limits, "_SHARE_SECONDS", 0.0)
    monkeypatch.setattr(message_limits, "_PATIENCE_SECONDS", 0.3)

    async def scene(places: Places) -> None:
        *first, late = await calls(places, "a", "a", "a", "a")
        with pytest.raises(TooManyUnfinishedMessages) as caught:
            await late.task
        assert caught.value.retry_after
        assert not any(call.task.done() for call in first)

    run(scene)


def test_a_message_that_is_unfinished_for_long_is_ended_when_its_place_is_wanted() -> None:
    """Whichever connection wants it."""

    async def scene(places: Places) -> None:
        *first, late = await calls(places, "a", "b", "c", "c")
        await late.has_place.wait()
        ended = [call.task.exception() for call in first if call.task.done()]
        assert ended
        assert all(isinstance(error, TimeoutError) for error in ended)

    run(scene, slow_seconds=0.2)


def test_another_message_is_ended_where_the_oldest_ends_already() -> None:
    """One whose time is over, and whose call has not yet given its place back."""

    async def scene(places: Places) -> None:
        over = asyncio.timeout(0)
        with contextlib.suppress(TimeoutError):
            async with over:
                await asyncio.Event().wait()
        await places.take(Place("a", over))
        oldest, _, modest = await calls(places, "a", "a", "b")
        await modest.has_place.wait()
        with pytest.raises(TimeoutError):
            await oldest.task

    run(scene)


@pytest.mark.security(
    endpoint="grpc",
    attack="One connection whose messages take all places, and all that may wait for one",
    outcome="Its last one is refused in favour of another connection",
)
def test_where_nobody_more_may_wait_the_connection_with_most_gives_way(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The last of its calls is refused; a further one of its own is refused itself."""
    monkeypatch.setattr(message_limits, "MOST_WAITING", 2)

    async def scene(places: Places) -> None:
        *_, waits, ousted, modest = await calls(places, "a", "a", "a", "a", "a", "b")
        with pytest.raises(TooManyUnfinishedMessages):
            await ousted.task
        [refused] = await calls(places, "a")
        with pytest.raises(TooManyUnfinishedMessages):
            await refused.task
        assert not waits.task.done()
        assert not modest.task.done()

    run(scene)
