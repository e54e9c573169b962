"""Counters by the names of keys, in memory that processes share: each row has a list of names of its own.

The process that has a row adds a name when it counts it for the first time, and its successor goes on with
the list. So no process waits for another one, and what was counted for a name stays as long as the memory.
"""

import sys
from collections.abc import Iterator
from typing import Final

from utils.counters import Counter, Layout, Words

NO_KEY: Final = ""
"""The name for requests whose key is not known, and for names that have no room."""

MOST_NAMES: Final = 1000
"""In one row: as many as a file of keys can have."""

_HEAD_BYTES: Final = 64  # a cache line, of which the first word says how many names there are
NAME_BYTES: Final = 64
"""Of the longest name."""


class KeyTable:
    """One counter for each name, in each row.

    Args:
        memory: `KeyTable.size` bytes, zero at first.
        family: What is counted.
        rows: How many rows there are.
    """

    def __init__(self, memory: memoryview, family: Counter, rows: int) -> None:
        self._family, self._layout = family, Layout(family)
        length = self.size(family, 1)
        self._rows = [
            _Row(memory[start : start + length], self._layout.size)
            for start in range(0, rows * length, length)
        ]

    @staticmethod
    def size(family: Counter, rows: int) -> int:
        """Bytes of memory that a table takes."""
        return rows * (_HEAD_BYTES + (1 + MOST_NAMES) * (NAME_BYTES + Layout(family).size))

    def words(self, row: int) -> "KeyWords":
        """The words of a row, to be written by the process that has it."""
        return KeyWords(self._rows[row])

    def sums(self) -> list[tuple[tuple[str], list[int]]]:
        """What all rows have counted: the words of each name."""
        sums: dict[bytes, int] = {}
        for row in self._rows:
            for name, block in row.all():
                sums[name] = sums.get(name, 0) + int.from_bytes(block, sys.byteorder)
        return [((_text(name),), Words(self._layout, total).of(self._family)) for name, total in sums.items()]


class _Row:
    """A row: how many names it has, the names, and a block of words for each of them."""

    def __init__(self, memory: memoryview, block_bytes: int) -> None:
        self._head = memory[:_HEAD_BYTES].cast("Q")
        blocks = _HEAD_BYTES + (1 + MOST_NAMES) * NAME_BYTES
        self._names, self._blocks = memory[_HEAD_BYTES:blocks], memory[blocks:]
        self._block_bytes = block_bytes

    @property
    def count(self) -> int:
        """How many names it has beside NO_KEY, which has number 0."""
        return int(self._head[0])

    def all(self) -> Iterator[tuple[bytes, memoryview]]:
        """Each name, as it is in memory, and its block; the first one is NO_KEY."""
        for number in range(1 + self.count):
            yield bytes(self._names[number * NAME_BYTES : (number + 1) * NAME_BYTES]), self.block(number)

    def block(self, number: int) -> memoryview:
        return self._blocks[number * self._block_bytes : (number + 1) * self._block_bytes]

    def add(self, name: str) -> int:
        """Give a name a number; NO_KEY's where there is no room for more."""
        number = self.count + 1
        if number > MOST_NAMES:
            return 0
        self._names[number * NAME_BYTES : (number + 1) * NAME_BYTES] = name.encode().ljust(NAME_BYTES, b"\0")
        self._head[0] = number  # last, so that nobody reads a part of the name
        return number


class KeyWords(dict[str, memoryview]):
    """The words of each name in a row; those of NO_KEY for names that have no room.

    It has one thread, or a lock around it.

    Args:
        row: The process's.
    """

    def __init__(self, row: _Row) -> None:
        super().__init__((_text(name), block.cast("Q")) for name, block in row.all())
        self._row = row

    def __missing__(self, name: str) -> memoryview:
        number = self._row.add(name)
        if not number:
            return self[NO_KEY]
        words = self[name] = self._row.block(number).cast("Q")
        return words


def _text(name: bytes) -> str:
    return name.rstrip(b"\0").decode()
