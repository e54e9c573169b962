"""Whether the backend serves, asked at most twice a second however many ask the gateway."""

import threading
import time
from collections.abc import Callable

from utils.errors import FacetError

CACHED_SECONDS = 0.5


class Readiness:
    """The last answer of a probe, and who renews it.

    Args:
        probe: Returns when the backend serves, and raises a FacetError when it does not.
        clock: Seconds that never go back.
    """

    def __init__(self, probe: Callable[[], None], clock: Callable[[], float] = time.monotonic) -> None:
        self._probe = probe
        self._clock = clock
        self._probing = threading.Lock()
        self._known = False
        self._failure: FacetError | None = None
        self._fresh_until = 0.0

    def check(self) -> FacetError | None:
        """None when the backend serves, else why not; at most 500 ms old, or the age of a running probe more.

        Whoever asks while a probe runs gets the answer before it: only the very first must wait, so a
        backend that does not answer holds one thread and no more.
        """
        if self._known and self._clock() < self._fresh_until:
            return self._failure
        if self._probing.acquire(blocking=not self._known):
            try:
                if not self._known or self._clock() >= self._fresh_until:
                    self._renew()
            finally:
                self._probing.release()
        return self._failure

    def _renew(self) -> None:
        try:
            self._probe()
            self._failure = None
        except FacetError as error:
            self._failure = error
        self._fresh_until = self._clock() + CACHED_SECONDS
        self._known = True
