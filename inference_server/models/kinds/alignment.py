"""Faces cut out of a picture: aligned by their landmarks, or by their box."""

import math

import numpy as np
from PIL import Image

from utils.domain import Box, Landmarks

# Eyes, nose and corners of the mouth in an aligned picture of 112 x 112: where ArcFace's authors put them
# (`arcface_dst` in InsightFace's python-package/insightface/utils/face_align.py), and those who train
# networks for faces after them. Pixels have their centres at whole numbers.
_SIDE = 112
_TEMPLATE = np.array(
    [38.2946 + 51.6963j, 73.5318 + 51.5014j, 56.0252 + 71.7366j, 41.5493 + 92.3655j, 70.7299 + 92.2041j]
)


def aligned(picture: Image.Image, landmarks: Landmarks, side: int) -> Image.Image:
    """A face turned, scaled and moved so that its landmarks lie where ArcFace's template has them.

    The similarity, without reflection, is the one of least squares. Outside the picture it is black.

    Args:
        picture: RGB.
        landmarks: Of the face, in pixels of the picture.
        side: Of the result, in pixels; the template, made for 112, is scaled.
    """
    found = np.array(
        [
            complex(point.x, point.y)
            for point in (
                landmarks.left_eye,
                landmarks.right_eye,
                landmarks.nose,
                landmarks.mouth_left,
                landmarks.mouth_right,
            )
        ]
    )
    template = (_TEMPLATE + (0.5 + 0.5j)) * (side / _SIDE) - (0.5 + 0.5j)
    # A similarity of the plane is z -> turn * z + shift over the complex numbers, here from template to
    # picture: for each pixel of the result, the place that it is taken from.
    centred = template - template.mean()
    turn = np.vdot(centred, found - found.mean()) / np.vdot(centred, centred).real
    shift = found.mean() - turn * template.mean()
    # Pillow's pixels have their centres at halves.
    shift += (0.5 + 0.5j) - turn * (0.5 + 0.5j)
    coefficients = (turn.real, -turn.imag, shift.real, turn.imag, turn.real, shift.imag)
    return picture.transform(
        (side, side), Image.Transform.AFFINE, coefficients, resample=Image.Resampling.BILINEAR
    )


def boxed(picture: Image.Image, box: Box, margin: float, size: tuple[int, int]) -> Image.Image:
    """A face's box, enlarged by a share of its sides at each edge, cut to the picture, and resized.

    Args:
        picture: RGB.
        box: In pixels of the picture.
        margin: Share of the box's width to the left and right, and of its height above and below.
        size: Height and width of the result.
    """
    x1, y1, x2, y2 = box.up_left.x, box.up_left.y, box.lower_right.x, box.lower_right.y
    wide, high = margin * (x2 - x1), margin * (y2 - y1)
    left, right = _span(x1 - wide, x2 + wide, picture.width)
    top, bottom = _span(y1 - high, y2 + high, picture.height)
    return picture.resize(size[::-1], Image.Resampling.BILINEAR, box=(left, top, right, bottom))


def _span(start: float, stop: float, length: int) -> tuple[int, int]:
    """The whole pixels between two places, one at least, within the picture."""
    first = min(max(math.floor(start), 0), length - 1)
    return first, max(min(math.ceil(stop), length), first + 1)
