"""A picture with its faces drawn into it: frames, marks and confidences.

All of it are slices of an array, which take far less time than the same lines by Pillow's ImageDraw.
"""

import math
from collections.abc import Sequence
from dataclasses import fields

import numpy as np
from PIL import Image

from inference_server.detector.engine import Checkpoint
from inference_server.detector.engine import Image as Pixels
from inference_server.models.extras.digits import label
from inference_server.models.extras.files import jpeg
from utils.domain import Box, Face, Landmarks, Point
from utils.extras import Annotated, Picture

Colour = tuple[int, int, int]

FRAME: Colour = (0, 255, 0)
MARK: Colour = (255, 0, 255)
_PAPER: Colour = (0, 0, 0)

_SIDE_OF_A_PIXEL = 600
"""A line has a pixel for so many of the picture's longest side."""
_THINNEST = 2
_LANDMARKS = tuple(field.name for field in fields(Landmarks))


def annotated(pixels: Pixels, faces: Sequence[Face], wanted: Annotated, checkpoint: Checkpoint) -> Picture:
    """The picture as a JPEG file, reduced, then drawn into.

    Args:
        pixels: (height, width, 3) uint8, RGB; it is not changed.
        faces: In pixels of it, the most confident first, which is drawn last.
        wanted: What is drawn, and how large it is.
        checkpoint: Called between two steps.
    """
    canvas = Canvas(_reduced(pixels, wanted.longest_side), pixels)
    for face in reversed(faces):
        checkpoint()
        canvas.frame(face.box)
        for name in _LANDMARKS if wanted.landmarks else ():
            canvas.mark(getattr(face.landmarks, name))
        if wanted.scores:
            canvas.write(f"{face.confidence:.2f}", face.box.up_left)
    checkpoint()
    return jpeg(Image.fromarray(canvas.pixels))


def _reduced(pixels: Pixels, longest_side: int) -> Pixels:
    """A copy, reduced if its longer side has more pixels than this."""
    height, width, _ = pixels.shape
    if max(height, width) <= longest_side:
        return pixels.copy()
    scale = longest_side / max(height, width)
    size = max(round(width * scale), 1), max(round(height * scale), 1)
    # By means of whole squares as far as they go, which takes less time than a filter for each pixel.
    picture = Image.fromarray(pixels)
    return np.array(picture.resize(size, Image.Resampling.BILINEAR, reducing_gap=1.0))


class Canvas:
    """A picture that is drawn into, with places of another one, of which it is a copy.

    Args:
        pixels: Is changed.
        original: Whose pixels have their centres at whole numbers; it may be larger.
    """

    def __init__(self, pixels: Pixels, original: Pixels) -> None:
        self.pixels = pixels
        self._scales = [pixels.shape[axis] / original.shape[axis] for axis in (1, 0)]
        self._thickness = max(round(max(pixels.shape) / _SIDE_OF_A_PIXEL), _THINNEST)

    def frame(self, box: Box) -> None:
        """Draw the edges of a box, inwards from the pixels in which its corners lie."""
        (left, top), (right, bottom) = self._pixel(box.up_left), self._pixel(box.lower_right)
        inner = [left + self._thickness, top + self._thickness]
        inner += [right + 1 - self._thickness, bottom + 1 - self._thickness]
        self._fill(left, top, right + 1, min(inner[1], bottom + 1), FRAME)
        self._fill(left, max(inner[3], top), right + 1, bottom + 1, FRAME)
        self._fill(left, top, min(inner[0], right + 1), bottom + 1, FRAME)
        self._fill(max(inner[2], left), top, right + 1, bottom + 1, FRAME)

    def mark(self, point: Point) -> None:
        """Draw a square, whose middle is the pixel in which a place lies."""
        column, row = self._pixel(point)
        reach = self._thickness
        self._fill(column - reach, row - reach, column + reach + 1, row + reach + 1, MARK)

    def write(self, text: str, corner: Point) -> None:
        """Write digits above a place, or below it where the picture has no room above."""
        ink = label(text, self._thickness)
        height, width = ink.shape
        column, row = (max(place, 0) for place in self._pixel(corner))
        top = row - height if row >= height else row
        part = self.pixels[top : top + height, column : column + width]
        part[:] = _PAPER
        part[ink[: part.shape[0], : part.shape[1]]] = FRAME

    def _pixel(self, point: Point) -> tuple[int, int]:
        """Column and row of the pixel in which a place lies, which may be outside."""
        across, down = self._scales
        return math.floor((point.x + 0.5) * across), math.floor((point.y + 0.5) * down)

    def _fill(self, left: int, top: int, right: int, bottom: int, colour: Colour) -> None:
        self.pixels[max(top, 0) : max(bottom, 0), max(left, 0) : max(right, 0)] = colour
