"""What the load consists of: a picture of so many bytes that costs nothing to decode, or photographs."""

import io
import math
import os
import random
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image

from tests.support.pictures import encoded, group_photo

_MAX_BYTES = 2_000_000
_FORMATS = {".jpg", ".jpeg"}
# From the smallest to the largest.
_SETS = ("dlib_faces", "wider_val", "demo_photos", "lfw_5pt")


@cache
def blank(size: int) -> bytes:
    """An uncompressed PNG of about so many bytes: it travels like a photograph, and is decoded at once."""
    side = math.isqrt(size // 3)
    file = io.BytesIO()
    Image.fromarray(np.zeros((side, side, 3), np.uint8)).save(file, "PNG", compress_level=0)
    return file.getvalue()


def photographs(count: int) -> list[bytes]:
    """So many photographs, the same ones each time, of all sets alike; none without PHOTOS_DIR."""
    folder, rng = os.environ.get("PHOTOS_DIR", ""), random.Random(0)
    chosen: list[Path] = []
    for left, name in zip(range(len(_SETS), 0, -1), _SETS, strict=True) if folder else ():
        found = sorted(
            path
            for path in (Path(folder) / name).rglob("*")
            if path.suffix.lower() in _FORMATS and path.stat().st_size <= _MAX_BYTES
        )
        chosen += rng.sample(found, min((count - len(chosen)) // left, len(found)))
    rng.shuffle(chosen)
    return [path.read_bytes() for path in chosen]


def assortment(count: int) -> tuple[str, list[bytes]]:
    """So many photographs, or composites where there are none; and which of the two they are."""
    found = photographs(count)
    return ("photographs", found) if found else ("composites", composites())


def composites() -> list[bytes]:
    """Group pictures of several sizes, drawn from the portrait that the project ships."""
    sizes = ((320, 240), (640, 480), (640, 480), (800, 600), (1280, 720))
    return [encoded(group_photo(*size), "JPEG", quality=90) for size in sizes]
