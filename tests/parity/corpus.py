"""The pictures on which engines are compared with the reference, by name.

Composites of the portrait that the project ships are always there; the photographs are those of the folder
that PHOTOS_DIR names. A name alone is enough to get the same array in another process.
"""

import csv
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image

from inference_server.images import decode
from tests.support.pictures import Pixels, backdrop, encoded, group_photo, head, portrait

PHOTOGRAPHS = 441
"""How many photographs the complete folder has, up to the size below."""

_MAX_PIXELS = 6_000_000
_NO_PHOTOGRAPHS = {"odd_images", "models"}

# How an upright picture is stored, for an orientation to bring it back.
_STORED = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


def composites() -> list[str]:
    """The names of the composites."""
    return list(_COMPOSITES)


def photographs() -> list[str]:
    """The names of the photographs of up to 6 megapixels; none where PHOTOS_DIR is not set."""
    folder = photos_dir()
    if folder is None:
        return []
    names = []
    for index in sorted(folder.glob("*/INDEX.csv")):
        if index.parent.name in _NO_PHOTOGRAPHS:
            continue
        with index.open(newline="") as lines:
            names += [
                f"{index.parent.name}/{row['file']}"
                for row in csv.DictReader(lines)
                if int(row["width"]) * int(row["height"]) <= _MAX_PIXELS
            ]
    return names


def photos_dir() -> Path | None:
    """The folder of photographs, where the environment names one."""
    name = os.environ.get("PHOTOS_DIR")
    return Path(name) if name else None


def picture(name: str) -> Pixels:
    """The decoded picture of this name: upright uint8 RGB."""
    if name in _COMPOSITES:
        return np.ascontiguousarray(_COMPOSITES[name]())
    folder = photos_dir()
    assert folder is not None, "PHOTOS_DIR is not set"
    return decode((folder / name).read_bytes(), _MAX_PIXELS)[0]


def _heads(width: int, height: int, *places: tuple[int, int, int]) -> Pixels:
    """Heads at places (left, upper, width of the head); a face is about two thirds of its head's width."""
    canvas = backdrop(width, height)
    for left, upper, wide in places:
        canvas.paste(head().resize((wide, wide * 5 // 4), Image.Resampling.LANCZOS), (left, upper))
    return np.asarray(canvas)


def _crowd(width: int, height: int, wide: int) -> Pixels:
    step_x, step_y = wide + wide // 5, wide * 5 // 4 + wide // 8
    places = [
        (x + (y // step_y % 2) * wide // 4, y, wide + (x + y) % 7)
        for y in range(4, height - step_y, step_y)
        for x in range(4, width - step_x, step_x)
    ]
    return _heads(width, height, *places)


def _turned(orientation: int) -> Pixels:
    """The portrait through a file whose EXIF orientation is to be applied."""
    stored = Image.fromarray(portrait()[:, 60:400])
    if orientation in _STORED:
        stored = stored.transpose(_STORED[orientation])
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    return decode(encoded(np.asarray(stored), "JPEG", quality=90, exif=exif), _MAX_PIXELS)[0]


def _resized(width: int, height: int) -> Pixels:
    return np.asarray(Image.fromarray(portrait()).resize((width, height), Image.Resampling.BICUBIC))


def _plain(width: int, height: int) -> Pixels:
    return np.full((height, width, 3), 200, np.uint8)


def _noise(width: int, height: int) -> Pixels:
    return np.random.default_rng(width).integers(0, 256, (height, width, 3), dtype=np.uint8)


_COMPOSITES: dict[str, Callable[[], Pixels]] = {
    "portrait": portrait,
    "group photo": group_photo,
    **{f"face of {size} px": partial(_heads, 640, 640, (60, 50, size * 3 // 2)) for size in
       (24, 30, 40, 60, 90, 130, 200, 300, 370)},
    "face of 400 px": partial(_heads, 900, 900, (100, 60, 600)),
    "crowd of small faces": partial(_crowd, 800, 600, 40),
    "crowd of middling faces": partial(_crowd, 1280, 720, 90),
    "overlapping faces": partial(_heads, 640, 480, (100, 60, 200), (180, 110, 200), (300, 60, 180)),
    "faces at the edges": partial(
        _heads, 640, 480, (-50, 100, 160), (530, 60, 160), (250, -60, 160), (300, 380, 160), (-40, 380, 120)
    ),
    **{f"orientation {value}": partial(_turned, value) for value in range(1, 9)},
    **{f"portrait at {width} x {height}": partial(_resized, width, height) for width, height in
       ((20, 20), (21, 21), (22, 37), (35, 35), (61, 61), (97, 151), (150, 97), (333, 211), (1501, 999))},
    "noise": partial(_noise, 320, 240),
    "one colour": partial(_plain, 320, 240),
    "one pixel": partial(_plain, 1, 1),
    "a line": partial(_plain, 700, 1),
}  # fmt: skip
