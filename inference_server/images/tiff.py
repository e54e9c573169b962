"""Directories of TIFF files, and of EXIF data, which is a TIFF file without a picture.

The entries that count are the ones that Pillow would find, so that it and this module never tell different
things of a file; but nothing is decoded that nobody asked for, whatever a directory claims to hold.
"""

import re
import struct
from collections.abc import Iterator
from typing import NamedTuple

from inference_server.images.parts import Parts
from utils.errors import BrokenImage

_WIDTH, _LENGTH, _ORIENTATION = 256, 257, 274

# Tags whose values Pillow turns into numbers of Python's, one by one, when it opens a file: those that say
# how the samples lie, where the strips or tiles are, the resolution, and the palette.
_NUMBERS = frozenset(
    {_WIDTH, _LENGTH, 258, 259, 262, 266, 273, _ORIENTATION, 277, 278, 282, 283, 284, 296, 320, 322, 323, 324,
     338, 339, 530}
)  # fmt: skip

# Of these numbers, what a palette of 16 bits has, and a strip for each of 65,536 rows, since each costs more.
# Ten megabytes may hold millions, which take seconds.
_STRIPS = frozenset({273, 324})
_MAX_STRIPS = 65_536
_MAX_NUMBERS = 3 * 65_536 + _MAX_STRIPS

# Bytes of one value, by its type: those that Pillow knows, and no others.
_BYTES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8}

# Types of whole numbers.
_WHOLE = {3: "H", 4: "L", 6: "b", 8: "h", 9: "l", 13: "L", 16: "Q"}

_ORDERS = {b"II": "<", b"MM": ">"}
_HEADS = frozenset({b"MM\0*", b"II*\0", b"MM*\0", b"II\0*", b"MM\0+", b"II+\0"})
_BIG = 43  # of a BigTIFF file, whose offsets have 64 bits

_EXIF_PREFIX = re.compile(rb"(?:Exif\0\0){1,2}")


class _Form(NamedTuple):
    """How a file's directories are written."""

    order: str
    length: struct.Struct
    entry: struct.Struct
    offset: struct.Struct


class _Entry(NamedTuple):
    """A tag's type, how many values it has, and where they are."""

    type: int
    many: int
    at: int


def _form(order: str, *, big: bool) -> _Form:
    count, entry, offset = ("Q", "HHQ8s", "Q") if big else ("H", "HHL4s", "L")
    return _Form(order, *(struct.Struct(order + code) for code in (count, entry, offset)))


_FORMS = {(order, big): _form(order, big=big) for order in "<>" for big in (False, True)}


def read_size(data: bytes) -> tuple[int, int] | None:
    """Read width and height of the first picture of a TIFF file, as it is seen; None where it has none.

    Raises:
        BrokenImage: Its directory has too many entries, or values.
    """
    order = _ORDERS.get(data[:2])
    if order is None or data[:4] not in _HEADS:
        return None
    form = _FORMS[order, data[2] == _BIG]
    try:
        (start,) = form.offset.unpack_from(data, form.offset.size)
        found = {}
        numbers = strips = 0
        for tag, entry in _entries(data, start, form, Parts("TIFF")):
            if tag in _NUMBERS:
                found[tag] = entry
                numbers += entry.many
                strips += entry.many * (tag in _STRIPS)
        width, height = (_whole(data, found.get(tag), form) for tag in (_WIDTH, _LENGTH))
        turn = _whole(data, found.get(_ORIENTATION), form)
    except struct.error:
        return None
    for many, most, what in (strips, _MAX_STRIPS, "strips"), (numbers, _MAX_NUMBERS, "numbers"):
        if many > most:
            raise BrokenImage(
                f"the TIFF image's directory has {many} {what}; the limit is {most}", field="image"
            )
    if width is None or height is None:
        return None
    return (height, width) if turn in {5, 6, 7, 8} else (width, height)


def read_orientation(exif: bytes) -> int | None:
    """Read the orientation tag from EXIF data; None where there is none, 0 where it is no whole number.

    Raises:
        ValueError: This is no EXIF data.
        struct.error: It ends within its head.
    """
    if prefix := _EXIF_PREFIX.match(exif):
        exif = exif[prefix.end() :]
    if not exif:
        return None
    if exif[:4] not in _HEADS or exif[2] == _BIG:
        raise ValueError("no EXIF data")
    form = _FORMS[_ORDERS[exif[:2]], False]
    (start,) = form.offset.unpack_from(exif, form.offset.size)
    for tag, entry in _entries(exif, start, form):
        if tag == _ORIENTATION:
            return _whole(exif, entry, form) or 0
    return None


def _entries(
    data: bytes, start: int, form: _Form, parts: Parts | None = None
) -> Iterator[tuple[int, _Entry]]:
    """Go through the entries of a directory that Pillow would take, each tag's first one."""
    if start + form.length.size > len(data):
        return
    (count,) = form.length.unpack_from(data, start)
    start += form.length.size
    size = form.entry.size
    count = min(count, (len(data) - start) // size)
    seen: set[int] = set()
    outside = 0
    table = memoryview(data)[start : start + count * size]
    for number, (tag, kind, values, inside) in enumerate(form.entry.iter_unpack(table)):
        if parts is not None:
            parts.count()
        if tag in seen or kind not in _BYTES:
            continue
        taken = values * _BYTES[kind]
        at = start + number * size + size - len(inside)
        if taken > len(inside):
            (at,) = form.offset.unpack(inside)
            if at >= 1 << 63:
                continue
            outside += taken
            if outside > len(data):
                continue
            if at + taken > len(data):
                return  # where Pillow stops reading
        if taken:
            seen.add(tag)
            yield tag, _Entry(kind, values, at)


def _whole(data: bytes, entry: _Entry | None, form: _Form) -> int | None:
    """The first value, where it is a whole number."""
    if entry is None or entry.type not in _WHOLE:
        return None
    value: int = struct.unpack_from(form.order + _WHOLE[entry.type], data, entry.at)[0]
    return value
