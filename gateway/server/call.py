"""One call of the application: in a thread, its answer sent by the event loop."""

import asyncio
import re
from collections.abc import Callable, Iterable
from typing import Any

from gateway import problems
from gateway.arrival import Environ
from gateway.cors import NO_ORIGINS, OriginRules
from gateway.counters import NO_ROUTE
from gateway.server.protocol import Protocol

_UNSAFE = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")

Application = Callable[[Environ, Any], Iterable[bytes]]


class Call:
    """One call of the application: `run` in a thread, all else on the event loop.

    Args:
        application: What is called.
        environ: What it is called with.
        error_format: How it tells failures.
        connection: Where the answer is waited for.
        cycle: uvicorn's, of this request.

    Attributes:
        outcome: What of the answer is left to be sent, or what the application raised.
    """

    def __init__(
        self,
        application: Application,
        environ: Environ,
        error_format: problems.ErrorFormat,
        connection: Protocol,
        cycle: Any,  # noqa: ANN401 - uvicorn's
    ) -> None:
        self._application, self._environ, self._error_format = application, environ, error_format
        self._connection, self._cycle = connection, cycle
        self._loop = asyncio.get_running_loop()
        self.outcome: asyncio.Future[bytes] = self._loop.create_future()
        self._pieces: Iterable[bytes] = ()
        self._status = ""
        self._fields: list[tuple[str, str]] = []
        self._started = self._ends_by_close = self._server_closes = False

    # --- in a thread ---

    def run(self) -> None:
        """Call the application, and pass on what it answers."""
        try:
            pieces = self._application(self._environ, self._start_response)
            if "Content-Length" in dict(self._fields):
                # It is there as a whole, and needs this thread no longer.
                self._pieces = pieces
                self._pass_on(b"".join(pieces))
                return
            try:
                self._pass_on(self._stream(pieces))
            finally:
                _close(pieces)
        except Exception as error:  # noqa: BLE001 - raised again where the answer is waited for
            self._pass_on(error)

    def _start_response(self, status: str, fields: list[tuple[str, str]], _exc_info: object = None) -> None:
        if any(map(_UNSAFE.search, [text for pair in fields for text in pair])):
            raise ValueError(f"header fields with control characters: {fields}")
        self._status, self._fields = status, fields

    def _stream(self, pieces: Iterable[bytes]) -> bytes:
        """Send pieces as fast as the client takes them, until it leaves; nothing is left to be sent."""
        for piece in pieces:
            asyncio.run_coroutine_threadsafe(self.send(piece), self._loop).result()
            if self._connection.left:
                break
        return b""

    def _pass_on(self, outcome: bytes | Exception) -> None:
        self._loop.call_soon_threadsafe(self._settle, outcome)

    # --- on the event loop ---

    def _settle(self, outcome: bytes | Exception) -> None:
        if isinstance(outcome, bytes):
            self.outcome.set_result(outcome)
        elif not self.outcome.done():
            self.outcome.set_exception(outcome)
        else:  # it was answered, and failed in the end
            problems.unexpected(outcome)

    def close(self) -> None:
        """Close an answer of a known length, by which its line is written into the log."""
        try:
            _close(self._pieces)
        except Exception as error:  # noqa: BLE001 - it was answered, and failed in the end
            problems.unexpected(error)

    async def refuse(self, failure: Exception) -> None:
        """Answer with a failure, or cut off an answer that has begun."""
        if self._started:
            problems.unexpected(failure)
            self._cycle.disconnected = True  # or uvicorn would complain of an answer without end
            self._connection.transport.abort()
        else:
            route_of: Callable[[Environ], str] = getattr(self._application, "route_of", lambda _: NO_ROUTE)
            self._status, self._fields, body = problems.refusal(
                failure, self._environ, self._error_format, route_of(self._environ)
            )
            origins: OriginRules = getattr(self._application, "origins", NO_ORIGINS)
            self._fields += origins.header_fields(self._environ).items()
            await self.send(body, last=True)

    async def send(self, piece: bytes, *, last: bool = False) -> None:
        """Send a piece of the answer."""
        connection, cycle = self._connection, self._cycle
        if connection.transport.is_closing():
            cycle.disconnected = True  # uvicorn marks the newest request alone
        if not self._started:
            self._started = True
            await self._send_head()
        if last and not cycle.keep_alive and (self._server_closes or not connection.is_read_to_end()):
            connection.linger_after(cycle)
        if piece or last:
            if self._ends_by_close:
                cycle.expected_content_length = len(piece)
            await cycle.send({"type": "http.response.body", "body": piece, "more_body": not last})

    async def _send_head(self) -> None:
        cycle = self._cycle
        pairs = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in self._fields]
        if self._environ["SERVER_PROTOCOL"] == "HTTP/1.0" and "Content-Length" not in dict(self._fields):
            # There are no chunks in it, so the end of the connection is the answer's.
            self._ends_by_close, cycle.chunked_encoding = True, False
        self._server_closes = cycle.keep_alive
        if self._connection.server_state.closing or cycle.more_body:  # whose rest is not waited for
            cycle.keep_alive = False
        await cycle.send({"type": "http.response.start", "status": int(self._status[:3]), "headers": pairs})


def _close(pieces: Iterable[bytes]) -> None:
    if hasattr(pieces, "close"):
        pieces.close()
