"""Rules of the translation between messages and domain types."""

import pytest
from google.rpc import code_pb2, status_pb2
from hypothesis import given
from hypothesis import strategies as st

from protos import infer_pb2 as pb
from utils import codec
from utils.domain import (
    Box,
    Detection,
    DetectOptions,
    DetectRequest,
    Face,
    ImageInfo,
    Landmarks,
    ModelInfo,
    Point,
    Timings,
)
from utils.errors import (
    BackendUnavailable,
    Code,
    DeadlineExceeded,
    FacetError,
    ImageTooLarge,
    InternalError,
    MalformedRequest,
    MessageTooLarge,
    OptionOutOfRange,
    QueueFull,
    error_classes,
)

float32 = st.floats(width=32, allow_nan=False, allow_infinity=False)
points = st.builds(Point, float32, float32)
faces = st.builds(
    Face,
    box=st.builds(Box, points, points),
    landmarks=st.builds(Landmarks, points, points, points, points, points),
    confidence=st.floats(0, 1),
)
texts = st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=20)
sizes = st.integers(0, 2**32 - 1)
detections = st.builds(
    Detection,
    faces=st.lists(faces, max_size=3).map(tuple),
    image=st.builds(ImageInfo, sizes, sizes, st.integers(1, 8)),
    model=st.builds(ModelInfo, texts, texts, texts),
    timings=st.builds(Timings, float32, float32, float32, float32),
    image_id=texts,
    metadata=st.dictionaries(texts, texts, max_size=3),
)
options = st.builds(
    DetectOptions,
    min_face_size=st.floats(10, 2000, width=32).map(codec.shortest),
    threshold_proposal=st.floats(0.125, 1, width=32).map(codec.shortest),
    threshold_refine=st.floats(0, 1, width=32).map(codec.shortest),
    threshold_output=st.floats(0, 1, width=32).map(codec.shortest),
    max_faces=st.none() | st.integers(1, 1000),
)
requests = st.builds(
    DetectRequest,
    image=st.binary(max_size=20),
    options=options,
    image_id=texts,
    metadata=st.dictionaries(texts, texts, max_size=3),
)


@given(detections)
def test_a_detection_survives_the_wire(detection: Detection) -> None:
    """Every message of an answer, both ways, through its bytes."""
    raw = codec.encode_detection(detection).SerializeToString()
    assert codec.decode_detection(pb.InferResults.FromString(raw)) == detection


@given(requests)
def test_a_request_survives_the_wire(request: DetectRequest) -> None:
    """Every message of a request, both ways, through its bytes."""
    message = pb.Image.FromString(codec.encode_request(request).SerializeToString())
    assert codec.decode_request(message, message.raw_data) == request


def test_a_default_option_is_not_sent() -> None:
    """So that the server's default is what a silent caller gets."""
    assert not codec.encode_request(DetectRequest(b"x")).HasField("options")


@pytest.mark.parametrize("value", [0.6, 0.1, 0.7, 24.3, 16777216.0, 1e-38, 3.4028234663852886e38])
def test_a_float_of_a_caller_is_read_as_it_was_written(value: float) -> None:
    """0.6 becomes 0.60000002384 as float32, and 0.6 again."""
    sent = pb.DetectOptions(min_face_size=value).min_face_size
    assert pb.DetectOptions(min_face_size=codec.shortest(sent)).min_face_size == sent
    if len(repr(value)) < 8:
        assert codec.shortest(sent) == value


def test_an_option_out_of_range_is_refused_on_the_wire_too() -> None:
    """Also a zero that was set, which proto3 tells from one that was not."""
    message = pb.Image(options=pb.DetectOptions(max_faces=0))
    with pytest.raises(OptionOutOfRange) as caught:
        codec.decode_request(message, b"")
    assert caught.value.field == "options.max_faces"


@pytest.mark.parametrize("kind", error_classes(), ids=lambda kind: kind.reason)
@pytest.mark.parametrize("extra", [{}, {"field": "options.x"}, {"retry_after": 1.25}])
def test_an_error_survives_the_wire(kind: type[FacetError], extra: dict[str, object]) -> None:
    """Class, detail, field and delay arrive as they were raised."""
    error = kind("what came and what is accepted", **extra)  # type: ignore[arg-type]
    raw = codec.encode_error(error).SerializeToString()
    arrived = codec.decode_error(status_pb2.Status.FromString(raw))
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
    arrived = codec.decode_error(status_pb2.Status(code=code, message="at /srv/x.py:3"))
    assert type(arrived) is kind
    assert kind is MalformedRequest or "/srv" not in arrived.detail


def test_the_words_of_a_status_that_is_not_ours_are_kept_as_its_cause() -> None:
    """For the log, with the name of its code, and no more than a line takes; they travel no further."""
    arrived = codec.decode_error(
        status_pb2.Status(code=code_pb2.UNIMPLEMENTED, message="no such " + "x" * 500)
    )
    assert arrived.cause == "UNIMPLEMENTED: no such " + "x" * 177
    assert len(arrived.cause) == 200
    assert b"no such" not in codec.encode_error(arrived).SerializeToString()
    ours = codec.decode_error(codec.encode_error(QueueFull("full")))
    assert ours.cause == ""


def test_a_full_queue_is_told_from_a_message_too_large() -> None:
    """Both are RESOURCE_EXHAUSTED; only one is worth another try."""
    queue_full = codec.decode_error(codec.encode_error(QueueFull("full", retry_after=2)))
    assert (type(queue_full), queue_full.retry_after) == (QueueFull, 2)


def test_rich_details_that_contradict_the_status_are_not_believed() -> None:
    """The code that the transport reports wins over details that speak of another one."""
    rich = codec.encode_error(ImageTooLarge("x")).SerializeToString()
    status = codec.status_of(Code.UNAVAILABLE, "gone", {"grpc-status-details-bin": rich})
    assert (status.code, status.message) == (Code.UNAVAILABLE, "gone")
