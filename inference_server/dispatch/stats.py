"""One block of memory that all workers share: a row for each slot.

Every value is an aligned word of 8 bytes, so a reader sees the old one or the new one, without a lock. The
supervisor begins a row, with its generation, when it starts a worker there, and clears it when that worker is
dead; the worker, its owner, writes the rest. At the end of each row are three words for each queue: what the
owner has sent there and not answered. Behind the rows is the table of payloads that kill, which the
supervisor writes.
"""

import mmap
import os

from inference_server.dispatch.poison import KEY_BYTES, TABLE_BYTES, PoisonTable

_GENERATION = 0
_HEARTBEAT = 1
_LAST_PROGRESS = 2
_PROGRESS_DUE = 3
_BUSY = 4
_CONSUMING = 5  # the number of the queue plus 1
_RATE = 6
_HANDLED = 7
_BYTES = 8  # waiting, of all queues
_KEY = 9
_COMPUTED = 13
_WAITING = 15  # for each queue:
_COUNT, _SIZE, _COST, _WAITING_WORDS = 0, 1, 2, 3

_LINE_WORDS = 8  # of a cache line
_COMPUTED_BYTES = KEY_BYTES // 2  # is enough


def row_bytes(queues: int) -> int:
    """Length of a row: whole cache lines, so that neighbours do not disturb each other."""
    words = _WAITING + _WAITING_WORDS * queues
    return 8 * _LINE_WORDS * -(-words // _LINE_WORDS)


class WorkerStats:
    """One worker's row. Times are of the monotonic clock, which all processes of a machine share."""

    def __init__(self, memory: memoryview) -> None:
        self._bytes = memory
        self._words = memory.cast("Q")
        self._reals = memory.cast("d")

    # --- the supervisor's ---

    @property
    def generation(self) -> int:
        """Which worker has the slot: no two ever have the same number. 0: none."""
        return self._words[_GENERATION]

    def assign(self, generation: int, now: float) -> None:
        """Give the slot to a worker that is about to start."""
        self.clear()
        self._reals[_HEARTBEAT] = now
        self.show_progress(now)
        self._words[_GENERATION] = generation

    def clear(self) -> None:
        """Take the slot from a worker that is dead. Its generation goes first: it is what others look at."""
        for word in range(len(self._words)):
            self._words[word] = 0

    # --- the owner's event loop ---

    @property
    def heartbeat(self) -> float:
        """When the event loop last turned."""
        return self._reals[_HEARTBEAT]

    @heartbeat.setter
    def heartbeat(self, now: float) -> None:
        self._reals[_HEARTBEAT] = now

    def waiting(self, queue: int) -> tuple[int, int, float]:
        """Requests received here for a queue and not answered yet: how many, payload bytes, cost."""
        place = _WAITING + _WAITING_WORDS * queue
        return self._words[place + _COUNT], self._words[place + _SIZE], self._reals[place + _COST]

    def add_waiting(self, queue: int, count: int, size: int, cost: float) -> None:
        """Change what waits for a queue by so much, which is negative for what has been answered."""
        place = _WAITING + _WAITING_WORDS * queue
        self._words[place + _COUNT] += count
        self._words[place + _SIZE] += size
        self._words[_BYTES] += size
        self._reals[place + _COST] += cost

    # --- the owner's consumer ---

    @property
    def last_progress(self) -> float:
        """When the consumer last made progress."""
        return self._reals[_LAST_PROGRESS]

    @property
    def progress_due(self) -> float:
        """From when on a consumer that has a request in flight and makes no progress may be hung."""
        return self._reals[_PROGRESS_DUE]

    def show_progress(self, now: float, grace: float = 0.0) -> None:
        """Say that the consumer makes progress now, and may make no other for so many seconds."""
        self._reals[_LAST_PROGRESS] = now
        self._reals[_PROGRESS_DUE] = now + grace

    @property
    def consuming(self) -> int | None:
        """The queue that the consumer takes from; None while its worker boots, and when it leaves."""
        taken = self._words[_CONSUMING]
        return taken - 1 if taken else None

    @consuming.setter
    def consuming(self, queue: int | None) -> None:
        self._words[_CONSUMING] = 0 if queue is None else queue + 1

    @property
    def busy(self) -> bool:
        """Whether the consumer has a request in flight."""
        return bool(self._words[_BUSY])

    @busy.setter
    def busy(self, busy: bool) -> None:
        self._words[_BUSY] = busy

    @property
    def rate(self) -> float:
        """Seconds that a unit of cost took lately; 0 before the first."""
        return self._reals[_RATE]

    @rate.setter
    def rate(self, seconds: float) -> None:
        self._reals[_RATE] = seconds

    @property
    def handled(self) -> int:
        """Requests that the consumer has computed."""
        return self._words[_HANDLED]

    @handled.setter
    def handled(self, count: int) -> None:
        self._words[_HANDLED] = count

    @property
    def key(self) -> bytes | None:
        """The key of the payload in flight; None where there is none."""
        key = bytes(self._bytes[8 * _KEY : 8 * _KEY + KEY_BYTES])
        return key if any(key) else None

    @key.setter
    def key(self, key: bytes | None) -> None:
        self._bytes[8 * _KEY : 8 * _KEY + KEY_BYTES] = key or bytes(KEY_BYTES)

    def holds(self, key: bytes) -> bool:
        """Whether this is the key of the payload in flight."""
        return self._bytes[8 * _KEY : 8 * _KEY + KEY_BYTES] == key

    def note_computed(self, key: bytes) -> None:
        """Show the key of the payload that was just computed."""
        self._bytes[8 * _COMPUTED : 8 * _COMPUTED + _COMPUTED_BYTES] = key[:_COMPUTED_BYTES]

    def has_computed(self, key: bytes) -> bool:
        """Whether this is the key that was shown last."""
        return self._bytes[8 * _COMPUTED : 8 * _COMPUTED + _COMPUTED_BYTES] == key[:_COMPUTED_BYTES]


class SharedStats:
    """All rows, and the table of payloads that kill.

    Args:
        descriptor: Of the file in memory.
        slots: How many rows it has.
        queues: How many queues each row tells of.
    """

    def __init__(self, descriptor: int, slots: int, queues: int = 1) -> None:
        length = row_bytes(queues)
        rows, size = slots * length, slots * length + TABLE_BYTES
        os.ftruncate(descriptor, size)
        memory = memoryview(mmap.mmap(descriptor, size))
        self.rows = tuple(WorkerStats(memory[start : start + length]) for start in range(0, rows, length))
        self._step = length // 8
        self._words = memory[:rows].cast("Q")
        self._reals = memory[:rows].cast("d")
        self.poison = PoisonTable(memory[rows:])

    def waiting(self, queue: int) -> tuple[int, int, float]:
        """What all rows have waiting: requests of a queue, payload bytes of all queues, cost of the queue."""
        # By columns: it is asked for twice a request. The rows of nobody are zero.
        place = _WAITING + _WAITING_WORDS * queue
        return (
            sum(self._words[place + _COUNT :: self._step]),
            sum(self._words[_BYTES :: self._step]),
            sum(self._reals[place + _COST :: self._step]),
        )

    def rates(self, queue: int) -> list[float]:
        """Seconds that a unit of cost took lately, of each consumer of a queue; 0 before its first."""
        return self._of_consumers(queue, _RATE)

    def progressed(self, queue: int) -> float:
        """When a consumer of a queue last made progress; 0 where it has none."""
        return max(self._of_consumers(queue, _LAST_PROGRESS), default=0.0)

    def _of_consumers(self, queue: int, column: int) -> list[float]:
        taken = queue + 1
        columns = zip(self._reals[column :: self._step], self._words[_CONSUMING :: self._step], strict=True)
        return [value for value, word in columns if word == taken]

    def is_alive(self, slot: int, generation: int) -> bool:
        """Whether this very worker still has its slot."""
        return self.rows[slot].generation == generation
