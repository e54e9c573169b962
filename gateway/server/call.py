"""One call of the application: in a thread, its answer sent by the event loop."""

import asyncio
import re
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

from gateway import problems
from gateway.arrival import Environ
from gateway.server.protocol import Protocol
from utils.errors import Cancelled

_CLOSE_SECONDS = 0.0003
"""From when an answer is handed over to be sent until it is closed."""
_UNSAFE = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")

Application = Callable[[Environ, Any], Iterable[bytes]]


class Threads:
    """Threads that answer requests, and the queue of requests that wait for one. Made on the event loop."""

    def __init__(self, count: int) -> None:
        self._pool = ThreadPoolExecutor(count, "requests")
        self._free = asyncio.Semaphore(count)

    async def take(self, client: Protocol) -> None:
        """Wait for a thread, which is to be given back.

        Raises:
            Cancelled: The client has left before.
        """
        if self._free.locked():
            waiting = asyncio.current_task()
            assert waiting is not None
            client.on_disconnect(waiting.cancel)
        try:
            await self._free.acquire()
        except asyncio.CancelledError as error:
            raise Cancelled("The caller left while its request waited for a thread.") from error
        finally:
            client.on_disconnect(lambda: None)
        if client.left:
            self.give_back()
            raise Cancelled("The caller left before its request was looked at.")

    def give_back(self) -> None:
        """Let another request have the thread."""
        self._free.release()

    async def run(self, call: "Call") -> None:
        """Have the application called in a thread that was taken; returns when it has answered or failed."""
        self._pool.submit(call.run)
        await call.made()


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
        self._application, self.environ, self._client = application, environ, client
        self._cycle, self._send = cycle, send
        self._loop = asyncio.get_running_loop()
        self._body: asyncio.Future[bytes] = self._loop.create_future()
        self._status = ""
        self._fields: list[tuple[str, str]] = []
        self._started = self._ends_by_close = False

    # --- in a thread ---

    def run(self) -> None:
        """Call the application, and pass on what it answers."""
        try:
            pieces = self._application(self.environ, self._start_response)
            try:
                # An answer of a known length is there as a whole, and then it needs this thread no longer.
                whole = "Content-Length" in dict(self._fields)
                self._pass_on(b"".join(pieces) if whole else self._stream(pieces))
                # Else the event loop would wait for the interpreter lock while the log's line is written.
                time.sleep(_CLOSE_SECONDS)
            finally:
                if hasattr(pieces, "close"):
                    pieces.close()
        except Exception as error:  # noqa: BLE001 - raised again where the answer is waited for
            self._pass_on(error)

    def _start_response(self, status: str, fields: list[tuple[str, str]], _exc_info: object = None) -> None:
        if any(map(_UNSAFE.search, [text for pair in fields for text in pair])):
            raise ValueError(f"header fields with control characters: {fields}")
        self._status, self._fields = status, fields

    def _stream(self, pieces: Iterable[bytes]) -> bytes:
        """Send pieces as fast as the client takes them, until it leaves; nothing is left to be sent."""
        for piece in pieces:
            asyncio.run_coroutine_threadsafe(self._send_piece(piece), self._loop).result()
            if self._client.left:
                break
        return b""

    def _pass_on(self, outcome: bytes | Exception) -> None:
        self._loop.call_soon_threadsafe(self._settle, outcome)

    # --- on the event loop ---

    def _settle(self, outcome: bytes | Exception) -> None:
        if isinstance(outcome, bytes):
            self._body.set_result(outcome)
        elif not self._body.done():
            self._body.set_exception(outcome)
        else:  # it was answered, and failed in the end
            problems.unexpected(outcome)

    async def made(self) -> None:
        """Wait until the application has answered or failed."""
        with suppress(Exception):  # which `answer` raises
            await self._body

    async def answer(self) -> None:
        """Send what the application has answered; raises what it raised."""
        await self._send_piece(await self._body, last=True)

    async def refuse(self, failure: Exception, began: float) -> None:
        """Answer with a failure, or cut off an answer that has begun."""
        if self._started:
            problems.unexpected(failure)
            self._cycle.disconnected = True  # or uvicorn would complain of an answer without end
            self._client.transport.abort()
        else:
            self._status, self._fields, body = problems.refusal(failure, began, self.environ)
            await self._send_piece(body, last=True)

    async def _send_piece(self, piece: bytes, *, last: bool = False) -> None:
        if self._client.transport.is_closing():
            self._cycle.disconnected = True  # uvicorn marks the newest request alone
        if not self._started:
            self._started = True
            await self._send_head()
        if piece or last:
            if self._ends_by_close:
                self._cycle.expected_content_length = len(piece)
            await self._send({"type": "http.response.body", "body": piece, "more_body": not last})

    async def _send_head(self) -> None:
        pairs = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in self._fields]
        if self.environ["SERVER_PROTOCOL"] == "HTTP/1.0" and "Content-Length" not in dict(self._fields):
            # There are no chunks in it, so the end of the connection is the answer's.
            self._ends_by_close, self._cycle.chunked_encoding = True, False
        if self._client.limits.closing or self._cycle.more_body:  # whose rest is not waited for
            self._cycle.keep_alive = False
        await self._send({"type": "http.response.start", "status": int(self._status[:3]), "headers": pairs})
        if not self._cycle.keep_alive:
            self._client.end_with_answer(self._cycle)
