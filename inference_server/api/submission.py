"""What every call that becomes work has in common: how long it may take and wait, and where it goes.

What becomes of it is counted here, and traced, so that each item of a stream is.
"""

import math
import time
from collections.abc import Iterator
from typing import Any, NamedTuple, Protocol

from inference_server.api.call_counters import CallCounters
from inference_server.api.spans import add_stages
from inference_server.dispatch.admission import Load
from inference_server.dispatch.work import Work
from inference_server.models.encoding import unpack_answer
from utils.metadata import TIMEOUT_IS_DEFAULT
from utils.settings import Settings


class Dispatcher(Protocol):
    """The part of inference_server.dispatch.dispatcher.Dispatcher that is used here."""

    def admit(self, load: Load, deadline: float, longest_wait: float, queue: int = 0) -> None:
        """Refuse a request for which there is no room or no time."""

    async def submit(self, work: Work, longest_wait: float) -> bytes:
        """Have work done; gives its answer."""


class Submissions:
    """Has work done.

    Args:
        dispatcher: Does it.
        counters: Count it; None where nobody reads them.
    """

    def __init__(self, dispatcher: Dispatcher, counters: CallCounters | None = None) -> None:
        self.admit = dispatcher.admit
        self._dispatcher = dispatcher
        self._counters = counters or CallCounters.unshared()

    async def submit(self, work: Work, longest_wait: float) -> tuple[bytes, dict[str, Any]]:
        """Have work done; gives the message of its answer, and fields for a log line.

        Raises:
            FacetError: It is refused, or this is what was answered.
        """
        model, received, queue = work.model, work.received, work.queue
        submitted = self._dispatcher.submit(work, longest_wait)
        del work  # its payload waits in its buffer; who waits for it shall not hold it, too
        try:
            message, log_fields = unpack_answer(await submitted)
        except BaseException:  # who has left is no exception of ours
            self._counters.failed(queue, time.monotonic() - received)
            raise
        self._counters.answered(queue, time.monotonic() - received, log_fields)
        add_stages(model, received, log_fields)
        return message, log_fields


class OwnTime:
    """The context of a call for one request of it that names a time of its own, beside the call's deadline.

    Args:
        context: Of the call.
        seconds: The time, from now on.
    """

    def __init__(self, context: Any, seconds: float) -> None:  # noqa: ANN401
        self._context = context
        self._deadline = time.monotonic() + seconds

    def time_remaining(self) -> float:
        """Seconds until the answer is no longer wanted."""
        left = self._deadline - time.monotonic()
        remaining = self._context.time_remaining()
        return left if remaining is None else float(min(remaining, left))

    def invocation_metadata(self) -> Iterator[Any]:
        """What the call came with, but for saying that its time is a default."""
        return (pair for pair in self._context.invocation_metadata() or () if pair != TIMEOUT_IS_DEFAULT)


class Patience(NamedTuple):
    """How long a request may take, and wait.

    Attributes:
        deadline: When its answer is no longer wanted, of the monotonic clock.
        longest_wait: Of the wait that is predicted for it, in seconds; infinite where its caller has named a
            time, which then decides alone.
    """

    deadline: float
    longest_wait: float


def patience_of(context: Any, received: float, settings: Settings) -> Patience:  # noqa: ANN401
    """The patience of a request that came with a call.

    The time is what the caller gives, or the default, and never more than the maximum.

    Args:
        context: The call's.
        received: When the request was received, by the monotonic clock.
        settings: For the default and the limits.
    """
    remaining: float | None = context.time_remaining()
    named = remaining is not None and TIMEOUT_IS_DEFAULT not in context.invocation_metadata()
    if remaining is None:
        remaining = settings.timeout_seconds
    deadline = received + min(remaining, settings.max_timeout_seconds)
    return Patience(deadline, math.inf if named else settings.queue_seconds)
