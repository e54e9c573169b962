"""What views share that call the backend: permits, times and bodies, and whether it serves."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from gateway.arrival import BodyRule, Environ
from gateway.context import Patience, RequestContext, current, out_of_time, patience_of
from gateway.forms.input_form import InputForm
from gateway.readiness import Readiness
from utils.cancellation import Cancellation
from utils.errors import BackendUnavailable, BodyTooSlow, GatewayBusy, GatewayStopping
from utils.service_client import BlockingCallOptions
from utils.settings import Settings

RESERVED_THREADS = 8
"""Threads of a gateway process that no call of the backend takes, so that its health is told at once."""

BUSY_SECONDS = 1.0
"""What a caller is told to wait whom this process has no room for, or which is about to stop."""


class Permits:
    """How many requests may call the backend at once, whatever for.

    Attributes:
        free: How many more may now.
    """

    def __init__(self, settings: Settings) -> None:
        self.free = settings.http_threads - RESERVED_THREADS
        self._lock = threading.Lock()

    @contextmanager
    def one(self) -> Iterator[None]:
        """Hold a permit.

        Raises:
            GatewayBusy: There is none left.
        """
        with self._lock:
            if not self.free:
                raise GatewayBusy(
                    "Every request thread of this gateway process is in use.", retry_after=BUSY_SECONDS
                )
            self.free -= 1
        try:
            yield
        finally:
            with self._lock:
                self.free += 1


def require_ready(readiness: Readiness) -> None:
    """Return where requests may be sent here: the backend serves, and this gateway does not go away.

    Raises:
        GatewayStopping: It does.
        BackendUnavailable: The backend does not serve.
    """
    if current().arrival.stopping:
        raise GatewayStopping("This gateway is about to stop.", retry_after=BUSY_SECONDS)
    failure = readiness.check()
    if failure is not None:
        unavailable = BackendUnavailable(failure.detail, retry_after=failure.retry_after or BUSY_SECONDS)
        unavailable.cause = failure.cause
        raise unavailable


def call_options(context: RequestContext, patience: Patience) -> BlockingCallOptions:
    """What the call for a request is told; it is given up when the client leaves.

    Raises:
        DeadlineExceeded: The request has no time left.
    """
    cancellation = Cancellation()
    context.arrival.client.on_disconnect(cancellation.cancel)
    return {
        "timeout": context.remaining(patience),
        "timeout_named": patience.named,
        "request_id": context.request_id,
        "traceparent": context.traceparent,
        "tracestate": context.tracestate,
        "caller": context.arrival.caller.name,
        "cancellation": cancellation,
    }


def read_body(context: RequestContext) -> bytes:
    """The body of a request as it came."""
    body: bytes = context.environ["wsgi.input"].read()
    context.note(body_bytes=len(body))
    return body


def rule_of(form: InputForm[Any], environ: Environ, settings: Settings) -> BodyRule:
    """The rule for a body of this form.

    Raises:
        InvalidHeader: The request's X-Request-Timeout is no time.
    """
    patience = patience_of(environ.get("HTTP_X_REQUEST_TIMEOUT"), settings)
    if patience.named:
        return BodyRule(form.limit, form.too_large, patience.seconds, lambda: out_of_time(patience.seconds))
    late = f"The body of the request did not arrive within {settings.body_seconds:g} s."
    return BodyRule(form.limit, form.too_large, settings.body_seconds, lambda: BodyTooSlow(late))
