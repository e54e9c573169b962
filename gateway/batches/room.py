"""How many pictures of a batch, and how many of their bytes, there are at once."""

import threading
from collections.abc import Callable

from utils.errors import Cancelled

MOST_ITEMS = 16
"""Of one batch that are read or answered at once."""
_FIRST_ITEMS = 2
"""More would take the CPU from the one that is answered first, and from what is read."""


class Room:
    """Places for the pictures that are read or answered.

    A batch begins with few at once. Each that is done in good time makes room for one more; each that is
    not, or for which the backend has no room, takes one place away. Else many would wait in the backend
    until their time is over.

    Args:
        most_bytes: Of all of them together, unless there is one alone.
    """

    def __init__(self, most_bytes: int) -> None:
        self._changed = threading.Condition()
        self._most_bytes = most_bytes
        self._most_items = _FIRST_ITEMS
        self._items = self._bytes = 0
        self._closed = False

    def enter(self) -> None:
        """Wait for a place.

        Raises:
            Cancelled: The room is closed.
        """
        with self._changed:
            self._wait_for(lambda: self._items < self._most_items)
            self._items += 1

    def add(self, size: int) -> None:
        """Wait until there may be so many bytes more, of the one that has entered last.

        Raises:
            Cancelled: The room is closed.
        """
        with self._changed:
            self._wait_for(lambda: self._items == 1 or self._bytes + size <= self._most_bytes)
            self._bytes += size

    def leave(self, size: int, *, slow: bool = False) -> None:
        """Give a place back, and so many bytes; `slow` says whether there should be fewer places."""
        with self._changed:
            self._items -= 1
            self._bytes -= size
            if slow:
                self.shrink()
            else:
                self._most_items = min(self._most_items + 1, MOST_ITEMS)
            self._changed.notify_all()

    def shrink(self) -> None:
        """Have one place fewer."""
        with self._changed:
            self._most_items = max(self._most_items - 1, 1)

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
