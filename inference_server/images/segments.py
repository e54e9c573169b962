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
ENTROPY_CODED = 0x00  # no marker: the data that follow a scan's header
_QUANTIZATION = 0xDB
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

# Zero bytes in a row that no picture has, where the code of zeros announces a coefficient. In a scan that
# refines coefficients a zero bit may come from each of those sent before: a thousand or so in a row.
_ZEROS = bytes(64)
_ZEROS_OF_REFINEMENT = bytes(160)

_APPLICATION = 0xE0
_JFIF = b"JFIF\0"
_JFIF_VERSION = b"\1\1"

# Spectral selection and approximation, which sequential scans have no use for, and must have so.
_SEQUENTIAL = b"\0\x3f\0"

# One byte so many times at a scan's end is a filling: no picture's last coefficients are coded so.
_FILLING = 16


class Segment(NamedTuple):
    """A marker's second byte, and where the segment starts (at its first) and ends.

    The end of a scan's segment is that of its header: its data follow as a segment ENTROPY_CODED.
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
            found = _AFTER_SCAN.search(data, at)
            start, at = at, found.start() if found else len(data)
            yield Segment(ENTROPY_CODED, start, at)
        elif marker == _END:
            return


def check_scans(data: bytes, pixels: int) -> None:
    """Refuse a file that is made to take minutes, has zeroed scans, or lacks some: it was cut between two.

    Raises:
        BrokenImage: The scans are too many or zeroed, or leave out coefficients of a component, or bits.
        struct.error, IndexError: The file ends in a segment.
    """
    unsent: dict[int, bytearray] = {}
    zero_codes: dict[int, int] = {}
    scans = frame = header = 0
    is_complete = False
    for marker, start, end in read_segments(data):
        if marker == _TABLES:
            zero_codes |= _zero_codes(data[start + 4 : end])
        elif marker in FRAMES:
            frame = marker
            components = data[start + 10 : start + 10 + 3 * data[start + 9] : 3]
            unsent = {component: bytearray([_UNSENT] * _COEFFICIENTS) for component in components}
        elif marker == SCAN:
            scans += 1
            _check_number(scans, pixels)
            _note_scan(data, start, unsent, progressive=frame in _PROGRESSIVE)
            header = start
            is_complete = frame not in _PROGRESSIVE and not any(map(any, unsent.values()))
            if is_complete and data.find(_ZEROS, end) < 0:
                return  # decoders read no further
        elif marker == ENTROPY_CODED:
            if frame in _HUFFMAN:
                _check_zeros(data, header, start, end, zero_codes, progressive=frame in _PROGRESSIVE)
            if is_complete:
                return
    if any(map(any, unsent.values())):
        raise BrokenImage("the JPEG image lacks scans: it is truncated", field="image")


def _check_number(scans: int, pixels: int) -> None:
    if scans > _MAX_SCANS or (scans > 1 and scans * pixels > _MAX_SCANNED_PIXELS):
        raise BrokenImage(f"the JPEG image has {scans} scans, too many for its size", field="image")


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


def _check_zeros(
    data: bytes, header: int, start: int, end: int, zero_codes: dict[int, int], *, progressive: bool
) -> None:
    """Refuse a scan that was zeroed in its middle: what zeros mean may fill as many blocks as were there."""
    components = data[header + 4]
    numbers = (tables & 15 for tables in data[header + 6 : header + 5 + 2 * components : 2])
    if (progressive and not data[header + 5 + 2 * components]) or not any(
        zero_codes.get(number, 0) & 15 for number in numbers
    ):
        return  # DC coefficients alone, or an empty block's code
    refines = progressive and data[header + 7 + 2 * components] >> 4
    zeros = _ZEROS_OF_REFINEMENT if refines else _ZEROS
    if zeros in data[start:end].rstrip(b"\0"):
        raise BrokenImage("the JPEG image has zeros where its pixels were: it is corrupt", field="image")


def without_oddities(data: bytes) -> Iterator[bytes]:
    """What of a file its pixels depend on, ended properly: files to be tried in turn.

    Left out are metadata, bytes between segments, what stands behind the end marker, and what fills the last
    scan's end: one byte again and again, of which the first may belong to the scan. Numbers are put right
    that decoders do without: the version of JFIF, and the selection of coefficients of a sequential scan.

    Raises:
        BrokenImage: There are too many segments.
        struct.error: The file ends in a segment's length.
    """
    kept: list[bytes] = []
    frame = last = 0
    for marker, start, end in read_segments(data):
        if marker in _METADATA or marker == _END:
            continue
        if marker in FRAMES:
            frame = marker
        elif marker == ENTROPY_CODED:
            last = len(kept)
        kept.append(_put_right(data[start:end], marker, frame))
    for entropy_coded in _without_filling(kept[last]):
        yield b"".join((*kept[:last], entropy_coded, *kept[last + 1 :], b"\xff\xd9"))


def _put_right(segment: bytes, marker: int, frame: int) -> bytes:
    if marker == _APPLICATION and segment[4:9] == _JFIF:
        return segment[:9] + _JFIF_VERSION + segment[11:]
    if marker == SCAN and frame not in _PROGRESSIVE:
        return segment[: -len(_SEQUENTIAL)] + _SEQUENTIAL
    return segment


def _without_filling(entropy_coded: bytes) -> Iterator[bytes]:
    rest = entropy_coded.rstrip(entropy_coded[-1:])
    filled = len(entropy_coded) - len(rest)
    if filled < _FILLING:
        yield entropy_coded
    if filled > 1:
        yield rest
        yield rest + entropy_coded[-1:]


def has_line_ends_in_tables(data: bytes) -> bool:
    """Tell whether CR LF is in a table of quantization or of Huffman codes, and more of it than it says.

    Raises:
        BrokenImage: There are too many segments.
        struct.error: The file ends in a segment's length.
    """
    return any(
        b"\r\n" in data[start : end + 1] and data[end : end + 1] != b"\xff"
        for marker, start, end in read_segments(data)
        if marker in {_QUANTIZATION, _TABLES}
    )
