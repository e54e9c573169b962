"""One request from its head to its answer: its id, its clock and its line in the log."""

import logging
import math
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, cast
from urllib.parse import quote

from flask import Response, g, request

from gateway.connections.connection import Client
from utils.errors import DeadlineExceeded, InvalidHeader, shown
from utils.logs import fields
from utils.request_ids import TRACEPARENT, request_id, trace_context
from utils.settings import Settings

REQUEST_ID = "X-Request-ID"
REQUEST_TIMEOUT = "X-Request-Timeout"

_log = logging.getLogger("gateway")
_PROBES = {"healthz", "readyz"}
_LONGEST_PATH = 200
_LONGEST_NUMBER = 32
_NUMBER = re.compile(r"(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?", re.ASCII)


@dataclass(slots=True)
class Exchange:
    """What is known about the request that is being answered.

    Attributes:
        request_id: The caller's, where it is 1 to 128 visible ASCII characters; else a fresh one.
        traceparent: The caller's trace context, empty where there is no valid one.
        started: When the request's head had been read, by `time.monotonic`.
        facts: What its line in the log says.
        closing: What is done once the client has the answer, or cannot get it.
    """

    request_id: str
    traceparent: str
    started: float = field(default_factory=time.monotonic)
    facts: dict[str, Any] = field(default_factory=dict)
    closing: list[Callable[[], object]] = field(default_factory=list)

    def note(self, **facts: object) -> None:
        """Add to the request's line in the log."""
        self.facts.update(facts)

    def remaining(self, timeout: float) -> float:
        """Seconds left of a request that has `timeout` seconds in all.

        Raises:
            DeadlineExceeded: None are left.
        """
        left = self.started + timeout - time.monotonic()
        if left <= 0:
            raise DeadlineExceeded(f"The request's {timeout:g} s ran out before it could be passed on.")
        return left


def current() -> Exchange:
    """The exchange that this thread is in."""
    return cast(Exchange, g.exchange)


def begin() -> None:
    """Open the exchange; a hook that runs before each request."""
    g.exchange = Exchange(
        request_id(request.headers.get(REQUEST_ID)), trace_context(request.headers.get(TRACEPARENT))
    )
    client = request.environ.get("gunicorn.socket")
    if isinstance(client, Client):
        # It may have waited for a thread since then.
        g.exchange.started = client.head_ended


def end(response: Response) -> Response:
    """Name the request in its answer, and have its one line written; a hook that runs after each request."""
    exchange = current()
    response.headers[REQUEST_ID] = exchange.request_id
    for action in exchange.closing:
        response.call_on_close(action)
    line = dict(
        request_id=exchange.request_id,
        traceparent=exchange.traceparent or None,
        method=request.method,
        # As it came, but escaped: a path may hold line breaks and a terminal's control codes.
        path=quote(request.environ["PATH_INFO"], encoding="latin-1")[:_LONGEST_PATH],
        status=response.status_code,
        elapsed_ms=round((time.monotonic() - exchange.started) * 1000, 3),
        **exchange.facts,
    )
    level = _level(response)
    client = request.environ.get("gunicorn.socket")
    # The client need not wait until it is written, and only then is known whether it took its answer.
    response.call_on_close(
        lambda: _log.log(level, "request", extra=fields(**line, taken=getattr(client, "taken", None)))
    )
    return response


def _level(response: Response) -> int:
    """A fault of ours is an error, and a probe that succeeds no news."""
    if response.status_code == HTTPStatus.INTERNAL_SERVER_ERROR:
        return logging.ERROR
    quiet = request.endpoint in _PROBES and response.status_code == HTTPStatus.OK
    return logging.DEBUG if quiet else logging.INFO


def requested_timeout(settings: Settings) -> float:
    """Seconds that the current request has in all, counted from its head.

    Raises:
        InvalidHeader: X-Request-Timeout is not a positive finite number.
    """
    text = request.headers.get(REQUEST_TIMEOUT)
    if text is None:
        return settings.timeout_seconds
    # float() alone would also take 1_0, inf and nan.
    number = len(text) <= _LONGEST_NUMBER and _NUMBER.fullmatch(text)
    seconds = float(text) if number else 0.0
    if seconds <= 0 or math.isinf(seconds):
        raise InvalidHeader(
            f"{REQUEST_TIMEOUT} is {shown(text)!r}; accepted: a positive number of seconds",
            field=REQUEST_TIMEOUT,
        )
    return min(seconds, settings.max_timeout_seconds)
