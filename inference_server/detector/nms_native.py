"""Non-maximum suppression by our own kernel: `nms.suppress`, box by box, without arrays of pairs.

A box is compared with those whose left edges are near its own, nearest first, until a better one overlaps it.
"""

from collections.abc import Callable

import facet_native
import numpy as np

from inference_server.detector.engine import Boxes
from inference_server.detector.nms import Indices

_PAIRS_AT_ONCE = 1 << 22
"""Some ten milliseconds."""


def suppress(
    boxes: Boxes,
    threshold: float,
    *,
    of_smaller: bool = False,
    checkpoint: Callable[[], None] = lambda: None,
) -> Indices:
    """As `nms.suppress`, to the same bit."""
    order = np.argsort(boxes[:, 0])
    boxes = boxes.take(order, axis=0)
    goes = np.zeros(len(boxes), np.bool_)
    step = max(1, _PAIRS_AT_ONCE // max(1, len(boxes)))
    for begin in range(0, len(boxes), step):
        checkpoint()
        end = min(begin + step, len(boxes))
        facet_native.mark_overlapped(boxes, order, begin, end, threshold, of_smaller, goes.view(np.uint8))
    stays = order[~goes]
    stays.sort()
    return stays
