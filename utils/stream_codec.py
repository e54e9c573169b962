"""What a picture of `/Inference/PredictStream` is answered with, as messages and as domain types."""

from google.rpc import status_pb2

from protos import infer_pb2 as pb
from utils.codec import decode_detection
from utils.domain import Detection
from utils.errors import ExtrasNotAnswered, FacetError, error_class
from utils.extras import Wanted
from utils.extras_codec import with_all
from utils.status import foreign_error


def encode_problem(error: FacetError) -> pb.Problem:
    """An error as its message."""
    return pb.Problem(
        code=error.code.value,
        reason=error.reason,
        detail=error.detail,
        field=error.field or "",
        retry_after_seconds=error.retry_after,
    )


def decode_problem(problem: pb.Problem) -> FacetError:
    """The error that it means: by its reason, or by its code where only a later release knows the reason."""
    known = error_class(problem.reason)
    if known is None:
        return foreign_error(status_pb2.Status(code=problem.code, message=problem.detail))
    retry_after = problem.retry_after_seconds if problem.HasField("retry_after_seconds") else None
    return known(problem.detail, field=problem.field or None, retry_after=retry_after)


def decode_outcome(reply: pb.PredictStreamReply, wanted: Wanted) -> Detection | FacetError:
    """What a picture was answered with, for which this was wanted beside its faces."""
    if reply.HasField("problem"):
        return decode_problem(reply.problem)
    try:
        return with_all(decode_detection(reply.results), wanted)
    except ExtrasNotAnswered as error:
        return error
