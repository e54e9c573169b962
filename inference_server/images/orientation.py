"""Which way up a picture is, by its EXIF or XMP data."""

import re
import struct
from typing import Any

from PIL import ExifTags, Image, TiffImagePlugin

from inference_server.images.tiff import read_orientation

# What each value of the EXIF tag asks for (CIPA DC-008, Exif 2.32, tag 274), but 1, which asks for nothing.
_TRANSPOSE = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

# XMP's own tag, which counts where EXIF data has none.
_XMP_TEXT_ORIENTATION = re.compile(r'tiff:Orientation(?:="|>)([0-9])')
_XMP_ORIENTATION = re.compile(_XMP_TEXT_ORIENTATION.pattern.encode())


def upright(picture: Image.Image, orientation: int) -> Image.Image:
    """The picture turned as its orientation asks; the same one where it asks for nothing."""
    return picture if orientation == 1 else picture.transpose(_TRANSPOSE[orientation])


def orientation_of(image: Image.Image) -> int:
    """The EXIF orientation; 1 where it is missing, meaningless, or the metadata is not readable."""
    try:
        if isinstance(image, TiffImagePlugin.TiffImageFile):
            value = image.getexif().get(ExifTags.Base.Orientation)
        else:
            value = _exif_orientation(image.info)
    except (OSError, SyntaxError, ValueError, TypeError, LookupError, OverflowError, struct.error):
        return 1  # a picture is not the worse for broken metadata
    return value if value in _TRANSPOSE else 1


def _exif_orientation(info: dict[str | tuple[int, int], Any]) -> int | None:
    """The tag in EXIF data, or else in XMP data, where Pillow's `getexif` would find it.

    That takes to pieces all that EXIF data holds, which may be 65,535 entries, or millions of numbers.
    """
    exif = info.get("exif")
    if exif is None and (text := info.get("Raw profile type exif")) is not None:
        exif = bytes.fromhex("".join(text.split("\n")[3:]))
    orientation = None if exif is None else read_orientation(exif)
    if orientation is not None:
        return orientation
    if text := info.get("XML:com.adobe.xmp"):
        found = _XMP_TEXT_ORIENTATION.findall(text)
    else:
        found = _XMP_ORIENTATION.findall(info.get("xmp") or b"")
    return int(found[0]) if found else None
