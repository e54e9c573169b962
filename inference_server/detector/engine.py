"""The seam behind which the networks are computed.

The pipeline decides where to look; an engine says what its three networks see there. How the pyramid's
levels and the crops are made is the engine's own business, `pyramid` and `crops` being one way; their
arithmetic is not: every engine gives the numbers of the reference, to float32 rounding.
"""

from collections.abc import Callable
from typing import Protocol

import numpy as np
import numpy.typing as npt

Image = npt.NDArray[np.uint8]
"""An upright picture: (height, width, 3), RGB, C-contiguous."""

Boxes = npt.NDArray[np.float64]
"""(N, 4): x1, y1, x2, y2 in pixels of the picture; they may reach beyond it."""

Cells = npt.NDArray[np.intp]
"""(N, 2): row and column in the proposal network's output, in the order of rows, then columns."""

Floats = npt.NDArray[np.float32]
"""Scores (N,), 0 to 1; regressions (N, 4) in shares of a box's size; landmarks (N, 10), also in
shares of it: five x, then five y, of left eye, right eye, nose, left and right corner of the mouth."""


Checkpoint = Callable[[], None]
"""Called between two steps of a detection. What it raises ends the detection and goes to the caller.

The same as dispatch.consumer.Checkpoint, which the detector must not import."""


def no_checkpoint() -> None:
    """Do nothing between two steps."""


class Prepared(Protocol):
    """One picture, ready for its networks. It is used by one thread, and for one detection.

    All numbers that it gives are float32, but the cells. Scores are rounded as the reference rounds them.
    """

    def propose(self, scale: float, threshold: float) -> tuple[Cells, Floats, Floats]:
        """Look at the whole picture, reduced by `scale`, with the proposal network.

        Args:
            scale: By which it is reduced, above 0; the shorter side must then have at least 12 pixels.
            threshold: 0.1 to 1, compared in float32.

        Returns:
            The N cells whose score exceeds the threshold, (N, 2) intp, by rows; their scores, (N,); and
            their regressions, (N, 4), in shares of 11 pixels of the level.
        """

    def refine(self, boxes: Boxes) -> tuple[Floats, Floats]:
        """Look into these boxes with the refinement network.

        Args:
            boxes: (N, 4) float64, squares in pixels of the picture, beyond which they may reach.

        Returns:
            Scores, (N,), and regressions, (N, 4), of all of them, in their order.
        """

    def output(self, boxes: Boxes) -> tuple[Floats, Floats, Floats]:
        """Look into these boxes with the output network.

        Args:
            boxes: As for `refine`.

        Returns:
            Scores, (N,), regressions, (N, 4), and landmarks, (N, 10), of all of them, in their order.
        """


class Engine(Protocol):
    """What computes the networks. Everything that outlives a picture is in here."""

    @property
    def name(self) -> str:
        """What a reply calls it: native, onnx or tensorflow."""

    def prepare(self, image: Image, checkpoint: Checkpoint = no_checkpoint) -> Prepared:
        """Take in a picture.

        Args:
            image: (height, width, 3) uint8, RGB, upright, C-contiguous, from 1 x 1 on. It must not change
                while the result is used.
            checkpoint: Called while a level is looked at, where an engine takes long for one.

        Raises:
            TypeError, ValueError: It is no such array, where the engine looks at that.
        """
