"""TorchServe's table of errors: code and text over gRPC, status and type over HTTP, a row each."""

import pytest

from utils import torchserve
from utils.errors import (
    BackendUnavailable,
    BodyTooLarge,
    Code,
    DeadlineExceeded,
    FacetError,
    InternalError,
    InvalidInput,
    InvalidModel,
    MessageTooLarge,
    MethodNotAllowed,
    ModelApiDisabled,
    ModelConflict,
    ModelExists,
    ModelFailed,
    ModelLoadFailed,
    ModelNotFound,
    ModelNotReady,
    ParameterMissing,
    QueueFull,
    RequestRefused,
    RouteNotFound,
    TokenRefused,
    UnsupportedImageFormat,
    WorkerCrashed,
)
from utils.torchserve import (
    OF_PROCESS,
    Told,
    prediction_error,
    tell_management_error,
    tell_prediction_error,
)

HTTP, MODELS = "org.pytorch.serve.http.", "org.pytorch.serve.archive.model."
DEFAULT = "org.pytorch.serve.http.InvalidModelVersionException"
DOWNLOAD = "org.pytorch.serve.archive.DownloadArchiveException"
TOO_LARGE = f"{HTTP}RequestEntityTooLargeException"
INTERNAL, BAD = f"{HTTP}InternalServerException", f"{HTTP}BadRequestException"
NO_SUCH_MODEL, NO_SUCH_VERSION = f"{MODELS}ModelNotFoundException", f"{MODELS}ModelVersionNotFoundException"

Row = tuple[FacetError, Code, str, int]

EVERYWHERE: list[Row] = [
    (InvalidInput("a"), Code.INVALID_ARGUMENT, BAD, 400),
    (UnsupportedImageFormat("a"), Code.INVALID_ARGUMENT, BAD, 400),
    (RouteNotFound("a"), Code.UNIMPLEMENTED, f"{HTTP}ResourceNotFoundException", 404),
    (MethodNotAllowed("a"), Code.UNIMPLEMENTED, f"{HTTP}MethodNotAllowedException", 405),
    (QueueFull("a"), Code.RESOURCE_EXHAUSTED, f"{HTTP}ServiceUnavailableException", 429),
    (DeadlineExceeded("a"), Code.DEADLINE_EXCEEDED, f"{HTTP}RequestTimeoutException", 504),
    (MessageTooLarge("a"), Code.RESOURCE_EXHAUSTED, TOO_LARGE, 413),
    (BodyTooLarge("a"), Code.INVALID_ARGUMENT, TOO_LARGE, 413),
    (RequestRefused("a"), Code.PERMISSION_DENIED, f"{HTTP}ForbiddenException", 403),
    (BackendUnavailable("a"), Code.UNAVAILABLE, INTERNAL, 503),
    (InternalError("a"), Code.INTERNAL, INTERNAL, 500),
]
PREDICTIONS: list[Row] = [
    (ModelNotFound("a", field="name"), Code.INTERNAL, NO_SUCH_MODEL, 404),
    (ModelNotFound("a", field="version"), Code.INTERNAL, NO_SUCH_VERSION, 404),
    (ModelFailed("a"), Code.UNAVAILABLE, INTERNAL, 503),
    (WorkerCrashed("a"), Code.INTERNAL, INTERNAL, 500),
]
MANAGEMENT: list[Row] = [
    (ModelNotFound("a", field="url"), Code.NOT_FOUND, NO_SUCH_MODEL, 404),
    (ModelNotFound("a", field="version"), Code.NOT_FOUND, NO_SUCH_VERSION, 404),
    (ModelNotFound("a", field=OF_PROCESS[0]), Code.INTERNAL, NO_SUCH_MODEL, 404),
    (ModelNotFound("a", field=OF_PROCESS[1]), Code.INTERNAL, NO_SUCH_VERSION, 404),
    (ModelNotFound("a", field="download"), Code.INVALID_ARGUMENT, DOWNLOAD, 400),
    (ParameterMissing("a"), Code.INVALID_ARGUMENT, BAD, 400),
    (ModelExists("a"), Code.ALREADY_EXISTS, f"{HTTP}ConflictStatusException", 409),
    (
        ModelConflict("a", field="default"),
        Code.FAILED_PRECONDITION,
        f"{HTTP}InvalidModelVersionException",
        403,
    ),
    (ModelConflict("a"), Code.FAILED_PRECONDITION, f"{HTTP}ConflictStatusException", 409),
    (InvalidModel("a"), Code.INVALID_ARGUMENT, f"{MODELS}InvalidModelException", 400),
    (ModelLoadFailed("a"), Code.INTERNAL, INTERNAL, 500),
]


@pytest.mark.parametrize(
    ("told", "row"),
    [(tell_prediction_error(row[0]), row) for row in [*EVERYWHERE, *PREDICTIONS]]
    + [(tell_management_error(row[0]), row) for row in [*EVERYWHERE, *MANAGEMENT]],
)
def test_an_error_is_told_as_the_table_says(told: Told, row: Row) -> None:
    """By a code and two lines over gRPC, the second a Java class, whose name is the type over HTTP."""
    _, code, java_class, status = row
    assert (told.code, told.detail, told.http_status) == (code, f"a\n{java_class}", status)
    kind = java_class.rpartition(".")[2]
    assert told.document == {"code": status, "type": kind, "message": "a"}


@pytest.mark.parametrize(
    ("told", "code", "detail", "status", "kind"),
    [
        *(
            (tell(TokenRefused("a")), Code.PERMISSION_DENIED, "a", 400, "InvalidKeyException")
            for tell in (tell_prediction_error, tell_management_error)
        ),
        *(
            (
                tell(ModelNotReady("a")),
                Code.INTERNAL,
                "a\nInternalServerException.()",
                503,
                "ServiceUnavailableException",
            )
            for tell in (tell_prediction_error, tell_management_error)
        ),
        (
            tell_management_error(ModelApiDisabled("a")),
            Code.PERMISSION_DENIED,
            "a",
            405,
            "MethodNotAllowedException",
        ),
        (
            tell_prediction_error(ParameterMissing("a")),
            Code.INTERNAL,
            "a\nBadRequestException.()",
            400,
            "BadRequestException",
        ),
    ],
)
def test_some_errors_have_another_type_over_http(
    told: Told, code: Code, detail: str, status: int, kind: str
) -> None:
    """Or no second line over gRPC."""
    assert (told.code, told.detail) == (code, detail)
    assert told.document == {"code": status, "type": kind, "message": "a"}


@pytest.mark.parametrize(
    ("error", "version", "text"),
    [
        (ModelNotFound("", field="name"), "", "Model not found: {m}"),
        (ModelNotFound("", field="version"), "9", "Model version: 9 does not exist for model: {m}"),
        (ModelNotReady(""), "", torchserve.NO_WORKER.format(called='"{m}"')),
        (ModelNotReady(""), "2", torchserve.NO_WORKER.format(called='"{m}" Version 2')),
        (ModelFailed("of a model"), "", "Prediction failed"),
        (WorkerCrashed(""), "", "Worker died."),
        (InvalidInput("as it is"), "", "as it is"),
    ],
)
def test_an_error_of_a_prediction_has_torchserves_text(error: FacetError, version: str, text: str) -> None:
    """Whatever the model is called; what TorchServe has no text for keeps its own."""
    error.retry_after = 1.5
    said = prediction_error(error, "{m}", version)
    assert (type(said), said.detail, said.field, said.retry_after) == (type(error), text, error.field, 1.5)
