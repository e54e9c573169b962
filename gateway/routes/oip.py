"""The Open Inference Protocol, version 2, under /v2, as Triton speaks it over HTTP.

What servers and models tell of themselves comes from the same service of the backend's as over gRPC. The body
of an inference is passed on as it came, and the model reads it.
"""

import re
import struct
from typing import Any

import orjson
from flask import Flask, Response, request

from gateway.arrival import BodyRule, Environ
from gateway.context import RequestContext, current
from gateway.forms.model_inputs import any_form
from gateway.forms.object_form import object_form
from gateway.problems import ErrorAnswer, problem
from gateway.readiness import Readiness
from gateway.routes.backend_calls import read_body, require_ready, rule_of
from gateway.routes.model_calls import ModelCalls
from utils.errors import (
    FacetError,
    InternalError,
    InvalidHeader,
    MalformedRequest,
    ModelNotFound,
    ModelNotReady,
    shown,
)
from utils.metadata import seconds_of
from utils.settings import Settings

OPERATION = "oip_http"
HEADER_LENGTH = "Inference-Header-Content-Length"

_ROOT = "/v2"
_UNKNOWN_MODEL = "Request for unknown model"
"""By which Triton's clients tell it."""
_MODEL_PATHS = ("/v2/models/<name>", "/v2/models/<name>/versions/<version>")
_INFERRING = re.compile(r"/v2/models/[^/]+(?:/versions/[^/]+)?/infer")
_REPOSITORY = re.compile(r"/v2/repository/(?:index|models/[^/]+/(?:load|unload))")
_CHANGE = re.compile(r"/v2/repository/models/[^/]+/(?:load|unload)")
_LENGTH = re.compile(r"[0-9]{1,18}")
_HEAD = struct.Struct("<I")
_LONGEST_READ = 64 * 1024
"""Bytes of JSON in which a time is looked for: parsed they may take a hundred times as many."""


class InferenceProtocolRoutes:
    """The views, and what they share.

    Args:
        calls: Calls the models.
        readiness: Whether the backend serves.
    """

    def __init__(self, calls: ModelCalls, readiness: Readiness) -> None:
        self._calls = calls
        self._readiness = readiness

    def add_to(self, app: Flask) -> None:
        """Give the application its paths."""
        app.add_url_rule("/v2/health/live", "v2_live", self.live)
        app.add_url_rule("/v2/health/ready", "v2_ready", self.ready)
        app.add_url_rule(_ROOT, "v2", self.server_metadata)
        for path in _MODEL_PATHS:
            app.add_url_rule(path, "v2_model", self.model_metadata)
            app.add_url_rule(f"{path}/ready", "v2_model_ready", self.model_ready)
            app.add_url_rule(f"{path}/config", "v2_model_config", self.model_config)
            app.add_url_rule(f"{path}/stats", "v2_model_statistics", self.model_statistics)
            app.add_url_rule(f"{path}/infer", "v2_infer", self.infer, methods=["POST"])
        app.add_url_rule("/v2/models/stats", "v2_statistics", self.statistics)
        app.add_url_rule("/v2/repository/index", "v2_index", self.index, methods=["POST"])
        for action in ("load", "unload"):
            app.add_url_rule(
                f"/v2/repository/models/<name>/{action}",
                f"v2_{action}",
                getattr(self, action),
                methods=["POST"],
            )

    # --- server and models ---

    def live(self) -> Response:
        """Say that this process lives. It asks nobody."""
        return _json({"live": True})

    def ready(self) -> Response:
        """Say whether requests may be sent here."""
        require_ready(self._readiness)
        return _json({"ready": True})

    def server_metadata(self) -> Response:
        """Name the server, and the extensions that it has."""
        return _json(self._calls.ask("ServerMetadata", {}))

    def model_metadata(self, name: str, version: str = "") -> Response:
        """Describe the tensors of a model."""
        return _json(self._calls.ask_of_model("ModelMetadata", name, version))

    def model_ready(self, name: str, version: str = "") -> Response:
        """Say whether calls to a model are served."""
        if not self._calls.ask_of_model("ModelReady", name, version)["ready"]:
            raise ModelNotReady(f"The model {shown(name)} is not ready, or there is none.", field="name")
        return _json({"name": name, "ready": True})

    def model_config(self, name: str, version: str = "") -> Response:
        """Describe the tensors of a model as Triton configures them."""
        return _json(self._calls.ask_of_model("ModelConfig", name, version)["config"])

    def model_statistics(self, name: str, version: str = "") -> Response:
        """Tell what was counted of a model."""
        return _json(self._calls.ask_of_model("ModelStatistics", name, version))

    def statistics(self) -> Response:
        """Tell what was counted of all models."""
        return _json(self._calls.ask("ModelStatistics", {}))

    # --- inferences ---

    def infer(self, name: str, version: str = "") -> Response:
        """Have a model answer the body."""
        length = _header_length(request.environ)
        parameters = orjson.dumps({"header_length": length})
        query = request.environ.get("QUERY_STRING", "")
        prediction = self._calls.predict_encoded(
            name, version, OPERATION, parameters, query, time_in=lambda body: _seconds_in(body, length)
        )
        return _inferred(prediction.content)

    # --- the repository ---

    def index(self) -> Response:
        """List the models; those that are ready, where the body says so."""
        is_ready = _member(_body(), "ready", bool) or False
        return _json(self._calls.ask("RepositoryIndex", {"ready": is_ready})["models"])

    def load(self, name: str) -> Response:
        """Load a model, where the operator allows it."""
        return self._change("RepositoryModelLoad", name)

    def unload(self, name: str) -> Response:
        """Unload a model, where the operator allows it."""
        return self._change("RepositoryModelUnload", name)

    def _change(self, method: str, name: str) -> Response:
        parameters = _member(_body(), "parameters", dict) or {}
        # The backend says which it accepts, whatever their values.
        named = {key: {"bool_param": True} for key in parameters}
        self._calls.change(method, name, {"model_name": name, "parameters": named})
        return _json({})


