"""The seam behind which the networks are computed.

The pipeline decides where to look; an engine says what its three networks see there. How the pyramid's
levels and the crops are made is the engine's own business, `pyramid` and `crops` being one way; their
arithmetic is not: every engine gives the numbers of the reference, to float32 rounding.
"""

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


class Prepared(Protocol):
    """One picture, ready for its networks. It is used by one thread, and for one detection."""

    def propose(self, scale: float, threshold: float) -> tuple[Cells, Floats, Floats]:
        """Look at the whole picture, reduced by `scale`, with the proposal network.

        The shorter side must have at least 12 pixels at this scale.

        Returns:
            The N cells whose score exceeds the threshold, their scores, and their regressions.
        """

    def refine(self, boxes: Boxes) -> tuple[Floats, Floats]:
        """Look into these boxes with the refinement network; scores and regressions."""

    def output(self, boxes: Boxes) -> tuple[Floats, Floats, Floats]:
        """Look into these boxes with the output network; scores, regressions and landmarks."""


class Engine(Protocol):
    """What computes the networks. Everything that outlives a picture is in here."""

    @property
    def name(self) -> str:
        """What a reply calls it."""

    def prepare(self, image: Image) -> Prepared:
        """Take in a picture, which must not change while the result is used."""
