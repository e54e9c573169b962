"""Sizes of AVIF and HEIC files, from their boxes (ISO/IEC 14496-12 and 23008-12).

Refused besides are files that would end a worker, by a crash, by gigabytes or by many seconds: of different
ones, a caller could send as many as there are workers to end.
"""

import struct
from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

from inference_server.images.parts import Parts

_HEAD = struct.Struct(">L4s")
_LONG = struct.Struct(">Q")
_SIZE = struct.Struct(">LL")

# Brands that Pillow takes for AVIF. A file of the last two that is none goes to the decoder of HEIC files.
_NEVER_HEIC = frozenset({b"avif", b"avis"})
_AVIF = _NEVER_HEIC | {b"mif1", b"msf1"}

# Bytes of a file's tracks. Each chunk is looked for among all runs of chunks: six megabytes take 17 s.
_MAX_TRACKS = 128 * 1024

# Bytes of EXIF data that Pillow takes to pieces, and may write again, for an AVIF file: nine megabytes take
# 19 s. A JPEG file's segment has 64 KiB.
_MAX_EXIF = 1024**2

# Bytes of metadata, times the pictures that could be shown, and of the largest colour profile, times all of
# them: the decoder of HEIC files copies them for each.
_MAX_COPIES = 64 * 1024**2

# Items of other types may be pictures, and metadata, too.
_PICTURES = frozenset({b"hvc1", b"av01", b"grid", b"iden", b"iovl"})
_METADATA = frozenset({b"Exif", b"mime"})
_HIDDEN = 1  # flag of an item that is not shown by itself
_REFERENCE = 2  # bytes that one takes at least
_NAMES = 64  # bytes of an item's names that cost as much as a part


class _Box(NamedTuple):
    type: bytes
    start: int
    end: int


class _Item(NamedTuple):
    number: int
    type: bytes
    is_hidden: int


def read_size(name: str, data: bytes) -> tuple[int, int] | None:
    """Read width and height of the primary picture as they are stored; None where they are not there.

    Raises:
        BrokenImage: The boxes, their entries, the metadata or the tracks are too many.
    """
    parts = Parts(name)
    is_animation = data[8:12] == b"avis"
    size = None
    try:
        for box in _boxes(data, 0, len(data), parts):
            if box.type == b"meta":
                size = size or _read_metadata(data, box, parts)
                if not is_animation:
                    break  # what follows are the pixels
            elif box.type == b"moov" and is_animation:
                size = _read_tracks(data, box, parts)
                break
    except (struct.error, IndexError, UnicodeDecodeError):  # it ends where it should not, or has no text
        return None
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


def _read_tracks(data: bytes, moov: _Box, parts: Parts) -> tuple[int, int] | None:
    """Read the first size of a track, in 1/65,536 of a pixel."""
    if moov.end - moov.start > _MAX_TRACKS:
        parts.refuse(f"{moov.end - moov.start} bytes of tracks; the limit is {_MAX_TRACKS}")
    tracks = [box for box in _boxes(data, moov.start, moov.end, parts) if box.type == b"trak"]
    for head in (box for track in tracks for box in _boxes(data, track.start, track.end, parts)):
        if head.type == b"tkhd":
            width, height = _SIZE.unpack_from(data, head.start + (88 if data[head.start] else 76))
            return width >> 16, height >> 16
    return None


