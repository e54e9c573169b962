"""Requests whose head cannot be used: no application sees them, and their callers are told all the same."""

import logging
import time
from http import HTTPStatus
from typing import Any

from gunicorn.http.errors import (
    InvalidResponseHeader,
    InvalidResponseHeaderName,
    LimitRequestHeaders,
    LimitRequestLine,
    ParseException,
)
from gunicorn.util import http_date

from gateway import problems
from gateway.connections import limits
from gateway.connections.connection import Client, Connection
from gateway.exchange import REQUEST_ID
from utils.errors import (
    FacetError,
    HeadTooLarge,
    HeadTooSlow,
    InternalError,
    MalformedRequest,
    RequestLineTooLong,
)
from utils.logs import fields
from utils.request_ids import request_id

_log = logging.getLogger("gateway")
_LONGEST_WORDS = 200
_LINE_END_BYTES = 2  # gunicorn counts it with a field
_OURS = (InvalidResponseHeader, InvalidResponseHeaderName)


class Refusals:
    """Makes the whole answer to such a request, and writes its one line into the log."""

    def __init__(self, cfg: Any) -> None:  # noqa: ANN401 - gunicorn's
        self._cfg = cfg

    def too_slow(self, conn: Connection) -> bytes:
        """Answer a head that does not end."""
        words = f"The head of the request had not ended after {len(conn.head)} bytes"
        return _answer(HeadTooSlow(f"{words}; accepted: {limits.HEAD_SECONDS:g} s for all of it"), conn.sock)

    def too_large(self, conn: Connection) -> bytes:
        """Answer a head of more than MAX_HEAD_BYTES."""
        if b"\n" not in conn.head:
            return _answer(self._line_too_long(len(conn.head)), conn.sock)
        words = f"The head of the request had not ended after {len(conn.head)} bytes"
        return _answer(HeadTooLarge(f"{words}; accepted: {limits.MAX_HEAD_BYTES} bytes"), conn.sock)

    def unreadable(self, error: Exception, client: Client) -> bytes:
        """Answer a request that ended with this exception before or beside the application."""
        name = request_id(None)
        return _answer(self._failure(error, name), client, name)

    def _failure(self, error: Exception, name: str) -> FacetError:
        if not isinstance(error, ParseException) or isinstance(error, _OURS):
            return problems.unexpected(error, name)
        if isinstance(error, LimitRequestLine):
            return self._line_too_long(error.size)
        if isinstance(error, LimitRequestHeaders):
            return HeadTooLarge(
                "The head of the request has more fields than are accepted, or a longer one; accepted: "
                f"{self._cfg.limit_request_fields} fields of "
                f"{self._cfg.limit_request_field_size - _LINE_END_BYTES} bytes each"
            )
        # gunicorn's words quote what came.
        return MalformedRequest(
            f"The head of the request cannot be read: {str(error)[:_LONGEST_WORDS]}; "
            "accepted: HTTP/1.0 or 1.1, each line ended by CR LF"
        )

    def _line_too_long(self, length: int) -> RequestLineTooLong:
        return RequestLineTooLong(
            f"The request line has {length} bytes or more; accepted: {self._cfg.limit_request_line} bytes"
        )


def _answer(failure: FacetError, client: Client, name: str = "") -> bytes:
    name = name or request_id(None)
    body = problems.document(failure, name)
    status = HTTPStatus(failure.http_status)
    lines = [
        f"HTTP/1.1 {status.value} {status.phrase}",
        f"Date: {http_date()}",
        "Connection: close",
        f"Content-Type: {problems.CONTENT_TYPE}",
        f"Content-Length: {len(body)}",
        f"{REQUEST_ID}: {name}",
    ]
    line = fields(
        request_id=name,
        status=failure.http_status,
        elapsed_ms=round((time.monotonic() - client.head_began) * 1000, 3),
        reason=failure.reason,
    )
    _log.log(logging.ERROR if isinstance(failure, InternalError) else logging.INFO, "request", extra=line)
    return "\r\n".join([*lines, "", ""]).encode() + body
