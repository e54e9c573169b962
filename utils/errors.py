"""Every failure that Facet tells a caller about, in one tree.

    FacetError
    ├── InvalidRequest          the caller must change the request
    │   ├── ...                 one class for each way in which it can be wrong
    │   └── PayloadTooLarge     a limit was exceeded
    ├── RouteNotFound, MethodNotAllowed, ExtrasNotAnswered
    ├── KeyRefused, TokenRefused, RequestRefused   who asks, or how, not what is asked for
    │   └── KeyMissing, KeyUnknown, KeyLacksScope
    ├── KeysUnavailable         nobody's key can be checked
    ├── Overloaded              try again after `retry_after` seconds
    │   ├── RateLimited
    │   ├── QueueFull
    │   ├── TooManyUnfinishedMessages
    │   ├── GatewayBusy
    │   ├── TooManyModels
    │   └── TooManyChanges
    ├── ModelNotFound, ModelNotReady, ModelFailed, AnswerTooLarge
    ├── ManagementError         a change of the models that cannot be made
    │   └── ...                 one class for each reason
    ├── BackendUnavailable      nobody there, or not ready yet
    ├── GatewayStopping         this gateway goes away; another one is to be asked
    ├── DeadlineExceeded, Cancelled
    ├── WorkerCrashed           this picture has ended two workers
    └── InternalError           a fault of ours; the detail is in the log only

A class states the canonical code, the HTTP status and the reason, which never changes once released.
The edges (an interceptor for gRPC, an error handler for HTTP) translate; nobody else does. This module
imports the standard library alone, so that the supervisor can use it without loading gRPC.
"""

import re
from enum import IntEnum
from typing import ClassVar


class Code(IntEnum):
    """The canonical codes, with the numbers of google/rpc/code.proto, which are also gRPC's."""

    OK = 0
    CANCELLED = 1
    UNKNOWN = 2
    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    NOT_FOUND = 5
    ALREADY_EXISTS = 6
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    FAILED_PRECONDITION = 9
    ABORTED = 10
    OUT_OF_RANGE = 11
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14
    DATA_LOSS = 15
    UNAUTHENTICATED = 16


SHOWN_CHARACTERS = 40


MORE_TIME_HELPS = (
    "What helps: more time (X-Request-Timeout, the gRPC deadline, the client's timeout), or a smaller "
    "request."
)
"""The end of a DeadlineExceeded's detail, wherever a request took longer than it was given."""

LARGER_FACES_HELP = "A search for faces takes less time with a larger min_face_size."
"""What to add where the request was one for faces."""


def shown(text: str) -> str:
    """As much of a caller's own text as an error repeats."""
    return text[:SHOWN_CHARACTERS]


_LONGEST_DETAIL = 1000
"""Bytes of a detail. gRPC carries it thrice, each byte as up to three, in metadata that may have 8 KiB."""


def _within_limit(detail: str) -> str:
    encoded = detail.encode(errors="replace")
    if len(encoded) <= _LONGEST_DETAIL:
        return detail
    return encoded[:_LONGEST_DETAIL].decode(errors="ignore") + " ..."


_FOLDERS = re.compile(r"(?<=['\"])/(?:[^'\"/]+/)+|(?<![\w.:/])/(?:[^\s/'\":,]+/)+")


def without_folders(text: str) -> str:
    """A text of somebody else's without the folders of the absolute paths in it, on one line.

    A path that has a space is known where it stands in quotes, as in the system's own errors.
    """
    return _FOLDERS.sub("", " ".join(text.split()))


_BY_REASON: dict[str, type["FacetError"]] = {}


