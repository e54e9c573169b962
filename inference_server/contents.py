"""What a front tells a detector, and the detector's answer, as bytes in an envelope."""

import logging

import orjson
from google.rpc import status_pb2

from inference_server.dispatch.work import Work
from protos import infer_pb2 as pb
from utils import codec
from utils.domain import OPTION_NAMES, Detection, DetectOptions
from utils.errors import FacetError, InternalError

logger = logging.getLogger(__name__)

_DETECTION = b"+"
_ERROR = b"-"


def pack_context(options: DetectOptions, request_id: str, traceparent: str) -> bytes:
    """Everything about a request but its picture."""
    names = {"request_id": request_id, "traceparent": traceparent or None}
    values = {name: getattr(options, name) for name in OPTION_NAMES}
    return orjson.dumps({"options": values, "names": names})


def unpack_context(work: Work) -> tuple[DetectOptions, dict[str, str | None]]:
    """Options, and what names the request in a log line: request_id and traceparent."""
    try:
        context = orjson.loads(work.context)
        return DetectOptions(**context["options"]), context["names"]
    except (ValueError, TypeError, KeyError) as error:
        # While a reload is under way, a front of another release may have written it.
        logger.exception("a request's context cannot be read")
        raise InternalError from error


def pack_detection(detection: Detection) -> bytes:
    """An answer with faces, or none."""
    message: bytes = codec.encode_detection(detection).SerializeToString()
    return _DETECTION + message


def pack_error(error: FacetError) -> bytes:
    """An answer that says what went wrong."""
    message: bytes = codec.encode_error(error).SerializeToString()
    return _ERROR + message


def unpack_answer(answer: bytes) -> pb.InferResults:
    """The message of an answer.

    Raises:
        FacetError: What went wrong.
    """
    if answer[:1] == _ERROR:
        raise codec.decode_error(status_pb2.Status.FromString(answer[1:]))
    return pb.InferResults.FromString(answer[1:])
