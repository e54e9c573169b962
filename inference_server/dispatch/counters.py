"""The counters of a backend in shared memory, by version of a model and by slot.

What is counted for a version is its *series*. A queue has one at a time; the supervisor says which before the
version of the queue can be called. A version that comes back gets the series that it had.
"""

from typing import Final

from inference_server.dispatch.families import (
    COMPUTED,
    EXITS,
    KEY_REQUESTS,
    RECEIVED,
    SUPERVISED,
    ExitCause,
)
from utils.counters import Layout, Table
from utils.key_counters import KeyTable

NO_QUEUE: Final = -1
"""Of calls that are for no model that there is."""

FACES: Final = 0
"""The series of queue 0."""
NO_MODEL: Final = 1
"""The series of `NO_QUEUE`, and of a queue that nobody has."""
OF_MODELS: Final = range(2, 66)
"""The series of other versions: twice as many as there can be at once."""
SERIES: Final = OF_MODELS.stop
"""How many there are in all."""

_WORD_BYTES = 8
_LINE_BYTES = 64  # of a cache line


class Counters:
    """All of them, in one block of memory.

    Attributes:
        received: By the slots of workers.
        computed: By all slots.
        supervised: The supervisor's own, in one row.
        keys: By the names of keys and the slots of workers.

    Args:
        memory: `Counters.size` bytes, zero at first.
        slots: How many slots of workers there are.
        all_slots: How many with those of model workers.
        queues: How many queues.
    """

    def __init__(self, memory: memoryview, slots: int, all_slots: int, queues: int) -> None:
        self._series_of = memory[: _WORD_BYTES * (queues + 1)].cast("Q")
        start = _head_size(queues)
        tables = []
        for layout, rows in _tables(slots, all_slots):
            end = start + Table.size(layout, rows, SERIES)
            tables.append(Table(memory[start:end], layout, rows, SERIES))
            start = end
        self.received, self.computed, self.supervised = tables
        self.keys = KeyTable(memory[start:], KEY_REQUESTS, slots)

    @staticmethod
    def size(slots: int, all_slots: int, queues: int) -> int:
        """Bytes that they take."""
        tables = sum(Table.size(layout, rows, SERIES) for layout, rows in _tables(slots, all_slots))
        return _head_size(queues) + tables + KeyTable.size(KEY_REQUESTS, slots)

    def series_of(self, queue: int) -> int:
        """The series that is counted for a queue, or for NO_QUEUE."""
        return self._series_of[queue]

    def mapping(self) -> tuple[int, ...]:
        """The series of all queues, and of NO_QUEUE."""
        return tuple(self._series_of)

    def receiver(self, slot: int) -> "SlotCounters":
        """What the event loop of a worker in a slot counts."""
        return SlotCounters(self._series_of, self.received, slot)

    def consumer(self, slot: int) -> "SlotCounters":
        """What the consumer of a process in a slot counts."""
        return SlotCounters(self._series_of, self.computed, slot)

    # --- the supervisor's ---

    def start(self) -> None:
        """Have no queue but that of faces counted for a version, before any process counts."""
        for queue in range(len(self._series_of)):
            self._series_of[queue] = NO_MODEL
        self._series_of[0] = FACES

    def assign(self, queue: int, series: int) -> None:
        """Have a queue counted in a series."""
        self._series_of[queue] = series

    def begin(self, series: int) -> None:
        """Count a series from 0 again."""
        for table in (self.received, self.computed, self.supervised):
            table.begin(series)

    def count_exit(self, queue: int | None, cause: ExitCause) -> None:
        """Count a process that has ended, which took from a queue; None: the admin process."""
        series = self._series_of[NO_QUEUE if queue is None else queue]
        self.supervised.block(0, series)[SUPERVISED.place(EXITS) + [*ExitCause].index(cause)] += 1


class SlotCounters:
    """What one thread counts in its process's slot.

    Args:
        series_of: The series by queue.
        table: Of the blocks.
        slot: The process's.
    """

    def __init__(self, series_of: memoryview, table: Table, slot: int) -> None:
        self._series_of = series_of
        self._table, self._slot = table, slot
        self._blocks: dict[int, memoryview] = {}

    def of(self, queue: int) -> memoryview:
        """The words for a queue, or for NO_QUEUE."""
        series = self._series_of[queue]
        try:
            return self._blocks[series]
        except KeyError:
            return self._blocks.setdefault(series, self._table.block(self._slot, series))


def _head_size(queues: int) -> int:
    return _LINE_BYTES * -(-_WORD_BYTES * (queues + 1) // _LINE_BYTES)


def _tables(slots: int, all_slots: int) -> tuple[tuple[Layout, int], ...]:
    return (RECEIVED, slots), (COMPUTED, all_slots), (SUPERVISED, 1)
