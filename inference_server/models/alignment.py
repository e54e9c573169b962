"""Faces cut out of a picture: aligned by their landmarks, or by their box."""

import math
from collections.abc import Sequence

import numpy as np
from PIL import Image

from inference_server.detector.engine import Image as Pixels
from utils.domain import Box, Landmarks, Point

# Eyes, nose and corners of the mouth in an aligned picture of 112 x 112: where ArcFace's authors put them
# (`arcface_dst` in InsightFace's python-package/insightface/utils/face_align.py), and those who train
# networks for faces after them. Pixels have their centres at whole numbers.
_SIDE = 112
_TEMPLATE = np.array(
    [38.2946 + 51.6963j, 73.5318 + 51.5014j, 56.0252 + 71.7366j, 41.5493 + 92.3655j, 70.7299 + 92.2041j]
)
_HALF = 0.5 + 0.5j
_LEAST_SCALE = 1e-6
"""Pixels of the result that one of the picture takes up, at least."""


def aligned(pixels: Pixels, landmarks: Landmarks, side: int) -> Image.Image:
    """A face turned, scaled and moved so that its landmarks lie where ArcFace's template has them.

    The similarity is the one of which the squared distances to the template are least (Umeyama,
    "Least-squares estimation of transformation parameters between two point patterns", 1991), as
    `estimate_norm` of that file has it. Outside the picture it is black.

    Args:
        pixels: (height, width, 3) uint8, RGB.
        landmarks: Of the face, in pixels of the picture.
        side: Of the result, in pixels; the template, made for 112, is scaled.
    """
    points = (
        landmarks.left_eye,
        landmarks.right_eye,
        landmarks.nose,
        landmarks.mouth_left,
        landmarks.mouth_right,
    )
    found = np.array([_place(point) for point in points])
    template = (_TEMPLATE + _HALF) * (side / _SIDE) - _HALF
    # A similarity of the plane is z -> scale * z + shift over the complex numbers, a linear regression of
    # these. It is turned round: for each pixel of the result, the place that it is taken from. Landmarks that
    # lie all in one place have none.
    centred = found - found.mean()
    spread = np.vdot(centred, centred).real
    scale = complex(np.vdot(centred, template - template.mean()) / spread) if spread > 0 else 0j
    turn = 1 / scale if abs(scale) > _LEAST_SCALE else 0j
    return _sampled(pixels, turn, complex(found.mean() - turn * template.mean()), side)


def squared(pixels: Pixels, box: Box, margin: float, side: int) -> Image.Image:
    """The square around a face's box, with its centre, resized. Outside the picture it is black.

    Args:
        pixels: (height, width, 3) uint8, RGB.
        box: In pixels of the picture.
        margin: Share of the box's longer side that is added at each edge.
        side: Of the result, in pixels.
    """
    first, last = _place(box.up_left), _place(box.lower_right)
    diagonal = last - first
    scale = max(diagonal.real, diagonal.imag) * (1 + 2 * margin) / side
    return _sampled(pixels, complex(scale), (first + last) / 2 - scale * (side - 1) / 2 * (1 + 1j), side)


def _place(point: Point) -> complex:
    return complex(point.x, point.y)


def _sampled(pixels: Pixels, turn: complex, shift: complex, side: int) -> Image.Image:
    """A square whose pixel at z is what the picture has at turn * z + shift.

    Where one of its pixels is twice as wide as the picture's or more, means of squares of these come first: a
    bilinear interpolation alone would look at four of many pixels.
    """
    # Pillow's pixels have their centres at halves.
    shift += _HALF - turn * _HALF
    factor = max(int(abs(turn)), 1)
    corners = [turn * corner * side + shift for corner in (0, 1, 1j, 1 + 1j)]
    left, right = _reached([corner.real for corner in corners], factor, pixels.shape[1])
    top, bottom = _reached([corner.imag for corner in corners], factor, pixels.shape[0])
    picture = Image.fromarray(pixels[top:bottom, left:right])
    if factor > 1:
        picture = picture.reduce(factor)
    turn, shift = turn / factor, (shift - complex(left, top)) / factor
    coefficients = (turn.real, -turn.imag, shift.real, turn.imag, turn.real, shift.imag)
    return picture.transform(
        (side, side), Image.Transform.AFFINE, coefficients, resample=Image.Resampling.BILINEAR
    )


def _reached(places: Sequence[float], factor: int, length: int) -> tuple[int, int]:
    """The pixels of an axis that are looked at between these places, and by an interpolation at its ends."""
    return _span(min(places) - 2 * factor, max(places) + 2 * factor, length)


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
