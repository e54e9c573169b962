"""What the detector promises beyond the reference: other parameters, any size, limits, checkpoints."""

from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image

from inference_server.detector.choice import choose
from inference_server.detector.engine import Boxes, Cells, Checkpoint, Engine, Floats, no_checkpoint
from inference_server.detector.engine import Image as Picture
from inference_server.detector.factory import SelfTestFailed, self_test
from inference_server.detector.pipeline import Detector
from tests.parity.engines import ENGINES, detector
from tests.support.pictures import Pixels, group_photo, portrait
from utils.domain import DetectOptions, Face
from utils.errors import TooManyCandidates

OPTIONS: dict[str, Callable[[float], DetectOptions]] = {
    "threshold_proposal": lambda value: DetectOptions(threshold_proposal=value),
    "threshold_refine": lambda value: DetectOptions(threshold_refine=value),
    "threshold_output": lambda value: DetectOptions(threshold_output=value),
}


class FakeEngine:
    """An engine that sees a face in every crop and in cells so many apart, and notes what it was asked."""

    name = "fake"

    def __init__(self, apart: int = 1) -> None:
        self._apart = apart
        self.crops: list[int] = []
        self.levels: list[float] = []

    def prepare(self, image: Picture, checkpoint: Checkpoint = no_checkpoint) -> "FakeEngine":  # noqa: ARG002
        self._height, self._width = image.shape[:2]
        return self

    def propose(self, scale: float, threshold: float) -> tuple[Cells, Floats, Floats]:
        self.levels.append(scale)
        rows, columns = int(self._height * scale) // 2 - 5, int(self._width * scale) // 2 - 5
        every = slice(None, None, self._apart)
        cells = np.argwhere(np.ones((rows, columns))[every, every]) * self._apart
        scores = np.linspace(threshold, 1, len(cells) + 1, dtype=np.float32)[1:]
        return cells, scores, np.zeros((len(cells), 4), np.float32)

    def refine(self, boxes: Boxes) -> tuple[Floats, Floats]:
        self.crops.append(len(boxes))
        return np.ones(len(boxes), np.float32), np.zeros((len(boxes), 4), np.float32)

    def output(self, boxes: Boxes) -> tuple[Floats, Floats, Floats]:
        scores, regressions = self.refine(boxes)
        return scores, regressions, np.zeros((len(boxes), 10), np.float32)


