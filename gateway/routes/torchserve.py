"""TorchServe's inference API over HTTP: another application, for a listener of its own.

A model gets the body as it came, in the encoding `torchserve_http`.
"""

import re
from typing import Any

import orjson
from flask import Flask, Response, request

from gateway.access import Need
from gateway.arrival import BodyRule, Environ
from gateway.context import RequestContext, current
from gateway.forms.model_inputs import any_form
from gateway.problems import ErrorAnswer
from gateway.readiness import Readiness
from gateway.routes.backend_calls import require_ready, rule_of
from gateway.routes.model_calls import ModelCalls
from gateway.routes.torchserve_document import DOCUMENT
from utils import torchserve
from utils.api_keys import PREDICT
from utils.errors import FacetError, ParameterMissing, UnknownOption, shown
from utils.torchserve_keys import Tokens

OPERATION = "torchserve_http"

_JSON = "application/json"
_PREDICTING = re.compile(r"/predictions/[^/]+(?:/[^/]+)?|/models/[^/]+/invoke|/invocations")
_OPEN = ("/ping", "/api-description")
_METHODS = ("POST", "PUT")
_MODEL_NAME = "model_name"


class TorchServeRoutes:
    """The views, and what they share.

    Args:
        calls: Calls the models.
        readiness: Whether the backend serves.
    """

    def __init__(self, calls: ModelCalls, readiness: Readiness) -> None:
        self._calls = calls
        self._readiness = readiness
        path = calls.settings.torchserve_key_file
        self._tokens = None if path is None else Tokens(path, "inference")

    def body_rule(self, environ: Environ) -> BodyRule | None:
        """The rule for the body of a request to these paths; None where none is wanted.

        Raises:
            TokenRefused: It comes without the token that is demanded.
        """
        self._check_token(environ)
        if environ["REQUEST_METHOD"] not in _METHODS or not _PREDICTING.fullmatch(environ["PATH_INFO"]):
            return None
        settings = self._calls.settings
        return rule_of(any_form(environ, settings), environ, settings)

    def _check_token(self, environ: Environ) -> None:
        if self._tokens is not None:
            self._tokens.check(environ.get("HTTP_AUTHORIZATION"))

    def add_to(self, app: Flask) -> None:
        """Give the application its paths."""
        # Of all paths, those included that there are not; `body_rule` checks it before a body comes.
        app.before_request(lambda: self._check_token(request.environ))
        app.add_url_rule("/ping", view_func=self.ping)
        app.add_url_rule("/api-description", "describe_api", self.describe_api)
        app.add_url_rule(
            "/", "describe_api", self.describe_api, methods=["OPTIONS"], provide_automatic_options=False
        )
        for path in ("/predictions/<name>", "/predictions/<name>/<version>", "/models/<name>/invoke"):
            app.add_url_rule(path, view_func=self.predict, methods=_METHODS)
        app.add_url_rule("/invocations", view_func=self.invoke, methods=_METHODS)

    def ping(self) -> Response:
        """Say whether requests may be sent here."""
        try:
            require_ready(self._readiness)
        except FacetError as error:
            current().note(reason=error.reason, cause=error.cause or None)
            return _json({"status": torchserve.UNHEALTHY}, 500)
        return _json({"status": torchserve.HEALTHY})

    def describe_api(self) -> Response:
        """Describe these paths as OpenAPI does."""
        return _json(DOCUMENT)

    def predict(self, name: str, version: str = "") -> Response:
        """Have a model answer the body."""
        return self._predict(name, version, request.environ.get("QUERY_STRING", ""))

    def invoke(self) -> Response:
        """Have the model that the query names answer the body; without a name the only one that there is."""
        unknown = next((key for key in request.args if key != _MODEL_NAME), None)
        if unknown is not None:
            raise UnknownOption(
                f"There is no parameter {shown(unknown)!r}; accepted: {_MODEL_NAME}", field=shown(unknown)
            )
        return self._predict(request.args.get(_MODEL_NAME) or self._only_model(), "", "")

    def _only_model(self) -> str:
        names = {model.name for model in self._calls.models()}
        if len(names) != 1:
            raise ParameterMissing(torchserve.MODEL_NAME_REQUIRED, field=_MODEL_NAME)
        return names.pop()

    def _predict(self, name: str, version: str, query: str) -> Response:
        content_type = request.environ.get("CONTENT_TYPE", "").encode("latin-1")
        try:
            prediction = self._calls.predict_encoded(name, version, OPERATION, content_type, query)
        except FacetError as error:
            raise torchserve.prediction_error(error, name, version) from error
        # What the bytes are, the model knows; TorchServe does not say it either.
        return Response(prediction.content, content_type="application/octet-stream")


def need_of(environ: Environ) -> Need | None:
    """As `gateway.access.RequestAccess` has it; what describes paths, and what probes ask, need none."""
    return None if environ["PATH_INFO"] in _OPEN else Need(PREDICT)


def error_answer(failure: FacetError, _context: RequestContext) -> ErrorAnswer:
    """A failure as TorchServe tells it."""
    told = torchserve.tell_prediction_error(torchserve.route_error(failure))
    return ErrorAnswer(told.http_status, _JSON, _dumped(told.document))


def _json(document: dict[str, Any], status: int = 200) -> Response:
    return Response(_dumped(document), status=status, content_type=_JSON)


def _dumped(document: dict[str, Any]) -> bytes:
    return orjson.dumps(document, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
