"""One connection: what of HTTP/1.x is accepted, and how long its client is waited for.

llhttp (httptools) reads the grammar, uvicorn writes answers. Refused here, before any application: heads that
are too large or too slow, and what servers are known to understand in different ways.
"""

import asyncio
import logging
import math
import re
import select
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from gateway import problems
from gateway.arrival import Client
from utils import errors
from utils.errors import FacetError
from utils.logs import fields

logger = logging.getLogger("gateway")

FIRST_SECONDS = 10.0
"""From accept to the first byte of a first request."""
HEAD_SECONDS = 5.0
"""From the first byte of a request's head to its last."""
ANSWER_SECONDS = 10.0
"""Without the client taking any of an answer."""
LINGER_SECONDS = 5.0
"""For a client that still sends to read its answer before the connection is cut."""
LAST_SECONDS = 2.0
"""The same, and for an idle connection's next request, once the process leaves."""
MAX_HEAD_BYTES = 64 * 1024
MAX_LINE_BYTES = 4094
MAX_FIELDS = 100
MAX_FIELD_BYTES = 8188
"""Line ends are not counted."""
MAX_PIPELINED = 256
"""Requests sent ahead of the answer to the first."""

_AUTHORITY = re.compile(rb"https?://[^/?#]*", re.IGNORECASE)


@dataclass(slots=True)
class Limits:
    """What all connections of a process share.

    Attributes:
        keepalive: Seconds that a connection may be idle between two requests.
        closing: Whether each answer ends its connection.
    """

    keepalive: float
    closing: bool = False


