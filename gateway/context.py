"""One request from its head to its answer: its id, its clock and its line in the log."""

import logging
import math
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from http import HTTPStatus
from typing import Any, Self, cast
from urllib.parse import quote

from flask import Response, g, request

from gateway.arrival import Arrival, Environ, arrival_of
from gateway.counters import NO_ROUTE
from gateway.tracing import end_request
from utils.errors import (
    MORE_TIME_HELPS,
    Cancelled,
    DeadlineExceeded,
    InternalError,
    InvalidHeader,
    shown,
)
from utils.key_counters import NO_KEY
from utils.logs import fields
from utils.metadata import request_id, trace_context, trace_state
from utils.problems import SAFE_FIELDS
from utils.settings import Settings
from utils.tracing import NO_TRACER, Span

REQUEST_ID = "X-Request-ID"
REQUEST_TIMEOUT = "X-Request-Timeout"

_log = logging.getLogger("gateway")
_PROBES = {"healthz", "readyz", "ping", "v2_live", "v2_ready", "metrics"}
_LONGEST_PATH = 200
_LONGEST_NUMBER = 32
_NUMBER = re.compile(r"(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?", re.ASCII)


@dataclass(slots=True)
class RequestContext:
    """What is known about the request that is being answered.

    Attributes:
        environ: Its WSGI environment; without REQUEST_METHOD where its head could not be read.
        request_id: The caller's, where it is 1 to 128 visible ASCII characters; else a fresh one.
        traceparent: Its trace context, for those that it is passed on to: the caller's where no traces are
            made; empty where there is none.
        tracestate: What other tracing systems have added to that.
        arrival: When it came, and what else its server knows of it.
        log_fields: What its line in the log says beside what every line says.
        route: The template of its path; NO_ROUTE where there is none.
    """

    environ: Environ
    request_id: str
    traceparent: str
    tracestate: str
    arrival: Arrival
    span: Span
    log_fields: dict[str, Any] = field(default_factory=dict)
    route: str = NO_ROUTE

    @classmethod
    def of(cls, environ: Environ, *, quiet: bool = False) -> Self:
        """The context of a request that nothing has been done for; one that is `quiet` is not traced."""
        name, arrival = request_id(environ.get("HTTP_X_REQUEST_ID")), arrival_of(environ)
        came_with = trace_context(environ.get("HTTP_TRACEPARENT"))
        tracestate = trace_state(environ.get("HTTP_TRACESTATE")) if came_with else ""
        tracer = NO_TRACER if quiet else arrival.tracer
        span, traceparent = tracer.serve(came_with, arrival.head_ended)
        return cls(environ, name, traceparent, tracestate, arrival, span)

    def note(self, **log_fields: object) -> None:
        """Add to the request's line in the log."""
        self.log_fields.update(log_fields)

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

    def quota_fields(self) -> dict[str, str]:
        """The header fields that tell of the limit of the request's key, where that was counted."""
        quota = self.arrival.caller.quota
        return {} if quota is None else quota.header_fields()

    def log_writer(self, status: int, *, quiet: bool = False) -> Callable[[], None]:
        """What counts the request, ends its span and writes its line in the log, as of now.

        A fault of ours is an error.

        Args:
            status: Of its answer.
            quiet: Whether it is no news.
        """
        level = logging.DEBUG if quiet else logging.INFO
        if self.log_fields.get("reason") == InternalError.reason:
            level = logging.ERROR
        if self.arrival.client.left:
            status = Cancelled.http_status
            self.note(reason=Cancelled.reason)
        ended = time.monotonic()
        seconds = ended - self.arrival.head_ended
        # As it came, but escaped: a path may hold line breaks and a terminal's control codes.
        path = quote(self.environ.get("PATH_INFO", ""), encoding="latin-1")[:_LONGEST_PATH]
        line = fields(
            request_id=self.request_id,
            traceparent=self.traceparent or None,
            method=self.environ.get("REQUEST_METHOD"),
            path=path or None,
            status=status,
            key=self.arrival.caller.name or None,
            elapsed_ms=round(seconds * 1000, 3),
            **self.log_fields,
        )
        counters = None if quiet else self.arrival.counters
        reason, body_bytes = self.log_fields.get("reason", ""), self.log_fields.get("body_bytes", 0)
        key = self.arrival.caller.key

        def write() -> None:
            if counters is not None:
                name = NO_KEY if key is None else key.name
                counters.count(self.route, reason, seconds, body_bytes, name)
            end_request(self, status, ended)
            _log.log(level, "request", extra=line)

        return write


def current() -> RequestContext:
    """The context of the request that this thread answers."""
    return cast(RequestContext, g.context)


def begin() -> None:
    """Make the context; a hook that runs before each request."""
    g.context = RequestContext.of(request.environ, quiet=request.endpoint in _PROBES)
    if request.url_rule is not None:
        g.context.route = request.url_rule.rule


def end(response: Response) -> Response:
    """Complete its answer's head, and have its one line written; a hook that runs after each request."""
    context = current()
    response.headers[REQUEST_ID] = context.request_id
    for name, value in SAFE_FIELDS.items():
        response.headers.setdefault(name, value)
    response.headers.update(context.quota_fields())
    # A probe that succeeds is no news. The client need not wait until the line is written.
    quiet = request.endpoint in _PROBES and response.status_code == HTTPStatus.OK
    if response.is_streamed:  # and ends later
        response.call_on_close(partial(_write_line, context, response.status_code))
    else:
        response.call_on_close(context.log_writer(response.status_code, quiet=quiet))
    return response


def _write_line(context: RequestContext, status: int) -> None:
    context.log_writer(status)()


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
