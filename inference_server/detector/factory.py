"""Puts a detector together, and tells whether it works."""

from pathlib import Path

import numpy as np
from PIL import Image

from inference_server.detector import nms
from inference_server.detector.choice import Choice
from inference_server.detector.engine import Engine
from inference_server.detector.nms import Suppress
from inference_server.detector.pipeline import Detector
from utils.domain import Face

# The built-in picture, drawn by scripts/draw_pictures.py, and where the eyes of its face are.
_PORTRAIT = Path(__file__).with_name("portrait.jpg")
_EYES = ((64.0, 80.0), (106.0, 82.0))
_TOLERANCE = 5.0


class SelfTestFailed(Exception):
    """The detector does not find the face in the built-in picture: its results cannot be trusted."""


def create_detector(choice: Choice, cache_dir: Path, max_candidates: int) -> Detector:
    """Build a detector for one thread.

    Args:
        choice: The engine, by `choice.choose`.
        cache_dir: The cache folder, in which `convert` has put the models.
        max_candidates: Most boxes that may enter one round of non-maximum suppression.

    Raises:
        WeightsError: The models are missing or damaged.
    """
    return Detector(_load(choice, cache_dir), max_candidates, _suppression(choice.engine))


def _load(choice: Choice, cache_dir: Path) -> Engine:
    """Load the chosen engine alone: each brings libraries that the others do not need."""
    if choice.engine == "native":
        from inference_server.detector.engine_native import NativeEngine  # noqa: PLC0415

        return NativeEngine(cache_dir, choice.instruction_set)
    if choice.engine == "tensorflow":
        from inference_server.detector.engine_tensorflow import TensorflowEngine  # noqa: PLC0415

        return TensorflowEngine(cache_dir)
    from inference_server.detector.engine_onnx import OnnxEngine  # noqa: PLC0415

    return OnnxEngine(cache_dir)


def _suppression(engine: str) -> Suppress:
    """By our own kernel where there is one: in NumPy it takes a good part of a busy picture's time."""
    if engine == "native":
        from inference_server.detector import nms_native  # noqa: PLC0415

        return nms_native.suppress
    return nms.suppress


def self_test(detector: Detector) -> None:
    """Detect in the built-in picture, which also warms the detector up.

    Raises:
        SelfTestFailed: Not exactly its one face was found, or not where it is.
    """
    with Image.open(_PORTRAIT) as picture:
        image = np.array(picture.convert("RGB"))
    faces = detector.detect(image)
    if len(faces) != 1 or not _eyes_are_found(faces[0]):
        raise SelfTestFailed(f"the {detector.model.engine} engine found {faces} in {_PORTRAIT.name}")


def _eyes_are_found(face: Face) -> bool:
    found = (face.landmarks.left_eye, face.landmarks.right_eye)
    return all(
        abs(point.x - x) <= _TOLERANCE and abs(point.y - y) <= _TOLERANCE
        for point, (x, y) in zip(found, _EYES, strict=True)
    )
