"""Pictures of any size, drawn from the portrait in `examples/`, on which detectors are timed."""

import numpy as np
from PIL import Image

from tests.support.pictures import Pixels, backdrop, head, portrait

SIZES = ((320, 240), (640, 480), (1280, 720), (1920, 1080))

_ACROSS = 12


def few(width: int, height: int) -> Pixels:
    """The portrait as high as the picture, on a part of itself: one face."""
    canvas = backdrop(width, height)
    scaled = Image.fromarray(portrait()).resize((height, height), Image.Resampling.LANCZOS)
    canvas.paste(scaled, ((width - height) // 2, 0))
    return np.ascontiguousarray(canvas)


def many(width: int, height: int) -> Pixels:
    """Rows of heads, a dozen in each, of slightly different sizes."""
    canvas = backdrop(width, height)
    wide = width // 14
    for number in range(_ACROSS * (height // (wide * 3 // 2))):
        row, column = divmod(number, _ACROSS)
        size = wide + number % 5 * wide // 20
        scaled = head().resize((size, size * 5 // 4), Image.Resampling.LANCZOS)
        canvas.paste(scaled, (column * width // _ACROSS + 2, row * wide * 3 // 2 + 2))
    return np.ascontiguousarray(canvas)


DRAWINGS = {"few": few, "many": many}

CELLS = [(name, *size) for size in SIZES for name in DRAWINGS]
"""What a detector's speed is measured on: a drawing, its width and its height."""
