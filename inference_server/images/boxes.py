"""Sizes of AVIF and HEIC files, from their boxes (ISO/IEC 14496-12 and 23008-12).

The decoders of these formats read all metadata before they tell a size, and copy it for every picture.
"""

import struct
from collections.abc import Iterator
from typing import NamedTuple

from inference_server.images.parts import Parts

_HEAD = struct.Struct(">L4s")
_LONG = struct.Struct(">Q")
_SIZE = struct.Struct(">LL")
_CLAP = struct.Struct(">LLLL")
_FIXED = 16  # bits behind the point of a track's width

# Brands by which Pillow takes a file for AVIF; its decoder does not turn or cut a picture.
_AVIF_MAJORS = frozenset({b"avif", b"avis", b"mif1", b"msf1"})


class _Box(NamedTuple):
    """A box's type, and where its content is."""

    type: bytes
    start: int
    end: int


def read_size(name: str, data: bytes) -> tuple[int, int] | None:
    """Read width and height of the picture that is shown first; None where none is found.

    Those of HEIC files are the ones after the file's own turning and cutting.

    Raises:
        BrokenImage: The boxes are too many.
    """
    parts = Parts(name)
    try:
        return _read_size(data, parts, as_stored=name == "AVIF" and data[8:12] in _AVIF_MAJORS)
    except (struct.error, IndexError):  # it ends where it should not
        return None


def _read_size(data: bytes, parts: Parts, *, as_stored: bool) -> tuple[int, int] | None:
    top: dict[bytes, _Box] = {}
    for box in _boxes(data, 0, len(data), parts):
        top.setdefault(box.type, box)
        if b"meta" in top and data[8:12] != b"avis":
            break  # what follows are the pixels
    if data[8:12] == b"avis" and b"moov" in top:
        return _size_of_track(data, top[b"moov"], parts)
    return _size_of_item(data, top[b"meta"], parts, as_stored=as_stored) if b"meta" in top else None


def _boxes(data: bytes, at: int, end: int, parts: Parts) -> Iterator[_Box]:
    while at + _HEAD.size <= end:
        parts.count()
        size, kind = _HEAD.unpack_from(data, at)
        start = at + _HEAD.size
        if size == 1:
            (size,) = _LONG.unpack_from(data, start)
            start += _LONG.size
        elif size == 0:
            size = end - at
        if size < start - at:
            return
        yield _Box(kind, start, min(at + size, end))
        at += size


def _inner(data: bytes, box: _Box, parts: Parts, skip: int = 0) -> dict[bytes, _Box]:
    """The first box of each type within a box."""
    found: dict[bytes, _Box] = {}
    for inner in _boxes(data, box.start + skip, box.end, parts):
        found.setdefault(inner.type, inner)
    return found


def _size_of_track(data: bytes, moov: _Box, parts: Parts) -> tuple[int, int] | None:
    for track in _boxes(data, moov.start, moov.end, parts):
        if track.type != b"trak":
            continue
        inner = _inner(data, track, parts)
        if b"tkhd" not in inner or b"mdia" not in inner:
            continue
        handler = _inner(data, inner[b"mdia"], parts).get(b"hdlr")
        if handler is None or data[handler.start + 8 : handler.start + 12] != b"pict":
            continue
        head = inner[b"tkhd"]
        width, height = _SIZE.unpack_from(data, head.start + (88 if data[head.start] else 76))
        return width >> _FIXED, height >> _FIXED
    return None


def _size_of_item(data: bytes, meta: _Box, parts: Parts, *, as_stored: bool) -> tuple[int, int] | None:
    inner = _inner(data, meta, parts, skip=4)
    if b"pitm" not in inner or b"iprp" not in inner:
        return None
    pitm = inner[b"pitm"]
    long = data[pitm.start] > 0
    item = int.from_bytes(data[pitm.start + 4 : pitm.start + (8 if long else 6)])
    _count_items(data, inner, parts)
    if b"iref" in inner:
        shown = _shown_instead(data, inner[b"iref"], item, parts)
        item = item if as_stored else shown
    tables = list(_boxes(data, inner[b"iprp"].start, inner[b"iprp"].end, parts))
    properties = [
        box
        for table in tables
        if table.type == b"ipco"
        for box in _boxes(data, table.start, table.end, parts)
    ]
    size = None
    for number in _associations(data, tables, item, parts):
        if not 0 < number <= len(properties):
            continue
        kind, start, _ = properties[number - 1]
        if kind == b"ispe" and size is None:
            size = _SIZE.unpack_from(data, start + 4)
        elif size is None or as_stored:
            continue
        elif kind == b"irot" and data[start] & 1:
            size = size[::-1]
        elif kind == b"clap":
            wide, by, high, into = _CLAP.unpack_from(data, start)
            if by and into:
                size = (wide + by // 2) // by, (high + into // 2) // into
    return size


def _count_items(data: bytes, meta: dict[bytes, _Box], parts: Parts) -> None:
    """Count the items: AVIF's decoder looks for each among all others."""
    if b"iinf" in meta:
        start, end = meta[b"iinf"].start, meta[b"iinf"].end
        for _ in _boxes(data, start + (8 if data[start] else 6), end, parts):
            pass
    if b"iloc" in meta:
        start = meta[b"iloc"].start
        parts.count(int.from_bytes(data[start + 6 : start + (10 if data[start] > 1 else 8)]))


def _shown_instead(data: bytes, iref: _Box, item: int, parts: Parts) -> int:
    """The picture whose thumbnail an item is, for a thumbnail is never shown; else the item itself."""
    wide = 4 if data[iref.start] else 2
    for reference in _boxes(data, iref.start + 4, iref.end, parts):
        at = reference.start + wide
        parts.count(int.from_bytes(data[at : at + 2]))
        if reference.type == b"thmb" and int.from_bytes(data[reference.start : at]) == item:
            item = int.from_bytes(data[at + 2 : at + 2 + wide])
    return item


def _associations(data: bytes, tables: list[_Box], item: int, parts: Parts) -> list[int]:
    """Numbers, from 1, of the properties that an item has."""
    found: list[int] = []
    for table in tables:
        if table.type != b"ipma":
            continue
        at = table.start
        (flags, entries), at = _SIZE.unpack_from(data, at), at + _SIZE.size
        identity = 4 if flags >> 24 else 2
        number, mask = (2, 0x7FFF) if flags & 1 else (1, 0x7F)
        for _ in range(entries):
            parts.count()
            of = int.from_bytes(data[at : at + identity])
            many = data[at + identity]
            at += identity + 1
            if of == item:
                parts.count(many)
                each = (data[place : place + number] for place in range(at, at + many * number, number))
                found += [int.from_bytes(value) & mask for value in each]
            at += many * number
            if at > table.end:
                break
    return found
