"""Width and height of a picture, from its header alone, for every accepted format.

No decoder is asked: each reads far more than the size, and lets a file say how long that takes. Here the
parts of a header are hopped over by their lengths and counted, so that the costliest file of any format
takes a few milliseconds. What a file is beyond its size is not judged.
"""

import struct
from collections.abc import Callable

from inference_server.images import containers, jpeg, png, tiff
from inference_server.images.parts import Parts
from utils.errors import BrokenImage

_GIF_HEAD = struct.Struct("<6sHHBxx")
_GIF_FRAME = struct.Struct("<HHHH")
_GIF_EXTENSION, _GIF_PICTURE, _GIF_END = 0x21, 0x2C, 0x3B

# Offsets, and the lengths of headers: the old one has a smaller size.
_BMP_HEAD, _BMP_SIZE = 14, 18
_BMP_OLD_HEAD = 12
_BMP_HEADS = frozenset({40, 52, 56, 64, 108, 124})
_NEGATIVE = 0xFF  # first byte of a height that says that the first row is the upper one

_WEBP_CANVAS = 24

_14_BITS = 0x3FFF


def read_size(name: str, data: bytes) -> tuple[int, int]:
    """Read width and height, in pixels, as they are stored: turning may exchange them, cutting lessen them.

    Raises:
        BrokenImage: The header ends before them, they are zero, or the header has too many parts.
    """
    try:
        size = _READERS[name](data)
    except struct.error:  # it ends where it should not
        size = None
    if size is None or min(size) <= 0:
        raise BrokenImage(
            f"the {name} image's header says no size: it is truncated or corrupt", field="image"
        )
    return size


def _gif(data: bytes) -> tuple[int, int] | None:
    """The screen, made larger where the first picture does not fit in."""
    parts = Parts("GIF")
    _, width, height, flags = _GIF_HEAD.unpack_from(data)
    at = _GIF_HEAD.size + _gif_palette(flags)
    while at < len(data) and data[at] != _GIF_END:
        parts.count()
        if data[at] == _GIF_PICTURE:
            left, top, wide, high = _GIF_FRAME.unpack_from(data, at + 1)
            return max(width, left + wide), max(height, top + high)
        at += 1
        if data[at - 1] == _GIF_EXTENSION:
            at += 1  # its kind
            while at < len(data) and data[at]:
                parts.count()
                at += 1 + data[at]
            at += 1
    return None


def _gif_palette(flags: int) -> int:
    """Bytes of the palette that flags announce."""
    return 3 << (flags & 7) + 1 if flags & 0x80 else 0


def _bmp(data: bytes) -> tuple[int, int] | None:
    (head,) = struct.unpack_from("<L", data, _BMP_HEAD)
    if head == _BMP_OLD_HEAD:
        return struct.unpack_from("<HH", data, _BMP_SIZE)
    if head not in _BMP_HEADS:
        return None
    width, height = struct.unpack_from("<LL", data, _BMP_SIZE)
    return width, (1 << 32) - height if height >> 24 == _NEGATIVE else height


def _webp(data: bytes) -> tuple[int, int] | None:
    kind = data[12:16]
    if kind == b"VP8X":  # two numbers of 24 bits
        low_width, high_width, low_height, high_height = struct.unpack_from("<HBHB", data, _WEBP_CANVAS)
        return (low_width | high_width << 16) + 1, (low_height | high_height << 16) + 1
    if kind == b"VP8 " and data[23:26] == b"\x9d\x01\x2a":
        width, height = struct.unpack_from("<HH", data, 26)
        return width & _14_BITS, height & _14_BITS
    if kind == b"VP8L" and data[20:21] == b"\x2f":
        (bits,) = struct.unpack_from("<L", data, 21)
        return (bits & _14_BITS) + 1, (bits >> 14 & _14_BITS) + 1
    return None


_READERS: dict[str, Callable[[bytes], tuple[int, int] | None]] = {
    "JPEG": lambda data: (frame := jpeg.read_frame(data)) and frame[:2],
    "PNG": png.read_size,
    "WebP": _webp,
    "GIF": _gif,
    "BMP": _bmp,
    "TIFF": tiff.read_size,
    "AVIF": lambda data: containers.read_size("AVIF", data),
    "HEIC": lambda data: containers.read_size("HEIC", data),
}
