"""Payloads that were in flight when a worker died, and how many workers may have one in flight.

Before its first death nobody can tell a payload that kills from any other. So one that was never computed is
in flight at two workers at most; after one death (a suspect) at one; after two (refused) at none for ten
minutes. A computation that ends clears it.

Of a batch nobody can tell which payload has killed. All of them are suspects then, and are computed alone; a
death in a batch makes a suspect of a payload, never more, so that none is refused for its company.
"""

from collections import OrderedDict
from collections.abc import Sequence
from typing import TYPE_CHECKING

from utils.errors import WorkerCrashed

if TYPE_CHECKING:
    from inference_server.dispatch.stats import SharedStats

KEY_BYTES = 32
DEATHS = 2
FORGET_SECONDS = 600.0

ENTRIES = 256
_HEAD_BYTES = 8 * (1 + 2 * ENTRIES)
TABLE_BYTES = _HEAD_BYTES + KEY_BYTES * ENTRIES

_MOST_COMPUTED = 1000


def find_key(keys: memoryview, key: bytes) -> int | None:
    """The place of a key among several, one behind the other; None where it is not there."""
    held = bytes(keys)
    place = held.find(key)
    while place > 0 and place % KEY_BYTES:  # across two of them
        place = held.find(key, place + 1)
    return None if place < 0 else place // KEY_BYTES


class PoisonTable:
    """Deaths by key, in shared memory. The supervisor alone writes; all workers read it without a lock.

    A word with the number of the last used entry, then three columns: deaths, time of the last death, key. A
    free entry is zero. A key is written and taken away while its deaths are 0.

    Args:
        memory: TABLE_BYTES, zero at first.
    """

    def __init__(self, memory: memoryview) -> None:
        words, reals = memory[:_HEAD_BYTES].cast("Q"), memory[:_HEAD_BYTES].cast("d")
        self._used = words[:1]
        self._deaths = words[1 : 1 + ENTRIES]
        self._times = reals[1 + ENTRIES :]
        self._keys = memory[_HEAD_BYTES:]

    # --- everybody's ---

    @property
    def empty(self) -> bool:
        """Whether no key is known, so that nobody computes one for nothing."""
        return not self._used[0]

    def deaths(self, key: bytes) -> int:
        """How many workers died with this payload in flight."""
        entry = None if self.empty else self._find(key)
        if entry is None:
            return 0
        deaths = self._deaths[entry]
        # The entry may have been given to another key between the two looks.
        return deaths if self._key(entry) == key else 0

    def refuse(self, key: bytes) -> None:
        """Refuse a payload that is not to be tried again.

        Raises:
            WorkerCrashed: It is one.
        """
        if self.deaths(key) >= DEATHS:
            raise WorkerCrashed("Workers crashed while computing this; it is refused for ten minutes.")

    def counts(self) -> tuple[int, int]:
        """How many payloads are suspects, and how many are refused."""
        deaths = [count for count in self._deaths if count]
        refused = sum(count >= DEATHS for count in deaths)
        return len(deaths) - refused, refused

    # --- the supervisor's ---

    def record_death(self, key: bytes, now: float, *, alone: bool = True) -> int:
        """Count a death; gives how many there were. The entry whose last death is oldest makes room.

        Args:
            key: Of a payload that was in flight.
            now: When it was found.
            alone: No other payload was in flight with it; else it is made a suspect, if it is none yet.
        """
        self.expire(now)
        entry = self._find(key)
        if entry is None:
            entry = min(range(ENTRIES), key=self._times.__getitem__)  # the first free one, if there is one
            self._free(entry)
            self._key(entry)[:] = key
        self._times[entry] = now
        self._deaths[entry] = self._deaths[entry] + 1 if alone else max(self._deaths[entry], 1)
        self._used[0] = max(self._used[0], entry + 1)
        return self._deaths[entry]

    def clear(self, key: bytes) -> None:
        """Forget a payload that was computed after all."""
        entry = self._find(key)
        if entry is not None:
            self._free(entry)

    def expire(self, now: float) -> None:
        """Forget whose last death is long ago."""
        if not self.empty:
            times = enumerate(self._times.tolist())
            for entry in [entry for entry, last in times if last and now - last > FORGET_SECONDS]:
                self._free(entry)

    def _free(self, entry: int) -> None:
        self._deaths[entry] = 0
        self._times[entry] = 0.0
        self._key(entry)[:] = bytes(KEY_BYTES)
        self._used[0] = max((place + 1 for place, deaths in enumerate(self._deaths) if deaths), default=0)

    def _key(self, entry: int) -> memoryview:
        return self._keys[entry * KEY_BYTES : (entry + 1) * KEY_BYTES]

    def _find(self, key: bytes) -> int | None:
        return find_key(self._keys[: self._used[0] * KEY_BYTES], key)


class PoisonGuard:
    """Decides what one consumer thread may take in flight.

    Args:
        stats: What all workers share.
        slot: This worker's.
        queue: The number of the queue that the thread takes from: nobody else has the same payloads.
    """

    def __init__(self, stats: "SharedStats", slot: int, queue: int = 0) -> None:
        self._stats = stats
        self._table = stats.poison
        self._row = stats.rows[slot]
        self._queue = queue
        self._computed: OrderedDict[bytes, None] = OrderedDict()

    def enter(self, key: bytes) -> bool:
        """Mark a payload as in flight, if few enough other workers have it.

        Returns:
            Whether it is in flight now; if not, it is worth another try when others have finished.

        Raises:
            WorkerCrashed: It is refused.
        """
        # Marked before the others are looked at, so that of those who mark at once none is overlooked. It may
        # be that all of them step back: each tries again, at a moment of its own.
        self._row.in_flight = (key,)
        if self._is_free(key):
            return True
        self._row.in_flight = ()
        self._table.refuse(key)
        return False

    def enter_together(self, keys: Sequence[bytes]) -> set[bytes]:
        """Mark payloads as in flight at once; gives those that are: neither suspects nor at too many others.

        The rest is to be entered one by one.
        """
        distinct = dict.fromkeys(keys)  # of one payload that came twice a death is counted once
        self._row.in_flight = tuple(distinct)
        entered = {key for key in distinct if self._is_free(key) and not self._table.deaths(key)}
        for key in distinct:
            if key not in entered:
                self._row.drop(key)
        return entered

    def leave(self) -> None:
        """Say that nothing is in flight."""
        self._row.in_flight = ()

    def note_computed(self, key: bytes) -> bool:
        """Let the others see that a payload was computed; gives whether it was a suspect until now."""
        self._row.note_computed(key)
        self._remember(key)
        return self._table.deaths(key) > 0

    def _is_free(self, key: bytes) -> bool:
        if self._was_computed(key) and not self._table.deaths(key):
            return True
        # The rows first, the table after them: a death is in the table before the row of the dead is cleared,
        # so a holder that is missing from the rows is found in the table. The other way round, one that dies
        # between the two looks would be found in neither.
        others = sum(row is not self._row for row in self._stats.holders(self._queue, key))
        return others < DEATHS - self._table.deaths(key)

    def _was_computed(self, key: bytes) -> bool:
        if key not in self._computed and self._stats.has_computed(self._queue, key):
            self._remember(key)
        return key in self._computed

    def _remember(self, key: bytes) -> None:
        self._computed[key] = None
        self._computed.move_to_end(key)
        if len(self._computed) > _MOST_COMPUTED:
            self._computed.popitem(last=False)
