"""One request from its head to its answer: its id, its clock and its line in the log."""

import logging
import math
import re
import time
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, cast
from urllib.parse import quote

from flask import Response, g, request

from gateway.arrival import Arrival, Environ, arrival_of
from utils.errors import MORE_TIME_HELPS, Cancelled, DeadlineExceeded, InvalidHeader, shown
from utils.logs import fields
from utils.metadata import TRACEPARENT, request_id, trace_context
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
        arrival: When it came, and what else its server knows of it.
        facts: What its line in the log says.
    """

    request_id: str
    traceparent: str
    arrival: Arrival
    facts: dict[str, Any] = field(default_factory=dict)

    def note(self, **facts: object) -> None:
        """Add to the request's line in the log."""
        self.facts.update(facts)

    def remaining(self, patience: "Patience") -> float:
        """Seconds that are left of a request.

        Raises:
            DeadlineExceeded: None are.
        """
        began = self.arrival.head_ended if patience.named else self.arrival.body_ended
        left = began + patience.seconds - time.monotonic()
        if left <= 0:
            raise out_of_time(patience.seconds)
        return left


def current() -> Exchange:
    """The exchange that this thread is in."""
    return cast(Exchange, g.exchange)


def begin() -> None:
    """Open the exchange; a hook that runs before each request."""
    arrival = arrival_of(request.environ)
    g.exchange = Exchange(
        request_id(request.headers.get(REQUEST_ID)), trace_context(request.headers.get(TRACEPARENT)), arrival
    )


def end(response: Response) -> Response:
    """Name the request in its answer, and have its one line written; a hook that runs after each request."""
    exchange = current()
    response.headers[REQUEST_ID] = exchange.request_id
    if exchange.arrival.client.left:
        exchange.note(reason=Cancelled.reason)
    line = dict(
        request_id=exchange.request_id,
        traceparent=exchange.traceparent or None,
        **target_of(request.environ),
        status=Cancelled.http_status if exchange.arrival.client.left else response.status_code,
        elapsed_ms=elapsed_ms(exchange.arrival.head_ended),
        **exchange.facts,
    )
    level = _level(response)
    # The client need not wait until it is written.
    response.call_on_close(lambda: _log.log(level, "request", extra=fields(**line)))
    return response


def target_of(environ: Environ) -> dict[str, str]:
    """Method and path of a request, for its line in the log."""
    # As it came, but escaped: a path may hold line breaks and a terminal's control codes.
    path = quote(environ["PATH_INFO"], encoding="latin-1")[:_LONGEST_PATH]
    return {"method": environ["REQUEST_METHOD"], "path": path}


def elapsed_ms(since: float) -> float:
    """Milliseconds since then, for a line in the log."""
    return round((time.monotonic() - since) * 1000, 3)


def _level(response: Response) -> int:
    """A fault of ours is an error, and a probe that succeeds no news."""
    if response.status_code == HTTPStatus.INTERNAL_SERVER_ERROR:
        return logging.ERROR
    quiet = request.endpoint in _PROBES and response.status_code == HTTPStatus.OK
    return logging.DEBUG if quiet else logging.INFO


@dataclass(frozen=True, slots=True)
class Patience:
    """The seconds that a request has, and whether its caller named them.

    Those are counted from the end of its head, others from the end of its body.
    """

    seconds: float
    named: bool


def patience_of(text: str | None, settings: Settings) -> Patience:
    """The time of a request by its X-Request-Timeout.

    Raises:
        InvalidHeader: It is not a positive finite number.
    """
    if text is None:
        return Patience(settings.timeout_seconds, named=False)
    # float() alone would also take 1_0, inf and nan.
    number = len(text) <= _LONGEST_NUMBER and _NUMBER.fullmatch(text)
    seconds = float(text) if number else 0.0
    if seconds <= 0 or math.isinf(seconds):
        raise InvalidHeader(
            f"{REQUEST_TIMEOUT} is {shown(text)!r}; accepted: a positive number of seconds",
            field=REQUEST_TIMEOUT,
        )
    return Patience(min(seconds, settings.max_timeout_seconds), named=True)


def out_of_time(seconds: float) -> DeadlineExceeded:
    """The error of a request whose time is over before it could be passed on."""
    return DeadlineExceeded(
        f"The request's {seconds:g} s ran out before it could be passed on. {MORE_TIME_HELPS}"
    )
