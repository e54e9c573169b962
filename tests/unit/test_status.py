"""Rules of how errors travel as statuses."""

import pytest
from google.rpc import code_pb2, status_pb2

from utils.errors import (
    BackendUnavailable,
    Code,
    DeadlineExceeded,
    FacetError,
    ImageTooLarge,
    InternalError,
    MalformedRequest,
    MessageTooLarge,
    QueueFull,
    error_classes,
)
from utils.status import RETRY_SECONDS, decode_error, encode_error, status_of


@pytest.mark.parametrize("kind", error_classes(), ids=lambda kind: kind.reason)
@pytest.mark.parametrize("extra", [{}, {"field": "options.x"}, {"retry_after": 1.25}])
def test_an_error_survives_the_wire(kind: type[FacetError], extra: dict[str, object]) -> None:
    """Class, detail, field and delay arrive as they were raised."""
    error = kind("what came and what is accepted", **extra)  # type: ignore[arg-type]
    raw = encode_error(error).SerializeToString()
    arrived = decode_error(status_pb2.Status.FromString(raw))
    assert type(arrived) is kind
    assert (arrived.detail, arrived.field, arrived.retry_after) == (
        error.detail,
        error.field,
        error.retry_after,
    )


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (code_pb2.UNAVAILABLE, BackendUnavailable),
        (code_pb2.CANCELLED, BackendUnavailable),
        (code_pb2.DEADLINE_EXCEEDED, DeadlineExceeded),
        (code_pb2.RESOURCE_EXHAUSTED, MessageTooLarge),
        (code_pb2.INVALID_ARGUMENT, MalformedRequest),
        (code_pb2.UNIMPLEMENTED, InternalError),
        (code_pb2.UNKNOWN, InternalError),
    ],
)
def test_a_status_that_is_not_ours_is_understood_by_its_code(code: int, kind: type[FacetError]) -> None:
    """What gRPC or a proxy says in its own words reaches no caller, but about the request itself."""
    arrived = decode_error(status_pb2.Status(code=code, message="at /srv/x.py:3"))
    assert type(arrived) is kind
    assert kind is MalformedRequest or "/srv" not in arrived.detail


def test_the_words_of_a_status_that_is_not_ours_are_kept_as_its_cause() -> None:
    """For the log, with the name of its code, and no more than a line takes; they travel no further."""
    arrived = decode_error(status_pb2.Status(code=code_pb2.UNIMPLEMENTED, message="no such " + "x" * 500))
    assert arrived.cause == "UNIMPLEMENTED: no such " + "x" * 377
    assert len(arrived.cause) == 400
    assert b"no such" not in encode_error(arrived).SerializeToString()
    ours = decode_error(encode_error(QueueFull("full")))
    assert ours.cause == ""


def test_a_full_queue_is_told_from_a_message_too_large() -> None:
    """Both are RESOURCE_EXHAUSTED; only one is worth another try."""
    queue_full = decode_error(encode_error(QueueFull("full", retry_after=2)))
    assert (type(queue_full), queue_full.retry_after) == (QueueFull, 2)


def test_a_full_queue_of_ray_is_one() -> None:
    """Its proxy says so in its own words, by the code of a message that is too large."""
    words = "Request dropped due to backpressure (num_queued_requests=4, max_queued_requests=4)."
    arrived = decode_error(status_pb2.Status(code=code_pb2.RESOURCE_EXHAUSTED, message=words))
    assert (type(arrived), arrived.retry_after) == (QueueFull, RETRY_SECONDS)


def test_rich_details_that_contradict_the_status_are_not_believed() -> None:
    """The code that the transport reports wins over details that speak of another one."""
    rich = encode_error(ImageTooLarge("x")).SerializeToString()
    status = status_of(Code.UNAVAILABLE, "gone", {"grpc-status-details-bin": rich})
    assert (status.code, status.message) == (Code.UNAVAILABLE, "gone")
