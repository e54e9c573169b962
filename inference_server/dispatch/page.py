"""One page of memory that all workers share: a row for each slot, written by its owner alone.

Every value is an aligned word of 8 bytes, so a reader sees the old one or the new one, without a lock. The
supervisor writes a row's generation when it starts a worker there, and clears the row when that one is dead.
Behind the rows is a word of the supervisor's own: how many workers have died with a picture in hand.
"""

import mmap
import os

_WORDS = 16  # of 8 bytes: two cache lines, so that neighbours do not disturb each other
_GENERATION = 0
_BEAT = 1
_STAMP = 2
_BUSY = 3
_COUNT = 4
_SIZE = 5
_MEGAPIXELS = 6
_RATE = 7
_HANDLED = 8
_CHECKSUM = 9
_CHECKSUM_WORDS = 4
_CONSUMING = _CHECKSUM + _CHECKSUM_WORDS
_COMPUTED = _CONSUMING + 1
_COMPUTED_WORDS = 2  # half of a checksum: there is no room for more, nor need

ROW_BYTES = 8 * _WORDS
CHECKSUM_BYTES = 8 * _CHECKSUM_WORDS
_COMPUTED_BYTES = 8 * _COMPUTED_WORDS


class Row:
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

    def enlist(self, generation: int, now: float) -> None:
        """Give the slot to a worker that is about to start."""
        self.clear()
        self._reals[_BEAT] = self._reals[_STAMP] = now
        self._words[_GENERATION] = generation

    def clear(self) -> None:
        """Take the slot from a worker that is dead. Its generation goes first: it is what others look at."""
        for word in range(_WORDS):
            self._words[word] = 0

    # --- the owner's event loop ---

    @property
    def beat(self) -> float:
        """When the event loop last turned."""
        return self._reals[_BEAT]

    @beat.setter
    def beat(self, now: float) -> None:
        self._reals[_BEAT] = now

    @property
    def waiting(self) -> tuple[int, int, float]:
        """Requests received here and not answered yet: how many, encoded bytes, megapixels."""
        return self._words[_COUNT], self._words[_SIZE], self._reals[_MEGAPIXELS]

    @waiting.setter
    def waiting(self, load: tuple[int, int, float]) -> None:
        self._words[_COUNT], self._words[_SIZE], self._reals[_MEGAPIXELS] = load

    # --- the owner's detector thread ---

    @property
    def stamp(self) -> float:
        """When the detector thread last made progress; in the future while it may take its time."""
        return self._reals[_STAMP]

    @stamp.setter
    def stamp(self, now: float) -> None:
        self._reals[_STAMP] = now

    @property
    def consuming(self) -> bool:
        """Whether the detector thread takes requests: not while its worker boots, nor when it leaves."""
        return bool(self._words[_CONSUMING])

    @consuming.setter
    def consuming(self, consuming: bool) -> None:
        self._words[_CONSUMING] = consuming

    @property
    def busy(self) -> bool:
        """Whether the detector thread has a request in hand."""
        return bool(self._words[_BUSY])

    @busy.setter
    def busy(self, busy: bool) -> None:
        self._words[_BUSY] = busy

    @property
    def rate(self) -> float:
        """Seconds that a megapixel took lately; 0 before the first."""
        return self._reals[_RATE]

    @rate.setter
    def rate(self, seconds: float) -> None:
        self._reals[_RATE] = seconds

    @property
    def handled(self) -> int:
        """Requests that the detector thread has computed."""
        return self._words[_HANDLED]

    @handled.setter
    def handled(self, count: int) -> None:
        self._words[_HANDLED] = count

    @property
    def checksum(self) -> bytes | None:
        """The checksum of the picture in hand; None where there is none."""
        place = 8 * _CHECKSUM
        checksum = bytes(self._bytes[place : place + CHECKSUM_BYTES])
        return checksum if any(checksum) else None

    @checksum.setter
    def checksum(self, checksum: bytes | None) -> None:
        place = 8 * _CHECKSUM
        self._bytes[place : place + CHECKSUM_BYTES] = checksum or bytes(CHECKSUM_BYTES)

    def note_computed(self, checksum: bytes) -> None:
        """Show the checksum of the picture that was just computed."""
        place = 8 * _COMPUTED
        self._bytes[place : place + _COMPUTED_BYTES] = checksum[:_COMPUTED_BYTES]

    def has_computed(self, checksum: bytes) -> bool:
        """Whether this is the checksum that was shown last."""
        place = 8 * _COMPUTED
        return self._bytes[place : place + _COMPUTED_BYTES] == checksum[:_COMPUTED_BYTES]

    def holds(self, checksum: bytes) -> bool:
        """Whether this is the checksum of the picture in hand."""
        place = 8 * _CHECKSUM
        return self._bytes[place : place + CHECKSUM_BYTES] == checksum


class Page:
    """All rows."""

    def __init__(self, descriptor: int, slots: int) -> None:
        rows, size = slots * ROW_BYTES, (slots + 1) * ROW_BYTES
        os.ftruncate(descriptor, size)
        memory = memoryview(mmap.mmap(descriptor, size))
        self.rows = tuple(Row(memory[start : start + ROW_BYTES]) for start in range(0, rows, ROW_BYTES))
        self._words = memory[:rows].cast("Q")
        self._reals = memory[:rows].cast("d")
        self._own_words = memory[rows:].cast("Q")

    @property
    def waiting(self) -> tuple[int, int, float]:
        """What all rows together have waiting: requests, encoded bytes, megapixels."""
        # By columns: it is asked for twice a request. The rows of nobody are zero.
        return (
            sum(self._words[_COUNT::_WORDS]),
            sum(self._words[_SIZE::_WORDS]),
            sum(self._reals[_MEGAPIXELS::_WORDS]),
        )

    @property
    def consuming(self) -> int:
        """How many detector threads take requests."""
        return sum(self._words[_CONSUMING::_WORDS])

    @property
    def rates(self) -> list[float]:
        """Seconds that a megapixel took lately, of each worker that has measured."""
        return [rate for rate in self._reals[_RATE::_WORDS] if rate]

    @property
    def progressed(self) -> float:
        """When a detector thread last made progress."""
        return max(self._reals[_STAMP::_WORDS])

    @property
    def deaths(self) -> int:
        """How many workers have died with a picture in hand: counted before their rows are cleared."""
        return self._own_words[0]

    @deaths.setter
    def deaths(self, count: int) -> None:
        self._own_words[0] = count

    def is_alive(self, slot: int, generation: int) -> bool:
        """Whether this very worker still has its slot."""
        return self.rows[slot].generation == generation
