"""At most as many workers have a picture in hand as it may still kill.

Before its first death nobody can tell a picture that kills from any other. So one that was not seen computed
is in the hands of at most two workers at a time, of one after a death, and of none after two. Where more are
sent the same new picture, the others put it back, and go on with what waits behind it.

Every worker marks its own row before it looks at the others', so of those that mark at once none is
overlooked. It may be that all of them refuse: each tries again, at a moment of its own.
"""

import logging
import time
from collections import OrderedDict

from inference_server.dispatch.page import Page
from inference_server.dispatch.suspects import DEATHS, Suspects
from utils.logs import fields

logger = logging.getLogger(__name__)

_MOST_TRUSTED = 1000
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
        self._trusted: OrderedDict[bytes, None] = OrderedDict()
        self._without_word_since: float | None = None

    def enter(self, checksum: bytes) -> bool:
        """Take a picture in hand, if few enough others have it.

        Returns:
            Whether it is in hand now; if not, it is worth another try when others have finished.

        Raises:
            WorkerCrashed: The picture is poison.
        """
        if self._waits_for_word():
            return False
        now = time.monotonic()
        self._suspects.refuse_poison(checksum, now)
        deaths = self._suspects.deaths(checksum, now)
        self._row.checksum = checksum
        if not deaths and self._is_trusted(checksum):
            return True
        in_hand = sum(row.holds(checksum) for row in self._others)
        # A row is cleared after its worker's death is counted: if one is gone from these, that is seen here.
        if in_hand < DEATHS - deaths and not self._misses_word():
            return True
        self._row.checksum = None
        return False

    def trust(self, checksum: bytes) -> None:
        """Remember that a picture was computed here, and let the others see it."""
        self._row.note_computed(checksum)
        self._remember(checksum)

    def _is_trusted(self, checksum: bytes) -> bool:
        if checksum not in self._trusted and any(row.has_computed(checksum) for row in self._others):
            self._remember(checksum)
        return checksum in self._trusted

    def _remember(self, checksum: bytes) -> None:
        self._trusted[checksum] = None
        self._trusted.move_to_end(checksum)
        if len(self._trusted) > _MOST_TRUSTED:
            self._trusted.popitem(last=False)

    def _misses_word(self) -> bool:
        """Whether the page counts a death that this worker's event loop has not told of."""
        return self._suspects.heard < self._page.deaths

    def _waits_for_word(self) -> bool:
        if not self._misses_word():
            self._without_word_since = None
            return False
        now = time.monotonic()
        if self._without_word_since is None:
            self._without_word_since = now
        if now - self._without_word_since <= _WORD_SECONDS:
            return True
        deaths = self._page.deaths
        logger.warning("no word of a death", extra=fields(heard=self._suspects.heard, deaths=deaths))
        self._suspects.heard = deaths
        return False
