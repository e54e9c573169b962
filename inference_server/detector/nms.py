"""Non-maximum suppression as the reference does it: `mtcnn/utils/bboxes.py` of mtcnn 1.0.0.

It is not the usual, greedy one. A box goes if any box with a higher score overlaps it by more than the
threshold, even one that went itself: of a chain A > B > C in which neighbours overlap, A alone stays.
So whether a box stays depends on pairs alone. The package makes N x N matrices of them; here only pairs
that may overlap enough are looked at, a bounded number at a time.
"""

from collections.abc import Callable, Iterator
from typing import Protocol

import numpy as np
import numpy.typing as npt

from inference_server.detector.engine import Boxes

Indices = npt.NDArray[np.intp]

_PAIRS_AT_ONCE = 1 << 17


class Suppress(Protocol):
    """What `suppress` is, however it is computed."""

    def __call__(
        self,
        boxes: Boxes,
        threshold: float,
        *,
        of_smaller: bool = False,
        checkpoint: Callable[[], None] = ...,
    ) -> Indices:
        """The indices of the boxes that stay, in their order."""


def by_score(scores: npt.NDArray[np.float32]) -> Indices:
    """The order of descending scores in which the reference visits boxes.

    Equal scores are common, since a softmax in float32 saturates at exactly 1, and which of them comes
    first decides which box stays. The reference leaves that to NumPy's argsort of a float64 column,
    which is not stable and picks its algorithm by the CPU's features. So does this: same NumPy, same CPU
    features and same scores give the same order. Between machines, boxes of equal score may change
    places; that is all that is not guaranteed.
    """
    return np.argsort(scores.astype(np.float64))[::-1]


def suppress(
    boxes: Boxes,
    threshold: float,
    *,
    of_smaller: bool = False,
    checkpoint: Callable[[], None] = lambda: None,
) -> Indices:
    """The indices of the boxes that stay, in their order.

    Args:
        boxes: (N, 4), best first.
        threshold: The overlap, above 0 and at most 1, that a box may have with a better one.
        of_smaller: Take the overlap as a share of the smaller box's area, not of both boxes' union.
        checkpoint: Called every few milliseconds, since many boxes in one place take seconds.
    """
    goes = np.zeros(len(boxes), dtype=bool)
    up_left, lower_right = np.ascontiguousarray(boxes[:, :2].T), np.ascontiguousarray(boxes[:, 2:].T)
    width, height = lower_right - up_left
    areas = width * height
    for pairs in _near(boxes, 1.0 if of_smaller else 1.0 - threshold):
        checkpoint()
        first, second = pairs[:, ~goes[pairs.max(axis=0)]]
        # Overlaps as the package computes them, without the + 1 that counts whole pixels.
        right, bottom = np.minimum(lower_right[:, first], lower_right[:, second])
        left, top = np.maximum(up_left[:, first], up_left[:, second])
        intersection = np.maximum(0, right - left) * np.maximum(0, bottom - top)
        if of_smaller:
            whole = np.minimum(areas[first], areas[second])
        else:
            whole = areas[first] + areas[second] - intersection
        with np.errstate(divide="ignore", invalid="ignore"):  # boxes without area overlap nothing
            overlap = intersection / whole > threshold
        goes[np.maximum(first[overlap], second[overlap])] = True
    return np.flatnonzero(~goes)


def _near(boxes: Boxes, reach: float) -> Iterator[Indices]:
    """All pairs that may overlap enough, each once, in bounded portions of shape (2, N).

    Boxes are sorted along the axis on which they are spread most. If an overlap is above t, the later
    box of a pair starts within (1 - t) of the earlier one's length: `reach`.
    """
    if len(boxes) == 0:
        return
    axis = int(np.ptp(boxes[:, 1]) > np.ptp(boxes[:, 0]))
    order = np.argsort(boxes[:, axis])
    starts = boxes[order, axis]
    lengths = boxes[order, axis + 2] - starts
    slack = 1e-6
    ends = np.searchsorted(starts, starts + np.maximum(lengths, 0) * reach + slack, side="right")
    counts = ends - np.arange(1, len(boxes) + 1)
    totals = np.cumsum(counts)
    begin = 0
    while begin < len(boxes):
        done = totals[begin - 1] if begin else 0
        end = max(begin + 1, int(np.searchsorted(totals, done + _PAIRS_AT_ONCE, side="right")))
        first = np.repeat(np.arange(begin, end), counts[begin:end])
        before = np.repeat(totals[begin:end] - counts[begin:end] - done, counts[begin:end])
        second = first + 1 + np.arange(len(first)) - before
        yield order[np.stack([first, second])]
        begin = end
