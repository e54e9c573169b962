"""The models that the backend serves: GET /models, and below it each one, which answers what is posted."""

import re

from flask import Flask, Response, request
from werkzeug.routing import BaseConverter

from gateway.answers import model_response, models_response, prediction_response
from gateway.arrival import BodyRule, Environ
from gateway.backend import Backend
from gateway.context import REQUEST_TIMEOUT, Patience, RequestContext, current, patience_of
from gateway.forms.input_form import InputForm
from gateway.forms.model_inputs import ModelBody, model_form
from gateway.routes.backend_calls import Permits, call_options, read_body, rule_of
from utils.errors import ModelNotFound, shown
from utils.settings import MODEL_NAME, Settings

_PREDICT_PATH = re.compile(r"/models/([^/]+)(?:/[^/]+)?/predict")


class _VersionConverter(BaseConverter):
    """A part of a path that names a version, and not what is to be done."""

    part_isolating = True
    regex = "(?!predict$).+"


class ModelRoutes:
    """The views, and what they share."""

    def __init__(self, backend: Backend, settings: Settings, permits: Permits) -> None:
        self._backend = backend
        self._settings = settings
        self._permits = permits

    def add_to(self, app: Flask) -> None:
        """Give the application its paths."""
        app.url_map.converters["version"] = _VersionConverter
        app.add_url_rule("/models", view_func=self.list_models)
        for model in ("/models/<name>", "/models/<name>/<version:version>"):
            app.add_url_rule(model, view_func=self.describe_model)
            app.add_url_rule(f"{model}/predict", view_func=self.predict_model, methods=["POST"])

    def list_models(self) -> Response:
        """List every version of every model."""
        context, patience = current(), self._patience()
        with self._permits.one():
            return models_response(self._backend.models(**call_options(context, patience)))

    def describe_model(self, name: str, version: str = "") -> Response:
        """Say what a version takes and answers; without one named that which serves calls that name none."""
        context, patience = current(), self._patience()
        _note(context, _checked(name), version)
        with self._permits.one():
            return model_response(self._backend.describe(name, version, **call_options(context, patience)))

    def predict_model(self, name: str, version: str = "") -> Response:
        """Have a model answer the body."""
        context, patience = current(), self._patience()
        form = _form_of(request.environ, _checked(name), self._settings)
        _note(context, name, version)
        with self._permits.one():
            body = form.parse(read_body(context), request.environ.get("QUERY_STRING", ""))
            context.note(bytes=len(body.content))
            options = call_options(context, patience)
            prediction = self._backend.predict_raw(
                name, body.content_type, body.content, version=version, **options
            )
        _note(context, prediction.name, prediction.version)
        return prediction_response(prediction)

    def _patience(self) -> Patience:
        return patience_of(request.headers.get(REQUEST_TIMEOUT), self._settings)


def _note(context: RequestContext, name: str, version: str) -> None:
    context.note(model=name, version=version or None)


def _checked(name: str) -> str:
    """A name that a model may have.

    Raises:
        ModelNotFound: None may.
    """
    if not MODEL_NAME.fullmatch(name):
        raise ModelNotFound(
            f"There is no model {shown(name)!r}; GET /models lists those there are.", field="name"
        )
    return name


def body_rule(environ: Environ, settings: Settings) -> BodyRule | None:
    """As `gateway.app.Gateway.body_rules`."""
    path = _PREDICT_PATH.fullmatch(environ["PATH_INFO"])
    if path is None or environ["REQUEST_METHOD"] != "POST":
        return None
    name = _checked(path[1].encode("latin-1").decode(errors="replace"))
    return rule_of(_form_of(environ, name, settings), environ, settings)


def _form_of(environ: Environ, name: str, settings: Settings) -> InputForm[ModelBody]:
    return model_form(
        environ.get("CONTENT_TYPE"),
        environ.get("HTTP_CONTENT_ENCODING"),
        lambda: f"http://{environ.get('HTTP_HOST', '')}/models/{name}/predict",
        settings.max_request_bytes,
    )
