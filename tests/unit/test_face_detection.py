"""Rules of face detection as a model: what a request costs, and what is told of it through the queue."""

import os
import time
from dataclasses import replace
from typing import Any

import pytest

from inference_server.detector.choice import Choice
from inference_server.detector.scales import pyramid_area
from inference_server.dispatch.work import Work
from inference_server.models.encoding import pack_context, unpack_answer
from inference_server.models.face_detection import FaceDetection, cost_of
from protos import infer_pb2 as pb
from tests.support.hooked_worker import face
from tests.support.pictures import ASTRONAUT
from utils import codec
from utils.domain import DetectOptions, ModelInfo
from utils.errors import (
    AnswerTooLarge,
    BrokenImage,
    DeadlineExceeded,
    FacetError,
    InternalError,
    OptionOutOfRange,
    PyramidTooLarge,
)
from utils.settings import Settings

IMAGE = ASTRONAUT.read_bytes()


class FakeDetector:
    """Finds one face; keeps the options that it was given."""

    model = ModelInfo("fake", "0", "none")

    def __init__(self, error: Exception | None = None) -> None:
        self.options: DetectOptions | None = None
        self._error = error

    def detect(self, _image: Any, options: DetectOptions, _checkpoint: Any) -> Any:  # noqa: ANN401
        """Find it, or fail."""
        self.options = options
        if self._error:
            raise self._error
        return (face(os.getpid()),)


def model(detector: FakeDetector | None = None, **limits: int) -> FaceDetection:
    """Face detection by a fake."""
    settings = replace(Settings.from_environ({}), **limits)  # type: ignore[arg-type]
    return FaceDetection(detector or FakeDetector(), Choice("none", "", "a fake"), settings)


def work(parameters: bytes, image: bytes = IMAGE) -> Work:
    """Work as the worker that has received it makes it."""
    now = time.monotonic()
    return Work("face_detection", "detect", pack_context("id-1", "", parameters), image, 1.0, now, now + 60)


def test_a_tiny_picture_is_not_free() -> None:
    """Decoding a thumbnail costs something, so a queue of them is bounded too."""
    assert cost_of(1, 0) > 0.01


def test_looking_for_smaller_faces_costs_more() -> None:
    """By the area that is searched; decoding costs the same, and so it never costs nothing."""
    costs = [cost_of(10**6, pyramid_area(1000, 1000, size)) for size in (10, 20, 40, 2000)]
    small, default, large, none = costs
    assert small / default > 3
    assert default / large > 2
    assert 0.15 < none < large


def test_options_reach_the_detector_as_they_were_written() -> None:
    """Through the queue, without the digits that float32 adds."""
    detector = FakeDetector()
    detection = model(detector)
    sent = DetectOptions(min_face_size=24.3, threshold_proposal=0.65, max_faces=7)
    message = pb.Image(options=pb.DetectOptions(min_face_size=24.3, threshold_proposal=0.65, max_faces=7))
    examined = detection.examine(message, IMAGE)
    assert examined.log_fields == {"format": "PNG", "width": 512, "height": 512}
    assert detection.handle(work(examined.parameters), lambda: None).complete
    assert detector.options == sent


def test_unknown_fields_of_options_do_not_wait_with_the_request() -> None:
    """They would take memory that nobody counts."""
    options = pb.DetectOptions.FromString(b"\x7a\x80\x08" + bytes(1024))
    message = pb.Image(options=options, wanted=pb.Wanted.FromString(b"\x7a\x80\x08" + bytes(1024)))
    assert len(model().examine(message, IMAGE).parameters) < 10


@pytest.mark.parametrize(
    ("options", "image", "expected"),
    [
        (pb.DetectOptions(threshold_refine=1.5), IMAGE, OptionOutOfRange),
        (pb.DetectOptions(), b"\x89PNG\r\n\x1a\n", BrokenImage),
        (pb.DetectOptions(min_face_size=10), IMAGE, PyramidTooLarge),
    ],
)
def test_what_the_detector_would_refuse_is_refused_before_it_waits(
    options: pb.DetectOptions, image: bytes, expected: type[FacetError]
) -> None:
    """By options and header alone."""
    with pytest.raises(expected):
        model(max_image_pixels=300_000).examine(pb.Image(options=options), image)


