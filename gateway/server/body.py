"""A request's body: piece by piece on the event loop, or as a file of a thread."""

import asyncio
import io
import math
import time
from typing import Any

from gateway.arrival import BodyRule
from gateway.server.protocol import Protocol
from utils.errors import BodyTooSlow, Cancelled

RATE = 4096
"""Bytes a second that a body must have brought on average, once it has taken RATE_SECONDS."""
RATE_SECONDS = 10.0
PIPED_BODIES = 4
"""That applications read at once while they arrive: each of them may take long."""
PIPE_BYTES = 32 * 1024**2
"""What of all of them together may wait to be read."""
_AHEAD = PIPE_BYTES // PIPED_BODIES // 2
"""Of one; as much again is with its thread."""


class Body:
    """The body of one request.

    Args:
        connection: Where it comes from.
        cycle: uvicorn's, of this request.
        rule: What is accepted.
        pause: Seconds without a byte after which no more is waited for.
        head_ended: When the head had come, by `time.monotonic`.

    Attributes:
        size: Bytes that have been taken.
        ended: Whether these are all.
    """

    def __init__(
        self,
        connection: Protocol,
        cycle: Any,  # noqa: ANN401 - uvicorn's
        rule: BodyRule,
        pause: float,
        head_ended: float,
    ) -> None:
        self._connection, self._cycle, self._rule, self._pause = connection, cycle, rule, pause
        self._until = head_ended + rule.seconds
        self._began = time.monotonic()  # later than its head, where requests were sent ahead
        self.size = 0
        self.ended = not cycle.more_body and not cycle.body

    async def next_piece(self) -> bytes:
        """Wait for a piece; the last one may be empty.

        Raises:
            FacetError: The body is too long, too slow or cannot be read, or its sender has left.
        """
        if self._rule.piped:  # and it has its thread, or bodies of any number would wait
            self._connection.read_ahead = _AHEAD
            self._connection.may_send_first = True
        if not self._cycle.message_event.is_set():
            now = time.monotonic()
            pace = self._began + max(RATE_SECONDS, self.size / RATE)
            self._connection.wait(min(self._until, pace, now + self._pause) - now, self._time_out)
        message = await self._cycle.receive()
        self._connection.deadline = math.inf
        if message["type"] == "http.disconnect":
            raise Cancelled("The caller left while sending the body.")
        piece: bytes = message["body"]
        self.size += len(piece)
        self.ended = not message["more_body"]
        if self.ended:
            self._connection.may_send_first = False
        if self.size > self._rule.limit:
            raise self._rule.too_large(f"more than {self._rule.limit}")
        if not self.ended and self._connection.body_error is not None:
            raise self._connection.body_error
        return piece

    def _time_out(self) -> None:
        if not self._cycle.message_event.is_set():
            slow = BodyTooSlow("The body of the request stopped, or came too slowly.")
            late = time.monotonic() >= self._until
            self._connection.body_error = self._rule.late() if late else slow
            self._cycle.message_event.set()

    def give_up(self) -> None:
        """Take no more of it: what still comes is thrown away, so that its sender can go on to the answer."""
        self.ended = True
        self._connection.may_send_first = False
        if self._cycle.more_body and not self._cycle.response_complete:
            self._connection.discards_input = True
            self._connection.flow.resume_reading()

    def as_file(self) -> io.BufferedReader:
        """A file for a thread, whose reads wait for what has not arrived and raise what `next_piece` does.

        Closed before its end, it gives the rest of the body up.
        """
        return io.BufferedReader(_BodyFile(self), 64 * 1024)


class _BodyFile(io.RawIOBase):
    def __init__(self, body: Body) -> None:
        self._body = body
        self._loop = asyncio.get_running_loop()
        self._piece = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:  # noqa: ANN401 - a writable buffer
        while not self._piece and not self._body.ended:
            piece = asyncio.run_coroutine_threadsafe(self._body.next_piece(), self._loop).result()
            self._piece = memoryview(piece)
        size = min(len(buffer), len(self._piece))
        buffer[:size] = self._piece[:size]
        self._piece = self._piece[size:]
        return size

    def close(self) -> None:
        if not self.closed and not self._body.ended:
            self._loop.call_soon_threadsafe(self._body.give_up)
        super().close()
