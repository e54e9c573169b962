"""Non-maximum suppression by our own kernel: `nms.suppress`, box by box, without arrays of pairs.

A box is compared with better ones until one overlaps it. That is soon where boxes crowd, as they do on faces;
for many boxes that are far apart `nms.suppress`, which looks at neighbours alone, is the faster.
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
    boxes = np.ascontiguousarray(boxes)
    goes = np.zeros(len(boxes), np.bool_)
    step = max(1, _PAIRS_AT_ONCE // max(1, len(boxes)))
    for begin in range(0, len(boxes), step):
        checkpoint()
        end = min(begin + step, len(boxes))
        facet_native.mark_overlapped(boxes, begin, end, threshold, of_smaller, goes.view(np.uint8))
    return np.flatnonzero(~goes)
