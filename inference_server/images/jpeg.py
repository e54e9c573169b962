"""JPEG by libjpeg-turbo directly: the same pixels as Pillow's, sooner.

Pillow uses the same library with the same settings, and copies row by row. Only what is certain to be
equal is decoded here: grey and three-colour pictures without a fault. All else is Pillow's to judge.
"""

import numpy as np
import numpy.typing as npt
import simplejpeg

_CERTAIN_MODES = ("RGB", "L")

# Where a photograph's size stands, behind its metadata. The library keeps all metadata that it reads: ten
# megabytes of it would take a second.
_LOOKED_AT = 64 * 1024

# What the library raises of files it does not read; KeyError of a subsampling that it has no name for.
_UNREADABLE = (ValueError, KeyError)


def read_size(data: bytes) -> tuple[int, int] | None:
    """Read width and height from the start of a file; None where Pillow shall judge it."""
    try:
        height, width, *_ = simplejpeg.decode_jpeg_header(memoryview(data)[:_LOOKED_AT])
    except _UNREADABLE:
        return None
    return width, height


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