def face_of(width: int) -> Pixels:
    """Draw one face about this wide, in the middle of 480 x 360 of grey."""
    canvas = Image.new("RGB", (480, 360), (128, 128, 128))
    head = Image.fromarray(portrait()).crop((140, 20, 310, 220))  # its face is 88 wide
    size = round(170 * width / 88), round(200 * width / 88)
    canvas.paste(head.resize(size, Image.Resampling.LANCZOS), ((480 - size[0]) // 2, (360 - size[1]) // 2))
    return np.asarray(canvas)


def is_centred(face: Face) -> bool:
    """Whether this is the face in the middle."""
    box = face.box
    return box.up_left.x < 240 < box.lower_right.x and box.up_left.y < 190 < box.lower_right.y


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("min_face_size", [20, 40, 60])
def test_a_face_of_60_px_is_found_from_any_smaller_size_on(engine: str, min_face_size: int) -> None:
    """The minimum face size works: the package finds nothing above its default."""
    faces = detector(engine).detect(face_of(66), DetectOptions(min_face_size=min_face_size))
    assert len(faces) == 1
    assert is_centred(faces[0])


@pytest.mark.parametrize("engine", ENGINES)
def test_a_face_of_60_px_is_not_found_at_a_minimum_of_200(engine: str) -> None:
    """What is smaller than asked for is not looked for."""
    assert detector(engine).detect(face_of(66), DetectOptions(min_face_size=200)) == ()


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(
    "size",
    [(1, 1), (1, 2), (2, 1), (11, 11), (12, 12), (13, 12), (20, 20), (21, 21), (23, 1000), (1000, 23),
     (1, 3000), (3000, 1), (37, 41), (640, 12), (333, 333)],
)  # fmt: skip
@pytest.mark.parametrize("min_face_size", [10, 12, 20, 1999])
def test_any_size_is_searched(engine: str, size: tuple[int, int], min_face_size: int) -> None:
    """Pictures from 1 x 1 on, of any shape, have faces or none."""
    pixels = np.asarray(Image.fromarray(portrait()).resize(size))
    faces = detector(engine).detect(
        pixels, DetectOptions(min_face_size=min_face_size, threshold_proposal=0.4)
    )
    for face in faces:
        assert 0 <= face.box.up_left.x <= face.box.lower_right.x <= size[0] - 1
        assert 0 <= face.box.up_left.y <= face.box.lower_right.y <= size[1] - 1


@pytest.mark.parametrize("engine", ENGINES)
def test_candidates_shrink_as_a_threshold_rises(engine: str) -> None:
    """A stricter stage lets fewer through; each stage's threshold reaches it."""
    photo = group_photo()
    for option, asking in OPTIONS.items():
        counts = []
        for threshold in (0.1, 0.5, 0.9, 0.999, 1.0):
            crops, faces = _candidates(detector(engine), photo, asking(threshold))
            counts.append({"threshold_proposal": crops[24], "threshold_refine": crops[48]}.get(option, faces))
        assert counts == sorted(counts, reverse=True)
        assert counts[0] > counts[-1] == 0


def _candidates(subject: Detector, photo: Pixels, options: DetectOptions) -> tuple[dict[int, int], int]:
    """How many crops each of the two later networks saw, and the faces found."""
    seen = {24: 0, 48: 0}
    prepared = subject._engine.prepare(photo)
    refine, output = prepared.refine, prepared.output

    class Counting:
        propose = staticmethod(prepared.propose)

        @staticmethod
        def refine(boxes: Boxes) -> tuple[Floats, Floats]:
            seen[24] += len(boxes)
            return refine(boxes)

        @staticmethod
        def output(boxes: Boxes) -> tuple[Floats, Floats, Floats]:
            seen[48] += len(boxes)
            return output(boxes)

    class Engine:
        name = "counting"

        @staticmethod
        def prepare(_: Picture, __: Checkpoint = no_checkpoint) -> Counting:
            return Counting()

    faces = Detector(Engine(), 20_000).detect(photo, options)
    return seen, len(faces)


def test_faces_come_in_order_of_confidence_and_are_cut_to_the_best() -> None:
    """max_faces keeps the most confident."""
    everyone = detector().detect(group_photo())
    assert len(everyone) == 5
    assert [face.confidence for face in everyone] == sorted((f.confidence for f in everyone), reverse=True)
    assert detector().detect(group_photo(), DetectOptions(max_faces=2)) == everyone[:2]


@pytest.mark.parametrize("size", [(1, 1), (1, 50), (50, 1), (64, 48)])
def test_the_picture_is_not_changed(size: tuple[int, int]) -> None:
    """The caller's array is only read, whatever its shape."""
    pixels = np.random.default_rng(5).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    before = pixels.copy()
    detector().detect(pixels, DetectOptions(min_face_size=12))
    assert np.array_equal(pixels, before)


def test_coordinates_survive_float32() -> None:
    """The wire has float32; rounding must give the same integers after it."""
    for face in detector().detect(group_photo()):
        for value in (face.box.up_left.x, face.box.lower_right.y, face.landmarks.nose.x, face.confidence):
            assert isinstance(value, float)
            assert float(np.float32(value)) == value


def test_boxes_are_cut_to_the_picture_and_landmarks_are_not() -> None:
    """A face that the picture's edge cuts has a box inside, and may have an eye outside."""
    pixels = np.ascontiguousarray(portrait()[90:, 215:])
    faces = detector().detect(pixels, DetectOptions(threshold_output=0.5, threshold_refine=0.5))
    assert faces
    for face in faces:
        assert face.box.up_left.x >= 0
        assert face.box.up_left.y >= 0
    assert min(face.landmarks.left_eye.x for face in faces) < 0


def test_the_checkpoint_is_called_between_levels_and_chunks() -> None:
    """No stretch of work between two calls is longer than a level or 256 crops."""
    engine = FakeEngine(apart=6)
    stamps: list[None] = []
    image = np.zeros((500, 500, 3), np.uint8)
    faces = Detector(engine, 20_000).detect(image, checkpoint=lambda: stamps.append(None))
    assert faces
    assert max(engine.crops) == 256
    assert len(stamps) >= len(engine.levels) + len(engine.crops)


@pytest.mark.parametrize("calls", [1, 3, 12])
def test_what_the_checkpoint_raises_ends_the_detection(calls: int) -> None:
    """A request that is cancelled or out of time is given up at the next checkpoint."""

    class GivenUp(Exception):
        pass

    stamps: list[None] = []

    def checkpoint() -> None:
        stamps.append(None)
        if len(stamps) == calls:
            raise GivenUp

    with pytest.raises(GivenUp):
        detector().detect(group_photo(), checkpoint=checkpoint)
    assert len(stamps) == calls


@pytest.mark.parametrize("limit", [100, 3000])
def test_too_many_candidates_are_refused_and_never_cut(limit: int) -> None:
    """The error names the stage, the count, the limit and the threshold to raise."""
    image = np.zeros((220, 220, 3), np.uint8)
    with pytest.raises(TooManyCandidates) as caught:
        Detector(FakeEngine(), limit).detect(image)
    detail = caught.value.detail
    assert "proposal stage" in detail
    assert "3721" in detail
    assert str(limit) in detail
    assert "options.threshold_proposal" in detail
    assert caught.value.field == "options.threshold_proposal"


def test_levels_are_not_computed_after_too_many_candidates() -> None:
    """A hostile picture is given up at the first level that has too many."""
    engine = FakeEngine()
    with pytest.raises(TooManyCandidates):
        Detector(engine, 100).detect(np.zeros((220, 220, 3), np.uint8))
    assert len(engine.levels) == 1


def test_the_limit_holds_for_all_levels_together() -> None:
    """No level alone has too many, but what they leave enters one more round."""
    engine = FakeEngine(apart=6)
    image = np.zeros((500, 500, 3), np.uint8)
    first_level = len(FakeEngine(apart=6).prepare(image).propose(12 / 20, 0.6)[0])
    with pytest.raises(TooManyCandidates):
        Detector(engine, first_level).detect(image)
    assert len(engine.levels) == 2


def test_a_face_within_a_face_is_suppressed_at_the_end_only() -> None:
    """The last round alone measures overlap by the smaller box."""

    class Nested(FakeEngine):
        """Proposes one cell in each of two levels, the later one around the earlier one."""

        def propose(self, scale: float, threshold: float) -> tuple[Cells, Floats, Floats]:
            self.levels.append(scale)
            place = {1: 20, 3: 8}.get(len(self.levels))
            cells = np.array([[place, place]] if place else [], dtype=np.intp).reshape(-1, 2)
            scores = np.full(len(cells), threshold + 0.1, np.float32)
            return cells, scores, np.zeros((len(cells), 4), np.float32)

    engine = Nested()
    faces = Detector(engine, 20_000).detect(np.zeros((300, 300, 3), np.uint8))
    assert engine.crops == [2, 2]
    assert len(faces) == 1


def test_at_the_limit_is_within_it() -> None:
    """Exactly as many candidates as the limit are compared."""
    needed = _largest_round(group_photo())
    assert len(Detector(_engine(), needed).detect(group_photo())) == 5
    with pytest.raises(TooManyCandidates):
        Detector(_engine(), needed - 1).detect(group_photo())


def _engine() -> Engine:
    return detector()._engine


def _largest_round(photo: Pixels) -> int:
    low, high = 1, 20_000
    while low < high:
        middle = (low + high) // 2
        try:
            Detector(_engine(), middle).detect(photo)
            high = middle
        except TooManyCandidates:
            low = middle + 1
    return low


@pytest.mark.parametrize("engine", [*ENGINES, "auto"])
def test_a_sound_detector_passes_its_self_test(engine: str) -> None:
    """The built-in picture's face is found where it is."""
    self_test(detector(engine))


def test_a_detector_that_finds_nothing_or_elsewhere_fails_its_self_test() -> None:
    """What a broken engine finds is not trusted."""

    class Blind(FakeEngine):
        def propose(self, scale: float, threshold: float) -> tuple[Cells, Floats, Floats]:
            cells, scores, regressions = super().propose(scale, threshold)
            return cells[:0], scores[:0], regressions[:0]

    for engine in (Blind(), FakeEngine()):
        with pytest.raises(SelfTestFailed, match="the fake engine"):
            self_test(Detector(engine, 20_000))


def test_an_unknown_engine_is_named_with_the_known_ones() -> None:
    """A wrong setting can be put right from its message."""
    with pytest.raises(ValueError, match=r"'cuda'.*auto, native, onnx"):
        choose("cuda")


def test_a_reply_says_what_found_the_faces() -> None:
    """Model, version and engine."""
    model = detector().model
    assert (model.name, model.version, model.engine) == ("mtcnn", "1.0.0", "onnx")