def _read_metadata(data: bytes, meta: _Box, parts: Parts) -> tuple[int, int] | None:
    """Check the items, and read the primary one's size."""
    primary = 0
    items: list[_Item] = []
    lengths: Counter[int] = Counter()
    properties: list[_Box] = []
    associations: dict[int, list[int]] = {}
    inner = list(_boxes(data, meta.start + 4, meta.end, parts))
    inner += [table for box in inner if box.type == b"iprp" for table in _boxes(data, *box[1:], parts)]
    for box in inner:
        if box.type == b"pitm":
            primary = int.from_bytes(data[box.start + 4 : box.start + (8 if data[box.start] else 6)])
        elif box.type == b"iinf":
            items += _read_items(data, box, parts)
        elif box.type == b"iloc":
            _add_lengths(data, box, parts, lengths)
        elif box.type == b"iref":  # AVIF's decoder looks for each item among all others
            parts.count((box.end - box.start) // _REFERENCE)
        elif box.type == b"ipco":
            properties += _boxes(data, box.start, box.end, parts)
        elif box.type == b"ipma":
            associations |= _read_associations(data, box, parts)
    _check_copies(data, items, lengths, properties, parts)
    described = [properties[number - 1] for number in associations.get(primary, ()) if number > 0]
    extent = next((box for box in described if box.type == b"ispe"), None)
    return extent and _SIZE.unpack_from(data, extent.start + 4)


def _read_items(data: bytes, iinf: _Box, parts: Parts) -> Iterator[_Item]:
    for box in _boxes(data, iinf.start + (8 if data[iinf.start] else 6), iinf.end, parts):
        parts.count((box.end - box.start) // _NAMES)
        number = box.start + 4
        end = number + (4 if data[box.start] > 2 else 2)  # noqa: PLR2004 - the last version of 16 bits
        kind, names = data[end + 2 : end + 6], data[end + 6 : box.end].split(b"\0", 2)
        if data[8:12] not in _NEVER_HEIC:
            kind.decode()  # the decoder of HEIC files crashes at what is no text
            b"".join(names[1:2] if kind == b"mime" else ()).decode()
        yield _Item(int.from_bytes(data[number:end]), kind, data[box.start + 3] & _HIDDEN)


def _check_copies(
    data: bytes, items: list[_Item], lengths: Counter[int], properties: list[_Box], parts: Parts
) -> None:
    exif = max((lengths[item.number] for item in items if item.type == b"Exif"), default=0)
    if data[8:12] in _AVIF and exif > _MAX_EXIF:
        parts.refuse(f"{exif} bytes of EXIF data; the limit is {_MAX_EXIF}")
    pictures = [item for item in items if item.type not in _METADATA]
    shown = sum(not item.is_hidden for item in pictures)
    copied = sum(lengths[item.number] for item in items if item.type not in _PICTURES)
    profile = max((box.end - box.start for box in properties if box.type == b"colr"), default=0)
    copies = shown * copied + len(pictures) * profile
    if copies > _MAX_COPIES:
        parts.refuse(f"{copies} bytes of its pictures' metadata; the limit is {_MAX_COPIES}")


def _add_lengths(data: bytes, iloc: _Box, parts: Parts, lengths: Counter[int]) -> None:
    """Add how many bytes the items have, by their numbers."""
    version, sizes = data[iloc.start], int.from_bytes(data[iloc.start + 4 : iloc.start + 6])
    offset, length, base, index = (sizes >> shift & 15 for shift in (12, 8, 4, 0))
    index, method = (index, 2) if version else (0, 0)
    wide = 4 if version == 2 else 2  # noqa: PLR2004 - the version of 32 bits
    at = iloc.start + 6 + wide
    for _ in range(int.from_bytes(data[at - wide : at])):
        if at >= iloc.end:
            return
        item = int.from_bytes(data[at : at + wide])
        at += wide + method + 2 + base
        extents = int.from_bytes(data[at : at + 2])
        parts.count(1 + extents)
        at += 2
        for _ in range(extents):
            at += index + offset + length
            lengths[item] += int.from_bytes(data[at - length : at]) if length else len(data)


def _read_associations(data: bytes, ipma: _Box, parts: Parts) -> Iterator[tuple[int, list[int]]]:
    """Numbers, from 1, of the properties that the items have, by the items' numbers."""
    flags, entries = _SIZE.unpack_from(data, ipma.start)
    wide = 4 if flags >> 24 else 2
    number, mask = (2, 0x7FFF) if flags & 1 else (1, 0x7F)
    at = ipma.start + _SIZE.size
    for _ in range(entries):
        many = data[at + wide]
        parts.count(1 + many)
        start, at = at, at + wide + 1 + many * number
        if at > ipma.end:
            return
        places = range(start + wide + 1, at, number)
        yield (
            int.from_bytes(data[start : start + wide]),
            [int.from_bytes(data[place : place + number]) & mask for place in places],
        )