class FacetError(Exception):
    """A failure with a canonical code, an HTTP status and a stable reason.

    Args:
        detail: One sentence for the caller: what came, what is accepted. A very long one is cut.
        field: The member of the request that is at fault, if one is.
        retry_after: Seconds after which the same request may succeed, if it may.

    Attributes:
        cause: What others said of it, who are none of ours: gRPC itself, a proxy. For the log; no caller
            is told. Empty where nobody did.
    """

    code: ClassVar[Code]
    http_status: ClassVar[int]
    reason: ClassVar[str]
    title: ClassVar[str]
    cause: str = ""

    def __init__(self, detail: str, *, field: str | None = None, retry_after: float | None = None) -> None:
        self.detail = _within_limit(detail)
        super().__init__(self.detail)
        self.field = field
        self.retry_after = retry_after

    def __init_subclass__(cls) -> None:
        """Register a class that can be raised, by its reason."""
        if "reason" in cls.__dict__:
            if cls.reason in _BY_REASON:
                raise TypeError(f"two errors share the reason {cls.reason}")
            _BY_REASON[cls.reason] = cls


def error_classes() -> tuple[type[FacetError], ...]:
    """Every class that can be raised: the rows of the error table."""
    return tuple(_BY_REASON.values())


def error_class(reason: str) -> type[FacetError] | None:
    """The class whose reason this is, or None where no release of ours has used it."""
    return _BY_REASON.get(reason)


# --- the request is wrong ---------------------------------------------------------------------------


class InvalidRequest(FacetError):
    """The request must change before it can succeed."""

    code = Code.INVALID_ARGUMENT
    http_status = 400


class MalformedRequest(InvalidRequest):
    """The request as a whole cannot be read: no HTTP, not JSON, not an object, a member of a wrong type."""

    reason = "MALFORMED_REQUEST"
    title = "The request cannot be read"


class ImageMissing(InvalidRequest):
    """There is no image in the request."""

    reason = "IMAGE_MISSING"
    title = "The request has no image"


class ImageEmpty(InvalidRequest):
    """There is an image of zero bytes."""

    reason = "IMAGE_EMPTY"
    title = "The image is empty"


class InvalidBase64(InvalidRequest):
    """The image of a JSON request is not base64; the detail names the character and its offset."""

    reason = "INVALID_BASE64"
    title = "The image is not valid base64"


class InvalidHeader(InvalidRequest):
    """A header has a value that it cannot have."""

    reason = "INVALID_HEADER"
    title = "A header is not valid"


class ParameterMissing(InvalidRequest):
    """A call by TorchServe's protocol lacks a parameter that it must have."""

    reason = "PARAMETER_MISSING"
    title = "A parameter is missing"


class UnknownOption(InvalidRequest):
    """An option by a name that no release has."""

    reason = "UNKNOWN_OPTION"
    title = "The option is unknown"


class OptionOutOfRange(InvalidRequest):
    """An option whose value is not a number or lies outside its range."""

    reason = "OPTION_OUT_OF_RANGE"
    title = "The option is out of range"


class UnsupportedContentType(InvalidRequest):
    """A body that claims to be something /predict does not take."""

    http_status = 415
    reason = "UNSUPPORTED_CONTENT_TYPE"
    title = "The Content-Type is not accepted"


class UnsupportedContentEncoding(InvalidRequest):
    """A body that is compressed in a way that is not accepted.

    Attributes:
        accepted: What is, as Accept-Encoding says it.
    """

    http_status = 415
    reason = "UNSUPPORTED_CONTENT_ENCODING"
    title = "The Content-Encoding is not accepted"
    accepted = "gzip, deflate, identity"


class UnsupportedImageFormat(InvalidRequest):
    """Bytes that are no picture, or one in a format that is not accepted."""

    http_status = 415
    reason = "UNSUPPORTED_IMAGE_FORMAT"
    title = "The image is not in an accepted format"


class BrokenImage(InvalidRequest):
    """A picture in an accepted format that cannot be decoded: truncated or corrupt."""

    http_status = 422
    reason = "BROKEN_IMAGE"
    title = "The image is broken"


class InvalidInput(InvalidRequest):
    """A model's input that its schema does not allow; `field` is the path of the member at fault."""

    http_status = 422
    reason = "INVALID_INPUT"
    title = "The input is not valid"


class BodyTooSlow(InvalidRequest):
    """The body of the request did not arrive within its time."""

    http_status = 408
    reason = "BODY_TOO_SLOW"
    title = "The request body came too slowly"


