"""Damaged pictures: every format and compression, cut short, zeroed, overwritten, or converted as text."""

import io
import os
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from tests.support.pictures import Pixels, group_photo, png_chunk, portrait

_PLACES = (0.1, 0.25, 0.4, 0.5, 0.6, 0.75, 0.9, 0.97)
_OVERWRITTEN = 512  # bytes, as a disk's sector

# What a writer that ended early, or a repair, puts behind what is left.
_END_MARKERS = {"JPEG": b"\xff\xd9", "PNG": png_chunk(b"IEND", b""), "GIF": b"\0;"}

# Formats as the table names them: Pillow's name and options.
_WRITTEN: dict[str, tuple[str, dict[str, Any]]] = {
    "JPEG": ("JPEG", {"quality": 85}),
    "JPEG, progressive": ("JPEG", {"quality": 85, "progressive": True}),
    "JPEG, restart markers": ("JPEG", {"quality": 85, "restart_marker_rows": 1}),
    "JPEG, CMYK": ("JPEG", {"quality": 85}),
    "PNG": ("PNG", {}),
    "WebP, lossy": ("WEBP", {}),
    "WebP, lossless": ("WEBP", {"lossless": True}),
    "GIF": ("GIF", {}),
    "BMP": ("BMP", {}),
    "TIFF, uncompressed": ("TIFF", {}),
    "TIFF, LZW": ("TIFF", {"compression": "tiff_lzw"}),
    "TIFF, Deflate": ("TIFF", {"compression": "tiff_adobe_deflate"}),
    "TIFF, PackBits": ("TIFF", {"compression": "packbits"}),
    "TIFF, JPEG": ("TIFF", {"compression": "jpeg"}),
    "TIFF, fax (group 4)": ("TIFF", {"compression": "group4"}),
    "AVIF": ("AVIF", {}),
}
_MODES = {"JPEG, CMYK": "CMYK", "TIFF, fax (group 4)": "1"}

FORMATS = (*_WRITTEN, "HEIC")
"""What `whole` has files of. HEIC has no encoder here: its files are those of PHOTOS_DIR."""

KINDS = ("cut", "cut, end marker", "zeroed", "random bytes", "LF to CR LF")
"""The kinds of damage."""


class Damaged(NamedTuple):
    """A damaged file, and what was done to it."""

    kind: str
    place: float
    data: bytes


@cache
def whole(form: str) -> tuple[bytes, ...]:
    """Undamaged files of this format; of HEIC none without PHOTOS_DIR."""
    if form == "HEIC":
        folder = os.environ.get("PHOTOS_DIR")
        files = Path(folder, "odd_images/pillow_heif").rglob("RGB_*.heif") if folder else ()
        return tuple(path.read_bytes() for path in sorted(files))
    return tuple(written(form, picture) for picture in (portrait(), group_photo()))


def written(form: str, pixels: Pixels) -> bytes:
    """A picture as a file of one of FORMATS, but HEIC."""
    name, options = _WRITTEN[form]
    file = io.BytesIO()
    Image.fromarray(pixels).convert(_MODES.get(form, "RGB")).save(file, name, **options)
    return file.getvalue()


def damaged(form: str, data: bytes) -> Iterator[Damaged]:
    """Every kind of damage of one file, at several places."""
    random = np.random.default_rng(len(data))
    for place in _PLACES:
        at = int(len(data) * place)
        yield Damaged("cut", place, data[:at])
        if marker := _END_MARKERS.get(form.split(",", maxsplit=1)[0]):
            yield Damaged("cut, end marker", place, data[:at] + marker)
        length = min(_OVERWRITTEN, len(data) - at)
        yield Damaged("zeroed", place, data[:at] + bytes(length) + data[at + length :])
        yield Damaged("random bytes", place, data[:at] + random.bytes(length) + data[at + length :])
    yield Damaged("LF to CR LF", 0.0, data.replace(b"\n", b"\r\n"))