class Protocol(HttpToolsProtocol, Client):
    """uvicorn's protocol, with limits. All of it runs on the event loop, but `on_disconnect`.

    Attributes:
        body_error: Why the rest of the current request's body will not come.
        idle_since: Since when no request has begun; infinite where one has.
    """

    def __init__(self, limits: Limits, **kwargs: Any) -> None:  # noqa: ANN401 - uvicorn's
        super().__init__(**kwargs)
        self._limits = limits
        self.body_error: FacetError | None = None
        self.idle_since = math.inf
        self._deadline = math.inf
        self._on_deadline: Callable[[], object] = self._end
        self._callback: Callable[[], object] | None = None
        self._in_head = False
        self._head_bytes, self._head_began = 0, 0.0
        self._deaf = False  # what still comes is thrown away
        self._lingers = False  # it will be, when the answer is written
        self._refusal: Exception | None = None  # for when the answers before it are written
        self._unsent, self._unsent_since = 0, 0.0

    # --- its time ---

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as uvicorn's
        """Wait for a first request."""
        super().connection_made(transport)
        self._wait_for_head(FIRST_SECONDS)

    def connection_lost(self, exc: Exception | None) -> None:
        """Have the work for this client given up."""
        super().connection_lost(exc)
        self._leave()

    def eof_received(self) -> None:
        """Take a client that closes its sending side for one that has left, as common proxies do."""
        self._leave()

    def _leave(self) -> None:
        self.left = True
        if self._callback is not None:
            self._callback()

    def on_disconnect(self, callback: Callable[[], object]) -> None:  # noqa: D102 - as of Client
        self._callback = callback
        if self.left:
            callback()

    def check(self, now: float) -> None:
        """End what has taken too long; called several times a second."""
        unsent = self.transport.get_write_buffer_size()
        if not unsent or unsent != self._unsent:
            self._unsent, self._unsent_since = unsent, now
        elif now - self._unsent_since > ANSWER_SECONDS:
            logger.info("answer not taken", extra=fields(unsent_bytes=unsent))
            self.transport.abort()
        if now >= self._deadline:
            self._deadline = math.inf
            self._on_deadline()
        if self.flow.read_paused and self._has_hung_up():
            self._leave()

    def _has_hung_up(self) -> bool:
        """Whether the client has left, which is not seen by reading while that is paused."""
        look = select.poll()
        look.register(self.transport.get_extra_info("socket").fileno(), select.POLLRDHUP)
        return bool(look.poll(0))

    def shutdown(self) -> None:
        """End with the request that runs, or with one that comes within LAST_SECONDS."""
        if self.idle_since < math.inf:
            self._deadline = min(self._deadline, time.monotonic() + LAST_SECONDS)
        elif self.cycle is not None:
            self.cycle.keep_alive = False

    def _wait(self, seconds: float, on_deadline: Callable[[], object]) -> None:
        self._deadline = time.monotonic() + seconds
        self._on_deadline = on_deadline

    def _wait_for_head(self, seconds: float) -> None:
        self.idle_since = time.monotonic()
        self._wait(LAST_SECONDS if self._limits.closing else seconds, self._end)

    def _end(self) -> None:
        # close() would wait for a client that does not read.
        self.transport.abort() if self.transport.get_write_buffer_size() else self.transport.close()

    # --- requests ---

    def data_received(self, data: bytes) -> None:
        """Read what the client has sent."""
        if self._deaf:
            return
        within = self._in_head
        try:
            self._feed(data)
            if within and self._in_head:  # no callback has seen it yet
                self._count(len(data))
        except FacetError as error:
            self._refuse(error)
        except httptools.HttpParserError as error:
            self._fail(error)

    def _feed(self, data: bytes) -> None:
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            # A server may ignore this wish (RFC 9110, 7.8); then the body is one like any other.
            version = self.parser.get_http_version().encode()
            head = [self.parser.get_method(), b" ", self.url, b" HTTP/", version, b"\r\n"]
            for name, value in self.headers:
                if name != b"upgrade":
                    head += [name, b": ", value, b"\r\n"]
            self.parser = httptools.HttpRequestParser(self)
            self.parser.feed_data(b"".join([*head, b"\r\n"]))
            self._feed(data[upgrade.args[0] :])

    def on_message_begin(self) -> None:
        """Begin a head; its time runs unless it was sent ahead."""
        super().on_message_begin()
        self._in_head, self._head_bytes, self._head_began = True, 0, time.monotonic()
        if self._is_free():
            self.idle_since = math.inf
            self._wait(HEAD_SECONDS, self._head_late)
        elif len(self.pipeline) >= MAX_PIPELINED:
            raise errors.MalformedRequest(f"More than {MAX_PIPELINED} requests were sent ahead.")

    def on_url(self, url: bytes) -> None:
        """Read a piece of the target."""
        super().on_url(url)
        line = len(self.parser.get_method()) + len(self.url) + len("  HTTP/1.1")
        if line > MAX_LINE_BYTES:
            raise errors.RequestLineTooLong(
                f"The request line has {line} bytes or more; accepted: {MAX_LINE_BYTES} bytes"
            )
        self._count(len(url))

    def on_header(self, name: bytes, value: bytes) -> None:
        """Read a field of the head; fields behind a chunked body are dropped, for they come too late."""
        if not self._in_head:
            return
        super().on_header(name, value)
        size = len(name) + len(": ") + len(value)
        self._count(size)
        if len(self.headers) > MAX_FIELDS or size > MAX_FIELD_BYTES:
            raise errors.HeadTooLarge(
                "The head has more fields than are accepted, or a longer one; accepted: "
                f"{MAX_FIELDS} fields of {MAX_FIELD_BYTES} bytes each"
            )

    def on_headers_complete(self) -> None:
        """Begin the request, if its head leaves no doubt."""
        if self.parser.get_method() == b"CONNECT":
            raise errors.MalformedRequest("CONNECT is a proxy's method.")
        check_head(self.parser.get_http_version(), self.headers)
        if self.parser.should_upgrade():
            return
        if authority := _AUTHORITY.match(self.url):
            self.url = b"/" + self.url[authority.end() :].removeprefix(b"/")
        self._in_head = False
        self._deadline = math.inf
        super().on_headers_complete()
        self.scope["state"]["request"] = self, self.cycle, time.monotonic()
        if self._limits.closing:
            self.cycle.keep_alive = False

    def on_message_complete(self) -> None:
        """Note the end of a body."""
        if not self._in_head:
            super().on_message_complete()

    def wait_for_body(self, deadline: float) -> None:
        """Let the current request's body fail unless more of it comes until then."""
        self._deadline, self._on_deadline = deadline, self._body_late

    def _body_late(self) -> None:
        self._fail_body(errors.BodyTooSlow("The body of the request did not arrive within its time."))

    def _fail_body(self, failure: FacetError) -> None:
        self._deaf = True
        self.body_error = failure
        self.cycle.message_event.set()

    def on_response_complete(self) -> None:
        """Go on with the request that was sent ahead, or wait for the next."""
        self._callback = None
        if self._lingers:
            self._linger()
        elif self._refusal is not None and not self.pipeline:
            self._refuse(self._refusal)
        else:
            super().on_response_complete()
            self._unset_keepalive_if_required()  # `check` has that time, too
            if self._is_free() and not self.transport.is_closing():
                if self._in_head:
                    self._wait(HEAD_SECONDS, self._head_late)
                else:
                    self._wait_for_head(self._limits.keepalive)

    def end_with_answer(self, cycle: Any) -> None:  # noqa: ANN401 - uvicorn's
        """End the connection with the answer that is being sent, though the client may still be sending.

        Closing a socket that has unread data resets the connection, and the answer is lost.
        """
        self._lingers = cycle.keep_alive = True

    def _linger(self) -> None:
        self._deaf = True
        self.flow.resume_reading()
        self.transport.write_eof()
        self._wait(LAST_SECONDS if self._limits.closing else LINGER_SECONDS, self.transport.abort)

    # --- refusals ---

    def _is_free(self) -> bool:
        """Whether all requests that have begun are answered."""
        return self.cycle is None or self.cycle.response_complete

    def _count(self, more: int) -> None:
        self._head_bytes += more
        if self._head_bytes > MAX_HEAD_BYTES:
            raise errors.HeadTooLarge(
                f"The head has more bytes than are accepted; accepted: {MAX_HEAD_BYTES} bytes"
            )

    def _head_late(self) -> None:
        self._refuse(
            errors.HeadTooSlow(
                f"The head of the request had not ended in time; accepted: {HEAD_SECONDS:g} s for all of it"
            )
        )

    def _fail(self, error: httptools.HttpParserError) -> None:
        """Refuse what llhttp, or a callback above, did not accept."""
        cause = error.__context__
        of_target = httptools.HttpParserInvalidURLError | ValueError
        if isinstance(cause, Exception) and not isinstance(cause, of_target):
            self._refuse(cause)
        elif not self._in_head and not self._is_free() and self.cycle.more_body:
            self._fail_body(errors.MalformedRequest(f"The chunks of the body cannot be read: {error}"))
        elif str(error) == "Invalid HTTP version":
            self._refuse(
                errors.UnsupportedHttpVersion("The request is of another HTTP; accepted: HTTP/1.0 and 1.1")
            )
        else:
            self._refuse(
                errors.MalformedRequest(
                    f"The head cannot be read: {error}; accepted: HTTP/1.0 or 1.1, each line ended by CR LF"
                )
            )

    def _refuse(self, failure: Exception) -> None:
        """Answer, after the requests before it, what no application sees, and end the connection."""
        self._deaf = True
        self._refusal = failure
        if self._is_free():
            status, headers, body = problems.refusal(failure, self._head_began)
            lines = [f"HTTP/1.1 {status}", *(f"{name}: {value}" for name, value in headers)]
            lines += [
                f"{name.decode()}: {value.decode()}" for name, value in self.server_state.default_headers
            ]
            self.transport.write("\r\n".join([*lines, "", ""]).encode() + body)
            self._linger()


def check_head(version: str, headers: list[tuple[bytes, bytes]]) -> None:
    """Refuse a head that servers are known to understand in different ways.

    Args:
        version: `1.1`, or what else the request line says.
        headers: Names in lower case, and values.

    Raises:
        FacetError: It is not accepted.
    """
    if version not in {"1.0", "1.1"}:
        raise errors.UnsupportedHttpVersion(f"The request is of HTTP/{version}; accepted: HTTP/1.0 and 1.1")
    hosts = sum(name == b"host" for name, _ in headers)
    if hosts > 1 or (hosts == 0 and version == "1.1"):
        raise errors.MalformedRequest(f"The head has {hosts} Host fields; accepted: one")
    codings = [value.strip().lower() for name, value in headers if name == b"transfer-encoding"]
    if codings and (codings != [b"chunked"] or version == "1.0"):
        raise errors.UnsupportedTransferCoding(
            "The body is in another transfer coding; accepted: chunked, in HTTP/1.1"
        )
