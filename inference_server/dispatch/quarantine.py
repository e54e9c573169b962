"""At most as many workers have a picture in hand as it may still kill.

Before its first death nobody can tell a picture that kills from any other. So one that this worker has not
seen computed is in the hands of at most two workers at a time, of one after a death, and of none after two.
It costs a worker one wait, of one computation at most, when more than two are sent the same new picture.

Every worker marks its own row before it looks at the others': of two that mark at once, one sees the other.
"""

import logging
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator

from inference_server.dispatch.page import Page, Row
from inference_server.dispatch.suspects import DEATHS, Suspects
from utils.logs import fields

logger = logging.getLogger(__name__)

_MOST_INNOCENT = 1000
_LOOK_SECONDS = 0.004
_STAGGER_SECONDS = 0.001
_WORD_SECONDS = 1.0
"""How long word of a death is waited for: it takes a millisecond, unless this worker's event loop is late."""


class Quarantine:
    """One detector thread's admission to pictures.

    Args:
        page: What all workers see of each other.
        slot: This worker's.
        suspects: What this worker knows of pictures that kill.
    """

    def __init__(self, page: Page, slot: int, suspects: Suspects) -> None:
        self._page = page
        self._row = page.rows[slot]
        self._others = [row for row in page.rows if row is not self._row]
        self._suspects = suspects
        self._innocent: OrderedDict[bytes, None] = OrderedDict()
        # No two look at the same moments again and again.
        self._look_seconds = _LOOK_SECONDS + _STAGGER_SECONDS * (slot % 8)

    def enter(self, checksum: bytes, checkpoint: Callable[[], None]) -> None:
        """Take a picture in hand, once few enough others have it.

        Args:
            checksum: The picture's.
            checkpoint: Called while it waits; what it raises goes to the caller.

        Raises:
            WorkerCrashed: The picture is poison.
        """
        computing: dict[Row, tuple[int, int]] = {}
        while not self._may_enter(checksum, computing, checkpoint):
            checkpoint()
            time.sleep(self._look_seconds)

    def trust(self, checksum: bytes) -> None:
        """Remember that a picture was computed, and that nobody died of it."""
        self._innocent[checksum] = None
        self._innocent.move_to_end(checksum)
        if len(self._innocent) > _MOST_INNOCENT:
            self._innocent.popitem(last=False)

    def _may_enter(
        self, checksum: bytes, computing: dict[Row, tuple[int, int]], checkpoint: Callable[[], None]
    ) -> bool:
        self._wait_for_word(checkpoint)
        now = time.monotonic()
        self._suspects.refuse_poison(checksum, now)
        deaths = self._suspects.deaths(checksum, now)
        if not deaths and any(_has_computed(row, *then) for row, then in computing.items()):
            self.trust(checksum)
        self._row.checksum = checksum
        if not deaths and checksum in self._innocent:
            return True
        in_hand = dict(self._in_hand(checksum))
        # A row is cleared after its worker's death is counted: if one is gone from these, that is seen here.
        if len(in_hand) < DEATHS - deaths and not self._missing_word():
            return True
        self._row.checksum = None
        computing.update(in_hand)
        return False

    def _in_hand(self, checksum: bytes) -> Iterator[tuple[Row, tuple[int, int]]]:
        """Others that have it in hand, with their generations and how many requests they have computed."""
        for row in self._others:
            now = row.generation, row.handled
            if row.holds(checksum):
                yield row, now

    def _missing_word(self) -> bool:
        return self._suspects.heard < self._page.deaths

    def _wait_for_word(self, checkpoint: Callable[[], None]) -> None:
        """Wait until this worker's event loop knows of every death."""
        patience = time.monotonic() + _WORD_SECONDS
        while self._missing_word():
            if time.monotonic() > patience:
                deaths = self._page.deaths
                logger.warning("no word of a death", extra=fields(heard=self._suspects.heard, deaths=deaths))
                self._suspects.heard = deaths
                return
            checkpoint()
            time.sleep(self._look_seconds)


def _has_computed(row: Row, generation: int, handled: int) -> bool:
    """Whether a worker lives, and has computed what it had in hand then."""
    return row.generation == generation and row.handled > handled