def test_an_answer_says_what_its_log_line_needs_beside_the_message() -> None:
    """Faces and times, which the worker that passes it on does not look for in the message."""
    message, log_fields = unpack_answer(model().handle(work(b""), lambda: None).answer)
    detection = codec.decode_detection(pb.InferResults.FromString(message))
    assert len(detection.faces) == log_fields.pop("faces") == 1
    times = {name: pytest.approx(getattr(detection.timings, name), abs=1e-2) for name in log_fields}
    assert log_fields == times
    assert set(times) == {"queue_ms", "decode_ms", "detect_ms"}


EVERYTHING = pb.Wanted(quality=True, crops=pb.Crops(), annotated=pb.Annotated())


def with_wanted(detection: FaceDetection, wanted: pb.Wanted) -> Work:
    """The work of a request for which this is wanted beside the faces."""
    return work(detection.examine(pb.Image(wanted=wanted), IMAGE).parameters)


def test_what_is_wanted_beside_the_faces_counts_in_cost_answer_and_log_line() -> None:
    """As it was asked for, with a time of its own, which is part of the whole."""
    detection = model()
    examined = [detection.examine(pb.Image(wanted=wanted), IMAGE) for wanted in (pb.Wanted(), EVERYTHING)]
    assert examined[0].cost == detection.examine(pb.Image(), IMAGE).cost < examined[1].cost
    message, log_fields = unpack_answer(
        detection.handle(with_wanted(detection, EVERYTHING), lambda: None).answer
    )
    found = codec.decode_detection(pb.InferResults.FromString(message))
    assert found.annotated is not None
    assert found.crops_omitted == 0
    assert found.faces[0].quality is not None
    assert found.faces[0].crop is not None
    times = found.timings
    assert log_fields["extras_ms"] == pytest.approx(times.extras_ms, abs=1e-2)
    assert times.extras_ms < times.total_ms


def test_what_is_wanted_is_computed_within_the_requests_time() -> None:
    """When that is over, the faces alone are no answer."""

    def out_of_time() -> None:
        if detector.options is not None:  # it has found its face
            raise DeadlineExceeded("out of time")

    detector = FakeDetector()
    detection = model(detector)
    outcome = detection.handle(with_wanted(detection, EVERYTHING), out_of_time)
    assert not outcome.complete
    with pytest.raises(DeadlineExceeded):
        unpack_answer(outcome.answer)


def test_an_answer_larger_than_its_caller_can_receive_is_an_error() -> None:
    """Which names the limit; the same picture is answered without what makes it so large."""
    detection = model(max_image_bytes=30_000, max_request_bytes=20_000)
    assert detection.handle(work(b""), lambda: None).complete
    parameters = pb.Image(wanted=EVERYTHING).SerializeToString()
    outcome = detection.handle(work(parameters), lambda: None)
    with pytest.raises(AnswerTooLarge, match="the limit is 30000, the larger one of FACET_MAX_REQ") as caught:
        unpack_answer(outcome.answer)
    assert caught.value.field == "wanted"


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        (work(b"", b"GIF89a"), BrokenImage, None),
        (work(b""), InternalError, "detection failed"),
        (replace(work(b""), context=b'{"options": {}}'), InternalError, "detection failed"),
        (work(b"\xff"), InternalError, "detection failed"),
    ],
)
def test_whatever_fails_is_an_answer(
    given: Work, error: type[FacetError], message: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    """With its class; a fault of ours is logged, and says nothing of itself."""
    detection = model(FakeDetector(ZeroDivisionError()))
    outcome = detection.handle(given, lambda: None)
    assert not outcome.complete
    with pytest.raises(error) as caught:
        unpack_answer(outcome.answer)
    assert "Zero" not in caught.value.detail
    assert caplog.messages == ([message] if message else [])
