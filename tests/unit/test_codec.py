"""Rules of the translation between messages and domain types."""

from collections.abc import Callable

import pytest
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
from utils.errors import OptionOutOfRange
from utils.options import shortest

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
    min_face_size=st.floats(10, 2000, width=32).map(shortest),
    threshold_proposal=st.floats(0.125, 1, width=32).map(shortest),
    threshold_refine=st.floats(0, 1, width=32).map(shortest),
    threshold_output=st.floats(0, 1, width=32).map(shortest),
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
    options = codec.decode_options(message.options)
    metadata = dict(message._meta_data.values)
    assert DetectRequest(message.raw_data, options, message.image_id, metadata) == request


def test_a_default_option_is_not_sent() -> None:
    """So that the server's default is what a silent caller gets."""
    assert not codec.encode_request(DetectRequest(b"x")).HasField("options")


@pytest.mark.parametrize("value", [0.6, 0.1, 0.7, 24.3, 16777216.0, 1e-38, 3.4028234663852886e38])
def test_a_float_of_a_caller_is_read_as_it_was_written(value: float) -> None:
    """0.6 becomes 0.60000002384 as float32, and 0.6 again."""
    sent = pb.DetectOptions(min_face_size=value).min_face_size
    assert pb.DetectOptions(min_face_size=shortest(sent)).min_face_size == sent
    if len(repr(value)) < 8:
        assert shortest(sent) == value


@pytest.mark.parametrize("check", [codec.check_options, codec.decode_options])
@pytest.mark.parametrize(
    ("message", "field", "quoted"),
    [
        (pb.DetectOptions(max_faces=0), "max_faces", "is 0;"),
        (pb.DetectOptions(threshold_proposal=0.06), "threshold_proposal", "is 0.06;"),
        (pb.DetectOptions(min_face_size=float("nan")), "min_face_size", "is nan;"),
    ],
)
def test_an_option_out_of_range_is_refused_as_it_was_written(
    check: Callable[[pb.DetectOptions], object], message: pb.DetectOptions, field: str, quoted: str
) -> None:
    """Also a zero that was set, which proto3 tells from one that was not."""
    with pytest.raises(OptionOutOfRange, match=quoted) as caught:
        check(message)
    assert caught.value.field == f"options.{field}"


def test_the_limits_of_options_are_accepted() -> None:
    """0.1 as float32 is not 0.1."""
    for name, low, high in (("threshold_proposal", 0.1, 1.0), ("min_face_size", 10.0, 2000.0)):
        for value in (low, high):
            message = pb.DetectOptions()
            setattr(message, name, value)
            codec.check_options(message)
            assert getattr(codec.decode_options(message), name) == value
