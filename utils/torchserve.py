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
    InvalidModel,
    InvalidRequest,
    KeyRefused,
    MessageTooLarge,
    MethodNotAllowed,
    ModelApiDisabled,
    ModelConflict,
    ModelExists,
    ModelFailed,
    ModelLoadFailed,
    ModelNotFound,
    ModelNotReady,
    Overloaded,
    ParameterMissing,
    PayloadTooLarge,
    RequestRefused,
    RouteNotFound,
    TokenRefused,
    WorkerCrashed,
)

# --- texts of answers ---

HEALTHY, UNHEALTHY = "Healthy", "Unhealthy"
UPDATING = "Processing worker updates..."
REGISTERED = 'Model "{model}" Version: {version} registered with {workers} initial workers'
REGISTERED_IDLE = f"{REGISTERED}. Use scale workers API to add workers for the model."
SCALED = "Workers scaled to {workers} for model: {model}"
SCALED_VERSION = f"{SCALED}, version: {{version}}"
DEFAULT_SET = 'Default version successfully updated for model "{model}" to "{version}"'
UNREGISTERED = 'Model "{model}" unregistered'

# --- texts of errors ---

NO_SUCH_MODEL = "Model not found: {model}"
NO_SUCH_VERSION = "Model version: {version} does not exist for model: {model}"
NO_VERSION_TO_DEFAULT = "Model version {version} does not exist for model {model}"
NO_WORKER = (
    "Model {called} has no worker to serve inference request. Please use scale workers API to add workers. "
    "If this is a sequence inference, please check if it is closed, or expired; or exceeds "
    "maxSequenceJobQueueSize"
)
NO_WORKER_TO_DESCRIBE = (
    'Model "{model}" has no worker to serve describe request. Please use scale workers API to add workers.'
)
PREDICTION_FAILED = "Prediction failed"
WORKER_DIED = "Worker died."
MODEL_NAME_REQUIRED = "Parameter model_name is required."
URL_REQUIRED = "Parameter url is required."
SEQUENCE_ID_REQUIRED = "Parameter sequenceId is required."
UNAUTHORIZED = "Token Authorization failed. Token either incorrect, expired, or not provided correctly"
API_DISABLED = "Model API disabled"
MAX_BELOW_MIN = "max_worker cannot be less than min_worker."
WRONG_RUNTIME = "Invalid model runtime value: {runtime}"
EMPTY_URL = "empty url"
RELATIVE_PATH = "Relative path is not allowed in url: {url}"
NOT_ALLOWED = "Given URL {url} does not match any allowed URL(s)"
NOTHING_AT = "Model not found at: {url}"
NOT_DOWNLOADED = "Failed to download archive from: {url}"
ALREADY_REGISTERED = "Model version {version} is already registered for model {model}"
FILE_EXISTS = "Model file already exists {file}"
NOT_STARTED = "Failed to start workers for model {model} version: {version}"
DEFAULT_STAYS = "Cannot remove default version for model {model}"
NO_SUCH_ROUTE = "Requested resource is not found, please refer to API document."
NO_SUCH_METHOD = "Requested method is not allowed, please refer to API document."

# --- how errors are told ---

DEFAULT, DOWNLOAD, VERSION = "default", "download", "version"
"""What is at fault, as the `field` of an error, where it decides how the error is told."""
OF_PROCESS = ("customized", "customized.version")
"""The same of a model, and of a version, that was to be described by one of its processes."""

_LONGEST_NAME = 256

_MODELS = "org.pytorch.serve.archive.model."
_HTTP = "org.pytorch.serve.http."


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
    """What becomes of a class of errors; None is the error's own number."""

    code: Code | None
    http_status: int | None
    java_class: str
    type: str = ""
    text: str = ""


_Rows = Mapping[tuple[type[FacetError], str | None], _Row]
"""By class and field, None for any; the first that fits counts."""

_ANY_OTHER = _Row(None, None, f"{_HTTP}InternalServerException")

_NO_PROCESS = _Row(Code.INTERNAL, 503, "InternalServerException.()", type="ServiceUnavailableException")

# TorchServe tells of no request that is too large, or that a web page made: such a one is answered without a
# body. Their types are named by their status, as its own are.
_TOO_LARGE = _Row(None, None, f"{_HTTP}RequestEntityTooLargeException")

_ALL: _Rows = {
    (TokenRefused, None): _Row(None, 400, "", type="InvalidKeyException"),
    (RequestRefused, None): _Row(None, None, f"{_HTTP}ForbiddenException"),
    (KeyRefused, None): _Row(None, None, "", type="InvalidKeyException"),
    (BodyTooSlow, None): _Row(None, None, f"{_HTTP}RequestTimeoutException"),
    (PayloadTooLarge, None): _TOO_LARGE,
    (MessageTooLarge, None): _TOO_LARGE,
    (InvalidRequest, None): _Row(None, 400, f"{_HTTP}BadRequestException"),
    (RouteNotFound, None): _Row(None, None, f"{_HTTP}ResourceNotFoundException"),
    (MethodNotAllowed, None): _Row(None, None, f"{_HTTP}MethodNotAllowedException"),
    (Overloaded, None): _Row(None, None, f"{_HTTP}ServiceUnavailableException"),
    (DeadlineExceeded, None): _Row(None, None, f"{_HTTP}RequestTimeoutException"),
}

