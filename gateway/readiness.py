"""Whether the backend serves, asked at most twice a second however many ask the gateway."""

import threading
import time
from collections.abc import Callable

from utils.errors import DeadlineExceeded, FacetError

CACHED_SECONDS = 0.5
PROBE_SECONDS = 1.0
"""How long a probe may take, and so how long anybody waits for one."""


class Readiness:
    """The last answer of a probe, and who renews it.

    Args:
        probe: Returns when the backend serves, and raises a FacetError when it does not.
        clock: Seconds that never go back.
        patience: Seconds that a probe takes at most.
    """

    def __init__(
        self,
        probe: Callable[[], None],
        clock: Callable[[], float] = time.monotonic,
        patience: float = PROBE_SECONDS,
    ) -> None:
        self._probe = probe
        self._clock = clock
        self._patience = patience
        self._probing = threading.Lock()
        self._failure: FacetError | None = None
        self._fresh_until = -float("inf")

    def check(self) -> FacetError | None:
        """None when the backend serves, else why not; 500 ms old, or by a probe older, at most.

        A call while a probe runs gets the answer before it where that has such an age. So while
        many ask, a backend that does not answer holds one thread and no more; after a pause all wait.
        """
        age = self._clock() - self._fresh_until
        if age < 0:
            return self._failure
        if not self._probing.acquire(blocking=False):
            if age < self._patience:
                return self._failure
            if not self._probing.acquire(timeout=self._patience):
                return DeadlineExceeded(f"The backend has not answered within {self._patience:g} s.")
        try:
            if self._clock() >= self._fresh_until:
                self._renew()
            return self._failure
        finally:
            self._probing.release()

    def _renew(self) -> None:
        try:
            self._probe()
            self._failure = None
        except FacetError as error:
            self._failure = error
        self._fresh_until = self._clock() + CACHED_SECONDS
