"""Which way up a picture is, by its EXIF or XMP data."""

import struct

from PIL import ExifTags, Image

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


def upright(picture: Image.Image, orientation: int) -> Image.Image:
    """The picture turned as its orientation asks; the same one where it asks for nothing."""
    return picture if orientation == 1 else picture.transpose(_TRANSPOSE[orientation])


def orientation_of(image: Image.Image) -> int:
    """The EXIF orientation; 1 where it is missing, meaningless, or the metadata is not readable."""
    try:
        value = image.getexif().get(ExifTags.Base.Orientation)
    except (OSError, SyntaxError, ValueError, TypeError, LookupError, OverflowError, struct.error):
        return 1  # a picture is not the worse for broken metadata
    return value if value in _TRANSPOSE else 1
