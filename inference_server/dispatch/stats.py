"""One block of memory that all workers share: a row for each slot.

Every value is an aligned word of 8 bytes, so a reader sees the old one or the new one, without a lock. The
supervisor begins a row, with its generation, when it starts a worker there, and clears it when that worker is
dead; the worker, its owner, writes the rest. The rows of workers come first, those of model workers after
them, then the table of payloads that kill, which the supervisor writes, and the counters.
"""

import mmap
import os
import sys
from typing import TypeVar

from inference_server.dispatch.counters import Counters
from inference_server.dispatch.poison import TABLE_BYTES, PoisonTable
from inference_server.dispatch.row import (
    BYTES,
    COMPUTED,
    CONSUMING,
    COST,
    COUNT,
    IN_FLIGHT,
    KEYS_BYTES,
    LAST_PROGRESS,
    RATE,
    WAITING,
    WAITING_WORDS,
    WorkerStats,
    row_bytes,
)

AnyNumber = TypeVar("AnyNumber", int, float)

_LINE_BYTES = 64  # of a cache line


class _Part:
    """The rows of workers, or those of model workers, and columns: one word of each of them, as it is now."""

    def __init__(self, memory: memoryview, length: int) -> None:
        starts = range(0, len(memory), length)
        self.rows = tuple(WorkerStats(memory[start : start + length]) for start in starts)
        self._words, self._reals, self._step = memory.cast("Q"), memory.cast("d"), length // 8
        self.rates = self.reals(RATE)
        self.progress = self.reals(LAST_PROGRESS)
        self._consuming, self.in_flight = self.words(CONSUMING), self.words(IN_FLIGHT)
        self._first_keys, self._computed = self.words((length - KEYS_BYTES) // 8), self.words(COMPUTED)

    def words(self, place: int) -> memoryview:
        return self._words[place :: self._step]

    def reals(self, place: int) -> "memoryview[float]":
        return self._reals[place :: self._step]

    def of_consumers(self, queue: int, column: "memoryview[AnyNumber]") -> "list[AnyNumber]":
        taken = queue + 1
        return [value for value, word in zip(column, self._consuming, strict=True) if word == taken]

    def holders(self, queue: int, key: bytes) -> list[WorkerStats]:
        taken, first = queue + 1, _first_word(key)
        # Most rows are sorted out by three words.
        words = zip(self.rows, self._consuming, self.in_flight, self._first_keys, strict=True)
        return [
            row
            for row, consuming, count, word in words
            if consuming == taken and (count > 1 or (count and word == first)) and row.holds(key)
        ]

    def has_computed(self, key: bytes) -> bool:
        return _first_word(key) in self._computed and any(row.has_computed(key) for row in self.rows)


class SharedStats:
    """All rows, the table of payloads that kill, and the counters.

    Attributes:
        rows: Of workers, then of model workers: a slot is a place here.
        poison: The table of payloads that kill.
        counters: What was counted, by slot.

    Args:
        descriptor: Of the file in memory.
        slots: How many rows of workers it has.
        model_slots: How many rows of model workers it has.
        queues: How many queues each row tells of. Workers take from queue 0, model workers from the others.
    """

    def __init__(self, descriptor: int, slots: int, model_slots: int = 0, queues: int = 1) -> None:
        length = row_bytes(queues)
        workers, rows = slots * length, (slots + model_slots) * length
        size = self.size(slots, model_slots, queues)
        os.ftruncate(descriptor, size)
        memory = memoryview(mmap.mmap(descriptor, size))
        self._workers = _Part(memory[:workers], length)
        self._model_workers = _Part(memory[workers:rows], length)
        self.rows = self._workers.rows + self._model_workers.rows
        self.poison = PoisonTable(memory[rows : rows + TABLE_BYTES])
        counters = Counters.size(slots, slots + model_slots, queues)
        self.counters = Counters(memory[-counters:], slots, slots + model_slots, queues)
        # Kept, for they are summed twice a request.
        places = range(WAITING, WAITING + WAITING_WORDS * queues, WAITING_WORDS)
        self._counts = [self._workers.words(place + COUNT) for place in places]
        self._costs = [self._workers.reals(place + COST) for place in places]
        self._sizes = self._workers.words(BYTES)

    @staticmethod
    def size(slots: int, model_slots: int, queues: int) -> int:
        """Bytes of the file, with arguments as of the class."""
        rows = (slots + model_slots) * row_bytes(queues)
        # Counters begin with a cache line.
        before = _LINE_BYTES * -(-(rows + TABLE_BYTES) // _LINE_BYTES)
        return before + Counters.size(slots, slots + model_slots, queues)

    def waiting(self, queue: int) -> tuple[int, int, float]:
        """What waits, received by any worker: requests of a queue, bytes of all queues, cost of the queue."""
        # The rows of nobody are zero, and model workers receive no calls.
        return sum(self._counts[queue]), sum(self._sizes), sum(self._costs[queue])

    def rates(self, queue: int) -> list[float]:
        """Seconds that a unit of cost took lately, of each consumer of a queue; 0 before its first."""
        part = self._part(queue)
        return part.of_consumers(queue, part.rates)

    def computing(self, queue: int) -> int:
        """How many requests the consumers of a queue have in flight."""
        part = self._part(queue)
        return sum(part.of_consumers(queue, part.in_flight))

    def consumers(self, queue: int) -> int:
        """How many processes take from a queue."""
        return len(self.rates(queue))

    def progressed(self, queue: int) -> float:
        """When a consumer of a queue last made progress; 0 where it has none."""
        part = self._part(queue)
        return max(part.of_consumers(queue, part.progress), default=0.0)

    def holders(self, queue: int, key: bytes) -> list[WorkerStats]:
        """The rows of the queue's consumers that have this payload in flight."""
        return self._part(queue).holders(queue, key)

    def has_computed(self, queue: int, key: bytes) -> bool:
        """Whether this is what a consumer computed last."""
        return self._part(queue).has_computed(key)

    def is_alive(self, slot: int, generation: int) -> bool:
        """Whether this very worker still has its slot."""
        return self.rows[slot].generation == generation

    def _part(self, queue: int) -> _Part:
        return self._model_workers if queue else self._workers


def _first_word(key: bytes) -> int:
    return int.from_bytes(key[:8], sys.byteorder)
