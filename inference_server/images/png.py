"""Chunks of PNG files (ISO/IEC 15948)."""

import struct
import zlib
from collections.abc import Iterator

from inference_server.images.parts import Parts
from utils.errors import BrokenImage

_SIGNATURE = 8
_HEAD = struct.Struct(">L4s")
_SIZE = struct.Struct(">LL")
_LENGTH = struct.Struct(">L")
_CHECKSUM = 4
_PIXELS = b"IDAT"

# Of all chunks, and of those that are inflated. Pillow looks at every one, and for a size that it refuses, or
# for damaged data, at the next one of its kind: ten megabytes may hold minutes of it.
_MAX_CHUNKS = 65_536
_MAX_INFLATED = 256
_INFLATED = frozenset({b"iCCP", b"zTXt", b"iTXt"})


def read_size(data: bytes) -> tuple[int, int] | None:
    """Read width and height; None where they are not there.

    Raises:
        BrokenImage: There are too many chunks before them.
    """
    parts = Parts("PNG")
    for kind, start in _chunks(data):
        parts.count()
        if kind == b"IHDR" and start + _SIZE.size <= len(data):
            return _SIZE.unpack_from(data, start)
    return None


def check_chunks(data: bytes) -> None:
    """Refuse a file that is made to take minutes, or whose pixels have changed.

    Raises:
        BrokenImage: There are too many chunks in it, or one of pixels has another checksum than it says.
    """
    inflated = 0
    whole = memoryview(data)
    for number, (kind, start) in enumerate(_chunks(data)):
        inflated += kind in _INFLATED
        if number >= _MAX_CHUNKS or inflated > _MAX_INFLATED:
            raise BrokenImage("the PNG image has too many chunks", field="image")
        if kind == _PIXELS and not _is_intact(whole, start):
            raise BrokenImage("the PNG image's checksum is wrong: it is truncated or corrupt", field="image")


def _is_intact(data: memoryview, start: int) -> bool:
    """Whether the chunk whose contents start here has the checksum that stands behind it."""
    (length,) = _LENGTH.unpack_from(data, start - _HEAD.size)
    end = start + length
    return data[end : end + _CHECKSUM] == zlib.crc32(data[start - len(_PIXELS) : end]).to_bytes(_CHECKSUM)


def _chunks(data: bytes) -> Iterator[tuple[bytes, int]]:
    """The chunks' types, and where their contents start. What follows the last one is no part of the file."""
    at = _SIGNATURE
    kind = b""
    while kind != b"IEND" and at + _HEAD.size <= len(data):
        length, kind = _HEAD.unpack_from(data, at)
        at += _HEAD.size
        yield kind, at
        at += length + _CHECKSUM
