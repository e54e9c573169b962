"""The paths of the gateway. Each is: parse, call, answer."""

import threading
from typing import Protocol

import orjson
from flask import Flask, Response, request

from gateway.answers import detection_response
from gateway.arrival import BodyRule, Environ
from gateway.context import REQUEST_TIMEOUT, Patience, RequestContext, current, out_of_time, patience_of
from gateway.forms.hints import curl_lines
from gateway.forms.inputs import InputForm, input_form
from gateway.readiness import PROBE_SECONDS, Readiness
from utils.domain import Detection, DetectRequest
from utils.errors import BackendUnavailable, BodyTooSlow, GatewayBusy, GatewayStopping
from utils.service_client import Cancellation
from utils.settings import Settings

RESERVED_THREADS = 8
"""Threads of a gateway process that /predict never takes, so that every other path is answered at once."""

_BUSY_SECONDS = 1.0


class Backend(Protocol):
    """What the gateway needs of utils.service_client.ServiceClient."""

    def detect(
        self,
        request: DetectRequest,
        *,
        timeout: float | None = None,
        timeout_named: bool = True,
        request_id: str = "",
        traceparent: str = "",
        cancellation: Cancellation | None = None,
    ) -> Detection:
        """Find the faces in one encoded picture, or raise a FacetError."""

    def check_ready(self, *, timeout: float | None = None) -> None:
        """Return when the backend serves, or raise a FacetError."""


class Routes:
    """The views, and what they share."""

    def __init__(self, backend: Backend, settings: Settings) -> None:
        self._backend = backend
        self._settings = settings
        self._permits = threading.BoundedSemaphore(settings.http_threads - RESERVED_THREADS)
        self._readiness = Readiness(lambda: backend.check_ready(timeout=PROBE_SECONDS))

    def add_to(self, app: Flask) -> None:
        """Give the application its paths."""
        app.add_url_rule("/predict", view_func=self.predict, methods=["POST"])
        app.add_url_rule("/healthz", view_func=self.healthz)
        app.add_url_rule("/readyz", view_func=self.readyz)
        app.add_url_rule("/", view_func=self.index)

    def predict(self) -> Response:
        """Find the faces in the picture that was sent."""
        context = current()
        patience = patience_of(request.headers.get(REQUEST_TIMEOUT), self._settings)
        form = _form_of(request.environ, self._settings)
        self._take_permit()
        try:
            return self._detect(context, form, patience)
        finally:
            self._permits.release()

    def _detect(self, context: RequestContext, form: InputForm, patience: Patience) -> Response:
        body = request.environ["wsgi.input"].read()
        context.note(body_bytes=len(body))
        wanted = form.parse(body, request.environ.get("QUERY_STRING", ""))
        context.note(bytes=len(wanted.image))
        cancellation = Cancellation()
        context.arrival.client.on_disconnect(cancellation.cancel)
        detection = self._backend.detect(
            wanted,
            timeout=context.remaining(patience),
            timeout_named=patience.named,
            request_id=context.request_id,
            traceparent=context.traceparent,
            cancellation=cancellation,
        )
        context.note(
            width=detection.image.width,
            height=detection.image.height,
            faces=len(detection.faces),
            queue_ms=round(detection.timings.queue_ms, 3),
            decode_ms=round(detection.timings.decode_ms, 3),
            detect_ms=round(detection.timings.detect_ms, 3),
            backend_ms=round(detection.timings.total_ms, 3),
        )
        return detection_response(detection)

    def healthz(self) -> Response:
        """Say that this process lives. It asks nobody."""
        return _status("ok")

    def readyz(self) -> Response:
        """Say whether pictures may be sent here: the backend serves, and this gateway does not go away."""
        if current().arrival.stopping:
            raise GatewayStopping("This gateway is about to stop.", retry_after=_BUSY_SECONDS)
        failure = self._readiness.check()
        if failure is not None:
            unavailable = BackendUnavailable(failure.detail, retry_after=failure.retry_after or _BUSY_SECONDS)
            unavailable.cause = failure.cause
            raise unavailable
        return _status("ready")

    def index(self) -> Response:
        """Say what this is, how to use it, and where to read on."""
        lines = "\n".join(f"    {line}" for line in curl_lines(request.host))
        text = f"Facet finds faces.\n\n{lines}\n\nDocumentation: README.md and docs/ of the repository.\n"
        return Response(text, content_type="text/plain; charset=utf-8")

    def _take_permit(self) -> None:
        """Take a permit for one picture, which is to be given back."""
        if not self._permits.acquire(blocking=False):
            raise GatewayBusy(
                "Every request thread of this gateway process is in use.", retry_after=_BUSY_SECONDS
            )


def body_rule(environ: Environ, settings: Settings) -> BodyRule | None:
    """As `gateway.app.Gateway.body_rules`."""
    if (environ["REQUEST_METHOD"], environ["PATH_INFO"]) != ("POST", "/predict"):
        return None
    form = _form_of(environ, settings)
    patience = patience_of(environ.get("HTTP_X_REQUEST_TIMEOUT"), settings)
    if patience.named:
        return BodyRule(form.limit, form.too_large, patience.seconds, lambda: out_of_time(patience.seconds))
    late = f"The body of the request did not arrive within {settings.body_seconds:g} s."
    return BodyRule(form.limit, form.too_large, settings.body_seconds, lambda: BodyTooSlow(late))


def _form_of(environ: Environ, settings: Settings) -> InputForm:
    return input_form(
        environ.get("CONTENT_TYPE"),
        environ.get("HTTP_CONTENT_ENCODING"),
        lambda: environ.get("HTTP_HOST", ""),
        settings.max_image_bytes,
    )


def _status(status: str) -> Response:
    return Response(orjson.dumps({"status": status}), content_type="application/json")
