"""POST /predict: the faces in one picture."""

from flask import Flask, Response, request

from gateway.answers import detection_response
from gateway.arrival import BodyRule, Environ
from gateway.backend import Backend
from gateway.context import REQUEST_TIMEOUT, Patience, RequestContext, current, patience_of
from gateway.forms.input_form import InputForm
from gateway.forms.inputs import input_form
from gateway.routes.backend_calls import Permits, call_options, read_body, rule_of
from utils.domain import Detection, DetectRequest
from utils.settings import Settings

_PATH = "/predict"


class FaceRoutes:
    """The view, and what it needs."""

    def __init__(self, backend: Backend, settings: Settings, permits: Permits) -> None:
        self._backend = backend
        self._settings = settings
        self._permits = permits

    def add_to(self, app: Flask) -> None:
        """Give the application its path."""
        app.add_url_rule(_PATH, view_func=self.predict, methods=["POST"])

    def predict(self) -> Response:
        """Find the faces in the picture that was sent."""
        context = current()
        patience = patience_of(request.headers.get(REQUEST_TIMEOUT), self._settings)
        form = _form_of(request.environ, self._settings)
        with self._permits.one():
            return self._detect(context, form, patience)

    def _detect(
        self, context: RequestContext, form: InputForm[DetectRequest], patience: Patience
    ) -> Response:
        wanted = form.parse(read_body(context), request.environ.get("QUERY_STRING", ""))
        context.note(bytes=len(wanted.image))
        detection = self._backend.detect(wanted, **call_options(context, patience))
        _note(context, detection)
        return detection_response(detection)


def _note(context: RequestContext, detection: Detection) -> None:
    timings = detection.timings
    context.note(
        width=detection.image.width,
        height=detection.image.height,
        faces=len(detection.faces),
        queue_ms=round(timings.queue_ms, 3),
        decode_ms=round(timings.decode_ms, 3),
        detect_ms=round(timings.detect_ms, 3),
        backend_ms=round(timings.total_ms, 3),
    )


def body_rule(environ: Environ, settings: Settings) -> BodyRule | None:
    """As `gateway.app.Gateway.body_rules`."""
    if (environ["REQUEST_METHOD"], environ["PATH_INFO"]) != ("POST", _PATH):
        return None
    return rule_of(_form_of(environ, settings), environ, settings)


def _form_of(environ: Environ, settings: Settings) -> InputForm[DetectRequest]:
    return input_form(
        environ.get("CONTENT_TYPE"),
        environ.get("HTTP_CONTENT_ENCODING"),
        lambda: environ.get("HTTP_HOST", ""),
        settings.max_image_bytes,
    )
