"""One call of the application: in a thread, its answer sent by the event loop."""

import asyncio
import re
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from gateway import problems
from gateway.arrival import Environ
from gateway.server.protocol import Protocol
from utils.errors import Cancelled

_CLOSE_SECONDS = 0.0003
"""From when an answer is handed over to be sent until it is closed."""
_UNSAFE = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")

Application = Callable[[Environ, Any], Iterable[bytes]]
Head = tuple[str, list[tuple[str, str]]]
"""Status line and header fields."""


class Threads:
    """Threads that answer requests, and the queue of requests that wait for one. Made on the event loop."""

    def __init__(self, count: int) -> None:
        self._pool = ThreadPoolExecutor(count, "requests")
        self._free = asyncio.Semaphore(count)

    async def run(self, call: "Call") -> None:
        """Answer a request when a thread is free.

        Raises:
            Cancelled: Its client has left before.
        """
        if self._free.locked():
            waiting = asyncio.current_task()
            assert waiting is not None
            call.client.on_disconnect(waiting.cancel)
        try:
            await self._free.acquire()
        except asyncio.CancelledError as error:
            raise Cancelled("The caller left while its request waited for a thread.") from error
        try:
            if call.client.left:
                raise Cancelled("The caller left before its request was looked at.")
            self._pool.submit(call.run)
            await call.answer()
        finally:
            self._free.release()


class Call:
    """One call of the application: `run` in a thread, all else on the event loop.

    Args:
        application: What is called.
        environ: What it is called with.
        client: Who waits for the answer.
        cycle: uvicorn's, of this request.
        send: Sends a part of the answer (ASGI).
    """

    def __init__(
        self,
        application: Application,
        environ: Environ,
        client: Protocol,
        cycle: Any,  # noqa: ANN401 - uvicorn's
        send: Any,  # noqa: ANN401 - ASGI's
    ) -> None:
        self.client = client
        self._application, self._environ = application, environ
        self._cycle, self._send = cycle, send
        self._loop = asyncio.get_running_loop()
        self._rest: asyncio.Future[bytes] = self._loop.create_future()
        self._head: Head = ("", [])
        self._started = self._ends_by_close = False

    # --- in a thread ---

    def run(self) -> None:
        """Call the application, and pass on what it answers."""
        try:
            pieces = self._application(self._environ, self._start_response)
            try:
                # An answer of a known length is there as a whole, and then it needs this thread no longer.
                whole = "Content-Length" in dict(self._head[1])
                self._pass_on(b"".join(pieces) if whole else self._stream(pieces))
                # Else the event loop would wait for the interpreter lock while the log's line is written.
                time.sleep(_CLOSE_SECONDS)
            finally:
                if hasattr(pieces, "close"):
                    pieces.close()
        except Exception as error:  # noqa: BLE001 - raised again where the answer is waited for
            self._pass_on(error)

    def _start_response(self, status: str, headers: list[tuple[str, str]], _exc_info: object = None) -> None:
        if any(map(_UNSAFE.search, [text for pair in headers for text in pair])):
            raise ValueError(f"header fields with control characters: {headers}")
        self._head = status, headers

    def _stream(self, pieces: Iterable[bytes]) -> bytes:
        """Send pieces as fast as the client takes them, until it leaves; nothing is left to be sent."""
        for piece in pieces:
            asyncio.run_coroutine_threadsafe(self._send_piece(piece), self._loop).result()
            if self.client.left:
                break
        return b""

    def _pass_on(self, outcome: bytes | Exception) -> None:
        self._loop.call_soon_threadsafe(self._settle, outcome)

    # --- on the event loop ---

    def _settle(self, outcome: bytes | Exception) -> None:
        if isinstance(outcome, bytes):
            self._rest.set_result(outcome)
        elif not self._rest.done():
            self._rest.set_exception(outcome)
        else:  # it was answered, and failed in the end
            problems.unexpected(outcome)

    async def answer(self) -> None:
        """Send the answer when it is there; raises what the application raised."""
        await self._send_piece(await self._rest, last=True)

    async def refuse(self, failure: Exception, began: float) -> None:
        """Answer with a failure, or cut off an answer that has begun."""
        if self._started:
            problems.unexpected(failure)
            self._cycle.disconnected = True  # or uvicorn would complain of an answer without end
            self.client.transport.abort()
        else:
            status, headers, body = problems.refusal(failure, began, self._environ)
            self._head = status, headers
            await self._send_piece(body, last=True)

    async def _send_piece(self, piece: bytes, *, last: bool = False) -> None:
        if not self._started:
            self._started = True
            await self._send_head()
        if piece or last:
            if self._ends_by_close:
                self._cycle.expected_content_length = len(piece)
            await self._send({"type": "http.response.body", "body": piece, "more_body": not last})

    async def _send_head(self) -> None:
        status, headers = self._head
        pairs = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers]
        if self._environ["SERVER_PROTOCOL"] == "HTTP/1.0" and not any(
            n == "Content-Length" for n, _ in headers
        ):
            # There are no chunks in it, so the end of the connection is the answer's.
            self._ends_by_close, self._cycle.chunked_encoding = True, False
        unread = self._cycle.more_body
        if unread:
            pairs.append((b"connection", b"close"))
        await self._send({"type": "http.response.start", "status": int(status[:3]), "headers": pairs})
        if unread:
            self.client.end_with_answer(self._cycle)
