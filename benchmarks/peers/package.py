"""The package that Facet equals."""

from collections.abc import Sequence
from importlib.metadata import version
from typing import Any

from benchmarks.contest import Contender, Found, module, one_thread_of_tensorflow
from tests.support.pictures import Pixels


class Package(Contender):
    """The untouched package `mtcnn`, at its defaults but for the form of its answer: numbers, not rounded."""

    def __init__(self) -> None:
        one_thread_of_tensorflow()
        self._detector = module("mtcnn").MTCNN()
        self.version = f"{version('mtcnn')} on TensorFlow {module('tensorflow').__version__}"

    def detect(self, picture: Pixels) -> Any:  # noqa: ANN401
        """Detect."""
        return self._detector.detect_faces(picture, output_type="numpy", box_format="xyxy")

    def faces(self, result: Any) -> list[Found]:  # noqa: ANN401
        """Rows of a picture's number, x1, y1, x2, y2, score, five x, five y."""
        return [found(row) for row in result.tolist()]


def found(row: Sequence[float]) -> Found:
    """A face from a row of the package's numbers."""
    x1, y1, x2, y2, score = row[1:6]
    return Found((x1, y1, x2, y2), score, list(zip(row[6:11], row[11:16], strict=True)))
