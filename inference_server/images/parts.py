"""A bound on what a header may cost: its parts (segments, chunks, blocks, boxes, entries) are counted.

A photograph's header has a few dozen, while ten megabytes may hold millions of empty ones.
"""

from typing import NoReturn

from utils.errors import BrokenImage

MAX_PARTS = 4096
"""How many parts of a header are looked at. Each costs a microsecond or two."""


class Parts:
    """The parts of one file's header that have been looked at."""

    __slots__ = ("_left", "_name")

    def __init__(self, name: str) -> None:
        """Count for a file of this format."""
        self._name = name
        self._left = MAX_PARTS

    def count(self, more: int = 1) -> None:
        """Count one more, or several.

        Raises:
            BrokenImage: They are too many.
        """
        self._left -= more
        if self._left < 0:
            self.refuse(f"more than {MAX_PARTS} parts")

    def refuse(self, what: str) -> NoReturn:
        """Refuse the file for what its header has.

        Raises:
            BrokenImage: Always.
        """
        raise BrokenImage(f"the {self._name} image's header has {what}", field="image")
