"""Memory that all processes of the gateway share, made before the first of them: a slot for each.

gunicorn's master knows no more of it than that: what is counted in it is code that a reload replaces. So each
layout of counters has a part of the memory, which it finds by its fingerprint.
"""

import mmap
from collections.abc import Iterable
from typing import Any

_LINE_BYTES = 64
_PARTS = 4
"""Of releases, one after the other, that count otherwise than the one before."""
SLOT_BYTES = 320 * 1024
"""What a slot may have for its counters in each part."""


class Slots:
    """The memory, and who has which slot.

    Args:
        count: How many slots there are.
    """

    def __init__(self, count: int) -> None:
        self.count = count
        self._part_bytes = SLOT_BYTES * (count + 1)
        head = _LINE_BYTES * (1 + count)
        self._memory = memoryview(mmap.mmap(-1, head + _PARTS * self._part_bytes))
        self._fingerprints = self._memory[:_LINE_BYTES].cast("Q")
        self._parts = self._memory[head:]

    # --- the master's ---

    def free(self, workers: Iterable[Any]) -> int | None:
        """A slot that none of these workers has; None where there is none."""
        taken = {worker.slot for worker in workers}
        return next((slot for slot in range(self.count) if slot not in taken), None)

    def leave(self, slot: int | None) -> None:
        """Forget how a process was that has ended; what it has counted stays."""
        if slot is not None:
            self._of(slot)[:] = bytes(_LINE_BYTES)

    # --- a worker's ---

    def now(self, slot: int) -> memoryview:
        """The words of a slot that say how its process is now: 8 of 8 bytes."""
        return self._of(slot).cast("Q")

    def part(self, fingerprint: int) -> memoryview:
        """The part of the memory for counters of this layout, SLOT_BYTES for each slot and once more."""
        for place in range(_PARTS):
            if self._fingerprints[place] == fingerprint:
                return self._at(place)
            if not self._fingerprints[place]:
                self._fingerprints[place] = fingerprint
                return self._at(place)
        # The processes that counted there have ended several reloads ago.
        place = fingerprint % _PARTS
        self._at(place)[:] = bytes(self._part_bytes)
        self._fingerprints[place] = fingerprint
        return self._at(place)

    def _of(self, slot: int) -> memoryview:
        start = _LINE_BYTES * (1 + slot)
        return self._memory[start : start + _LINE_BYTES]

    def _at(self, place: int) -> memoryview:
        return self._parts[place * self._part_bytes : (place + 1) * self._part_bytes]
