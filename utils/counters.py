"""Counters in memory that processes share: their words belong to a row, and not to the process that has it.

The next process of a row counts on from where the one before it stopped, so the sum over all rows is the sum
over all processes that ever lived, however they ended. Every value is an aligned word of 8 bytes, a whole
number, with one writer at a time: a reader sees the old one or the new one, without a lock.
"""

import sys
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final, NamedTuple
from zlib import crc32

NANOSECOND: Final = 1e-9
SECOND: Final = 1_000_000_000
"""In nanoseconds, in which times are counted."""
DURATIONS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Upper bounds in seconds of the buckets of durations."""

_WORD_BYTES = 8
_LINE_BYTES = 64  # of a cache line


@dataclass(frozen=True, slots=True)
class Counter:
    """What only grows.

    Attributes:
        name: As it is exported.
        about: What it counts.
        labels: By which its words differ, beside those of its block.
        values: Of these labels, for each word.
        unit: What 1 of a word is in what is exported.
        sparse: Whether words that are 0 are not exported.
    """

    name: str
    about: str
    labels: tuple[str, ...] = ()
    values: tuple[tuple[str, ...], ...] = ((),)
    unit: float = 1.0
    sparse: bool = False

    @property
    def words(self) -> int:
        """How many it has."""
        return len(self.values)


@dataclass(frozen=True, slots=True)
class Histogram:
    """How many observations lie below some bounds, and their sum.

    It has a word for each bucket, one for what is above the last bound, and one for the sum.

    Attributes:
        name: As it is exported.
        about: What is observed.
        bounds: The upper bounds of its buckets, as they are exported.
        unit: What 1 of an observation is in what is exported.
        sparse: Whether it is not exported before its first observation.
    """

    name: str
    about: str
    bounds: tuple[float, ...] = DURATIONS
    unit: float = NANOSECOND
    sparse: bool = False

    @property
    def words(self) -> int:
        """How many it has."""
        return len(self.bounds) + 2


Family = Counter | Histogram


class Buckets(NamedTuple):
    """Where a histogram is in a block.

    Attributes:
        first: Its first word.
        limits: The bounds of its buckets as observations are.
        total: The word with the sum.
    """

    first: int
    limits: tuple[int, ...]
    total: int


class Layout:
    """Which words of a block are whose.

    Attributes:
        families: In their order.
        size: Of a block, in bytes: whole cache lines, so that neighbours do not disturb each other.
        fingerprint: Differs where the same word would count something else.
    """

    def __init__(self, *families: Family) -> None:
        self.families = families
        self._places: dict[str, int] = {}
        words = 0
        for family in families:
            self._places[family.name] = words
            words += family.words
        self.size = _LINE_BYTES * -(-words * _WORD_BYTES // _LINE_BYTES)
        self.fingerprint = crc32(repr([_meaning(family) for family in families]).encode())

    def place(self, family: Family) -> int:
        """The first word of a family."""
        return self._places[family.name]

    def buckets(self, family: Histogram) -> Buckets:
        """The words of a histogram."""
        first, limits = self.place(family), tuple(round(bound / family.unit) for bound in family.bounds)
        return Buckets(first, limits, first + len(limits) + 1)


def _meaning(family: Family) -> tuple[object, ...]:
    what = family.values if isinstance(family, Counter) else family.bounds
    return type(family).__name__, family.name, what, family.unit


def observe(block: memoryview, buckets: Buckets, value: int) -> None:
    """Add an observation to a histogram of a block."""
    first, limits, total = buckets
    block[first + bisect_left(limits, value)] += 1
    block[total] += value


class Table:
    """Blocks of one layout: one for each series in each row.

    Args:
        memory: `Table.size` bytes, zero at first.
        layout: Of the blocks.
        rows: How many rows there are.
        series: How many things are counted.
    """

    def __init__(self, memory: memoryview, layout: Layout, rows: int, series: int) -> None:
        self._memory, self._layout, self._rows, self._series = memory, layout, rows, series

    @staticmethod
    def size(layout: Layout, rows: int, series: int) -> int:
        """Bytes of memory that a table takes."""
        return layout.size * series * (rows + 1)

    def block(self, row: int, series: int) -> memoryview:
        """The words of a series in a row, to be written by the process that has the row."""
        return self._slice(row, series).cast("Q")

    def rows(self, series: int) -> Iterator[tuple[int, "Words"]]:
        """What each row has counted of a series, of those that have counted any of it."""
        for row in range(self._rows):
            counted = self._sum([self._slice(row, series)])
            if counted:
                yield row, Words(self._layout, counted)

    def sums(self, series: int) -> "Words":
        """What all rows have counted of a series since it was begun."""
        counted = self._sum(self._slice(row, series) for row in range(self._rows))
        return Words(self._layout, counted - self._sum([self._slice(self._rows, series)]))

    def begin(self, series: int) -> None:
        """Count a series from 0 again; for one process alone, while nobody counts it."""
        # Words have one writer each, so they stay, and what they are now is taken off from now on.
        counted = self._sum(self._slice(row, series) for row in range(self._rows))
        self._slice(self._rows, series)[:] = counted.to_bytes(self._layout.size, sys.byteorder)

    def _slice(self, row: int, series: int) -> memoryview:
        start = self._layout.size * (row * self._series + series)
        return self._memory[start : start + self._layout.size]

    @staticmethod
    def _sum(blocks: Iterable[memoryview]) -> int:
        """Blocks added word by word, as one number: no word carries into the next, for none reaches 2**64."""
        return sum(int.from_bytes(block, sys.byteorder) for block in blocks)


class Words:
    """The words of a block at one time.

    Args:
        layout: Of the block.
        number: All of its words, as one number.
    """

    def __init__(self, layout: Layout, number: int) -> None:
        self._layout = layout
        self._words = memoryview(number.to_bytes(layout.size, sys.byteorder)).cast("Q")

    def of(self, family: Family) -> list[int]:
        """The words of a family."""
        place = self._layout.place(family)
        return self._words[place : place + family.words].tolist()
