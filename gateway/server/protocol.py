"""What of HTTP/1.x is accepted, and how the rest is refused.

llhttp (httptools) reads the grammar, uvicorn writes answers. Refused here, before any application: heads that
are too large or too slow, and what servers are known to understand in different ways.
"""

import math
import time
from typing import Any

import httptools

from gateway import problems
from gateway.server import head
from gateway.server.connection import Connection
from utils import errors
from utils.errors import FacetError

MAX_PIPELINED = 256
"""Requests sent ahead of the answer to the first."""


class Protocol(Connection):
    """The requests of a connection.

    Attributes:
        body_error: Why the rest of the current request's body will not come.
    """

    def __init__(self, **kwargs: Any) -> None:  # noqa: ANN401 - of Connection and uvicorn
        super().__init__(**kwargs)
        self.body_error: FacetError | None = None
        self._in_head = False
        self._head_size, self._head_began = head.HeadSize(), 0.0
        self._refusal: Exception | None = None  # for when the requests before it are answered

    def data_received(self, data: bytes) -> None:
        """Read what the client has sent."""
        if self.deaf:
            return
        size, counted = self._head_size, self._head_size.bytes
        try:
            self._feed(data)
            if self._in_head and size is self._head_size and counted == size.bytes:
                size.add_unseen(len(data))  # which no callback has seen yet
        except FacetError as error:
            self._refuse(error)
        except httptools.HttpParserError as error:
            self._fail(error)

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
        self._in_head, self._head_size, self._head_began = True, head.HeadSize(), time.monotonic()
        if self.is_free():
            self._wait_for_end_of_head()
        elif len(self.pipeline) >= MAX_PIPELINED:
            raise errors.MalformedRequest(f"More than {MAX_PIPELINED} requests were sent ahead.")

    def on_url(self, url: bytes) -> None:
        """Read a piece of the target."""
        super().on_url(url)
        self._head_size.add_target(self.parser.get_method(), self.url, len(url))

    def on_header(self, name: bytes, value: bytes) -> None:
        """Read a field of the head; fields behind a chunked body are dropped, for they come too late."""
        if not self._in_head:
            return
        super().on_header(name, value)
        self._head_size.add_field(name, value, len(self.headers))

    def on_headers_complete(self) -> None:
        """Begin the request, if its head leaves no doubt."""
        head.check_head(self.parser.get_method(), self.parser.get_http_version(), self.headers)
        if self.parser.should_upgrade():
            return
        self.url = head.origin_form(self.url)
        if not self.url.startswith((b"/", b"*")):
            raise errors.MalformedRequest("The target is no path.")
        self.expect_100_continue &= self.parser.get_http_version() != "1.0"
        self._in_head = False
        self._deadline = math.inf
        super().on_headers_complete()
        self.scope["state"]["request"] = self, self.cycle, time.monotonic()

    def on_message_complete(self) -> None:
        """Note the end of a body."""
        if not self._in_head:
            super().on_message_complete()

    def _fail_body(self, failure: FacetError) -> None:
        self.deaf = True
        self.body_error = failure
        self.cycle.message_event.set()

    def on_response_complete(self) -> None:
        """Go on with what was sent ahead: a request, a part of its head, or what cannot be read."""
        super().on_response_complete()
        if self.is_free() and not self.transport.is_closing() and not self._lingers:
            if self._refusal is not None:
                self._refuse(self._refusal)
            elif self._in_head and not self.deaf:
                self._wait_for_end_of_head()

    # --- refusals ---

    def _wait_for_end_of_head(self) -> None:
        self.idle_since = math.inf
        self.wait(head.SECONDS, self._head_late)

    def _head_late(self) -> None:
        self._refuse(
            errors.HeadTooSlow(
                f"The head of the request had not ended in time; accepted: {head.SECONDS:g} s for all of it"
            )
        )

    def _fail(self, error: httptools.HttpParserError) -> None:
        """Refuse what llhttp, or a callback above, did not accept."""
        cause = error.__context__
        of_target = httptools.HttpParserInvalidURLError | ValueError
        if isinstance(cause, Exception) and not isinstance(cause, of_target):
            self._refuse(cause)
        elif not self._in_head and not self.is_free() and self.cycle.more_body:
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
        self.deaf = True
        self._refusal = failure
        if self.is_free():
            status, headers, body = problems.refusal(failure, self._head_began)
            lines = [f"HTTP/1.1 {status}", *(f"{name.lower()}: {value}" for name, value in headers)]
            lines += [
                f"{name.decode()}: {value.decode()}" for name, value in self.server_state.default_headers
            ]
            self.transport.write("\r\n".join([*lines, "", ""]).encode() + body)
            self.linger()
