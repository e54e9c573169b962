"""What a contender is: something that takes time on a picture. benchmarks.contenders has all there are."""

import importlib
from typing import Any, NamedTuple, Protocol

from tests.support.pictures import Pixels


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
        """What it is given, made beforehand: its own form of a picture; here the pixels as they are."""
        return pixels

    def detect(self, picture: Any) -> Any:  # noqa: ANN401
        """What is timed."""

    def faces(self, result: Any) -> list[Found]:  # noqa: ANN401
        """The faces in what was given back."""


def module(name: str) -> Any:  # noqa: ANN401 - it has no types
    """Import what may be missing.

    Raises:
        Unavailable: It is.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise Unavailable(f"{error}; make bench installs it") from error


def one_thread_of_tensorflow() -> None:
    """Limit TensorFlow before its first operation."""
    tf = module("tensorflow")
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
