"""Strips and tiles of TIFF files, judged by what their compression says of its own wholeness.

Pillow's decoder stops as soon as it has all pixels, and hears no warning: of a damaged file it gives what it
made of it. Checked here are Deflate's checksum, a strict reading of JPEG, and the lengths of PackBits' runs.
LZW's faults are heard; those of fax codings are not, and uncompressed strips have none.
"""

import re
import zlib
from collections.abc import Iterator
from typing import NamedTuple

from PIL import TiffImagePlugin

from inference_server.images import jpeg
from utils.errors import BrokenImage

_WIDTH, _LENGTH, _BITS, _COMPRESSION = 256, 257, 258, 259
_SAMPLES, _ROWS, _PLANAR = 277, 278, 284
_TILE_WIDTH, _TILE_LENGTH = 322, 323
_PHOTOMETRIC, _YCBCR = 262, 6
_PLACES = ((273, 279), (324, 325))  # tags of offsets and lengths, of strips and of tiles
_JPEG_TABLES = 347

_DEFLATE = frozenset({8, 32946})
_JPEG, _PACKBITS = 7, 32773
_SEPARATE = 2  # of planes: each sample has strips of its own

_INFLATED_AT_ONCE = 1024**2

# Bytes of all strips, in file lengths: a file may share some between pages, but not thousands of times.
_MAX_SHARED = 2

# Bytes of tables, which are put before every strip: as many strips as there may be, with a kilobyte each.
_MAX_JPEG_TABLES = 64 * 1024**2

_MAX_EXCESS = 4096  # bytes that a strip may inflate to besides its rows

_RUNS = 128  # of PackBits: lengths above it repeat a byte, those below it copy some
_NO_RUNS = re.compile(rb"\x80++")
_MAX_PACKBITS_PADDING = 3  # bytes of any value that may follow the last run


class _Size(NamedTuple):
    """Of a strip: pixels that it may be filled up to, bytes of a row, and of those that it must have."""

    width: int
    height: int
    row: int
    bytes: int


def check_strips(image: TiffImagePlugin.TiffImageFile, data: bytes) -> None:
    """Refuse a file with a strip that is not whole.

    Raises:
        BrokenImage: A strip is damaged or truncated, or many share the same bytes.
    """
    tags = image.tag_v2
    compression = tags.get(_COMPRESSION, 1)
    places = next((pair for pair in _PLACES if pair[0] in tags and pair[1] in tags), None)
    if places is None or compression not in {*_DEFLATE, _JPEG, _PACKBITS}:
        return
    if compression == _PACKBITS and tags.get(_PHOTOMETRIC) == _YCBCR:
        return  # subsampled, with fewer bytes
    offsets, lengths = (tags[tag] for tag in places)
    if sum(lengths) > _MAX_SHARED * len(data):
        raise BrokenImage("the TIFF image's strips overlap", field="image")
    tables = tags.get(_JPEG_TABLES, b"")
    if len(tables) * len(offsets) > _MAX_JPEG_TABLES:
        raise BrokenImage(
            f"the TIFF image has {len(tables)} bytes of JPEG tables for each of {len(offsets)} strips; "
            f"the limit is {_MAX_JPEG_TABLES} in all",
            field="image",
        )
    for at, length, size in zip(offsets, lengths, _sizes(image), strict=False):
        strip = data[at : at + length]
        if not strip:
            continue  # of a plane that is not read, or the decoder misses it
        if compression == _JPEG:
            whole = _is_jpeg_whole(strip, tables, size)
        elif compression == _PACKBITS:
            whole = _are_runs_whole(strip, size)
        else:
            whole = _is_deflated_whole(strip, size)
        if not whole:
            raise BrokenImage("the TIFF image has a damaged strip: it is truncated or corrupt", field="image")


def _sizes(image: TiffImagePlugin.TiffImageFile) -> Iterator[_Size]:
    """Of all strips or tiles, in their order."""
    tags = image.tag_v2
    width, length = tags[_WIDTH], tags[_LENGTH]
    samples, bits = tags.get(_SAMPLES, 1), tags.get(_BITS, (1,))[0]
    planes, samples = (samples, 1) if tags.get(_PLANAR) == _SEPARATE else (1, samples)
    is_tiled = _TILE_WIDTH in tags
    wide = tags[_TILE_WIDTH] if is_tiled else width
    high = tags[_TILE_LENGTH] if is_tiled else min(tags.get(_ROWS, length), length)
    row = (wide * samples * bits + 7) // 8
    for _ in range(planes):
        for top in range(0, length, high):
            height = high if is_tiled else min(high, length - top)
            for _ in range(0, width, wide):
                yield _Size(wide, high, row, row * height)


def _is_deflated_whole(strip: bytes, size: _Size) -> bool:
    """Whether it ends, and its checksum is right."""
    inflater = zlib.decompressobj()
    left = size.row * size.height + _MAX_EXCESS
    try:
        while strip and left >= 0 and not inflater.eof:
            left -= len(inflater.decompress(strip, min(left + 1, _INFLATED_AT_ONCE)))
            strip = inflater.unconsumed_tail
    except zlib.error:
        return False
    return inflater.eof


def _is_jpeg_whole(strip: bytes, tables: bytes, size: _Size) -> bool:
    return jpeg.is_whole(tables[:-2] + strip[2:] if tables else strip, size.width * size.height)


def _are_runs_whole(strip: bytes, size: _Size) -> bool:
    """Whether the runs of its rows end together, and what follows are whole rows or a filling."""
    at = given = 0
    end = len(strip)
    most = size.row * (size.height + 1)
    ends_together = False
    while at < end and given <= most:
        run = strip[at]
        if run < _RUNS:
            at += run + 2
            given += run + 1
        elif run > _RUNS:
            at += 2
            given += 257 - run
        else:
            no_runs = _NO_RUNS.match(strip, at)
            at = no_runs.end() if no_runs else at + 1
        if given == size.bytes and at <= end:
            ends_together = True
            if end - at <= _MAX_PACKBITS_PADDING or strip.count(strip[at], at) == end - at:
                return True
    return ends_together and at == end and given <= most and (given - size.bytes) % size.row == 0
