"""How many messages may be unfinished at once in a worker, and for how long.

gRPC hands a message over when it is whole, and its sender decides when that is. Of a message that nobody
has asked for it takes in one flow-control window, which server.py keeps small; of one that was asked for,
all. So a call needs a place before its message is asked for, and there are few places. Calls to models have
their own, for theirs may be larger than pictures, and so have streams of either, which have a place while
they wait for their next message. Health and reflection each have a few of their own: their messages are
small, and must not wait for slow pictures.
"""

import asyncio
from collections import Counter
from dataclasses import dataclass, field
from typing import Self

from utils.errors import TooManyUnfinishedMessages
from utils.status import RETRY_SECONDS

MIB = 1024**2

MOST_UNFINISHED = 24
MOST_UNFINISHED_BYTES = 160 * MIB
MOST_UNFINISHED_OF_STREAMS = 8
MOST_UNFINISHED_OF_HEALTH = 4
MOST_UNFINISHED_OF_REFLECTION = 2
MOST_WAITING = 256
"""Calls that may wait for a place: each may hold a flow-control window."""

_SLOW_SECONDS = 10.0
_SLOW_SECONDS_OF_SMALL = 1.0
_SHARE_SECONDS = 0.5
_PATIENCE_SECONDS = 2.0
_LOOK_SECONDS = 0.1


@dataclass(eq=False, slots=True)
class Place:
    """What a call needs to receive its message.

    Attributes:
        connection: The call's.
        limit: Of the time that the message has; its end is brought forward where the place is taken away.
        since: When the call began to wait for the place, then when it was given, by the event loop's clock.
        given: Done when it is given.
        taken_away: Whether others needed it more.
    """

    connection: str
    limit: asyncio.Timeout
    since: float = 0.0
    given: "asyncio.Future[None] | None" = field(default=None, repr=False)
    taken_away: bool = False

    @property
    def ends(self) -> bool:
        """Whether its message is being given up."""
        return self.taken_away or self.limit.expired()


class Places:
    """Places of a worker. A call without one waits for a moment, and connections with few come first.

    While calls wait, a message that has been unfinished for too long is ended. So is, after half a second,
    the oldest one of a connection that has two places more than the connection of a call that waits: who
    sends many messages and ends none holds up nobody else.

    Args:
        most: How many there are.
        slow_seconds: How long a message may be unfinished while calls wait.
    """

    def __init__(self, most: int, slow_seconds: float) -> None:
        self._most = most
        self._slow_seconds = slow_seconds
        self._taken: dict[Place, None] = {}
        self._waiting: dict[Place, None] = {}
        self._loop = asyncio.get_running_loop()
        self._looks = False

    @classmethod
    def for_large(cls, largest: int) -> Self:
        """Places for messages of so many bytes at most."""
        return cls(max(min(MOST_UNFINISHED, MOST_UNFINISHED_BYTES // largest), 1), _SLOW_SECONDS)

    @classmethod
    def for_streams(cls) -> Self:
        """Places for messages that are part of a stream, which may be idle."""
        return cls(MOST_UNFINISHED_OF_STREAMS, _SLOW_SECONDS)

    @classmethod
    def for_small(cls, most: int) -> Self:
        """Places for messages that are small where they are honest."""
        return cls(most, _SLOW_SECONDS_OF_SMALL)

    async def take(self, place: Place) -> None:
        """Return when the place is given.

        Raises:
            TooManyUnfinishedMessages: None has become free.
        """
        if len(self._taken) < self._most and not self._waiting:
            self._give(place)
            return
        if len(self._waiting) >= MOST_WAITING:
            self._make_room_for(place)
        place.since = self._loop.time()
        place.given = self._loop.create_future()
        self._waiting[place] = None
        self._look_soon()
        try:
            await place.given
        except asyncio.CancelledError:
            self.give_back(place)  # it may have been given in this moment
            raise
        finally:
            self._waiting.pop(place, None)

    def give_back(self, place: Place) -> None:
        """Let another have the place; without effect where it was not given."""
        if place not in self._taken:
            return
        del self._taken[place]
        if self._waiting:
            held = self._held()
            # Of two that have as many, the one that waits longer.
            self._give(min(self._waiting, key=lambda waiting: held[waiting.connection]))

    def _make_room_for(self, place: Place) -> None:
        """Let one wait less, the last of the connection with most of them."""
        counts = Counter(waiting.connection for waiting in self._waiting)
        [(fullest, most)] = counts.most_common(1)
        if counts[place.connection] + 1 >= most:
            raise self._refusal()
        self._refuse(next(each for each in reversed(self._waiting) if each.connection == fullest))

    def _refuse(self, place: Place) -> None:
        del self._waiting[place]
        if place.given is not None and not place.given.done():
            place.given.set_exception(self._refusal())

    def _give(self, place: Place) -> None:
        self._waiting.pop(place, None)
        self._taken[place] = None
        place.since = self._loop.time()
        if place.given is not None and not place.given.done():
            place.given.set_result(None)

    def _held(self) -> Counter[str]:
        """How many places each connection has."""
        return Counter(place.connection for place in self._taken if not place.ends)

    def _look_soon(self) -> None:
        if not self._looks:
            self._looks = True
            self._loop.call_later(_LOOK_SECONDS, self._look)

    def _look(self) -> None:
        """Refuse those that wait for too long, and make room for others; again while any wait."""
        self._looks = False
        now = self._loop.time()
        for place in [place for place in self._waiting if now - place.since > _PATIENCE_SECONDS]:
            self._refuse(place)
        if self._waiting:
            self._end_slow(now)
            self._end_surplus(now)
            self._look_soon()

    def _end_slow(self, now: float) -> None:
        slow = [place for place in self._taken if now - place.since > self._slow_seconds and not place.ends]
        for place in slow[: len(self._waiting)]:
            self._take_away(place)

    def _end_surplus(self, now: float) -> None:
        held = self._held()
        waiting = {place.connection for place in self._waiting if now - place.since > _SHARE_SECONDS}
        for connection in sorted(waiting, key=lambda each: held[each]):
            [(richest, most)] = held.most_common(1) or [("", 0)]
            if most < held[connection] + 2:
                return
            self._take_away(
                next(place for place in self._taken if place.connection == richest and not place.ends)
            )
            held[richest] -= 1
            held[connection] += 1

    def _take_away(self, place: Place) -> None:
        place.taken_away = True
        place.limit.reschedule(self._loop.time())

    def _refusal(self) -> TooManyUnfinishedMessages:
        return TooManyUnfinishedMessages(
            f"{len(self._taken)} messages are unfinished already, and at most {self._most} may be.",
            retry_after=RETRY_SECONDS,
        )