class HeadTooSlow(InvalidRequest):
    """The head of an HTTP request did not arrive within its time."""

    http_status = 408
    reason = "HEAD_TOO_SLOW"
    title = "The request head came too slowly"


class HeadTooLarge(InvalidRequest):
    """The head of an HTTP request is longer than accepted, or has too many fields or too long ones."""

    http_status = 431
    reason = "HEAD_TOO_LARGE"
    title = "The request head is too large"


class RequestLineTooLong(InvalidRequest):
    """The first line of an HTTP request, with its path and query, is longer than accepted."""

    http_status = 414
    reason = "REQUEST_LINE_TOO_LONG"
    title = "The request line is too long"


class UnsupportedTransferCoding(InvalidRequest):
    """The body of an HTTP request is in a transfer coding other than chunked."""

    http_status = 501
    reason = "UNSUPPORTED_TRANSFER_CODING"
    title = "The transfer coding is not accepted"


class UnsupportedHttpVersion(InvalidRequest):
    """The request is of a version of HTTP other than 1.0 and 1.1."""

    http_status = 505
    reason = "UNSUPPORTED_HTTP_VERSION"
    title = "The version of HTTP is not accepted"


class PayloadTooLarge(InvalidRequest):
    """A limit was exceeded. The detail names the limit, what came, and what to change."""

    http_status = 413


class ImageTooLarge(PayloadTooLarge):
    """More bytes of encoded image than the limit."""

    reason = "IMAGE_TOO_LARGE"
    title = "The image has too many bytes"


class TooManyPixels(PayloadTooLarge):
    """More pixels than the limit, by the picture's own header."""

    reason = "TOO_MANY_PIXELS"
    title = "The image has too many pixels"


class PyramidTooLarge(PayloadTooLarge):
    """The picture at this min_face_size would be scanned over too large an area."""

    reason = "PYRAMID_TOO_LARGE"
    title = "The image pyramid is too large"


class TooManyCandidates(PayloadTooLarge):
    """A stage found more candidates than may enter non-maximum suppression."""

    reason = "TOO_MANY_CANDIDATES"
    title = "The detector found too many candidates"


class BodyTooLarge(PayloadTooLarge):
    """The body of an HTTP request is longer than any acceptable image makes it, or a batch has too much."""

    reason = "BODY_TOO_LARGE"
    title = "The request body is too large"


class BatchAnswerTooLarge(PayloadTooLarge):
    """The answers of a batch are too large for one JSON document; line by line they could be sent."""

    reason = "BATCH_ANSWER_TOO_LARGE"
    title = "The answer of the batch is too large for one document"


class MessageTooLarge(FacetError):
    """A gRPC message over the transport's own limit, which the transport refused."""

    code = Code.RESOURCE_EXHAUSTED
    http_status = 413
    reason = "MESSAGE_TOO_LARGE"
    title = "The message is too large"


class RouteNotFound(FacetError):
    """No such path or method."""

    code = Code.UNIMPLEMENTED
    http_status = 404
    reason = "ROUTE_NOT_FOUND"
    title = "There is nothing here"


class MethodNotAllowed(FacetError):
    """The path exists, but not for this HTTP method."""

    code = Code.UNIMPLEMENTED
    http_status = 405
    reason = "METHOD_NOT_ALLOWED"
    title = "The HTTP method is not allowed here"


class KeyRefused(FacetError):
    """The caller does not have the key that this needs."""

    code = Code.UNAUTHENTICATED
    http_status = 401


class KeyMissing(KeyRefused):
    """The request has no key, and needs one."""

    reason = "KEY_MISSING"
    title = "The request needs a key"


class KeyUnknown(KeyRefused):
    """The request has a key that was revoked, or never made."""

    reason = "KEY_UNKNOWN"
    title = "The key is not known"


class KeyLacksScope(KeyRefused):
    """The key is not for what is asked for."""

    code = Code.PERMISSION_DENIED
    http_status = 403
    reason = "KEY_LACKS_SCOPE"
    title = "The key is not for this"


