"""The `native` engine: our own kernels, which see the picture's bytes as they are. See docs/native.md."""

import math
from pathlib import Path

import facet_native
import numpy as np

from inference_server.detector.engine import Boxes, Cells, Checkpoint, Floats, Image, no_checkpoint
from inference_server.detector.logistic import probability
from inference_server.detector.scales import level_size
from inference_server.detector.weights import NETWORKS, read_floats

# More than float32 can be wrong about a score. Cells are taken this far below the threshold by their
# logits, and then compared by their scores, as the reference compares them.
_MARGIN = 1e-6

_COLOURS = 3


class NativeEngine:
    """The networks in our own kernels.

    Args:
        cache_dir: The cache folder that holds the weights.
        instruction_set: One of those that the CPU can run: see `choice`.

    Raises:
        WeightsError: Weights are missing from the cache, or are not what their manifest says.
    """

    name = "native"

    def __init__(self, cache_dir: Path, instruction_set: str) -> None:
        weights = [np.frombuffer(read_floats(cache_dir, network), np.float32) for network in NETWORKS]
        self.instruction_set = instruction_set
        self.networks = facet_native.Engine(instruction_set, *weights)

    def prepare(self, image: Image, checkpoint: Checkpoint = no_checkpoint) -> "_Prepared":  # noqa: ARG002
        """Take in a picture; no level of it takes long enough for a checkpoint.

        Raises:
            TypeError: It is not an array of bytes.
            ValueError: It is not (height, width, 3), C-contiguous, with at least one pixel.
        """
        check_image(image)
        return _Prepared(self.networks, image)


class _Prepared:
    """One picture before the three networks; see `engine.Prepared`."""

    def __init__(self, networks: facet_native.Engine, image: Image) -> None:
        self._networks = networks
        self._image = image

    def propose(self, scale: float, threshold: float) -> tuple[Cells, Floats, Floats]:
        height, width, _ = self._image.shape
        level_width, level_height = level_size(width, height, scale)
        cells, heads = self._networks.propose(self._image, level_width, level_height, _least_logit(threshold))
        scores = probability(heads[:, 0])
        passed = scores > threshold
        if not passed.all():  # logits within the margin, which are few and rare
            cells, scores, heads = (part.compress(passed, axis=0) for part in (cells, scores, heads))
        return cells, scores, heads[:, 1:]

    def refine(self, boxes: Boxes) -> tuple[Floats, Floats]:
        heads = self._networks.refine(self._image, _checked(boxes))
        return probability(heads[:, 0]), heads[:, 1:]

    def output(self, boxes: Boxes) -> tuple[Floats, Floats, Floats]:
        heads = self._networks.output(self._image, _checked(boxes))
        return probability(heads[:, 0]), heads[:, 1:5], heads[:, 5:]


def check_image(image: Image) -> None:
    """Refuse what the kernels cannot read, in words."""
    if not isinstance(image, np.ndarray) or image.dtype != np.uint8:
        found = image.dtype if isinstance(image, np.ndarray) else type(image).__name__
        raise TypeError(f"a picture is a NumPy array of uint8, not of {found}")
    if image.ndim != _COLOURS or image.shape[2] != _COLOURS or image.size == 0:
        raise ValueError(f"a picture is (height, width, 3) with at least one pixel, not {image.shape}")
    if not image.flags.c_contiguous:
        raise ValueError("a picture's rows lie one behind another: pass numpy.ascontiguousarray(picture)")


def _checked(boxes: Boxes) -> Boxes:
    if not isinstance(boxes, np.ndarray) or boxes.dtype != np.float64:
        found = boxes.dtype if isinstance(boxes, np.ndarray) else type(boxes).__name__
        raise TypeError(f"boxes are a NumPy array of float64, not of {found}")
    if boxes.ndim != 2 or boxes.shape[1] != 4:  # noqa: PLR2004 - x1, y1, x2, y2
        raise ValueError(f"boxes are (N, 4), not {boxes.shape}")
    return np.ascontiguousarray(boxes)


def _least_logit(threshold: float) -> float:
    """What the logit of every score over the threshold exceeds."""
    share = min(threshold, 1.0) - _MARGIN
    return math.log(share / (1 - share)) if share > 0 else -math.inf
