"""Whether the backend serves, asked at most twice a second however many ask the gateway."""

import time
from collections.abc import Callable

from gateway.recent import Recent
from utils.errors import FacetError

CACHED_SECONDS = 0.5
PROBE_SECONDS = 1.0
"""How long a probe may take, and so how long anybody waits for one."""


class Readiness:
    """The last answer of a probe.

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
        self._recent = Recent(probe, fresh_seconds=CACHED_SECONDS, patience=patience, clock=clock)

    def check(self) -> FacetError | None:
        """None when the backend serves, else why not; 500 ms old, or by a probe older, at most."""
        return self._recent.get()
