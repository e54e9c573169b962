"""Errors as google.rpc.Status and back: the form in which they travel between the endpoints.

A status carries ErrorInfo (the stable reason), BadRequest (the field at fault) and RetryInfo (the delay).
"""

import re
from collections.abc import Mapping
from typing import Any

from google.protobuf import any_pb2, duration_pb2
from google.rpc import code_pb2, error_details_pb2, status_pb2

from utils.errors import (
    MORE_TIME_HELPS,
    AnswerTooLarge,
    BackendUnavailable,
    Code,
    DeadlineExceeded,
    FacetError,
    InternalError,
    MalformedRequest,
    MessageTooLarge,
    QueueFull,
    error_class,
)

ERROR_DOMAIN = "facet"
RETRY_SECONDS = 1.0
"""What a caller is told to wait when nobody knows better."""

UNANSWERED = f"The request's time ran out before the backend answered. {MORE_TIME_HELPS}"
"""What a caller is told whose call no backend has answered in time."""

_LONGEST_CAUSE = 400

_NOT_REACHED = (
    "The backend cannot be reached. Where none runs, `python -m inference_server` starts one, and "
    "`make serve` one with its gateway."
)
_NOT_CONNECTED = (
    "The backend was reached, and no connection came about: it may speak TLS and its caller not, or the "
    "other way round, or one of the two does not accept the other's certificate."
)
_HANDSHAKE_FAILED = re.compile(r"last error: .*(?:Socket closed|[Hh]andshake|[Vv]erification check)")
"""gRPC's words; a server that refuses a client's certificate only closes the connection."""

_ANSWER_TOO_LARGE = re.compile(
    r"(?:CLIENT: Received|SERVER: Sent) message larger than max \((\d+) vs\. (\d+)\)"
)
"""gRPC's words: it has one code for requests and answers that are too large, and much else."""
_NO_ROOM_IN_RAY = "Request dropped due to backpressure"
"""The words of Ray Serve's proxy, which has the same code for a queue that is full."""


def encode_error(error: FacetError) -> status_pb2.Status:
    """An error as the status that its caller receives."""
    details = [error_details_pb2.ErrorInfo(reason=error.reason, domain=ERROR_DOMAIN)]
    if error.field is not None:
        violation = error_details_pb2.BadRequest.FieldViolation(field=error.field, description=error.detail)
        details.append(error_details_pb2.BadRequest(field_violations=[violation]))
    if error.retry_after is not None:
        delay = duration_pb2.Duration()
        delay.FromMilliseconds(round(error.retry_after * 1000))
        details.append(error_details_pb2.RetryInfo(retry_delay=delay))
    packed = []
    for detail in details:
        packed.append(any_pb2.Any())
        packed[-1].Pack(detail)
    return status_pb2.Status(code=error.code.value, message=error.detail, details=packed)


def decode_error(status: status_pb2.Status, unanswered: str = UNANSWERED) -> FacetError:
    """The error that a status means: ours by its reason; else by its code, with its words as cause.

    Args:
        status: What a call ended with.
        unanswered: The detail of a DeadlineExceeded that no backend has sent.
    """
    info = _detail(status, error_details_pb2.ErrorInfo)
    known = error_class(info.reason) if info is not None and info.domain == ERROR_DOMAIN else None
    if known is None:
        return foreign_error(status, unanswered)
    bad = _detail(status, error_details_pb2.BadRequest)
    retry = _detail(status, error_details_pb2.RetryInfo)
    return known(
        status.message,
        field=bad.field_violations[0].field if bad is not None else None,
        retry_after=retry.retry_delay.ToMilliseconds() / 1000 if retry is not None else None,
    )


def _detail(status: status_pb2.Status, kind: Any) -> Any:  # noqa: ANN401 - generated classes
    for packed in status.details:
        if packed.Is(kind.DESCRIPTOR):
            detail = kind()
            packed.Unpack(detail)
            return detail
    return None


def foreign_error(status: status_pb2.Status, unanswered: str = UNANSWERED) -> FacetError:
    """What a status means that gRPC itself, a proxy or a later release made, with its words as cause."""
    error = _by_code(status, unanswered)
    error.cause = f"{Code(status.code).name}: {status.message}"[:_LONGEST_CAUSE]
    return error


def _by_code(status: status_pb2.Status, unanswered: str) -> FacetError:
    if status.code in {code_pb2.UNAVAILABLE, code_pb2.CANCELLED}:
        # CANCELLED: a server that stops cancels what it has not finished. Our own cancellation does
        # not come this way.
        failed = _HANDSHAKE_FAILED.search(status.message)
        return BackendUnavailable(_NOT_CONNECTED if failed else _NOT_REACHED, retry_after=RETRY_SECONDS)
    if status.code == code_pb2.DEADLINE_EXCEEDED:
        return DeadlineExceeded(unanswered)
    if status.code == code_pb2.RESOURCE_EXHAUSTED:
        answer = _ANSWER_TOO_LARGE.search(status.message)
        if answer is not None:
            return AnswerTooLarge(
                f"The answer has {answer[1]} bytes; gRPC passes on {answer[2]} at most here: 1 MiB more than "
                "the larger one of FACET_MAX_REQUEST_BYTES and FACET_MAX_IMAGE_BYTES, or of "
                "max_request_bytes and max_image_bytes of a ServiceClient, at the end that lets less through."
            )
        if status.message.startswith(_NO_ROOM_IN_RAY):
            return QueueFull("As many requests wait as may wait at all.", retry_after=RETRY_SECONDS)
        return MessageTooLarge("The request is larger than the backend receives.")
    if status.code == code_pb2.INVALID_ARGUMENT:
        return MalformedRequest(status.message)
    return InternalError()


def error_metadata(status: status_pb2.Status) -> tuple[tuple[str, bytes], ...]:
    """The trailing metadata that carries a status beside gRPC's own code and message."""
    return (("grpc-status-details-bin", status.SerializeToString()),)


def status_of(code: Code, message: str, trailing: Mapping[str, str | bytes]) -> status_pb2.Status:
    """The status that a failed call ended with: the rich one if it came, else code and message."""
    rich = trailing.get("grpc-status-details-bin")
    if isinstance(rich, bytes):
        status = status_pb2.Status.FromString(rich)
        if status.code == code.value:
            return status
    return status_pb2.Status(code=code.value, message=message)
