"""The first directory of TIFF files: the size, and what Pillow would do too much with."""

import struct
from typing import Literal

from inference_server.images.parts import Parts

_WIDTH, _LENGTH = 256, 257

# Bytes of a value, by its type: those that stand in an entry and not elsewhere.
_WHOLE = {3: 2, 4: 4, 13: 4, 16: 8}

# Strips or tiles. Pillow makes objects of each when it opens a file: ten megabytes of tiles take 15 s.
_OFFSETS = frozenset({273, 324})
_MAX_OFFSETS = 65_536

_BIG = 43  # of a BigTIFF file, whose offsets have 64 bits


def read_size(data: bytes) -> tuple[int, int] | None:
    """Read width and height as they are stored; None where they are not there.

    Raises:
        BrokenImage: There are too many entries, strips or tiles.
        struct.error: The file ends before its directory.
    """
    order: Literal["little", "big"] = "little" if data[:2] == b"II" else "big"
    wide, form = (8, "HHQ8s") if _BIG in data[2:4] else (4, "HHL4s")
    entry = struct.Struct("<>"[order == "big"] + form)
    start = int.from_bytes(data[wide : 2 * wide], order)
    table = start + (8 if wide == 8 else 2)  # noqa: PLR2004 - as many bytes as their number has
    entries = min(int.from_bytes(data[start:table], order), (len(data) - table) // entry.size)
    parts = Parts("TIFF")
    found: dict[int, int] = {}
    for at in range(table, table + entries * entry.size, entry.size):
        parts.count()
        tag, kind, many, value = entry.unpack_from(data, at)
        if tag in _OFFSETS and many > _MAX_OFFSETS:
            parts.refuse(f"{many} strips or tiles; the limit is {_MAX_OFFSETS}")
        if tag in {_WIDTH, _LENGTH} and kind in _WHOLE:
            found.setdefault(tag, int.from_bytes(value[: _WHOLE[kind]], order))
    if found.keys() < {_WIDTH, _LENGTH}:
        return None
    return found[_WIDTH], found[_LENGTH]
