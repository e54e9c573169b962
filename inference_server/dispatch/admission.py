"""Whether a request is worth accepting: what waits is bounded by count, bytes and predicted seconds.

The bounds are the machine's, not a worker's: every front sees on the shared page what all have accepted. Two
that decide in the same moment may let in one request more than one would have. The time that a picture
takes grows with the pixels that are searched, of all levels of its pyramid, so the prediction is megapixels
times the seconds that a megapixel took lately.
"""

import time
from dataclasses import dataclass

from inference_server.dispatch.page import Page
from utils.errors import DeadlineExceeded, QueueFull

MAX_WAITING = 1024
MAX_WAITING_BYTES = 512 * 1024**2

MARGIN_SECONDS = 0.005
"""What an answer needs beyond its computation to reach its caller."""

_WEIGHT = 0.1
"""Weight of the newest measurement in the moving average."""
_SPREAD = 4.0
"""How many times the average a measurement may be, and the other way round, to be believed. Crowds take three
times as long as portraits; what took far longer was computed while the machine stood still."""
_TRIAL_SECONDS = 1.0
"""With nothing computed for so long, an idle machine tries what it believes to be hopeless."""
_DECODING = 0.15
"""What a pixel costs to decode beside one to search: 6.7 ms a megapixel (150 megapixels a second, as in
inference_server/images/decoding.py) over the 45 ms of the proposal network (`make bench NAME=roofline`)."""
_FIXED_MEGAPIXELS = 0.05
"""What a picture costs however small it is, as if it were pixels to search."""
_SHORTEST_RETRY_SECONDS = 0.1
_CAUTION = 1.25
"""How much longer than predicted a wait may be: where it is filled exactly up to the deadlines, a full
machine's answers come a moment too late, and one detection in ten is for nobody."""


@dataclass(frozen=True, slots=True)
class Load:
    """What one request, or all that waits, amounts to: how many, encoded bytes, megapixels to search."""

    count: int = 0
    size: int = 0
    megapixels: float = 0.0

    def __add__(self, other: "Load") -> "Load":
        return Load(self.count + other.count, self.size + other.size, self.megapixels + other.megapixels)

    def __sub__(self, other: "Load") -> "Load":
        return Load(self.count - other.count, self.size - other.size, self.megapixels - other.megapixels)


def load_of(size: int, pixels: int, searched: int) -> Load:
    """The load of one picture.

    Args:
        size: Its encoded bytes.
        pixels: How many it has.
        searched: How many all levels of its pyramid have: few where only large faces are looked for.
    """
    return Load(1, size, (searched + _DECODING * pixels) / 1e6 + _FIXED_MEGAPIXELS)


def averaged(rate: float, seconds: float, megapixels: float) -> float:
    """The moving average of seconds per megapixel, after one more measurement."""
    newest = seconds / megapixels
    if not rate:
        return newest
    return min(rate + _WEIGHT * (min(newest, _SPREAD * rate) - rate), _SPREAD * newest)


@dataclass(frozen=True, slots=True)
class Machine:
    """What all workers together have accepted, and how fast they work it off.

    Attributes:
        waiting: What they have accepted and not answered.
        workers: How many work.
        rate: Seconds that a megapixel takes one of them: the harmonic mean, for it is speeds that add up.
        quiet: Seconds since a detector last made progress.
    """

    waiting: Load
    workers: int
    rate: float
    quiet: float = 0.0

    @classmethod
    def seen_on(cls, page: Page) -> "Machine":
        """Sum up the shared page."""
        rates = page.rates
        return cls(
            waiting=Load(*page.waiting),
            workers=max(page.consuming, 1),
            rate=len(rates) / sum(1 / rate for rate in rates) if rates else 0.0,
            quiet=time.monotonic() - page.progressed,
        )

    @property
    def wait(self) -> float:
        """Seconds that a request would wait now, as predicted."""
        # With a worker idle there is no wait, whatever the sum over workers says.
        ahead = self.waiting.megapixels if self.waiting.count >= self.workers else 0.0
        return ahead * self.rate / self.workers

    def admit(self, request: Load, remaining: float, queue_seconds: float) -> None:
        """Accept a request that comes behind what waits already, or refuse it.

        Args:
            request: What it adds.
            remaining: Seconds until its deadline.
            queue_seconds: Longest predicted wait with which it is accepted.

        Raises:
            QueueFull: There is too much ahead of it; says when there will be room.
            DeadlineExceeded: It would not be done in time.
        """
        self.check_room(request.size, queue_seconds)
        late = self.wait * _CAUTION + request.megapixels * self.rate > remaining
        # What a bad hour has taught is unlearned by trying, and by nothing else.
        on_trial = not self.waiting.count and self.quiet > _TRIAL_SECONDS
        if remaining <= 0 or (late and not on_trial):
            raise DeadlineExceeded("The request cannot be answered before its deadline.")

    def check_room(self, size: int, queue_seconds: float) -> None:
        """Refuse a request for which there is no room, whatever its deadline.

        Args:
            size: Its encoded bytes.
            queue_seconds: Longest predicted wait with which it is accepted.

        Raises:
            QueueFull: There is too much ahead of it; says when there will be room.
        """
        wait, waiting = self.wait, self.waiting
        full = waiting.count >= MAX_WAITING or waiting.size + size > MAX_WAITING_BYTES
        if full or wait > queue_seconds:
            retry_after = max(wait - queue_seconds, _SHORTEST_RETRY_SECONDS)
            raise QueueFull(f"{waiting.count} requests are waiting already.", retry_after=retry_after)
