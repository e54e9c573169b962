"""A request's body: collected on the event loop, or read by the application while it arrives."""

import asyncio
import threading
import time
from collections import deque
from typing import Any

from gateway.arrival import BodyRule
from gateway.server.protocol import Protocol
from utils.errors import BodyTooSlow, Cancelled, FacetError, GatewayBusy

RATE = 4096
"""Bytes a second that a body must have brought on average, once it has taken RATE_SECONDS."""
RATE_SECONDS = 10.0
PIPE_BYTES = 32 * 1024**2
"""What of a body may wait for an application that reads it while it arrives."""


class Budget:
    """How many bytes of bodies this process may hold at once. Of the event loop alone."""

    def __init__(self, size: int) -> None:
        self._left = size

    def take(self, size: int) -> None:
        """Count bytes that are held from now on.

        Raises:
            GatewayBusy: They are too many.
        """
        self._left -= size
        if self._left < 0:
            raise GatewayBusy("This process holds as many bytes of bodies as it may.", retry_after=1.0)

    def give_back(self, size: int) -> None:
        """Count bytes that are held no longer."""
        self._left += size


class Body:
    """The body of one request, piece by piece.

    Args:
        connection: Where it comes from.
        cycle: uvicorn's, of this request.
        rule: What is accepted.
        pause: Seconds without a byte after which no more is waited for.
        head_ended: When the head had come, by `time.monotonic`.

    Attributes:
        held: Bytes of it that are taken of the budget.
    """

    def __init__(
        self,
        connection: Protocol,
        cycle: Any,  # noqa: ANN401 - uvicorn's
        rule: BodyRule,
        pause: float,
        head_ended: float,
    ) -> None:
        self._connection, self._cycle, self.rule, self._pause = connection, cycle, rule, pause
        self._until = head_ended + rule.seconds
        self._began = time.monotonic()  # later than its head, where requests were sent ahead
        self.size = self.held = 0
        self.ended = not cycle.more_body and not cycle.body

    def check_length(self, length: int) -> None:
        """Refuse a body for what its head says of its length.

        Raises:
            FacetError: It is too long.
        """
        if length > self.rule.limit:
            raise self.rule.too_large(str(length))

    async def next_piece(self) -> bytes:
        """Wait for a piece; the last one may be empty.

        Raises:
            FacetError: The body is too long, too slow or cannot be read, or its sender has left.
        """
        message = await self._receive()
        if message["type"] == "http.disconnect":
            raise Cancelled("The caller left while sending the body.")
        piece: bytes = message["body"]
        self.size += len(piece)
        self.ended = not message["more_body"]
        if self.size > self.rule.limit:
            raise self.rule.too_large(f"more than {self.rule.limit}")
        if not self.ended and self._connection.body_error is not None:
            raise self._connection.body_error
        return piece

    async def _receive(self) -> Any:  # noqa: ANN401 - ASGI's
        if self._cycle.message_event.is_set():
            return await self._cycle.receive()
        pace = self._began + max(RATE_SECONDS, self.size / RATE)
        try:
            async with asyncio.timeout_at(min(self._until, pace, time.monotonic() + self._pause)):
                return await self._cycle.receive()
        except TimeoutError:
            await asyncio.sleep(0)  # what came while this process stood still has not been read yet
            if self._cycle.message_event.is_set():
                return await self._cycle.receive()
            if time.monotonic() >= self._until:
                raise self.rule.late() from None
            raise BodyTooSlow("The body of the request stopped, or came too slowly.") from None

    async def collect(self, budget: Budget) -> bytes:
        """Wait for all of it; `held` bytes are taken of the budget, also where it fails."""
        pieces = []
        while not self.ended:
            piece = await self.next_piece()
            self.held += len(piece)
            budget.take(len(piece))
            pieces.append(piece)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)


class Pipe:
    """A file that a thread reads while the event loop fills it."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._room = asyncio.Event()
        self._pieces: deque[bytes] = deque()
        self._size = 0
        self._changed = threading.Condition()
        self._end: FacetError | bool = False

    async def fill(self, body: Body) -> None:
        """Take the pieces of a body as they come, while there is room."""
        try:
            while not body.ended:
                piece = await body.next_piece()
                self._room.clear()
                with self._changed:
                    self._pieces.append(piece)
                    self._size += len(piece)
                    full = self._size > PIPE_BYTES
                    self._changed.notify()
                if full:
                    await self._room.wait()
            self._finish(True)
        except FacetError as error:
            self._finish(error)

    def _finish(self, end: FacetError | bool) -> None:
        with self._changed:
            self._end = end
            self._changed.notify()

    def read(self, size: int = -1) -> bytes:
        """Wait for `size` bytes, or for all that come; less at the end.

        Raises:
            FacetError: The rest will not come.
        """
        taken = bytearray()
        while size < 0 or len(taken) < size:
            with self._changed:
                self._changed.wait_for(lambda: self._pieces or self._end)
                if not self._pieces:
                    if isinstance(self._end, FacetError):
                        raise self._end
                    break
                piece = self._pieces.popleft()
                wanted = len(piece) if size < 0 else size - len(taken)
                if len(piece) > wanted:
                    self._pieces.appendleft(piece[wanted:])
                taken += piece[:wanted]
                self._size -= min(len(piece), wanted)
            if self._size <= PIPE_BYTES:
                self._loop.call_soon_threadsafe(self._room.set)
        return bytes(taken)
