"""How a computation shows that it goes on, and learns that it need not."""

import time

from inference_server.dispatch.request_buffer import Abandoned, RequestBuffer
from inference_server.dispatch.row import WorkerStats
from utils.errors import MORE_TIME_HELPS, DeadlineExceeded

_LOOK_SECONDS = 0.002
"""Between two looks of a computation whether anybody still wants it: many checkpoints come sooner."""


class Progress:
    """The checkpoint of one computation.

    Attributes:
        interrupted: It has ended the computation, whose time has run out.

    Args:
        row: Of the worker that computes.
        buffer: Of the request.
        deadline: Of the request, of the monotonic clock.
    """

    def __init__(self, row: WorkerStats, buffer: RequestBuffer, deadline: float) -> None:
        self.interrupted = False
        self._row = row
        self._buffer = buffer
        self._deadline = deadline
        self._look_at = 0.0

    def checkpoint(self) -> None:
        """Show progress, and raise where there is no point in going on.

        Raises:
            Abandoned: The caller has left.
            DeadlineExceeded: The request's time is over.
        """
        now = time.monotonic()
        self._row.show_progress(now)
        if now >= self._look_at:
            self._look_at = now + _LOOK_SECONDS
            if self._buffer.is_cancelled():
                raise Abandoned
        if now > self._deadline:
            self.interrupted = True
            raise DeadlineExceeded(f"The request's time ran out while it was computed. {MORE_TIME_HELPS}")
