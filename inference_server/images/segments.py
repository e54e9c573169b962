"""Segments of JPEG files (ITU-T T.81, annex B), from the start of the image to its end marker."""

import re
import struct
from collections.abc import Iterator
from typing import NamedTuple

from inference_server.images.parts import Parts
from utils.errors import BrokenImage

# Starts of frame, of every coding, which a size stands behind; those of progressive codings among them.
FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC} | {0xDE}
_PROGRESSIVE = frozenset({0xC2, 0xC6, 0xCA, 0xCE})

_HUFFMAN = frozenset({0xC0, 0xC1, 0xC2})

SCAN = 0xDA
_TABLES = 0xC4
_END = 0xD9

# Markers that no length stands behind, and which of them decoders pass over: restarts, and what is none.
_BARE = frozenset({0x00, 0x01, 0xC8, *range(0xD0, 0xDA), *range(0xF0, 0xFE)})
_PASSED_OVER = frozenset({0x00, 0x01, *range(0xD0, 0xD8)})

# Segments that say nothing of pixels: comments, and of the application's all but those of JFIF and Adobe.
_METADATA = frozenset({0xFE, *range(0xE1, 0xF0)} - {0xEE})

_PADDING = 0xFF
_LENGTH = struct.Struct(">H")
_AFTER_SCAN = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")

# Pixels that the scans of a file pass over: encoders write ten scans or so, a hostile file a hundred
# thousand. A core takes about 150 megapixels a second.
_MAX_SCANNED_PIXELS = 400_000_000
_MAX_SCANS = 1000  # each costs something, however small the picture

_COEFFICIENTS = 64  # of a block
_UNSENT = 0xFF

_SYMBOLS = 17  # where those of a Huffman table start, behind its number and 16 counts

# Zero bytes in a row that no picture has, where the code of zeros announces a coefficient.
_ZEROS = bytes(64)


class Segment(NamedTuple):
    """A marker's second byte, and where the segment starts (at its first) and ends.

    The end of a scan's segment is that of its header: its entropy-coded data follow.
    """

    marker: int
    start: int
    end: int


def read_segments(data: bytes) -> Iterator[Segment]:
    """Go through the segments up to the end marker, or the end of the file, and leave out what is between.

    Raises:
        BrokenImage: They are too many.
        struct.error: The file ends in a segment's length.
    """
    parts = Parts("JPEG")
    at = 0
    while True:
        parts.count()
        at = data.find(b"\xff", at)
        if at < 0 or at + 1 == len(data):
            return
        marker, start = data[at + 1], at
        if marker == _PADDING:
            at += 1
            continue
        at += 2
        if marker not in _BARE:
            at += _LENGTH.unpack_from(data, at)[0]
        if marker not in _PASSED_OVER:
            yield Segment(marker, start, at)
        if marker == SCAN:
            at = _end_of_scan(data, at)
        elif marker == _END:
            return


def _end_of_scan(data: bytes, at: int) -> int:
    """Where the entropy-coded data that start here end: at a marker, or with the file."""
    found = _AFTER_SCAN.search(data, at)
    return found.start() if found else len(data)


def check_scans(data: bytes, pixels: int) -> None:
    """Refuse a file that is made to take minutes, has zeroed scans, or lacks some: it was cut between two.

    Raises:
        BrokenImage: The scans are too many or zeroed, or leave out coefficients of a component, or bits.
        struct.error, IndexError: The file ends in a segment.
    """
    unsent: dict[int, bytearray] = {}
    zero_codes: dict[int, int] = {}
    scans = frame = 0
    for marker, start, end in read_segments(data):
        if marker == _TABLES:
            zero_codes |= _zero_codes(data[start + 4 : end])
        elif marker in FRAMES:
            frame = marker
            components = data[start + 10 : start + 10 + 3 * data[start + 9] : 3]
            unsent = {component: bytearray([_UNSENT] * _COEFFICIENTS) for component in components}
        elif marker == SCAN:
            scans += 1
            if scans > _MAX_SCANS or (scans > 1 and scans * pixels > _MAX_SCANNED_PIXELS):
                raise BrokenImage(f"the JPEG image has {scans} scans, too many for its size", field="image")
            _note_scan(data, start, unsent, progressive=frame in _PROGRESSIVE)
            if frame in _HUFFMAN:
                _check_zeros(data, start, end, zero_codes, progressive=frame in _PROGRESSIVE)
            if frame not in _PROGRESSIVE and not any(map(any, unsent.values())):
                return  # decoders read no further
    if any(map(any, unsent.values())):
        raise BrokenImage("the JPEG image lacks scans: it is truncated", field="image")


def _note_scan(data: bytes, start: int, unsent: dict[int, bytearray], *, progressive: bool) -> None:
    """Note for each coefficient the lowest bit that has been sent of it: 0 where it is complete."""
    end = start + 5 + 2 * data[start + 4]
    first, last, bits = data[end], data[end + 1], data[end + 2] & 15
    if not progressive:
        first, last, bits = 0, _COEFFICIENTS - 1, 0
    if first <= last < _COEFFICIENTS:
        for component in data[start + 5 : end : 2]:
            if component in unsent:
                unsent[component][first : last + 1] = bytes([bits]) * (last + 1 - first)


def _zero_codes(tables: bytes) -> dict[int, int]:
    """What a code of zeros stands for, by the numbers of the Huffman tables of AC coefficients."""
    found = {}
    at = 0
    while at + _SYMBOLS < len(tables):
        if tables[at] >> 4:
            found[tables[at] & 15] = tables[at + _SYMBOLS]
        at += _SYMBOLS + sum(tables[at + 1 : at + _SYMBOLS])
    return found


def _check_zeros(data: bytes, start: int, end: int, zero_codes: dict[int, int], *, progressive: bool) -> None:
    """Refuse a scan that was zeroed in its middle: what zeros mean may fill as many blocks as were there."""
    components = data[start + 4]
    numbers = (tables & 15 for tables in data[start + 6 : start + 5 + 2 * components : 2])
    if (progressive and not data[start + 5 + 2 * components]) or not any(
        zero_codes.get(number, 0) & 15 for number in numbers
    ):
        return  # DC coefficients alone, or an empty block's code
    if data.find(_ZEROS, end) < 0:
        return
    if _ZEROS in data[end : _end_of_scan(data, end)].rstrip(b"\0"):
        raise BrokenImage("the JPEG image has zeros where its pixels were: it is corrupt", field="image")


def without_oddities(data: bytes) -> bytes:
    """What of a file its pixels depend on, ended properly.

    Metadata are left out, bytes between segments, what stands behind the end marker, and behind the
    entropy-coded data of a scan a filling of one byte again and again.

    Raises:
        BrokenImage: There are too many segments.
        struct.error: The file ends in a segment's length.
    """
    kept = []
    for marker, start, end in read_segments(data):
        if marker not in _METADATA and marker != _END:
            kept.append(data[start:end])
        if marker == SCAN:
            kept.append(_without_filling(data[end : _end_of_scan(data, end)]))
    return b"".join((*kept, b"\xff\xd9"))


def _without_filling(entropy_coded: bytes) -> bytes:
    filling = entropy_coded[-1:]
    rest = entropy_coded.rstrip(filling)
    if len(entropy_coded) - len(rest) < 2:  # noqa: PLR2004 # nothing is repeated
        return entropy_coded
    return rest + b"\0" if rest.endswith(b"\xff") else rest  # a zero behind it is no filling
