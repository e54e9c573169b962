"""What a consumer counts of its work."""

from inference_server.dispatch.families import ABANDONED, BATCH_SIZE, BUSY_SECONDS, COMPUTED, HANDOVERS
from inference_server.dispatch.shared import Membership
from utils.counters import NANOSECOND

_BATCH_SIZE, _BATCH_LIMITS = COMPUTED.place(BATCH_SIZE), BATCH_SIZE.limits
_HANDOVERS, _ABANDONED = COMPUTED.place(HANDOVERS), COMPUTED.place(ABANDONED)
_BUSY_SECONDS = COMPUTED.place(BUSY_SECONDS)


class ConsumerCounters:
    """The counters of one consumer's thread.

    Args:
        membership: Its worker's.
        queue: The number of the queue that it takes from.
    """

    def __init__(self, membership: Membership, queue: int) -> None:
        self._slot = membership.slot
        self._counters = membership.shared.stats.counters.consumer(membership.slot)
        self._queue = queue
        self._busy_since: float | None = None

    def begin(self, now: float) -> None:
        """It has something to compute; more may come to it."""
        if self._busy_since is None:
            self._busy_since = now

    def end(self, now: float) -> None:
        """It has nothing any more."""
        if self._busy_since is not None:
            nanoseconds = int((now - self._busy_since) / NANOSECOND)
            self._counters.of(self._queue).add(_BUSY_SECONDS, nanoseconds)
            self._busy_since = None

    def computed(self, count: int) -> None:
        """It has computed so many requests together."""
        self._counters.of(self._queue).observe(_BATCH_SIZE, _BATCH_LIMITS, count)

    def answered(self, dispatcher: int) -> None:
        """It has answered a request that came from the dispatcher in this slot."""
        if dispatcher != self._slot:
            self._counters.of(self._queue).add(_HANDOVERS)

    def abandoned(self) -> None:
        """It has given up a request, or not begun it."""
        self._counters.of(self._queue).add(_ABANDONED)
