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
The edges (an interceptor for gRPC, an error handler for HTTP) translate; nobody else does. This package
imports the standard library alone, so that the supervisor can use it without loading gRPC.
"""

from utils.errors.access import (
    KeyLacksScope,
    KeyMissing,
    KeyRefused,
    KeysUnavailable,
    KeyUnknown,
    MethodNotAllowed,
    RequestRefused,
    RouteNotFound,
    TokenRefused,
)
from utils.errors.base import (
    LARGER_FACES_HELP,
    MORE_TIME_HELPS,
    SHOWN_CHARACTERS,
    Code,
    FacetError,
    error_class,
    error_classes,
    shown,
    without_folders,
)
from utils.errors.models import (
    AnswerTooLarge,
    InvalidModel,
    ManagementError,
    ModelApiDisabled,
    ModelConflict,
    ModelExists,
    ModelFailed,
    ModelLoadFailed,
    ModelNotFound,
    ModelNotReady,
    StateNotWritable,
)
from utils.errors.requests import (
    BatchAnswerTooLarge,
    BodyTooLarge,
    BodyTooSlow,
    BrokenImage,
    HeadTooLarge,
    HeadTooSlow,
    ImageEmpty,
    ImageMissing,
    ImageTooLarge,
    InvalidBase64,
    InvalidHeader,
    InvalidInput,
    InvalidRequest,
    MalformedRequest,
    MessageTooLarge,
    OptionOutOfRange,
    ParameterMissing,
    PayloadTooLarge,
    PyramidTooLarge,
    RequestLineTooLong,
    TooManyCandidates,
    TooManyPixels,
    UnknownOption,
    UnsupportedContentEncoding,
    UnsupportedContentType,
    UnsupportedHttpVersion,
    UnsupportedImageFormat,
    UnsupportedTransferCoding,
)
from utils.errors.service import (
    BackendUnavailable,
    Cancelled,
    DeadlineExceeded,
    ExtrasNotAnswered,
    GatewayBusy,
    GatewayStopping,
    InternalError,
    Overloaded,
    QueueFull,
    RateLimited,
    TooManyChanges,
    TooManyModels,
    TooManyUnfinishedMessages,
    WorkerCrashed,
)

__all__ = [
    "LARGER_FACES_HELP",
    "MORE_TIME_HELPS",
    "SHOWN_CHARACTERS",
    "AnswerTooLarge",
    "BackendUnavailable",
    "BatchAnswerTooLarge",
    "BodyTooLarge",
    "BodyTooSlow",
    "BrokenImage",
    "Cancelled",
    "Code",
    "DeadlineExceeded",
    "ExtrasNotAnswered",
    "FacetError",
    "GatewayBusy",
    "GatewayStopping",
    "HeadTooLarge",
    "HeadTooSlow",
    "ImageEmpty",
    "ImageMissing",
    "ImageTooLarge",
    "InternalError",
    "InvalidBase64",
    "InvalidHeader",
    "InvalidInput",
    "InvalidModel",
    "InvalidRequest",
    "KeyLacksScope",
    "KeyMissing",
    "KeyRefused",
    "KeyUnknown",
    "KeysUnavailable",
    "MalformedRequest",
    "ManagementError",
    "MessageTooLarge",
    "MethodNotAllowed",
    "ModelApiDisabled",
    "ModelConflict",
    "ModelExists",
    "ModelFailed",
    "ModelLoadFailed",
    "ModelNotFound",
    "ModelNotReady",
    "OptionOutOfRange",
    "Overloaded",
    "ParameterMissing",
    "PayloadTooLarge",
    "PyramidTooLarge",
    "QueueFull",
    "RateLimited",
    "RequestLineTooLong",
    "RequestRefused",
    "RouteNotFound",
    "StateNotWritable",
    "TokenRefused",
    "TooManyCandidates",
    "TooManyChanges",
    "TooManyModels",
    "TooManyPixels",
    "TooManyUnfinishedMessages",
    "UnknownOption",
    "UnsupportedContentEncoding",
    "UnsupportedContentType",
    "UnsupportedHttpVersion",
    "UnsupportedImageFormat",
    "UnsupportedTransferCoding",
    "WorkerCrashed",
    "error_class",
    "error_classes",
    "shown",
    "without_folders",
]
