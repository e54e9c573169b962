"""JPEG by libjpeg-turbo directly: the same pixels as Pillow's, sooner, and none of a damaged file.

Pillow uses the same library with the same settings, copies row by row, and hears no complaint: of a damaged
file it gives grey, or another picture. Here a complaint refuses the file, unless it is of what the pixels do
not depend on. The library tells the first complaint alone, and "extraneous bytes before marker" may be the
first one of a harmless file and of a damaged one; so the file is decoded again without what is harmless,
and must then be without fault.
"""

import struct

import numpy as np
import numpy.typing as npt
import simplejpeg
from PIL import JpegImagePlugin

from inference_server.images.formats import has_binary_line_ends, lacks_lone_lf
from inference_server.images.segments import (
    FRAMES,
    SCAN,
    check_scans,
    has_line_ends_in_tables,
    read_segments,
    without_oddities,
)
from utils.errors import BrokenImage

_FRAME = struct.Struct(">HHB")

_INK = "CMYK"
_GREY_AND_ALPHA = 2  # components, as TIFF files may have them


def read_frame(data: bytes) -> tuple[int, int, int] | None:
    """Width, height and number of components, from the first start of a frame; None where there is none.

    Raises:
        BrokenImage: There are too many segments before it.
        struct.error: The file ends before it.
    """
    for marker, start, _ in read_segments(data):
        if marker in FRAMES:
            height, width, components = _FRAME.unpack_from(data, start + 5)
            return width, height, components
        if marker == SCAN:
            break
    return None


def decode(data: bytes, mode: str, size: tuple[int, int]) -> npt.NDArray[np.uint8]:
    """Decode a JPEG file whose mode and size (width, height) Pillow has read from its header.

    Returns:
        (height, width, 3) uint8 RGB, not turned upright; of mode CMYK four channels, as Pillow has them.

    Raises:
        BrokenImage: There are too many scans, some are missing, or it is text's line ends that it has.
        ValueError: Not every pixel is there, or it is of a kind that the library does not read.
        struct.error, IndexError: The file ends in a segment.
    """
    check_scans(data, size[0] * size[1])
    if lacks_lone_lf(data) and has_binary_line_ends(next(without_oddities(data))):
        raise BrokenImage(
            "the JPEG image has CR LF for every LF: it was sent or stored as text", field="image"
        )
    try:
        pixels = _decode_faultless(data, mode, size)
    except ValueError:
        pixels = _decode_odd(data, mode, size)
    return 255 - pixels if mode == _INK else pixels  # Pillow takes all for inverted, as Adobe's are


class Picture(JpegImagePlugin.JpegImageFile):
    """Pillow's reader of JPEG files, without what it does for the resolution.

    It fails on odd EXIF data that says nothing of the pixels. Of several pictures in a file (MPO), the first
    is the one.
    """

    def _read_dpi_from_exif(self) -> None:
        """Leave it out."""


def is_whole(data: bytes, max_pixels: int) -> bool:
    """Tell whether a JPEG stream of another file has every pixel, and no more than so many of them.

    One of two components, which cannot be judged, is taken for whole.
    """
    try:
        width, height, components = read_frame(data) or (0, 0, 0)
        if not 0 < width * height <= max_pixels:
            return False
        if components == _GREY_AND_ALPHA:
            return True  # which the library does not read
        decode(data, _INK if components == len(_INK) else "RGB", (width, height))
    except (BrokenImage, ValueError, struct.error, IndexError):
        return False
    return True


def _decode_odd(data: bytes, mode: str, size: tuple[int, int]) -> npt.NDArray[np.uint8]:
    """Decode a file with a fault that may be harmless."""
    fault = ValueError("CR LF for LF")
    for number, cleaned in enumerate(without_oddities(data)):
        if not number and lacks_lone_lf(cleaned) and has_line_ends_in_tables(data):
            break  # even few line ends of text in a small file are no harmless oddity then
        try:
            return _decode_faultless(cleaned, mode, size)
        except ValueError as error:
            fault = error
    try:
        raise fault
    finally:
        del fault  # with this frame it would keep the pixels alive until a garbage collection


def _decode_faultless(data: bytes, mode: str, size: tuple[int, int]) -> npt.NDArray[np.uint8]:
    space, channels = (_INK, 4) if mode == _INK else ("RGB", 3)
    room = np.empty((size[1], size[0], channels), np.uint8)
    pixels: npt.NDArray[np.uint8] = simplejpeg.decode_jpeg(
        data, space, fastdct=False, fastupsample=False, strict=True, buffer=room
    )
    if pixels.shape != room.shape:
        raise ValueError("another size than its header's")
    return pixels
