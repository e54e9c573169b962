"""The pictures of a `detect_many` that are under way: what is to be sent, when, and what each one ends with.

Both clients make streams of it, the blocking one and that for asyncio. Nothing here waits or sends.
"""

import math
import time
from collections import deque
from dataclasses import dataclass

from protos import infer_pb2 as pb
from utils.channel import MOST_ATTEMPTS, RetryBudget, backoff
from utils.codec import TRANSPORT_MARGIN, encode_request
from utils.domain import Detection, DetectRequest
from utils.errors import (
    LARGER_FACES_HELP,
    BackendUnavailable,
    DeadlineExceeded,
    FacetError,
    MessageTooLarge,
    Overloaded,
)
from utils.extras import Wanted
from utils.status import UNANSWERED
from utils.stream_codec import decode_outcome

MOST_PICTURES = 16
"""That are under way at once: as many as a worker takes of one stream."""

FAREWELL_SECONDS = 1.0
"""How long a stream's end is waited for when all is answered."""

Outcome = tuple[int, Detection | FacetError]
"""What came of a picture, by its place among the requests."""


@dataclass(eq=False, slots=True)
class Picture:
    """A picture without an outcome yet.

    Attributes:
        request: What is sent; None once there is an outcome.
        deadline: When its answer is no longer wanted, of the monotonic clock.
        timeout_named: Whether the backend is told.
        wanted: What is wanted beside its faces.
        due: When it is to be sent; infinite while it is on a stream.
        attempts: How many streams it was lost with.
    """

    number: int
    request: pb.PredictStreamRequest | None
    deadline: float
    timeout_named: bool
    wanted: Wanted
    due: float = 0.0
    attempts: int = 0

    def to_send(self) -> pb.PredictStreamRequest | None:
        """The message with the time that is left; None where it is no longer wanted."""
        request, left = self.request, self.deadline - time.monotonic()
        if request is None or left <= 0:
            return None
        if self.timeout_named:
            request.timeout_seconds = left
        return request


@dataclass(frozen=True, slots=True)
class Ended:
    """The end of a stream, and the error that it ended with, if any."""

    error: FacetError | None


Event = pb.PredictStreamReply | Ended
"""What comes of a stream: answers, then its end."""


class Window:
    """Some of many pictures, of which each has its own time, retries and outcome.

    Args:
        timeout: Seconds that each picture has from `add` on, waits and retries included.
        timeout_named: False where that is a default that no caller has asked for.
        most_bytes: Of a picture that can be sent.
        budget: Of retries, shared by all calls of a client.
    """

    def __init__(self, timeout: float, most_bytes: int, budget: RetryBudget, *, timeout_named: bool) -> None:
        self._timeout = timeout
        self._timeout_named = timeout_named
        self._most_bytes = most_bytes + TRANSPORT_MARGIN
        self._budget = budget
        self._pictures: dict[int, Picture] = {}
        self._count = 0
        self._has_all = False
        self._failures = 0
        self.outcomes: deque[Outcome] = deque()

    @property
    def wants_more(self) -> bool:
        """Whether another picture may be added."""
        return not self._has_all and len(self._pictures) < MOST_PICTURES

    @property
    def is_empty(self) -> bool:
        """Whether all pictures have an outcome."""
        return not self._pictures

    @property
    def is_done(self) -> bool:
        """Whether they have, and no more will come."""
        return self._has_all and not self._pictures

    def add(self, request: DetectRequest | bytes | None) -> None:
        """Begin with a picture, whose number is its place among all that were added; None: that was all."""
        if request is None:
            self._has_all = True
            return
        number = self._count
        self._count += 1
        if isinstance(request, bytes):
            request = DetectRequest(request)
        message = pb.PredictStreamRequest(number=number, image=encode_request(request))
        if message.ByteSize() > self._most_bytes:
            detail = f"The request has {message.ByteSize()} bytes; accepted: {self._most_bytes} at most."
            self.outcomes.append((number, MessageTooLarge(detail)))
            return
        deadline = time.monotonic() + self._timeout
        self._pictures[number] = Picture(number, message, deadline, self._timeout_named, request.wanted)

    def take_due(self) -> list[Picture]:
        """What is to be sent now, and counts as sent."""
        now = time.monotonic()
        due = [picture for picture in self._pictures.values() if picture.due <= now]
        for picture in due:
            picture.due = math.inf
        return due

    def seconds(self) -> float | None:
        """Until a picture is due, or its time is over; None where there is none."""
        if not self._pictures:
            return None
        now = time.monotonic()
        return max(min(min(one.due, one.deadline) for one in self._pictures.values()) - now, 0.0)

    def take(self, event: Event) -> bool:
        """Take what has come of a stream; gives whether that has ended.

        A picture that the backend has no room for, or that was lost with its stream, is sent again where its
        time and the retries allow that; else it has its outcome.
        """
        if isinstance(event, Ended):
            self._ended(event.error)
            return True
        self._answered(event)
        return False

    def end_late(self) -> None:
        """End the pictures whose time is over."""
        now = time.monotonic()
        for picture in [picture for picture in self._pictures.values() if picture.deadline <= now]:
            self._end(picture, DeadlineExceeded(f"{UNANSWERED} {LARGER_FACES_HELP}"))

    def _answered(self, reply: pb.PredictStreamReply) -> None:
        self._failures = 0
        self._budget.succeeded()
        picture = self._pictures.get(reply.number)
        if picture is None:  # its time was over
            return
        outcome = decode_outcome(reply, picture.wanted)
        if isinstance(outcome, Overloaded):
            self._wait_or_end(picture, outcome)
        else:
            self._end(picture, outcome)

    def _ended(self, error: FacetError | None) -> None:
        lost = [picture for picture in self._pictures.values() if picture.due == math.inf]
        if not lost:
            return
        match error:
            case None | BackendUnavailable() | DeadlineExceeded():  # the last: nothing was sent for too long
                failure = error or BackendUnavailable("The stream ended before all of it was answered.")
                self._failures += 1
                due = time.monotonic() + backoff(self._failures)
                for picture in lost:
                    self._retry_or_end(picture, failure, due)
            case Overloaded():
                for picture in lost:
                    self._wait_or_end(picture, error)
            case MessageTooLarge():
                # If any is too large for the backend, the largest one is. The others are sent again.
                largest = max(lost, key=lambda picture: picture.request.ByteSize() if picture.request else 0)
                self._end(largest, error)
                for picture in lost:
                    picture.due = 0.0
            case _:
                for picture in lost:
                    self._end(picture, error)

    def _retry_or_end(self, picture: Picture, error: FacetError, due: float) -> None:
        picture.attempts += 1
        if self._budget.failed() and picture.attempts < MOST_ATTEMPTS:
            picture.due = due
        else:
            self._end(picture, error)

    def _wait_or_end(self, picture: Picture, error: Overloaded) -> None:
        due = time.monotonic() + (error.retry_after or 0.0)
        if error.retry_after is None or due >= picture.deadline:
            self._end(picture, error)
        else:
            picture.due = due

    def _end(self, picture: Picture, outcome: Detection | FacetError) -> None:
        del self._pictures[picture.number]
        picture.request = None  # it may wait to be sent
        self.outcomes.append((picture.number, outcome))
