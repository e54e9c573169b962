"""Box arithmetic of the reference, with its quirks: `mtcnn/utils/{bboxes,landmarks}.py` of mtcnn 1.0.0.

Boxes are (N, 4) float64, x1, y1, x2, y2 in pixels of the picture; N may be 0. Nothing here is rounded,
checked or changed in place.
"""

import numpy as np

from inference_server.detector.engine import Boxes, Cells, Floats
from inference_server.detector.scales import CELL

_STRIDE = 2


def boxes_of_cells(cells: Cells, regressions: Floats, scale: float) -> Boxes:
    """Where the proposals are: the picture's boxes of a level's cells.

    A cell starts one pixel late: it covers 2c + 1 to 2c + 12, so 11 is the size that its regression is a
    share of. The regression applies at once, before any suppression.

    Args:
        cells: (N, 2) intp, row and column in the proposal network's output.
        regressions: (N, 4) float32, of x1, y1, x2, y2, in shares of those 11.
        scale: By which the picture was reduced to the level, above 0.

    Returns:
        (N, 4) float64; they may reach beyond the picture.
    """
    up_left = _STRIDE * cells[:, ::-1] + 1
    lower_right = up_left + CELL - 1
    return (np.hstack([up_left, lower_right]) + regressions.astype(np.float64) * (CELL - 1)) / scale


def regressed(boxes: Boxes, regressions: Floats) -> Boxes:
    """Boxes moved by the regressions, which are shares of a size counted in whole pixels: x2 - x1 + 1.

    The package multiplies and adds in float32, so this does.

    Args:
        boxes: (N, 4) float64, in pixels.
        regressions: (N, 4) float32, of x1, y1, x2, y2, in shares of the width and height.

    Returns:
        (N, 4) float64, of values that float32 holds.
    """
    sizes = (boxes[:, 2:] - boxes[:, :2] + 1).astype(np.float32)
    return (boxes.astype(np.float32) + regressions * np.tile(sizes, 2)).astype(np.float64)


def squared(boxes: Boxes) -> Boxes:
    """Squares about the centres of boxes, as large as their longer sides: (N, 4) float64, in pixels."""
    sizes = boxes[:, 2:] - boxes[:, :2]
    side = sizes.max(axis=1, keepdims=True)
    up_left = boxes[:, :2] + sizes * 0.5 - side * 0.5
    return np.hstack([up_left, up_left + side])


def clipped(boxes: Boxes, width: int, height: int) -> Boxes:
    """Boxes cut to the picture, whose size is in pixels: [0, width - 1] x [0, height - 1]; (N, 4) float64."""
    return np.clip(boxes, 0, [width - 1, height - 1, width - 1, height - 1])


def placed(landmarks: Floats, boxes: Boxes) -> Floats:
    """Landmarks in pixels of the picture, from shares of the squares that the network looked into.

    They refer to the square before its regression, and lie one pixel up and left of where they should.

    Args:
        landmarks: (N, 10) float32, five x, then five y, in shares of the square's size.
        boxes: (N, 4) float64, those squares, in pixels.

    Returns:
        (N, 10) float32, five x, then five y, in pixels; they may lie outside of the picture.
    """
    sizes = boxes[:, 2:] - boxes[:, :2] + 1
    axes = [0] * 5 + [1] * 5
    return (sizes[:, axes] * landmarks + boxes[:, axes] - 1).astype(np.float32)
