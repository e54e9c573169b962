"""Pictures for tests, all drawn from the one portrait that the project ships."""

import io
from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

ASTRONAUT = Path(__file__).parents[2] / "examples" / "astronaut.png"

Pixels = npt.NDArray[np.uint8]

_FACE = (150, 40, 310, 240)  # left, upper, right, lower: the portrait's head


@cache
def portrait() -> Pixels:
    """The portrait: 512 x 512, one face of about 110 px."""
    with Image.open(ASTRONAUT) as image:
        return np.asarray(image.convert("RGB"))


@cache
def group_photo(width: int = 640, height: int = 480) -> Pixels:
    """Heads of several sizes side by side on grey."""
    canvas = Image.new("RGB", (width, height), (120, 125, 130))
    with Image.open(ASTRONAUT) as image:
        head = image.convert("RGB").crop(_FACE)
    for column, row, wide in ((10, 10, 200), (230, 20, 140), (390, 20, 100), (510, 20, 70), (240, 220, 160)):
        scaled = head.resize((wide, wide * 5 // 4), Image.Resampling.LANCZOS)
        canvas.paste(scaled, (column * width // 640, row * height // 480))
    return np.asarray(canvas)


def encoded(pixels: Pixels, form: str, **options: object) -> bytes:
    """A picture as a file of this format of Pillow's."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, form, **options)
    return file.getvalue()


def png(pixels: Pixels) -> bytes:
    """A picture as a PNG file."""
    return encoded(pixels, "PNG")
