"""TorchServe's words: its texts, and how it tells of each error over gRPC and HTTP. The one table of them.

Where Facet speaks TorchServe's protocols an error has TorchServe's text as its detail, and is translated
here: over gRPC to a code and two lines, the text and the name of a Java class; over HTTP to a status and a
JSON object.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

from utils.errors import (
    BodyTooSlow,
    Code,
    DeadlineExceeded,
    FacetError,
    InvalidRequest,
    MethodNotAllowed,
    ModelFailed,
    ModelNotFound,
    ModelNotReady,
    Overloaded,
    ParameterMissing,
    PayloadTooLarge,
    RouteNotFound,
    TokenRefused,
    WorkerCrashed,
)

HEALTHY, UNHEALTHY = "Healthy", "Unhealthy"
MODEL_NAME_REQUIRED = "Parameter model_name is required."
SEQUENCE_ID_REQUIRED = "Parameter sequenceId is required."
PREDICTION_FAILED = "Prediction failed"
WORKER_DIED = "Worker died."
NOT_FOUND = "Requested resource is not found, please refer to API document."
NOT_ALLOWED = "Requested method is not allowed, please refer to API document."
UNAUTHORIZED = "Token Authorization failed. Token either incorrect, expired, or not provided correctly"

_MODELS = "org.pytorch.serve.archive.model."
_HTTP = "org.pytorch.serve.http."
BAD_REQUEST = "BadRequestException.()"
"""Where TorchServe refuses a call for predictions itself, it names no package."""


class Told(NamedTuple):
    """How TorchServe tells of an error.

    Attributes:
        code: Over gRPC.
        http_status: Over HTTP.
        text: For people.
        java_class: What follows the text over gRPC; empty for nothing.
        type: Over HTTP.
    """

    code: Code
    http_status: int
    text: str
    java_class: str
    type: str

    @property
    def detail(self) -> str:
        """The text of a gRPC status."""
        return f"{self.text}\n{self.java_class}" if self.java_class else self.text

    @property
    def document(self) -> dict[str, Any]:
        """The body of an answer over HTTP."""
        return {"code": self.http_status, "type": self.type, "message": self.text}


class _Row(NamedTuple):
    """What a class of errors is; None takes the error's own number, an empty text its own detail."""

    code: Code | None
    http_status: int | None
    java_class: str
    type: str = ""
    text: str = ""


_ANY_OTHER = _Row(None, None, f"{_HTTP}InternalServerException")
_TOKEN = _Row(Code.PERMISSION_DENIED, 400, "", type="InvalidKeyException")

_PREDICTIONS: Mapping[type[FacetError], _Row] = {
    TokenRefused: _TOKEN,
    ParameterMissing: _Row(Code.INTERNAL, 400, BAD_REQUEST, type="BadRequestException"),
    ModelNotFound: _Row(Code.INTERNAL, 404, f"{_MODELS}ModelNotFoundException"),
    ModelNotReady: _Row(Code.INTERNAL, 503, "InternalServerException.()", type="ServiceUnavailableException"),
    # TorchServe's code; only by a fault of the model, so that no caller sends a bad input again and again.
    ModelFailed: _Row(Code.UNAVAILABLE, 503, f"{_HTTP}InternalServerException"),
    RouteNotFound: _Row(None, None, f"{_HTTP}ResourceNotFoundException", text=NOT_FOUND),
    MethodNotAllowed: _Row(None, None, f"{_HTTP}MethodNotAllowedException", text=NOT_ALLOWED),
    BodyTooSlow: _Row(None, None, f"{_HTTP}RequestTimeoutException"),
    PayloadTooLarge: _Row(None, None, f"{_HTTP}BadRequestException"),
    InvalidRequest: _Row(Code.INVALID_ARGUMENT, 400, f"{_HTTP}BadRequestException"),
    Overloaded: _Row(None, None, f"{_HTTP}ServiceUnavailableException"),
    DeadlineExceeded: _Row(None, None, f"{_HTTP}RequestTimeoutException"),
}
"""Of calls for predictions, the most general class last."""


def tell_prediction_error(error: FacetError) -> Told:
    """How a call for a prediction is told of an error, whose detail is for its caller."""
    return _told(error, _PREDICTIONS)


def prediction_error(error: FacetError, model: str, version: str) -> FacetError:
    """An error of a call for a prediction with TorchServe's text, where TorchServe has one.

    Args:
        error: As it was found.
        model: The name that was called.
        version: That was named; empty where none was.
    """
    match error:
        case ModelNotFound():
            text = no_such_version(model, version) if error.field == "version" else no_such_model(model)
        case ModelNotReady():
            text = no_worker(model, version)
        case ModelFailed():
            text = PREDICTION_FAILED
        case WorkerCrashed():
            text = WORKER_DIED
        case _:
            return error
    return type(error)(text, field=error.field, retry_after=error.retry_after)


def no_such_model(model: str) -> str:
    """There is no model of this name."""
    return f"Model not found: {model}"


def no_such_version(model: str, version: str) -> str:
    """The model has no such version."""
    return f"Model version: {version} does not exist for model: {model}"


def no_worker(model: str, version: str) -> str:
    """No process of a model serves."""
    named = f'"{model}" Version {version}' if version else f'"{model}"'
    return (
        f"Model {named} has no worker to serve inference request. Please use scale workers API to add "
        "workers. If this is a sequence inference, please check if it is closed, or expired; or exceeds "
        "maxSequenceJobQueueSize"
    )


def _told(error: FacetError, rows: Mapping[type[FacetError], _Row]) -> Told:
    row = next((row for kind, row in rows.items() if isinstance(error, kind)), _ANY_OTHER)
    java_class = row.java_class
    if isinstance(error, ModelNotFound) and error.field == "version":
        java_class = f"{_MODELS}ModelVersionNotFoundException"
    return Told(
        error.code if row.code is None else row.code,
        error.http_status if row.http_status is None else row.http_status,
        row.text or error.detail,
        java_class,
        row.type or java_class.rpartition(".")[2],
    )
