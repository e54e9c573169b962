"""When a crashed worker may be replaced, and when starting more is pointless."""

import math
from collections import deque

WINDOW_SECONDS = 30.0
CRASHES_IN_WINDOW = 3
FIRST_DELAY_SECONDS = 0.5
LONGEST_DELAY_SECONDS = 30.0
FORGET_SECONDS = 60.0
MAX_BOOT_FAILURES = 5


class Backoff:
    """The delay before the next start, from the times of past crashes.

    The third crash within 30 s begins it at 0.5 s; each further one doubles it, up to 30 s; a minute
    without a crash ends it. Crashes are in a row where each is of a worker that was started after the one
    before: workers that die together do so of one cause, and were no new tries. All times are seconds of one
    monotonic clock.
    """

    def __init__(self) -> None:
        self._crashes: deque[float] = deque(maxlen=CRASHES_IN_WINDOW)
        self._latest = -math.inf  # of those, too, that were not in a row
        self._delay = 0.0

    def crashed(self, now: float, *, started: float) -> None:
        """Remember a crash of a worker that was started then."""
        if now - self._latest > FORGET_SECONDS:
            self._crashes.clear()
            self._delay = 0.0
        self._latest = now
        if self._crashes and started <= self._crashes[-1]:
            return
        self._crashes.append(now)
        if self._delay:
            self._delay = min(2 * self._delay, LONGEST_DELAY_SECONDS)
        elif len(self._crashes) == CRASHES_IN_WINDOW and now - self._crashes[0] <= WINDOW_SECONDS:
            self._delay = FIRST_DELAY_SECONDS

    def wait(self, now: float) -> float:
        """Seconds until a worker may be started; 0 where it may be now."""
        if not self._crashes:
            return 0.0
        return max(0.0, self._crashes[-1] + self._delay - now)


class BootFailures:
    """Counts failed tries to start a worker, until one is ready. Those started together are one try."""

    def __init__(self) -> None:
        self._count = 0
        self._latest = -math.inf

    def record(self, now: float, *, started: float) -> bool:
        """Count the failure of a worker that was started then; gives whether there were too many."""
        if started > self._latest:
            self._count += 1
            self._latest = now
        return self._count >= MAX_BOOT_FAILURES

    def reset(self) -> None:
        """Begin anew: a worker is ready, or there is other code."""
        self._count = 0
