"""Rules of strips and tiles of TIFF files: whole ones are read, and what they cost is bounded."""

import io
import struct
import zlib
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image, TiffImagePlugin

from inference_server.images import decode
from tests.support.pictures import encoded, portrait
from utils.errors import BrokenImage, TooManyPixels

LIMIT = 25_000_000

MODES = ("RGB", "L", "CMYK", "I;16", "1", "LA")


@pytest.mark.parametrize(
    ("mode", "compression"),
    [(mode, compression) for mode in MODES for compression in ("tiff_adobe_deflate", "packbits")]
    + [(mode, "jpeg") for mode in ("RGB", "L", "CMYK", "LA")],
)
def test_whole_strips_of_every_mode_are_read(mode: str, compression: str) -> None:
    """Of heights that do not fill the last strip, and widths that do not fill a byte."""
    picture = Image.fromarray(portrait()[:101, :67])
    if mode == "I;16":
        picture = Image.fromarray(np.asarray(picture.convert("L")).astype(np.uint16) * 257)
    else:
        picture = picture.convert(mode)
    file = io.BytesIO()
    picture.save(file, "TIFF", compression=compression, tiffinfo={TiffImagePlugin.ROWSPERSTRIP: 16})
    assert decode(file.getvalue(), LIMIT)[0].shape == (101, 67, 3)


@pytest.mark.security(
    endpoint="pictures",
    attack="400 strips of a TIFF file that share the same bytes",
    outcome="`BROKEN_IMAGE`",
)
def test_strips_that_share_the_same_bytes_a_hundred_times_are_broken() -> None:
    """Each would be read to its end, which ten megabytes make long."""
    file = io.BytesIO()
    options = {"compression": "tiff_adobe_deflate", "tiffinfo": {TiffImagePlugin.ROWSPERSTRIP: 1}}
    Image.fromarray(portrait()[:400, :400]).save(file, "TIFF", **options)
    data = bytearray(file.getvalue())
    with Image.open(io.BytesIO(data)) as image:
        assert isinstance(image, TiffImagePlugin.TiffImageFile)
        lengths = image.tag_v2[TiffImagePlugin.STRIPBYTECOUNTS]
    for code in "H", "I":
        table = np.array(lengths, code).tobytes()
        if (at := data.find(table)) >= 0:
            data[at : at + len(table)] = np.full(len(lengths), 65_535, code).tobytes()
    with pytest.raises(BrokenImage, match="overlap"):
        decode(bytes(data), LIMIT)


def pack_bits(rows: bytes) -> bytes:
    """Each byte as a run of its own."""
    return b"".join(b"\0" + rows[at : at + 1] for at in range(len(rows)))


@pytest.mark.parametrize(("code", "compress"), [(8, zlib.compress), (32773, pack_bits)])
def test_a_last_strip_may_be_filled_up(code: int, compress: Callable[[bytes], bytes]) -> None:
    """Some writers give it as many rows as the others have; one that ends before its rows is a fault."""
    tags = [(256, 1), (257, 6), (258, 8), (259, code), (262, 1), (277, 1), (278, 4)]
    for rows in 2, 4:
        data = tiff_of_two_strips(tags, [compress(bytes(4)), compress(bytes(rows))])
        assert decode(data, LIMIT)[0].shape == (6, 1, 3)
    with pytest.raises(BrokenImage):
        decode(tiff_of_two_strips(tags, [compress(bytes(4)), compress(bytes(1))]), LIMIT)


@pytest.mark.security(
    endpoint="pictures",
    attack="A strip of two rows in a TIFF file that inflates to 9 MB",
    outcome="`BROKEN_IMAGE`",
)
def test_a_strip_that_inflates_to_megabytes_is_not_inflated() -> None:
    """No more than its rows are read of it."""
    tags = [(256, 1), (257, 6), (258, 8), (259, 8), (262, 1), (277, 1), (278, 4)]
    with pytest.raises(BrokenImage):
        decode(tiff_of_two_strips(tags, [zlib.compress(bytes(4)), zlib.compress(bytes(9_000_000))]), LIMIT)


GREY = [(256, 32), (257, 24), (258, 8), (262, 1), (277, 1), (278, 16)]
ROWS = bytes(range(256)) * 3  # of a picture of this size
LAST = ROWS[16 * 32 :]


def literal(rows: bytes) -> bytes:
    """PackBits of runs of 32 bytes."""
    return b"".join(b"\x1f" + rows[at : at + 32] for at in range(0, len(rows), 32))


def repeated(rows: bytes) -> bytes:
    """PackBits that give as many bytes as some rows have, and more of them before."""
    return literal(rows[:-32]) + b"\x21" + rows[-34:]