def _body() -> dict[str, Any]:
    """The JSON object of the current request."""
    return object_form(request.environ).parse(read_body(current()), "")


def _member(body: dict[str, Any], name: str, kind: type) -> Any:  # noqa: ANN401 - kind or None
    value = body.get(name)
    if value is not None and not isinstance(value, kind):
        raise MalformedRequest(f"{name} is of another type than {_TYPES[kind]}", field=name)
    return value


_TYPES = {bool: "boolean", dict: "object"}


def _header_length(environ: Environ) -> int | None:
    """How many bytes of a body are JSON; None where all are.

    Raises:
        InvalidHeader: It is no number.
    """
    text = environ.get("HTTP_INFERENCE_HEADER_CONTENT_LENGTH")
    if text is not None and not _LENGTH.fullmatch(text):
        raise InvalidHeader(
            f"{HEADER_LENGTH} is {shown(text)!r}; accepted: a whole number of bytes", field=HEADER_LENGTH
        )
    return None if text is None else int(text)


def _seconds_in(body: bytes, length: int | None) -> float:
    """The seconds that a request gives itself, 0 where its JSON names none or is longer than is read here.

    Args:
        body: JSON, perhaps with a binary part behind it.
        length: Of the JSON; None for all of the body.

    Raises:
        InvalidInput: It names a time that is none.
    """
    length = len(body) if length is None else length
    if length > _LONGEST_READ:
        return 0
    try:
        parameters = orjson.loads(body[:length])["parameters"]
        timeout = parameters.get("timeout", 0)
    except (ValueError, KeyError, TypeError, AttributeError):
        return 0  # what is wrong with it the model says
    return seconds_of(timeout)


def _inferred(content: bytes) -> Response:
    """The answer of a model: the length of its JSON, and that JSON with what follows it."""
    if len(content) < _HEAD.size:
        raise InternalError
    [length] = _HEAD.unpack_from(content)
    body = memoryview(content)[_HEAD.size :]
    if length == len(body):
        return Response(bytes(body), content_type="application/json")
    response = Response(bytes(body), content_type="application/octet-stream")
    response.headers[HEADER_LENGTH] = str(length)
    return response


def _json(value: Any) -> Response:  # noqa: ANN401 - any JSON
    return Response(orjson.dumps(value), content_type="application/json")


def is_of_protocol(environ: Environ) -> bool:
    """Whether a request is for these paths."""
    path: str = environ.get("PATH_INFO", "")
    return path == _ROOT or path.startswith(f"{_ROOT}/")


def is_change(path: str) -> bool:
    """Whether a request to a path changes what models there are."""
    return _CHANGE.fullmatch(path) is not None


def error_answer(failure: FacetError, context: RequestContext) -> ErrorAnswer:
    """A failure as a problem document that also has the member `error`, which the protocol's clients read."""
    text = failure.detail
    if isinstance(failure, ModelNotFound) and not text.startswith(_UNKNOWN_MODEL):
        text = f"{_UNKNOWN_MODEL}: {text}"
    return problem(failure, context, error=text)


def body_rule(environ: Environ, settings: Settings) -> BodyRule | None:
    """The rule for the body of a request to these paths; None where none is wanted."""
    if environ["REQUEST_METHOD"] != "POST" or not settings.oip:
        return None
    path = environ["PATH_INFO"]
    if _INFERRING.fullmatch(path):
        _header_length(environ)
        return rule_of(any_form(environ, settings), environ, settings)
    return rule_of(object_form(environ), environ, settings) if _REPOSITORY.fullmatch(path) else None
