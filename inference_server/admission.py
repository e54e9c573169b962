"""Whether a request is worth accepting: what waits is bounded by count, bytes and predicted seconds.

The time that a picture takes grows with its pixels, so the prediction is megapixels times the seconds
that a megapixel took lately.
"""

from dataclasses import dataclass

from utils.errors import DeadlineExceeded, QueueFull

MAX_WAITING = 256
MAX_WAITING_BYTES = 256 * 1024**2

_WEIGHT = 0.1
"""Weight of the newest measurement in the moving average."""
_FIXED_MEGAPIXELS = 0.05
"""What a picture costs however small it is, as if it were pixels."""
_SHORTEST_RETRY_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class Load:
    """What one request, or all that waits, amounts to."""

    count: int = 0
    size: int = 0
    megapixels: float = 0.0

    def __add__(self, other: "Load") -> "Load":
        return Load(self.count + other.count, self.size + other.size, self.megapixels + other.megapixels)

    def __sub__(self, other: "Load") -> "Load":
        return Load(self.count - other.count, self.size - other.size, self.megapixels - other.megapixels)


def load_of(size: int, width: int, height: int) -> Load:
    """The load of one picture of so many encoded bytes and pixels."""
    return Load(1, size, width * height / 1e6 + _FIXED_MEGAPIXELS)


class Admission:
    """Decides by what waits and by how long work took lately.

    Args:
        queue_seconds: Longest predicted wait with which a request is accepted.
    """

    def __init__(self, queue_seconds: float) -> None:
        self._queue_seconds = queue_seconds
        self._seconds_per_megapixel = 0.0

    def learn(self, load: Load, seconds: float) -> None:
        """Take in how long a request took to compute."""
        rate = seconds / load.megapixels
        if self._seconds_per_megapixel:
            rate = self._seconds_per_megapixel + _WEIGHT * (rate - self._seconds_per_megapixel)
        self._seconds_per_megapixel = rate

    def predict(self, load: Load) -> float:
        """Seconds that a load is expected to take; 0 before anything was learned."""
        return load.megapixels * self._seconds_per_megapixel

    def admit(self, waiting: Load, request: Load, remaining: float) -> None:
        """Accept a request that comes behind what waits already, or refuse it.

        Args:
            waiting: What is ahead of it, the one being computed included.
            request: What it adds.
            remaining: Seconds until its deadline.

        Raises:
            QueueFull: There is too much ahead of it.
            DeadlineExceeded: It would not be done in time.
        """
        wait = self.predict(waiting)
        total = waiting + request
        if total.count > MAX_WAITING or total.size > MAX_WAITING_BYTES or wait > self._queue_seconds:
            retry_after = max(wait - self._queue_seconds, _SHORTEST_RETRY_SECONDS)
            raise QueueFull(f"{waiting.count} requests are waiting already.", retry_after=retry_after)
        if wait + self.predict(request) > remaining:
            raise DeadlineExceeded("The request cannot be answered before its deadline.")