def test_packbits_may_have_a_row_more_or_a_filling() -> None:
    """Which decoders never reach; a rest of other runs is a fault, and rows that do not end together."""
    first, last = literal(ROWS[: 16 * 32]), literal(LAST)
    for strip in last, last + literal(bytes(32)), last + bytes(200), last + b"\x80" * 90, b"\x80" * 9 + last:
        data = tiff_of_two_strips([*GREY, (259, 32773)], [first, strip])
        assert decode(data, LIMIT)[0].tobytes()[::3] == ROWS
    for strip in last + b"\1\2\3\4\5", last + literal(bytes(32))[:-1], repeated(LAST), last[:-1]:
        with pytest.raises(BrokenImage):
            decode(tiff_of_two_strips([*GREY, (259, 32773)], [first, strip]), LIMIT)


def test_packbits_of_subsampled_colours_are_read() -> None:
    """They have half the bytes that their samples would have."""
    block = bytes((90, 90, 90, 90, 128, 128)) * 8  # two rows of 16, subsampled both ways
    strip = bytes([len(block) - 1]) + block
    tags = [(256, 16), (257, 4), (258, 8), (259, 32773), (262, 6), (277, 3), (278, 2), (530, 2 | 2 << 16)]
    pixels = decode(tiff_of_two_strips(tags, [strip, strip]), LIMIT)[0]
    assert pixels.shape == (4, 16, 3)
    assert np.all(pixels == 90)


def test_deflate_may_have_a_few_bytes_more() -> None:
    """Its checksum tells that they are no damage."""
    strips = [zlib.compress(rows + bytes(40)) for rows in (ROWS[: 16 * 32], LAST)]
    assert decode(tiff_of_two_strips([*GREY, (259, 8)], strips), LIMIT)[0].tobytes()[::3] == ROWS


def test_the_last_jpeg_strip_may_be_filled_up() -> None:
    """To as many rows as the others have."""
    pixels = np.frombuffer(ROWS, np.uint8).reshape(24, 32)
    strips = [encoded(pixels[:16].copy(), "JPEG"), encoded(pixels[8:].copy(), "JPEG")]
    assert decode(tiff_of_two_strips([*GREY, (259, 7)], strips), LIMIT)[0].shape == (24, 32, 3)


def test_jpeg_tables_of_megabytes_are_broken() -> None:
    """They would be copied and read again for each of the strips."""
    file = io.BytesIO()
    options = {"compression": "jpeg", "tiffinfo": {TiffImagePlugin.ROWSPERSTRIP: 16}}
    Image.new("RGB", (8, 16 * 600)).save(file, "TIFF", **options)
    data = bytearray(file.getvalue())
    at = data.index(struct.pack("<HH", 347, 7)) + 4
    length, offset = struct.unpack_from("<LL", data, at)
    comment = b"\xff\xfe" + struct.pack(">H", 60_000) + bytes(59_998)
    tables = data[offset : offset + length - 2] + comment * 2 + b"\xff\xd9"
    struct.pack_into("<LL", data, at, len(tables), len(data))
    with pytest.raises(BrokenImage, match="JPEG tables"):
        decode(bytes(data + tables), LIMIT)


def test_tiles_far_larger_than_the_picture_are_too_many_pixels() -> None:
    """Each is inflated whole, of which the picture may need a column."""
    tags = [(256, 1), (258, 8), (259, 8), (262, 1), (277, 1), (322, 1024), (323, 16)]
    tiles = [zlib.compress(bytes(1024 * 16))] * 2
    limit = 1024 * 16
    assert decode(tiff_of_two_strips([*tags, (257, 32)], tiles, (324, 325)), limit)[0].shape == (32, 1, 3)
    with pytest.raises(TooManyPixels):
        decode(tiff_of_two_strips([*tags, (257, 80)], tiles, (324, 325)), limit)


def tiff_of_two_strips(
    tags: list[tuple[int, int]], strips: list[bytes], places: tuple[int, int] = (273, 279)
) -> bytes:
    """A TIFF file made by hand."""
    end = 8 + 2 + 12 * (len(tags) + 2) + 4
    first = end + 16
    table_of_places = struct.pack("<4L", first, first + len(strips[0]), *map(len, strips))
    entries = sorted(
        [*((tag, 1, value) for tag, value in tags), (places[0], 2, end), (places[1], 2, end + 8)]
    )
    table = b"".join(struct.pack("<HHLL", tag, 4, many, value) for tag, many, value in entries)
    return (
        b"II*\0" + struct.pack("<LH", 8, len(entries)) + table + bytes(4) + table_of_places + b"".join(strips)
    )
