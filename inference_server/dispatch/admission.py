"""Whether a request is worth accepting: what waits is bounded by count, bytes and predicted seconds.

The bounds are the machine's, not a worker's: every dispatcher sees in shared memory what all have accepted.
Two that decide in the same moment may let in one request more than one would have. Each queue is predicted
and counted on its own; the bytes of all queues are bounded together. The prediction is the cost of what
waits, in the unit of the queue's model, times the seconds that a unit took lately.

How long a request may wait is its caller's business: as long as its deadline lets it. For callers who have
named no time the backend decides, by a shorter longest wait.
"""

import time
from dataclasses import dataclass

from inference_server.dispatch.stats import SharedStats
from utils.errors import MORE_TIME_HELPS, DeadlineExceeded, QueueFull

MAX_WAITING = 1024
"""Requests, in one queue."""
MAX_WAITING_BYTES = 512 * 1024**2
"""Of payloads, in all queues."""

MARGIN_SECONDS = 0.005
"""What an answer needs beyond its computation to reach its caller."""

_WEIGHT = 0.1
"""Weight of the newest measurement in the moving average."""
_OUTLIER_CLAMP = 4.0
"""How many times the average a measurement may be, and the other way round, to be believed. A cost is an
estimate, wrong by a factor of three now and then; what took far longer was computed while the machine stood
still."""
_TRIAL_SECONDS = 1.0
"""With nothing computed for so long, an idle machine tries what it believes to be hopeless."""
_SHORTEST_RETRY_SECONDS = 0.1
_SAFETY_FACTOR = 1.25
"""How much longer than predicted a wait may be: where it is filled exactly up to the deadlines, a full
machine's answers come a moment too late, and one computation in ten is for nobody."""


@dataclass(frozen=True, slots=True)
class Load:
    """What one request, or all that waits, amounts to: how many, payload bytes, cost."""

    count: int = 0
    size: int = 0
    cost: float = 0.0


def ewma(rate: float, seconds: float, cost: float) -> float:
    """The moving average of seconds per unit of cost, after one more measurement."""
    newest = seconds / cost
    if not rate:
        return newest
    return min(rate + _WEIGHT * (min(newest, _OUTLIER_CLAMP * rate) - rate), _OUTLIER_CLAMP * newest)


@dataclass(frozen=True, slots=True)
class QueueLoad:
    """What all workers together have accepted for one queue, and how fast they work it off.

    Attributes:
        waiting: What they have accepted and not answered. Its bytes are those of all queues.
        consumers: How many the queue has.
        rate: Seconds that a unit of cost takes one of them: the harmonic mean, for it is speeds that add up.
        quiet: Seconds since one of them last made progress; 0 while something waits.
    """

    waiting: Load
    consumers: int
    rate: float
    quiet: float = 0.0

    @classmethod
    def snapshot(cls, stats: SharedStats, queue: int = 0) -> "QueueLoad":
        """Sum up the shared statistics."""
        waiting = Load(*stats.waiting(queue))
        rates = stats.rates(queue)
        measured = [rate for rate in rates if rate]
        return cls(
            waiting=waiting,
            consumers=max(len(rates), 1),
            rate=len(measured) / sum([1 / rate for rate in measured]) if measured else 0.0,
            quiet=0.0 if waiting.count else time.monotonic() - stats.progressed(queue),
        )

    @property
    def wait(self) -> float:
        """Seconds that a request would wait now, as predicted."""
        # With a consumer idle there is no wait, whatever the sum says.
        ahead = self.waiting.cost if self.waiting.count >= self.consumers else 0.0
        return ahead * self.rate / self.consumers

    def admit(self, request: Load, remaining: float, longest_wait: float) -> None:
        """Accept a request that comes behind what waits already, or refuse it.

        Args:
            request: What it adds; without cost where nobody has looked at it yet.
            remaining: Seconds until its deadline.
            longest_wait: Seconds of predicted wait with which it is accepted; infinite where its deadline
                alone decides.

        Raises:
            QueueFull: There is too much ahead of it; says when there will be room.
            DeadlineExceeded: It would not be done in time; says when it would, where the wait is to blame.
        """
        wait = self.wait
        if wait > longest_wait:
            raise QueueFull(
                f"The wait would be about {wait:.1f} s; without a time of its own a request waits at most "
                f"{longest_wait:g} s. What helps: to name one (X-Request-Timeout, the gRPC deadline, the "
                "client's timeout), or smaller requests.",
                retry_after=max(wait - longest_wait, _SHORTEST_RETRY_SECONDS),
            )
        self._check_room(request.size)
        alone = request.cost * self.rate
        needed = wait * _SAFETY_FACTOR + alone
        # What a bad hour has taught is unlearned by trying, and by nothing else.
        on_trial = not self.waiting.count and self.quiet > _TRIAL_SECONDS
        if remaining <= 0 or (needed > remaining and not on_trial):
            raise DeadlineExceeded(
                f"The request cannot be answered in time: it would take about {needed:.2f} s, "
                f"{needed - alone:.2f} s of them waiting, and has {max(remaining, 0):.2f} s. "
                f"{MORE_TIME_HELPS}",
                retry_after=max(needed - remaining, _SHORTEST_RETRY_SECONDS) if alone < remaining else None,
            )

    def _check_room(self, size: int) -> None:
        """Refuse a request of so many bytes where memory for it is not there, however patient it is.

        Raises:
            QueueFull: Too many requests wait, or too many bytes.
        """
        waiting = self.waiting
        if waiting.count >= MAX_WAITING or waiting.size + size > MAX_WAITING_BYTES:
            raise QueueFull(
                f"{waiting.count} requests wait in this queue, and {waiting.size} bytes in all; the limits "
                f"are {MAX_WAITING} and {MAX_WAITING_BYTES}. What helps: fewer requests at once, or smaller "
                "ones.",
                retry_after=_SHORTEST_RETRY_SECONDS,
            )
