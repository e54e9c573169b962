"""Box arithmetic of the reference, with its quirks: `mtcnn/utils/{bboxes,landmarks}.py` of mtcnn 1.0.0.

Boxes are (N, 4) float64, x1, y1, x2, y2 in pixels of the picture; N may be 0. Nothing here is rounded,
checked or changed in place.
"""

import numpy as np

from inference_server.detector.engine import Boxes, Cells, Floats
from inference_server.detector.scales import CELL

_STRIDE = 2

# Where a cell begins and ends, beside its column, row, column and row.
_X_Y_X_Y = np.array([1, 0, 1, 0])
_CORNERS = np.array([1.0, 1.0, CELL, CELL])

_TWICE = np.array([0, 1, 0, 1])


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
    boxes: Boxes = np.multiply(cells.take(_X_Y_X_Y, axis=1), _STRIDE, dtype=np.float64)
    boxes += _CORNERS
    boxes += np.multiply(regressions, CELL - 1, dtype=np.float64)
    boxes /= scale
    return boxes


def regressed(boxes: Boxes, regressions: Floats) -> Boxes:
    """Boxes moved by the regressions, which are shares of a size counted in whole pixels: x2 - x1 + 1.

    The package multiplies and adds in float32, so this does.

    Args:
        boxes: (N, 4) float64, in pixels.
        regressions: (N, 4) float32, of x1, y1, x2, y2, in shares of the width and height.

    Returns:
        (N, 4) float64, of values that float32 holds.
    """
    moves = (boxes[:, 2:] - boxes[:, :2] + 1).astype(np.float32).take(_TWICE, axis=1)
    moves *= regressions
    moves += boxes.astype(np.float32)
    return moves.astype(np.float64)


def squared(boxes: Boxes) -> Boxes:
    """Squares about the centres of boxes, as large as their longer sides: (N, 4) float64, in pixels."""
    left, top, right, bottom = boxes.T
    width, height = right - left, bottom - top
    side = np.maximum(width, height)
    squares = np.empty_like(boxes)
    squares[:, 0] = left + width * 0.5 - side * 0.5
    squares[:, 1] = top + height * 0.5 - side * 0.5
    squares[:, 2:] = squares[:, :2] + side[:, None]
    return squares


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
    up_left = boxes[:, :2, None]
    sizes = boxes[:, 2:, None] - up_left + 1
    points = sizes * landmarks.reshape(-1, 2, 5) + up_left - 1
    return points.astype(np.float32).reshape(-1, 10)
