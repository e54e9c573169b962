"""JPEG by libjpeg-turbo directly: the same pixels as Pillow's, sooner.

Pillow uses the same library with the same settings, and copies row by row. Only what is certain to be
equal is decoded here: grey and three-colour pictures without a fault. All else is Pillow's to judge.
"""

import struct

import numpy as np
import numpy.typing as npt
import simplejpeg
from PIL import JpegImagePlugin

from inference_server.images.parts import Parts

_CERTAIN_MODES = ("RGB", "L")

# Markers that a size stands behind: starts of frame, of every coding.
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC} | {0xDE}

# Markers that no length stands behind.
_BARE = frozenset({0x00, 0x01, 0xC8, *range(0xD0, 0xDA), *range(0xF0, 0xFE)})

_SCAN = 0xDA
_PADDING = 0xFF
_LENGTH = struct.Struct(">H")
_SIZE = struct.Struct(">HH")

# What the library raises of files it does not read; KeyError of a subsampling that it has no name for.
_UNREADABLE = (ValueError, KeyError)


class Picture(JpegImagePlugin.JpegImageFile):
    """Pillow's reader of JPEG files, without what it does for the resolution.

    It would go through all EXIF data, which a file may spread over as many segments as it likes. Of several
    pictures in a file (MPO), the first is the one.
    """

    def _read_dpi_from_exif(self) -> None:
        """Leave it out."""


def read_size(data: bytes) -> tuple[int, int] | None:
    """Read width and height from the first start of a frame; None where there is none.

    Raises:
        BrokenImage: There are too many segments before it.
    """
    parts = Parts("JPEG")
    at = 0
    while True:
        parts.count()
        at = data.find(b"\xff", at)
        if at < 0 or at + 1 == len(data):
            return None
        marker = data[at + 1]
        if marker == _PADDING:
            at += 1
            continue
        at += 2
        if marker in _FRAMES:
            height, width = _SIZE.unpack_from(data, at + 3)
            return width, height
        if marker == _SCAN:
            return None
        if marker not in _BARE:
            at += _LENGTH.unpack_from(data, at)[0]


def decode_plain(data: bytes, mode: str, size: tuple[int, int]) -> npt.NDArray[np.uint8] | None:
    """Decode a JPEG file whose mode and size (width, height) Pillow has read from its header.

    Returns:
        (height, width, 3) uint8 RGB, not turned upright; None where Pillow shall decode it: for another
        mode (CMYK), and where the library reads another header or has anything to complain about.
    """
    if mode not in _CERTAIN_MODES:
        return None
    try:
        height, width, *_ = simplejpeg.decode_jpeg_header(data)
        if (width, height) != size:
            return None
        pixels: npt.NDArray[np.uint8] = simplejpeg.decode_jpeg(
            data, "RGB", fastdct=False, fastupsample=False, strict=True
        )
    except _UNREADABLE:
        return None
    return pixels
