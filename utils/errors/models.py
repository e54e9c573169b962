"""Failures of models, and of changes to them."""

from utils.errors.base import Code, FacetError


class ModelNotFound(FacetError):
    """No model of that name or version is registered."""

    code = Code.NOT_FOUND
    http_status = 404
    reason = "MODEL_NOT_FOUND"
    title = "There is no such model"


class ModelNotReady(FacetError):
    """The model is registered, but no process of it serves now."""

    code = Code.UNAVAILABLE
    http_status = 503
    reason = "MODEL_NOT_READY"
    title = "The model is not ready"


class ModelFailed(FacetError):
    """The model raised an error, or gave what its schema does not allow; the log has the rest."""

    code = Code.INTERNAL
    http_status = 500
    reason = "MODEL_FAILED"
    title = "The model failed"


class AnswerTooLarge(FacetError):
    """What a model has answered is larger than what its caller can receive."""

    code = Code.INTERNAL
    http_status = 500
    reason = "ANSWER_TOO_LARGE"
    title = "The answer is too large"


class ManagementError(FacetError):
    """A change of the models that cannot be made."""

    code = Code.FAILED_PRECONDITION
    http_status = 409


class InvalidModel(ManagementError):
    """What is to be registered is no model: its source, its name, its configuration or its file."""

    code = Code.INVALID_ARGUMENT
    http_status = 400
    reason = "INVALID_MODEL"
    title = "This is no valid model"


class ModelExists(ManagementError):
    """This version of the model is registered already."""

    code = Code.ALREADY_EXISTS
    reason = "MODEL_EXISTS"
    title = "The model exists already"


class ModelConflict(ManagementError):
    """The change does not fit the state: the default version cannot go, faces cannot be scaled."""

    reason = "MODEL_CONFLICT"
    title = "The change conflicts with the state of the models"


class ModelLoadFailed(ManagementError):
    """The model could not be loaded; the detail has the model's own reason."""

    code = Code.INTERNAL
    http_status = 500
    reason = "MODEL_LOAD_FAILED"
    title = "The model could not be loaded"


class ModelApiDisabled(ManagementError):
    """Callers may not change the models by this protocol, unless the operator allows it."""

    code = Code.PERMISSION_DENIED
    http_status = 403
    reason = "MODEL_API_DISABLED"
    title = "Models are not changed here"


class StateNotWritable(ManagementError):
    """The change could not be written down, so it was not made."""

    reason = "STATE_NOT_WRITABLE"
    title = "The state of the models cannot be written"
