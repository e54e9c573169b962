"""What of HTTP/1.x is accepted, and how the rest is refused.

llhttp (httptools) reads the grammar, uvicorn writes answers. Refused here, before any application: heads that
are too large or too slow, and what servers are known to understand in different ways.
"""

import math
import re
import time
from typing import Any

import httptools

from gateway import problems
from gateway.arrival import Arrival, Environ
from gateway.server.connection import Connection
from utils import errors
from utils.errors import FacetError

HEAD_SECONDS = 5.0
"""From the first byte of a head to its last."""
MAX_HEAD_BYTES = 64 * 1024
MAX_LINE_BYTES = 4094
MAX_FIELDS = 100
MAX_FIELD_BYTES = 8188
"""Line ends are not counted."""
READ_AHEAD = 256 * 1024
MAX_PIPELINED = 256
"""Requests sent ahead of the answer to the first."""

_TLS_HANDSHAKE = b"\x16\x03"
"""The type and the first half of the version of a record."""
_AUTHORITY = re.compile(rb"https?://[^/?#]*", re.IGNORECASE)


class Protocol(Connection):
    """The requests of a connection.

    Attributes:
        body_error: Why the rest of the current request's body will not come.
        read_ahead: Bytes of the current request's body that may wait to be taken.
    """

    def __init__(self, **kwargs: Any) -> None:  # noqa: ANN401 - uvicorn's
        super().__init__(**kwargs)
        self.body_error: FacetError | None = None
        self.read_ahead = READ_AHEAD
        self._in_head = False
        self._head_began = 0.0
        self._head_size = 0  # of what the callbacks have seen
        self._head_fed = 0  # of the reads that brought nothing but a part of the head
        self._refusal: Exception | None = None  # for when the requests before it are answered

    def data_received(self, data: bytes) -> None:
        """Read what the client has sent."""
        if self.discards_input:
            return
        fields = self.headers
        try:
            self._feed(data)
            if self._in_head and self.headers is fields:
                # A field that does not end reaches no callback.
                self._head_fed += len(data)
                _check_head_size(self._head_fed - MAX_FIELD_BYTES)
        except FacetError as error:
            self._refuse(error)
        except httptools.HttpParserError as error:
            self._fail(error, speaks_tls=data.startswith(_TLS_HANDSHAKE))

    def _feed(self, data: bytes) -> None:
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            end = upgrade.args[0]
        else:
            return
        # A server may ignore this wish (RFC 9110, 7.8); then the body is one like any other.
        version = self.parser.get_http_version().encode()
        lines = [self.parser.get_method(), b" ", self.url, b" HTTP/", version, b"\r\n"]
        for name, value in self.headers:
            if name != b"upgrade":
                lines += [name, b": ", value, b"\r\n"]
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn has it
        self._feed(b"".join([*lines, b"\r\n", data[end:]]))

    def on_message_begin(self) -> None:
        """Begin a head; its time runs unless it was sent ahead."""
        super().on_message_begin()
        self._in_head, self._head_began = True, time.monotonic()
        self._head_size = self._head_fed = 0
        if self.is_free():
            self._wait_for_end_of_head()
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
        self._head_size += len(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Read a field of the head; fields behind a chunked body are dropped, for they come too late."""
        if not self._in_head:
            return
        super().on_header(name, value)
        size = len(name) + len(": ") + len(value)
        self._head_size += size
        _check_head_size(self._head_size)
        if len(self.headers) > MAX_FIELDS or size > MAX_FIELD_BYTES:
            raise errors.HeadTooLarge(
                "The head has more fields than are accepted, or a longer one; accepted: "
                f"{MAX_FIELDS} fields of {MAX_FIELD_BYTES} bytes each"
            )

    def on_headers_complete(self) -> None:
        """Begin the request, if its head leaves no doubt."""
        _check_head(self.parser.get_method(), self.parser.get_http_version(), self.headers)
        if self.parser.should_upgrade():
            return
        # Clients write scheme and host for proxies.
        if authority := _AUTHORITY.match(self.url):
            self.url = b"/" + self.url[authority.end() :].removeprefix(b"/")
        if not self.url.startswith((b"/", b"*")):
            raise errors.MalformedRequest("The target is no path.")
        self.expect_100_continue &= self.parser.get_http_version() != "1.0"
        self._in_head = False
        self.deadline = math.inf
        super().on_headers_complete()
        self.scope["state"]["request"] = self, self.cycle, time.monotonic()

    def on_body(self, body: bytes) -> None:
        """Read a piece of a body; replaces uvicorn's, which pauses, at a cost, for each body above 64 KiB."""
        if self.cycle.response_complete:
            return
        self.cycle.body += body
        if len(self.cycle.body) > self.read_ahead or self.pipeline:
            self.flow.pause_reading()
        self.cycle.message_event.set()

    def on_message_complete(self) -> None:
        """Note the end of a body."""
        if not self._in_head:
            super().on_message_complete()

    def is_read_to_end(self) -> bool:
        """Whether the client has sent nothing behind the requests that have begun."""
        return not (self.cycle.more_body or self.pipeline or self._in_head or self.flow.read_paused)

    def on_response_complete(self) -> None:
        """Go on with what was sent ahead: a request, a part of its head, or what cannot be read."""
        self.read_ahead = READ_AHEAD
        super().on_response_complete()
        if self.is_free() and not self.transport.is_closing() and not self._lingers:
            if self._refusal is not None:
                self._refuse(self._refusal)
            elif self._in_head and not self.discards_input:
                self._wait_for_end_of_head()

    # --- refusals ---

    def _wait_for_end_of_head(self) -> None:
        self.idle_since = math.inf
        self.wait(HEAD_SECONDS, self._head_late)

    def _head_late(self) -> None:
        self._refuse(
            errors.HeadTooSlow(
                f"The head of the request had not ended in time; accepted: {HEAD_SECONDS:g} s for all of it"
            )
        )

    def _fail(self, error: httptools.HttpParserError, *, speaks_tls: bool) -> None:
        """Refuse what llhttp, or a callback above, did not accept."""
        cause = error.__context__
        of_target = httptools.HttpParserInvalidURLError | ValueError
        if isinstance(cause, Exception) and not isinstance(cause, of_target):
            self._refuse(cause)
        elif not self._in_head and not self.is_free() and self.cycle.more_body:
            self.discards_input = True
            self.body_error = errors.MalformedRequest(f"The chunks of the body cannot be read: {error}")
            self.cycle.message_event.set()
        elif str(error) == "Invalid HTTP version":
            self._refuse(_unsupported_version("The request is of another HTTP"))
        else:
            failure = errors.MalformedRequest(
                f"The head cannot be read: {error}; accepted: HTTP/1.0 or 1.1, each line ended by CR LF"
            )
            if speaks_tls:
                failure.cause = "the client speaks TLS, and this server does not"
            self._refuse(failure)

    def _refuse(self, failure: Exception) -> None:
        """Answer, after the requests before it, what no application sees, and end the connection."""
        self.discards_input = True
        self._refusal = failure
        if self.is_free():
            environ: Environ = {}
            Arrival(head_ended=self._head_began, counters=self.server_state.counters).add_to(environ)
            status, headers, body = problems.refusal(failure, environ)
            lines = [f"HTTP/1.1 {status}", *(f"{name.lower()}: {value}" for name, value in headers)]
            lines += [
                f"{name.decode()}: {value.decode()}" for name, value in self.server_state.default_headers
            ]
            self.transport.write("\r\n".join([*lines, "", ""]).encode() + body)
            self.linger()


def _check_head_size(size: int) -> None:
    if size > MAX_HEAD_BYTES:
        raise errors.HeadTooLarge(f"The head is longer than is accepted; accepted: {MAX_HEAD_BYTES} bytes")


def _check_head(method: bytes, version: str, headers: list[tuple[bytes, bytes]]) -> None:
    """Refuse a head that servers are known to understand in different ways, with its version such as `1.1`.

    Raises:
        FacetError: It is not accepted.
    """
    if method == b"CONNECT":
        raise errors.MalformedRequest("CONNECT is a proxy's method.")
    if version not in {"1.0", "1.1"}:
        raise _unsupported_version(f"The request is of HTTP/{version}")
    hosts = sum(name == b"host" for name, _ in headers)
    if hosts > 1 or (hosts == 0 and version == "1.1"):
        raise errors.MalformedRequest(f"The head has {hosts} Host fields; accepted: one")
    codings = [value.strip().lower() for name, value in headers if name == b"transfer-encoding"]
    if codings and (codings != [b"chunked"] or version == "1.0"):
        raise errors.UnsupportedTransferCoding(
            "The body is in another transfer coding; accepted: chunked, in HTTP/1.1"
        )


def _unsupported_version(what: str) -> FacetError:
    return errors.UnsupportedHttpVersion(f"{what}; accepted: HTTP/1.0 and 1.1")
