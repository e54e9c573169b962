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

# Bytes of EXIF data that Pillow takes to pieces, and may write again, for an AVIF file. A JPEG file's segment
# has 64 KiB; ten megabytes take seconds.
_MAX_EXIF = 1024**2

# Bytes of metadata and profiles, each counted as often as there are pictures with it: the decoder of HEIC
# files copies them for every picture that could be shown, of which a file may have a thousand.
_MAX_COPIES = 64 * 1024**2

# Of a track, the runs of chunks times the chunks: AVIF's decoder looks for each chunk among all runs. A core
# does four hundred million in a second.
_MAX_SEARCHES = 100_000_000

_SHORT_ITEMS = 2  # the last version of `infe` in which an item's number has 16 bits
_LONG_PLACES = 2  # the version of `iloc` in which it has 32
_FIXED = 16  # bits behind the point of a track's width

# Brands by which Pillow takes a file for AVIF; its decoder does not turn or cut a picture. A file of the last
# two that it cannot read goes to the decoder of HEIC files.
_NEVER_HEIC = frozenset({b"avif", b"avis"})
_AVIF_MAJORS = _NEVER_HEIC | {b"mif1", b"msf1"}


class _Reference(NamedTuple):
    """What one item is to others, such as `thmb`, a thumbnail of them."""

    kind: bytes
    of: int
    to: list[int]


class _Box(NamedTuple):
    """A box's type, and where its content is."""

    type: bytes
    start: int
    end: int


def read_size(name: str, data: bytes) -> tuple[int, int] | None:
    """Read width and height of the picture that is shown first; None where none is found.

    Those of HEIC files are the ones after the file's own turning and cutting.

    Raises:
        BrokenImage: The boxes, or the pictures' metadata, are too many.
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
    size = None
    if b"meta" in top:
        size = _size_of_item(data, top[b"meta"], parts, as_stored=as_stored)
    if data[8:12] == b"avis" and b"moov" in top:
        size = _size_of_track(data, top[b"moov"], parts)
    return size


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
    size = None
    for track in _boxes(data, moov.start, moov.end, parts):
        if track.type != b"trak":
            continue
        inner = _inner(data, track, parts)
        if b"meta" in inner:
            _check_items(data, _inner(data, inner[b"meta"], parts, skip=4), parts)
        if b"tkhd" not in inner or b"mdia" not in inner:
            continue
        media = _inner(data, inner[b"mdia"], parts)
        _check_chunks(data, media, parts)
        handler = media.get(b"hdlr")
        if size or handler is None or data[handler.start + 8 : handler.start + 12] != b"pict":
            continue
        head = inner[b"tkhd"]
        width, height = _SIZE.unpack_from(data, head.start + (88 if data[head.start] else 76))
        size = width >> _FIXED, height >> _FIXED
    return size


def _check_chunks(data: bytes, media: dict[bytes, _Box], parts: Parts) -> None:
    minf = _inner(data, media[b"minf"], parts) if b"minf" in media else {}
    table = _inner(data, minf[b"stbl"], parts) if b"stbl" in minf else {}
    runs, *chunks = (
        int.from_bytes(data[table[kind].start + 4 : table[kind].start + 8]) if kind in table else 0
        for kind in (b"stsc", b"stco", b"co64")
    )
    if runs * sum(chunks) > _MAX_SEARCHES:
        parts.refuse(f"{runs} runs of {sum(chunks)} chunks")


def _size_of_item(data: bytes, meta: _Box, parts: Parts, *, as_stored: bool) -> tuple[int, int] | None:
    inner = _inner(data, meta, parts, skip=4)
    if b"pitm" not in inner or b"iprp" not in inner:
        return None
    pitm = inner[b"pitm"]
    long = data[pitm.start] > 0
    item = int.from_bytes(data[pitm.start + 4 : pitm.start + (8 if long else 6)])
    references = _check_items(data, inner, parts)
    if not as_stored:  # a thumbnail is never shown, but the picture whose it is
        item = next((to[0] for kind, of, to in references if kind == b"thmb" and of == item and to), item)
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


def _check_items(data: bytes, meta: dict[bytes, _Box], parts: Parts) -> list[_Reference]:
    """Count the items, since AVIF's decoder looks for each among all others, and weigh their metadata.

    Returns:
        What the items are to each other.
    """
    kinds = _kinds(data, meta[b"iinf"], parts) if b"iinf" in meta else {}
    lengths = _lengths(data, meta[b"iloc"], parts) if b"iloc" in meta else {}
    references = _references(data, meta[b"iref"], parts) if b"iref" in meta else []
    exif = max((lengths.get(item, 0) for item, kind in kinds.items() if kind == b"Exif"), default=0)
    if data[8:12] in _AVIF_MAJORS and exif > _MAX_EXIF:
        parts.refuse(f"{exif} bytes of EXIF data; the limit is {_MAX_EXIF}")
    copies = sum(lengths.get(of, 0) * len(to) for kind, of, to in references if kind == b"cdsc")
    copies += len(kinds) * _largest_profile(data, meta, parts)
    if copies > _MAX_COPIES:
        parts.refuse(f"{copies} bytes of its pictures' metadata; the limit is {_MAX_COPIES}")
    return references


def _kinds(data: bytes, iinf: _Box, parts: Parts) -> dict[int, bytes]:
    """The items' types."""
    found = {}
    names = data[8:12] not in _NEVER_HEIC  # the decoder of HEIC files crashes at those that are no text
    for box in _boxes(data, iinf.start + (8 if data[iinf.start] else 6), iinf.end, parts):
        wide = 4 if data[box.start] > _SHORT_ITEMS else 2
        at = box.start + 4 + wide
        found[int.from_bytes(data[box.start + 4 : at])] = kind = data[at + 2 : at + 6]
        if names and not (kind.isascii() and (kind != b"mime" or _is_text(_content(data[at + 6 : box.end])))):
            parts.refuse("types of items that are no text")
    return found


