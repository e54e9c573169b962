"""The error tree as answers: which failures a path may answer with, by status and reasons."""

from collections.abc import Mapping
from http.client import responses as phrases
from typing import NamedTuple

from gateway.openapi.elements import Element, media, ref, schema
from utils import errors
from utils.errors import FacetError
from utils.problems import CONTENT_TYPE

_Kinds = tuple[type[FacetError], ...]

_ANY: _Kinds = (
    errors.MalformedRequest,
    errors.HeadTooSlow,
    errors.RequestLineTooLong,
    errors.HeadTooLarge,
    errors.InternalError,
    errors.UnsupportedTransferCoding,
    errors.UnsupportedHttpVersion,
)
"""Of any request, for it may come in a way that cannot be read."""
_KEYS: _Kinds = (errors.KeyMissing, errors.KeyUnknown, errors.KeyLacksScope, errors.KeysUnavailable)
"""Of a request that needs a key."""
_CALL: _Kinds = (
    *_KEYS,
    errors.RateLimited,
    errors.InvalidHeader,
    errors.TooManyUnfinishedMessages,
    errors.GatewayBusy,
    errors.BackendUnavailable,
    errors.DeadlineExceeded,
)
"""Of a request for which the backend is asked."""
_BODY: _Kinds = (errors.BodyTooSlow, errors.BodyTooLarge, errors.UnsupportedContentEncoding)
_FACES: _Kinds = (
    errors.ImageMissing,
    errors.ImageEmpty,
    errors.InvalidBase64,
    errors.UnknownOption,
    errors.OptionOutOfRange,
    errors.UnsupportedContentType,
    errors.UnsupportedImageFormat,
    errors.BrokenImage,
    errors.ImageTooLarge,
    errors.TooManyPixels,
    errors.PyramidTooLarge,
    errors.TooManyCandidates,
    errors.MessageTooLarge,
    errors.QueueFull,
    errors.AnswerTooLarge,
    errors.WorkerCrashed,
)
_MODEL: _Kinds = (errors.ModelNotFound, errors.ModelNotReady)
_CHANGE: _Kinds = (
    errors.InvalidModel,
    errors.ModelApiDisabled,
    errors.ModelExists,
    errors.ModelConflict,
    errors.StateNotWritable,
    errors.TooManyModels,
    errors.TooManyChanges,
    errors.ModelLoadFailed,
    errors.ModelNotFound,
)


class Failures(NamedTuple):
    """What a group of paths may fail with.

    Attributes:
        name: Begins the names of its answers among the components.
        kinds: The classes of its failures.
        schema: Of the body.
    """

    name: str
    kinds: _Kinds
    schema: str = "Problem"

    def by_status(self) -> dict[str, list[type[FacetError]]]:
        """The classes, by HTTP status."""
        statuses = sorted({kind.http_status for kind in self.kinds})
        return {
            str(status): [kind for kind in self.kinds if kind.http_status == status] for status in statuses
        }

    def answers(self) -> dict[str, Element]:
        """What an operation of the group has among its answers, by status."""
        return {status: ref("responses", f"{self.name}{status}") for status in self.by_status()}

    def components(self) -> dict[str, Element]:
        """What those answers refer to."""
        return {
            f"{self.name}{status}": _answer(status, kinds, self.schema)
            for status, kinds in self.by_status().items()
        }


ANY = Failures("Any", _ANY)
READINESS = Failures("Readiness", (*_ANY, errors.BackendUnavailable, errors.GatewayStopping))
FACES = Failures("Faces", (*_ANY, *_CALL, *_BODY, *_FACES, errors.ExtrasNotAnswered))
BATCH = Failures(
    "Batch",
    (
        *_ANY,
        *_KEYS,
        *_BODY,
        errors.InvalidHeader,
        errors.GatewayBusy,
        errors.ImageMissing,
        errors.UnknownOption,
        errors.OptionOutOfRange,
        errors.UnsupportedContentType,
        errors.BatchAnswerTooLarge,
    ),
)
CATALOGUE = Failures("Catalogue", (*_ANY, *_CALL, errors.AnswerTooLarge))
MODEL = Failures("Model", (*CATALOGUE.kinds, errors.ModelNotFound))
PREDICTION = Failures(
    "Prediction",
    (*_ANY, *_CALL, *_BODY, *_FACES, *_MODEL, errors.InvalidInput, errors.ModelFailed),
)

_PROTOCOL = "ProtocolProblem"
PROTOCOL_ANY = Failures("ProtocolAny", _ANY, _PROTOCOL)
PROTOCOL_READINESS = Failures("ProtocolReadiness", READINESS.kinds, _PROTOCOL)
PROTOCOL_CATALOGUE = Failures("ProtocolCatalogue", (*CATALOGUE.kinds, *_BODY), _PROTOCOL)
PROTOCOL_MODEL = Failures("ProtocolModel", (*CATALOGUE.kinds, *_MODEL), _PROTOCOL)
PROTOCOL_PREDICTION = Failures("ProtocolPrediction", PREDICTION.kinds, _PROTOCOL)
PROTOCOL_CHANGE = Failures("ProtocolChange", (*CATALOGUE.kinds, *_BODY, *_CHANGE), _PROTOCOL)

GROUPS = (ANY, READINESS, FACES, BATCH, CATALOGUE, MODEL, PREDICTION)
PROTOCOL_GROUPS = (
    PROTOCOL_ANY,
    PROTOCOL_READINESS,
    PROTOCOL_CATALOGUE,
    PROTOCOL_MODEL,
    PROTOCOL_PREDICTION,
    PROTOCOL_CHANGE,
)


_FIELDS = {"401": ("WWW-Authenticate",), "429": ("RateLimit-Policy", "RateLimit")}
"""Further header fields of answers, by status."""


def _answer(status: str, kinds: list[type[FacetError]], name: str) -> Element:
    reasons = {kind.reason: kind.title for kind in kinds}
    fields = ("X-Request-ID", "Retry-After", *_FIELDS.get(status, ()))
    told = {"status": {"const": int(status)}, "reason": {"enum": [*reasons]}}
    return {
        "description": _described(status, reasons),
        "headers": {name: ref("headers", name) for name in fields},
        # Beside the reference: programs that make clients would make a type of each answer of an `allOf`.
        "content": media({CONTENT_TYPE: schema(name) | {"properties": told}}),
    }


def _described(status: str, reasons: Mapping[str, str]) -> str:
    lines = [f"- `{reason}`: {title}" for reason, title in reasons.items()]
    return "\n".join([f"{phrases.get(int(status), status)}.", "", *lines])
