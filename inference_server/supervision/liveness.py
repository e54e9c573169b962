"""Which workers are alive, hung or dead, by the statistics that all processes share."""

import itertools
import time
from collections.abc import Mapping
from dataclasses import dataclass

from inference_server.dispatch.families import ExitCause
from inference_server.dispatch.stats import SharedStats

HEARTBEAT_SECONDS = 2.0
"""An event loop that has not turned for so long is hung."""

_BOOT_SECONDS = 60.0
_LATE_SECONDS = 1.5
_FROZEN_SECONDS = 0.5
"""A process that froze as a whole may have made progress for so long after its last heartbeat."""

_generations = itertools.count(1)  # of the workers of all groups


@dataclass(frozen=True, slots=True)
class Death:
    """A worker that died.

    Attributes:
        slot: It had.
        generation: It had.
        deaths: For the key of each payload that it had in flight, how many workers died with it since it was
            last computed; empty where the payloads are not to blame. One that was in flight with others is a
            suspect, whatever number died so.
    """

    slot: int
    generation: int
    deaths: Mapping[bytes, int]


@dataclass(frozen=True, slots=True)
class HangReport:
    """Why a worker is hung, and whether the payload it has in flight may be the reason."""

    reason: str
    blame_request: bool


@dataclass(frozen=True, slots=True)
class Times:
    """How long a worker may take.

    Attributes:
        hang_seconds: One that has a request in flight and made no progress for so long is hung.
        boot_seconds: One that is not ready so long after its start is hung.
    """

    hang_seconds: float
    boot_seconds: float = _BOOT_SECONDS


class LivenessMonitor:
    """Gives slots to workers, sees who is hung, and records in the table of poison who died of what.

    Attributes:
        times: After which a worker is hung; they may be set to others.

    Args:
        stats: What all workers of all groups share.
        hang_seconds: As in `Times`.
        boot_seconds: As in `Times`.
        heartbeat_while_busy: Whether the event loop must turn while a request is in flight. False for code
            that may hold the interpreter lock until it is done: then progress alone counts.
    """

    def __init__(
        self,
        stats: SharedStats,
        hang_seconds: float,
        *,
        boot_seconds: float = _BOOT_SECONDS,
        heartbeat_while_busy: bool = True,
    ) -> None:
        self._stats = stats
        self.times = Times(hang_seconds, boot_seconds)
        self._heartbeat_while_busy = heartbeat_while_busy
        self._blamed: set[bytes] = set()  # of what is in the table, what died in this group
        self._looked = self._judge_from = time.monotonic()

    def free_slot(self, slots: range) -> int | None:
        """The first of these slots that no worker of any group has; None where all are taken."""
        rows = self._stats.rows
        return next((slot for slot in slots if not rows[slot].generation), None)

    def acquire_slot(self, slot: int) -> int:
        """Give a slot to a worker that is about to start; gives its generation."""
        generation = next(_generations)
        self._stats.rows[slot].assign(generation, time.monotonic())
        return generation

    def release_slot(self, slot: int, *, blame_request: bool = True) -> Death:
        """Take the slot from a worker that is dead; blame what it had in flight, or not."""
        row = self._stats.rows[slot]
        generation, keys = row.generation, row.in_flight if blame_request else ()
        now, alone, record = time.monotonic(), len(keys) == 1, self._stats.poison.record_death
        # Before the row is cleared: on that order PoisonGuard stands.
        deaths = {key: record(key, now, alone=alone) for key in keys}
        self._blamed = {key for key in self._blamed if self._stats.poison.deaths(key)} | {*keys}
        row.clear()
        return Death(slot, generation, deaths)

    def count_exit(self, queue: int | None, cause: ExitCause) -> None:
        """Count a worker that has ended, which took from this queue; None where it took from none."""
        self._stats.counters.count_exit(queue, cause)

    def clear_suspect(self, key: bytes) -> None:
        """Forget a suspect that was computed after all."""
        self._stats.poison.clear(key)

    def forget_poison(self) -> None:
        """Forget every payload that was in flight at a death in this group."""
        while self._blamed:
            self._stats.poison.clear(self._blamed.pop())

    def handled(self, slot: int) -> int:
        """How many requests the worker in a slot has computed."""
        return self._stats.rows[slot].handled

    def look(self) -> None:
        """Begin a round of looking. Who looks late, because the machine slept, judges nobody by that time."""
        now = time.monotonic()
        if now - self._looked > _LATE_SECONDS:
            self._judge_from = now
        self._looked = now
        self._stats.poison.expire(now)

    def boot_report(self, started: float) -> HangReport | None:
        """Why a worker that was started then and is not ready is hung, None where it is not."""
        if self._since(started) > (most := self.times.boot_seconds):
            return HangReport(f"it was not ready within {most:g} s", blame_request=False)
        return None

    def hang_report(self, slot: int) -> HangReport | None:
        """Why the worker in a slot, which was ready, is hung, None where it is not."""
        row = self._stats.rows[slot]
        if row.busy and self._since(row.progress_due) > (most := self.times.hang_seconds):
            why = f"its consumer has made no progress for {most:g} s"
            return HangReport(why, blame_request=True)
        silent = self._since(row.heartbeat) > HEARTBEAT_SECONDS
        if silent and not self._heartbeat_while_busy:
            # One that is idle was busy until its last progress.
            silent = not row.busy and self._since(row.last_progress) > HEARTBEAT_SECONDS
        if silent:
            # Where its consumer has not gone on since, the payload may have frozen the whole process.
            frozen = row.busy and row.last_progress <= max(row.heartbeat, self._judge_from) + _FROZEN_SECONDS
            why = f"its event loop has not turned for {HEARTBEAT_SECONDS:g} s"
            return HangReport(why, blame_request=frozen)
        return None

    def _since(self, moment: float) -> float:
        return self._looked - max(moment, self._judge_from)
