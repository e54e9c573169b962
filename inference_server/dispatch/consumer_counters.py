"""What a consumer counts of its work."""

from bisect import bisect_left

from inference_server.dispatch.families import ABANDONED, BATCH_SIZE, BUSY_SECONDS, COMPUTED, HANDOVERS
from inference_server.dispatch.shared import Membership
from utils.counters import SECOND

_FIRST, _LIMITS, _TOTAL = COMPUTED.buckets(BATCH_SIZE)
_HANDOVERS, _ABANDONED = COMPUTED.place(HANDOVERS), COMPUTED.place(ABANDONED)
_BUSY_SECONDS = COMPUTED.place(BUSY_SECONDS)


class ConsumerCounters:
    """The counters of one consumer's thread.

    Args:
        membership: Its worker's.
        queue: The number of the queue that it takes from.
    """

    def __init__(self, membership: Membership, queue: int) -> None:
        self._slot, self._queue = membership.slot, queue
        self._counters = membership.shared.stats.counters.consumer(membership.slot)
        self._words = self._counters.of(queue)
        self._has_begun = False
        self._busy_since: float | None = None

    def begin(self, now: float) -> None:
        """It has something to compute; more may come to it."""
        if self._busy_since is None:
            self._busy_since = now
            if not self._has_begun:
                # Where the version was not known before, it is by its first request; a process has only one.
                self._words = self._counters.of(self._queue)
                self._has_begun = True

    def end(self, now: float) -> None:
        """It has nothing any more."""
        if self._busy_since is not None:
            # A word cannot take less than 0, which would end the consumer, whatever a clock says.
            if now > self._busy_since:
                self._words[_BUSY_SECONDS] += int((now - self._busy_since) * SECOND)
            self._busy_since = None

    def computed(self, count: int) -> None:
        """It has computed so many requests together."""
        self._words[_FIRST + bisect_left(_LIMITS, count)] += 1  # as `observe`, without the call
        self._words[_TOTAL] += count

    def answered(self, dispatcher: int) -> None:
        """It has answered a request that came from the dispatcher in this slot."""
        if dispatcher != self._slot:
            self._words[_HANDOVERS] += 1

    def abandoned(self) -> None:
        """It has given up a request, or not begun it."""
        self._words[_ABANDONED] += 1