class KeysUnavailable(FacetError):
    """This process could not read the file of keys since it began, so it can check none."""

    code = Code.UNAVAILABLE
    http_status = 503
    reason = "KEYS_UNAVAILABLE"
    title = "No key can be checked now"


class TokenRefused(FacetError):
    """A token is demanded, and none came, or a wrong or expired one."""

    code = Code.PERMISSION_DENIED
    http_status = 403
    reason = "TOKEN_REFUSED"
    title = "The token is refused"


class RequestRefused(FacetError):
    """Requests that come in this way are not answered: a web page may have made them."""

    code = Code.PERMISSION_DENIED
    http_status = 403
    reason = "REQUEST_REFUSED"
    title = "The request is refused"


# --- the service cannot answer now ------------------------------------------------------------------


class Overloaded(FacetError):
    """There is more work than can, or may, be done in time; `retry_after` says when to try again."""

    code = Code.RESOURCE_EXHAUSTED
    http_status = 429


class RateLimited(Overloaded):
    """A key has made more requests than it may in this time."""

    reason = "RATE_LIMITED"
    title = "The key has made too many requests"


class QueueFull(Overloaded):
    """The backend has as much waiting as it can do in time."""

    reason = "QUEUE_FULL"
    title = "The queue is full"


class TooManyUnfinishedMessages(Overloaded):
    """More gRPC messages are on their way to a worker than it receives at once."""

    reason = "TOO_MANY_UNFINISHED_MESSAGES"
    title = "Too many messages are unfinished"


class GatewayBusy(Overloaded):
    """This gateway process has no thread for another request, or no room for its body."""

    reason = "GATEWAY_BUSY"
    title = "The gateway is busy"


class TooManyModels(Overloaded):
    """There are as many versions of models, or processes for them, as there can be."""

    reason = "TOO_MANY_MODELS"
    title = "There is no room for another model"


class TooManyChanges(Overloaded):
    """As many changes of the models are waited for as may be."""

    reason = "TOO_MANY_CHANGES"
    title = "Too many changes are made at once"


class ExtrasNotAnswered(FacetError):
    """The backend has passed over what was wanted beside the faces: it is of an earlier release."""

    code = Code.UNIMPLEMENTED
    http_status = 501
    reason = "EXTRAS_NOT_ANSWERED"
    title = "The backend does not know what was asked for"


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


class BackendUnavailable(FacetError):
    """The backend cannot be reached, or is not ready."""

    code = Code.UNAVAILABLE
    http_status = 503
    reason = "BACKEND_UNAVAILABLE"
    title = "The backend is unavailable"


class GatewayStopping(FacetError):
    """This gateway is about to stop, whatever its backend does."""

    code = Code.UNAVAILABLE
    http_status = 503
    reason = "GATEWAY_STOPPING"
    title = "The gateway is about to stop"


class DeadlineExceeded(FacetError):
    """The request's time ran out before its answer."""

    code = Code.DEADLINE_EXCEEDED
    http_status = 504
    reason = "DEADLINE_EXCEEDED"
    title = "The request ran out of time"


class Cancelled(FacetError):
    """The caller went away. Nobody receives this: it is what the log says."""

    code = Code.CANCELLED
    http_status = 499
    reason = "CANCELLED"
    title = "The caller went away"


class WorkerCrashed(FacetError):
    """Workers died with this payload in flight, so it is not tried again for a while."""

    code = Code.INTERNAL
    http_status = 500
    reason = "WORKER_CRASHED"
    title = "The request crashes its worker"


class InternalError(FacetError):
    """A fault of ours. The caller gets this fixed message, the log the rest."""

    code = Code.INTERNAL
    http_status = 500
    reason = "INTERNAL"
    title = "Internal error"
    message: ClassVar[str] = "The service failed on this request. The log has the details."

    def __init__(
        self,
        detail: str = message,
        *,
        field: str | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(detail, field=field, retry_after=retry_after)