# Where TorchServe itself refuses to ask a model, it names no package. ModelFailed has the code of its own,
# which has callers try again; a bad input never has it.
_PREDICTIONS: _Rows = {
    (ModelNotFound, VERSION): _Row(Code.INTERNAL, 404, f"{_MODELS}ModelVersionNotFoundException"),
    (ModelNotFound, None): _Row(Code.INTERNAL, 404, f"{_MODELS}ModelNotFoundException"),
    (ModelNotReady, None): _NO_PROCESS,
    (ParameterMissing, None): _Row(Code.INTERNAL, 400, "BadRequestException.()", type="BadRequestException"),
    (ModelFailed, None): _Row(Code.UNAVAILABLE, 503, f"{_HTTP}InternalServerException"),
    **_ALL,
}

_MANAGEMENT: _Rows = {
    (ModelNotFound, VERSION): _Row(None, None, f"{_MODELS}ModelVersionNotFoundException"),
    (ModelNotFound, OF_PROCESS[0]): _Row(Code.INTERNAL, None, f"{_MODELS}ModelNotFoundException"),
    (ModelNotFound, OF_PROCESS[1]): _Row(Code.INTERNAL, None, f"{_MODELS}ModelVersionNotFoundException"),
    (ModelNotReady, None): _NO_PROCESS,
    (ModelNotFound, DOWNLOAD): _Row(
        Code.INVALID_ARGUMENT, 400, "org.pytorch.serve.archive.DownloadArchiveException"
    ),
    (ModelNotFound, None): _Row(None, None, f"{_MODELS}ModelNotFoundException"),
    (ModelApiDisabled, None): _Row(None, 405, "", type="MethodNotAllowedException"),
    (ModelExists, None): _Row(None, None, f"{_HTTP}ConflictStatusException"),
    (ModelConflict, DEFAULT): _Row(None, 403, f"{_HTTP}InvalidModelVersionException"),
    (ModelConflict, None): _Row(None, None, f"{_HTTP}ConflictStatusException"),
    (InvalidModel, None): _Row(None, None, f"{_MODELS}InvalidModelException"),
    (ModelLoadFailed, None): _Row(None, None, f"{_HTTP}InternalServerException"),
    **_ALL,
}


def filled(text: str, **names: str) -> str:
    """A text with names that a caller has given, of which it has as much as the status of a call can hold."""
    return text.format(**{key: name[:_LONGEST_NAME] for key, name in names.items()})


def tell_prediction_error(error: FacetError) -> Told:
    """How a call for a prediction is told of an error, whose detail is for its caller."""
    return _told(error, _PREDICTIONS)


def tell_management_error(error: FacetError) -> Told:
    """How a call for a change, or a look, is told of an error, whose detail is for its caller."""
    return _told(error, _MANAGEMENT)


def prediction_error(error: FacetError, model: str, version: str) -> FacetError:
    """An error of a call for a prediction with TorchServe's text, where TorchServe has one.

    Args:
        error: As it was found.
        model: The name that was called.
        version: That was named; empty where none was.
    """
    match error:
        case ModelNotFound():
            text = NO_SUCH_VERSION if error.field == VERSION else NO_SUCH_MODEL
        case ModelNotReady():
            text = NO_WORKER
        case ModelFailed():
            text = PREDICTION_FAILED
        case WorkerCrashed():
            text = WORKER_DIED
        case _:
            return error
    called = filled('"{model}" Version {version}' if version else '"{model}"', model=model, version=version)
    detail = filled(text, model=model, version=version, called=called)
    return type(error)(detail, field=error.field, retry_after=error.retry_after)


def route_error(error: FacetError) -> FacetError:
    """An error of a path over HTTP, with TorchServe's text, where TorchServe has one."""
    match error:
        case RouteNotFound():
            return RouteNotFound(NO_SUCH_ROUTE)
        case MethodNotAllowed():
            return MethodNotAllowed(NO_SUCH_METHOD)
        case _:
            return error


def _told(error: FacetError, rows: _Rows) -> Told:
    fitting = (
        row for (kind, at), row in rows.items() if isinstance(error, kind) and at in {None, error.field}
    )
    row = next(fitting, _ANY_OTHER)
    return Told(
        error.code if row.code is None else row.code,
        error.http_status if row.http_status is None else row.http_status,
        error.detail,
        row.java_class,
        row.type or row.java_class.rpartition(".")[2],
    )
