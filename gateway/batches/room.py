"""How many pictures of a batch, and how many of their bytes, there are at once."""

import math
import threading
from collections.abc import Callable

from utils.domain import Detection
from utils.errors import Cancelled, DeadlineExceeded, FacetError, Overloaded

MOST_ITEMS = 16
"""Of one batch that are read or answered at once."""
_FIRST_ITEMS = 2
"""More would take the CPU from the one that is answered first, and from what is read."""

_GOOD_WAIT = 0.5
"""Seconds in the backend's queue that a picture is to have."""
_WAITING_SHARE = 0.25
"""Of the time that a picture has; a good wait is no longer, either."""
_FEWER = 0.5
"""Of the places, where the backend has no room or no time."""


class Room:
    """Places for the pictures that are read or answered.

    A batch begins with few at once. Then there are so many that each waits for about half a second in the
    backend's queue: with more of them none would be done earlier, and callers who name no time would be
    refused (FACET_QUEUE_SECONDS).

    Args:
        most_bytes: Of all of them together, unless there is one alone.
        seconds: That each has for its answer.
    """

    def __init__(self, most_bytes: int, seconds: float) -> None:
        self._changed = threading.Condition()
        self._most_bytes = most_bytes
        self._good_wait = min(_GOOD_WAIT, seconds * _WAITING_SHARE)
        self._most_items = _FIRST_ITEMS
        self._items = self._bytes = 0
        self._closed = False

    def enter(self) -> int:
        """Wait for a place; gives how many there are where it was the last one, else 0.

        Raises:
            Cancelled: The room is closed.
        """
        with self._changed:
            self._wait_for(lambda: self._items < self._most_items)
            self._items += 1
            return self._most_items if self._items == self._most_items else 0

    def add(self, size: int) -> None:
        """Wait until there may be so many bytes more, of the one that has entered last.

        Raises:
            Cancelled: The room is closed.
        """
        with self._changed:
            self._wait_for(lambda: self._items == 1 or self._bytes + size <= self._most_bytes)
            self._bytes += size

    def leave(self, size: int) -> None:
        """Give a place back, and so many bytes."""
        with self._changed:
            self._items -= 1
            self._bytes -= size
            self._changed.notify_all()

    def learn(self, places: int, outcome: Detection | FacetError) -> None:
        """Have more places or fewer, by what came of a picture.

        Nothing happens where there are no longer as many as when it entered: how a picture fares is known
        late, and several of them must not tell the same thing.

        Args:
            places: What `enter` gave for it.
            outcome: Its answer, or why it had none for now.
        """
        with self._changed:
            if self._most_items == places:
                wanted = math.ceil(places * self._factor(outcome))
                self._most_items = min(max(wanted, 1), MOST_ITEMS)
                self._changed.notify_all()

    def _factor(self, outcome: Detection | FacetError) -> float:
        """How many times as many places there should be.

        The time that a picture has in the backend, with its wait, is taken to be in proportion to the places.
        """
        if isinstance(outcome, FacetError):
            return _FEWER if isinstance(outcome, Overloaded | DeadlineExceeded) else 1.0
        total, waited = outcome.timings.total_ms, outcome.timings.queue_ms
        return (total - waited + self._good_wait * 1000) / max(total, 1.0)

    def wait_until_empty(self) -> None:
        """Wait until all have left.

        Raises:
            Cancelled: The room is closed.
        """
        with self._changed:
            self._wait_for(lambda: self._items == 0)

    def close(self) -> None:
        """Let nobody wait any more."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _wait_for(self, condition: Callable[[], bool]) -> None:
        self._changed.wait_for(lambda: self._closed or condition())
        if self._closed:
            raise Cancelled("The batch was given up.")
