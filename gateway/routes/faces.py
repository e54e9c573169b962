"""POST /predict: the faces in one picture; POST /predict/annotated: the picture with its faces drawn in."""

from collections.abc import Callable
from typing import NamedTuple

from flask import Flask, Response, request

from gateway.answers import annotated_response, detection_response
from gateway.arrival import BodyRule, Environ
from gateway.backend import Backend
from gateway.context import REQUEST_TIMEOUT, Patience, RequestContext, current, patience_of
from gateway.forms.extras import ANNOTATED
from gateway.forms.input_form import InputForm
from gateway.forms.inputs import input_form
from gateway.routes.backend_calls import Permits, call_options, read_body, rule_of
from utils.domain import Detection, DetectRequest
from utils.settings import Settings


class _Path(NamedTuple):
    """What is different at a path.

    Attributes:
        included: What its answer includes beside the faces, and nothing else; empty: what a request says.
        answer: Makes its answer.
    """

    included: str
    answer: Callable[[Detection], Response]


_PATHS = {
    "/predict": _Path("", detection_response),
    "/predict/annotated": _Path(ANNOTATED, annotated_response),
}


class FaceRoutes:
    """The view of all paths, and what it needs."""

    def __init__(self, backend: Backend, settings: Settings, permits: Permits) -> None:
        self._backend = backend
        self._settings = settings
        self._permits = permits

    def add_to(self, app: Flask) -> None:
        """Give the application its paths."""
        for path in _PATHS:
            app.add_url_rule(path, view_func=self.predict, methods=["POST"])

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
        asked = form.parse(read_body(context), request.environ.get("QUERY_STRING", ""))
        context.note(bytes=len(asked.image))
        detection = self._backend.detect(asked, **call_options(context, patience))
        _note(context, detection)
        return _PATHS[request.path].answer(detection)


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
    if timings.extras_ms:
        context.note(extras_ms=round(timings.extras_ms, 3))


def body_rule(environ: Environ, settings: Settings) -> BodyRule | None:
    """As `gateway.app.Gateway.body_rules`."""
    if environ["REQUEST_METHOD"] != "POST" or environ["PATH_INFO"] not in _PATHS:
        return None
    return rule_of(_form_of(environ, settings), environ, settings)


def _form_of(environ: Environ, settings: Settings) -> InputForm[DetectRequest]:
    return input_form(
        environ.get("CONTENT_TYPE"),
        environ.get("HTTP_CONTENT_ENCODING"),
        lambda: environ.get("HTTP_HOST", ""),
        settings.max_image_bytes,
        _PATHS[environ["PATH_INFO"]].included,
    )
