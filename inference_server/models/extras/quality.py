"""What the pixels of a face are like, in numbers. docs/detection.md has the formulas and their sources."""

import math

import numpy as np
from PIL import Image

from utils.domain import Landmarks
from utils.extras import Quality

ALIGNED_SIDE = 112
"""Pixels of the aligned crop that is looked at."""


def quality(aligned: Image.Image, landmarks: Landmarks) -> Quality:
    """The quality of a face.

    Args:
        aligned: Its aligned crop of ALIGNED_SIDE, RGB.
        landmarks: Of the face, in pixels of the upright picture.
    """
    grey = np.asarray(aligned.convert("L"), np.float32)
    inner = grey[1:-1, 1:-1]
    laplacian = grey[:-2, 1:-1] + grey[2:, 1:-1] + grey[1:-1, :-2] + grey[1:-1, 2:] - 4 * inner
    left, right = landmarks.left_eye, landmarks.right_eye
    across, down = right.x - left.x, right.y - left.y
    return Quality(
        sharpness=float(laplacian.var(dtype=np.float64)),
        brightness=float(grey.mean(dtype=np.float64)),
        contrast=float(grey.std(dtype=np.float64)),
        roll_degrees=math.degrees(math.atan2(down, across)),
        eye_distance=math.hypot(across, down),
    )