def _content(names: bytes) -> bytes:
    """An item's content type, which stands behind its name."""
    return names.split(b"\0", 2)[1] if b"\0" in names else b""


def _is_text(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def _lengths(data: bytes, iloc: _Box, parts: Parts) -> dict[int, int]:
    """How many bytes the items have."""
    version, sizes, at = (
        data[iloc.start],
        int.from_bytes(data[iloc.start + 4 : iloc.start + 6]),
        iloc.start + 6,
    )
    offset, length, base, index = (sizes >> shift & 15 for shift in (12, 8, 4, 0))
    index, method = (index, 2) if version else (0, 0)
    wide = 4 if version == _LONG_PLACES else 2
    items = int.from_bytes(data[at : at + wide])
    parts.count(items)
    at += wide
    found = {}
    for _ in range(items):
        item = int.from_bytes(data[at : at + wide])
        at += wide + method + 2 + base
        extents = int.from_bytes(data[at : at + 2])
        parts.count(extents)
        at += 2
        total = 0
        for _ in range(extents):
            at += index + offset + length
            total += int.from_bytes(data[at - length : at]) if length else len(data)
        found[item] = total
    return found


def _largest_profile(data: bytes, meta: dict[bytes, _Box], parts: Parts) -> int:
    """Bytes of the largest colour profile."""
    iprp = meta.get(b"iprp")
    ipco = _inner(data, iprp, parts).get(b"ipco") if iprp else None
    properties = _boxes(data, ipco.start, ipco.end, parts) if ipco else ()
    return max((box.end - box.start for box in properties if box.type == b"colr"), default=0)


def _references(data: bytes, iref: _Box, parts: Parts) -> list[_Reference]:
    wide = 4 if data[iref.start] else 2
    found = []
    for box in _boxes(data, iref.start + 4, iref.end, parts):
        at = box.start + wide
        many = int.from_bytes(data[at : at + 2])
        parts.count(many)
        places = range(at + 2, at + 2 + many * wide, wide)
        to = [int.from_bytes(data[place : place + wide]) for place in places]
        found.append(_Reference(box.type, int.from_bytes(data[box.start : at]), to))
    return found


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
