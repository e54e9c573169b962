"""Scores from logits."""

import numpy as np

from inference_server.detector.engine import Floats


def probability(difference: Floats) -> Floats:
    """The softmax of two logits, from their difference, rounded as the reference rounds it.

    It must be computed in this form and in float32: near 1 it has few values, and equal scores matter.

    Args:
        difference: float32 of any shape: the logit of a face, less that of none.

    Returns:
        float32 of the same shape, 0 to 1.
    """
    with np.errstate(over="ignore"):
        probability: Floats = np.float32(1) / (np.float32(1) + np.exp(-difference))
    return probability
