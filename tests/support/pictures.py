"""Pictures for tests, all drawn from the one portrait that the project ships."""

import io
import struct
import zlib
from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

ASTRONAUT = Path(__file__).parents[2] / "examples" / "astronaut.png"

Pixels = npt.NDArray[np.uint8]


@cache
def portrait() -> Pixels:
    """The portrait: 512 x 512, one face of about 110 px."""
    with Image.open(ASTRONAUT) as image:
        return np.asarray(image.convert("RGB"))


@cache
def head() -> Image.Image:
    """The portrait's head, 160 x 200."""
    return Image.fromarray(portrait()).crop((150, 40, 310, 240))


def backdrop(width: int, height: int) -> Image.Image:
    """Something with structure, so that the proposal network has something to reject."""
    part = Image.fromarray(portrait()).crop((300, 250, 512, 512))
    return part.resize((width, height), Image.Resampling.BICUBIC)


@cache
def group_photo(width: int = 640, height: int = 480) -> Pixels:
    """Heads of several sizes side by side on grey."""
    canvas = Image.new("RGB", (width, height), (120, 125, 130))
    for column, row, wide in ((10, 10, 200), (230, 20, 140), (390, 20, 100), (510, 20, 70), (240, 220, 160)):
        scaled = head().resize((wide, wide * 5 // 4), Image.Resampling.LANCZOS)
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


def coloured(colour: tuple[int, int, int], shade: int = 0) -> bytes:
    """A picture whose first pixel makes a hooked detector do something; shades are different pictures."""
    pixels = np.full((24, 24, 3), shade, np.uint8)
    pixels[0, 0] = colour
    return png(pixels)


def bare_png(width: int, height: int, bits: int, colour: int, *chunks: bytes) -> bytes:
    """A PNG file made by hand, for what Pillow does not write: a header, these chunks, and the end."""
    header = png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0))
    return b"".join((b"\x89PNG\r\n\x1a\n", header, *chunks, png_chunk(b"IEND", b"")))


def png_chunk(name: bytes, content: bytes) -> bytes:
    """A chunk of a PNG file."""
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))
