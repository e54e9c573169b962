"""The models that the backend serves: GET /models, and below it each one, which answers what is posted."""

import re

from flask import Flask, Response, request
from werkzeug.routing import BaseConverter

from gateway.answers import model_response, models_response, prediction_response
from gateway.arrival import BodyRule, Environ
from gateway.forms.input_form import InputForm
from gateway.forms.model_inputs import ModelBody, model_form
from gateway.routes.backend_calls import rule_of
from gateway.routes.model_calls import ModelCalls, checked
from utils.models import Prediction
from utils.service_client import BlockingCallOptions
from utils.settings import Settings

_PREDICT_PATH = re.compile(r"/models/([^/]+)(?:/[^/]+)?/predict")


class _VersionConverter(BaseConverter):
    """A part of a path that names a version, and not what is to be done."""

    part_isolating = True
    regex = "(?!predict$).+"


class ModelRoutes:
    """The views, and what they share."""

    def __init__(self, calls: ModelCalls) -> None:
        self._calls = calls

    def add_to(self, app: Flask) -> None:
        """Give the application its paths."""
        app.url_map.converters["version"] = _VersionConverter
        app.add_url_rule("/models", view_func=self.list_models)
        for model in ("/models/<name>", "/models/<name>/<version:version>"):
            app.add_url_rule(model, view_func=self.describe_model)
            app.add_url_rule(f"{model}/predict", view_func=self.predict_model, methods=["POST"])

    def list_models(self) -> Response:
        """List every version of every model."""
        return models_response(self._calls.models())

    def describe_model(self, name: str, version: str = "") -> Response:
        """Say what a version takes and answers; without one named that which serves calls that name none."""
        return model_response(self._calls.describe(name, version))

    def predict_model(self, name: str, version: str = "") -> Response:
        """Have a model answer the body."""

        def send(body: ModelBody, options: BlockingCallOptions) -> Prediction:
            return self._calls.backend.predict_raw(
                name, body.content_type, body.content, version=version, **options
            )

        form = _form_of(request.environ, checked(name), self._calls.settings)
        query = request.environ.get("QUERY_STRING", "")
        return prediction_response(self._calls.predict(name, version, form, query, send))


def body_rule(environ: Environ, settings: Settings) -> BodyRule | None:
    """As `gateway.app.Gateway.body_rules`."""
    path = _PREDICT_PATH.fullmatch(environ["PATH_INFO"])
    if path is None or environ["REQUEST_METHOD"] != "POST":
        return None
    name = checked(path[1].encode("latin-1").decode(errors="replace"))
    return rule_of(_form_of(environ, name, settings), environ, settings)


def _form_of(environ: Environ, name: str, settings: Settings) -> InputForm[ModelBody]:
    return model_form(
        environ.get("CONTENT_TYPE"),
        environ.get("HTTP_CONTENT_ENCODING"),
        lambda: f"http://{environ.get('HTTP_HOST', '')}/models/{name}/predict",
        settings.max_request_bytes,
    )
