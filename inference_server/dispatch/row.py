"""One worker's row in the memory that all workers share: words of 8 bytes, then keys.

Two words for each queue say what the worker has sent there and not answered. At the end are the keys of the
payloads that its consumer has in flight.
"""

from collections.abc import Sequence

from inference_server.dispatch.poison import KEY_BYTES, find_key

MOST_IN_FLIGHT = 64
"""Requests that a consumer has in flight at once."""

_GENERATION = 0
_HEARTBEAT = 1
LAST_PROGRESS = 2
_PROGRESS_DUE = 3
_BUSY = 4
CONSUMING = 5  # the number of the queue plus 1
RATE = 6
_HANDLED = 7
BYTES = 8  # waiting, of all queues
IN_FLIGHT = 9  # how many keys are valid, of those at the end of the row
COMPUTED = 10
WAITING = 12  # for each queue:
COUNT, COST, WAITING_WORDS = 0, 1, 2

_LINE_WORDS = 8  # of a cache line
_COMPUTED_BYTES = KEY_BYTES // 2  # is enough
KEYS_BYTES = MOST_IN_FLIGHT * KEY_BYTES


def row_bytes(queues: int) -> int:
    """Length of a row: whole cache lines, so that neighbours do not disturb each other."""
    words = WAITING + WAITING_WORDS * queues + KEYS_BYTES // 8
    return 8 * _LINE_WORDS * -(-words // _LINE_WORDS)


class WorkerStats:
    """One worker's row. Times are of the monotonic clock, which all processes of a machine share."""

    def __init__(self, memory: memoryview) -> None:
        self._bytes = memory
        self._words = memory.cast("Q")
        self._reals = memory.cast("d")
        self._keys = memory[-KEYS_BYTES:]

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

    def add_waiting(self, queue: int, count: int, size: int, cost: float) -> None:
        """Change what waits for a queue by so much, which is negative for what has been answered."""
        place = WAITING + WAITING_WORDS * queue
        self._words[place + COUNT] += count
        self._words[BYTES] += size
        self._reals[place + COST] += cost

    # --- the owner's consumer ---

    @property
    def last_progress(self) -> float:
        """When the consumer last made progress."""
        return self._reals[LAST_PROGRESS]

    @property
    def progress_due(self) -> float:
        """From when on a consumer that has a request in flight and makes no progress may be hung."""
        return self._reals[_PROGRESS_DUE]

    def show_progress(self, now: float, grace: float = 0.0) -> None:
        """Say that the consumer makes progress now, and may make no other for so many seconds."""
        self._reals[LAST_PROGRESS] = now
        self._reals[_PROGRESS_DUE] = now + grace

    @property
    def consuming(self) -> int | None:
        """The queue that the consumer takes from; None while its worker boots, and when it leaves."""
        taken = self._words[CONSUMING]
        return taken - 1 if taken else None

    @consuming.setter
    def consuming(self, queue: int | None) -> None:
        self._words[CONSUMING] = 0 if queue is None else queue + 1

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
        return self._reals[RATE]

    @rate.setter
    def rate(self, seconds: float) -> None:
        self._reals[RATE] = seconds

    @property
    def handled(self) -> int:
        """Requests that the consumer has computed."""
        return self._words[_HANDLED]

    @handled.setter
    def handled(self, count: int) -> None:
        self._words[_HANDLED] = count

    @property
    def in_flight(self) -> Sequence[bytes]:
        """The keys of the payloads in flight."""
        held = bytes(self._keys[: self._words[IN_FLIGHT] * KEY_BYTES])
        keys = [held[start : start + KEY_BYTES] for start in range(0, len(held), KEY_BYTES)]
        return [key for key in keys if any(key)]

    @in_flight.setter
    def in_flight(self, keys: Sequence[bytes]) -> None:
        # None is valid while they are written, so that nobody sees a half of one.
        self._words[IN_FLIGHT] = 0
        self._keys[: len(keys) * KEY_BYTES] = b"".join(keys)
        self._words[IN_FLIGHT] = len(keys)

    def drop(self, key: bytes) -> None:
        """Take one key from those in flight; at no moment is any of the others missing."""
        place = find_key(self._keys[: self._words[IN_FLIGHT] * KEY_BYTES], key)
        if place is not None:
            self._keys[place * KEY_BYTES : (place + 1) * KEY_BYTES] = bytes(KEY_BYTES)

    def holds(self, key: bytes) -> bool:
        """Whether the payload of this key is in flight."""
        count = self._words[IN_FLIGHT]
        return find_key(self._keys[: count * KEY_BYTES], key) is not None

    def note_computed(self, key: bytes) -> None:
        """Show the key of the payload that was just computed."""
        self._bytes[8 * COMPUTED : 8 * COMPUTED + _COMPUTED_BYTES] = key[:_COMPUTED_BYTES]

    def has_computed(self, key: bytes) -> bool:
        """Whether this is the key that was shown last."""
        return self._bytes[8 * COMPUTED : 8 * COMPUTED + _COMPUTED_BYTES] == key[:_COMPUTED_BYTES]
