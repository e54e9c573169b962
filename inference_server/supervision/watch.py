"""The supervisor's eye on its workers, through the page that all share."""

import itertools
import time
from dataclasses import dataclass

from inference_server.dispatch.page import Page
from inference_server.dispatch.suspects import Suspects

BEAT_SECONDS = 2.0
"""An event loop that has not turned for so long is hung."""

_LATE_SECONDS = 1.5
_FROZEN_SECONDS = 0.5
"""A process that froze as a whole may have made progress for so long after its last beat."""


@dataclass(frozen=True, slots=True)
class Death:
    """What the other workers need to know of one that died.

    `checksum` is that of the picture it had in hand, None where it had none; `deaths` counts how many
    workers died with that picture since it was last computed.
    """

    slot: int
    generation: int
    checksum: bytes | None
    deaths: int


@dataclass(frozen=True, slots=True)
class Trouble:
    """Why a worker is hung, and whether the picture it has in hand may be the reason."""

    reason: str
    at_fault: bool


class Watch:
    """Gives slots to workers, sees who is hung, and remembers who died of what.

    Args:
        page: What all workers share.
        hang_seconds: A detector that has a request in hand and made no progress for so long is hung.
    """

    def __init__(self, page: Page, hang_seconds: float) -> None:
        self._page = page
        self._hang_seconds = hang_seconds
        self._generations = itertools.count(1)
        self._suspects = Suspects()
        self._looked = self._judge_from = time.monotonic()

    def enlist(self, slot: int) -> int:
        """Give a slot to a worker that is about to start; gives its generation."""
        generation = next(self._generations)
        self._page.rows[slot].enlist(generation, time.monotonic())
        return generation

    def dismiss(self, slot: int, *, blame: bool = True) -> Death:
        """Take the slot from a worker that is dead; blame what it had in hand, or not."""
        row = self._page.rows[slot]
        generation, checksum = row.generation, row.checksum if blame else None
        deaths = 0
        if checksum is not None:
            deaths = self._suspects.blame(checksum, time.monotonic())
            self._page.deaths += 1  # before the row is cleared: see the quarantine
        row.clear()
        return Death(slot, generation, checksum, deaths)

    @property
    def deaths(self) -> int:
        """How many workers have died with a picture in hand."""
        return self._page.deaths

    def acquit(self, checksum: bytes) -> None:
        """Forget a suspect that was computed after all."""
        self._suspects.clear(checksum)

    def suspects(self) -> dict[bytes, int]:
        """Pictures that workers died with, and how many."""
        return self._suspects.known(time.monotonic())

    def handled(self, slot: int) -> int:
        """How many requests the worker in a slot has computed."""
        return self._page.rows[slot].handled

    def look(self) -> None:
        """Begin a round of looking. Who looks late, because the machine slept, judges nobody by that time."""
        now = time.monotonic()
        if now - self._looked > _LATE_SECONDS:
            self._judge_from = now
        self._looked = now

    def trouble(self, slot: int) -> Trouble | None:
        """Why the worker in a slot is hung, None where it is not."""
        row = self._page.rows[slot]
        if row.busy and self._since(row.progress_due) > self._hang_seconds:
            return Trouble(f"its detector has made no progress for {self._hang_seconds:g} s", at_fault=True)
        if self._since(row.beat) > BEAT_SECONDS:
            # Where its detector has not gone on since, the picture may have frozen the whole process.
            frozen = row.busy and row.stamp <= max(row.beat, self._judge_from) + _FROZEN_SECONDS
            return Trouble(f"its event loop has not turned for {BEAT_SECONDS:g} s", at_fault=frozen)
        return None

    def _since(self, moment: float) -> float:
        return self._looked - max(moment, self._judge_from)
