"""Whether the backend serves, asked at most twice a second however many ask the gateway."""

import time
from collections.abc import Callable

from gateway.backend import Backend
from gateway.recent import Recent
from utils.errors import BackendUnavailable, FacetError

CACHED_SECONDS = 0.5
PROBE_SECONDS = 1.0
"""How long a probe may take, and so how long anybody waits for one."""
_BACKENDS_ASKED = 3


def ask_backends(backend: Backend) -> None:
    """Return when a backend serves.

    Calls go to each of several backends in turn, so more than one is asked: else one that drains would, by
    chance, have the load balancer take away all gateways.

    Raises:
        FacetError: None of those that were asked does, or they have not answered in time.
    """
    until = time.monotonic() + PROBE_SECONDS
    for left in reversed(range(_BACKENDS_ASKED)):
        try:
            backend.check_ready(timeout=until - time.monotonic())
        except BackendUnavailable:
            if not left or time.monotonic() >= until:
                raise
        else:
            return


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
