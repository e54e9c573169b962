"""Rules of damaged files: none is answered where its format can tell."""

import io
import struct
import zlib
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image, TiffImagePlugin

from inference_server.images import decode
from tests.support.damages import FORMATS, KINDS, damaged, whole, written
from tests.support.pictures import bare_png, png, png_chunk, portrait
from utils.errors import BrokenImage

LIMIT = 25_000_000

MODES = ("RGB", "L", "CMYK", "I;16", "1")

# What cannot be told: VP8 and VP8L, AV1 and HEVC give some picture of nearly any bits; uncompressed samples
# may be any; the faults that a fax decoder finds, and goes on after, do not reach Pillow.
BLIND = {"WebP, lossy", "WebP, lossless", "BMP", "TIFF, uncompressed", "TIFF, fax (group 4)", "AVIF", "HEIC"}
UNTOLD = {(form, kind) for form in BLIND for kind in ("zeroed", "random bytes")}

# They may stand for as many blocks as were there.
UNTOLD.add(("JPEG, progressive", "random bytes"))

TOLD = [(form, kind) for form in FORMATS for kind in KINDS if (form, kind) not in UNTOLD]


@pytest.mark.parametrize(("form", "kind"), TOLD)
def test_a_damaged_file_is_broken(form: str, kind: str) -> None:
    """Every format and compression, every kind of damage, at several places."""
    for data in whole(form):
        for damage in damaged(form, data):
            if damage.kind == kind:
                with pytest.raises(BrokenImage):
                    decode(damage.data, LIMIT)


@pytest.mark.parametrize("form", FORMATS)
def test_what_follows_a_file_is_no_part_of_it(form: str) -> None:
    """Some programs leave bytes behind it."""
    for data in whole(form):
        rest = np.random.default_rng(4).bytes(50_000)
        assert np.array_equal(decode(data + rest, LIMIT)[0], decode(data, LIMIT)[0])


def test_a_bmp_file_of_the_colour_that_line_ends_are_is_whole() -> None:
    """Its length tells that it is no text, which its pixels do not."""
    colour = np.full((40, 40, 3), (200, 10, 13), np.uint8)
    for form in "BMP", "TIFF, uncompressed":
        assert np.array_equal(decode(written(form, colour), LIMIT)[0], colour)


def test_a_wrong_checksum_of_png_pixels_is_broken() -> None:
    """Of any of the chunks that they are spread over."""
    stream = zlib.compress(b"\0\1\2\3" * 4)
    for chunks in [stream], [stream[:5], stream[5:]], [stream, b""]:
        good = [png_chunk(b"IDAT", chunk) for chunk in chunks]
        assert decode(bare_png(1, 4, 8, 2, *good), LIMIT)[0].shape == (4, 1, 3)
        for number in range(len(good)):
            bad = good[number][:-1] + bytes([good[number][-1] ^ 1])
            with pytest.raises(BrokenImage, match="checksum"):
                decode(bare_png(1, 4, 8, 2, *good[:number], bad, *good[number + 1 :]), LIMIT)


def test_every_truncation_of_a_png_file_is_broken() -> None:
    """With an end chunk and without, wherever it is cut before its own."""
    data = png(portrait()[:40, :40])
    for cut in range(8, len(data) - 12, 37):
        for end in b"", png_chunk(b"IEND", b""):
            with pytest.raises(BrokenImage):
                decode(data[:cut] + end, LIMIT)


@pytest.mark.parametrize(
    ("mode", "compression"),
    [(mode, compression) for mode in MODES for compression in ("tiff_adobe_deflate", "packbits")]
    + [(mode, "jpeg") for mode in MODES[:3]],
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


def test_a_strip_that_inflates_to_megabytes_is_not_inflated() -> None:
    """No more than its rows are read of it."""
    tags = [(256, 1), (257, 6), (258, 8), (259, 8), (262, 1), (277, 1), (278, 4)]
    with pytest.raises(BrokenImage):
        decode(tiff_of_two_strips(tags, [zlib.compress(bytes(4)), zlib.compress(bytes(9_000_000))]), LIMIT)


def tiff_of_two_strips(tags: list[tuple[int, int]], strips: list[bytes]) -> bytes:
    """A TIFF file made by hand."""
    end = 8 + 2 + 12 * (len(tags) + 2) + 4
    first = end + 16
    places = struct.pack("<4L", first, first + len(strips[0]), *map(len, strips))
    entries = sorted([*((tag, 1, value) for tag, value in tags), (273, 2, end), (279, 2, end + 8)])
    table = b"".join(struct.pack("<HHLL", tag, 4, many, value) for tag, many, value in entries)
    return b"II*\0" + struct.pack("<LH", 8, len(entries)) + table + bytes(4) + places + b"".join(strips)
