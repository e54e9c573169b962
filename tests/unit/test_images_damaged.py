"""Rules of damaged files: none is answered where its format can tell."""

import struct
import zlib

import numpy as np
import pytest

from inference_server.images import decode
from tests.support.damages import FORMATS, KINDS, damaged, whole, written
from tests.support.pictures import bare_png, encoded, png, png_chunk, portrait
from utils.errors import BrokenImage

LIMIT = 25_000_000

# What cannot be told: VP8 and VP8L, AV1 and HEVC give some picture of nearly any bits; uncompressed samples
# may be any; the faults that a fax decoder finds, and goes on after, do not reach Pillow.
BLIND = {"WebP, lossy", "WebP, lossless", "BMP", "TIFF, uncompressed", "TIFF, fax (group 4)", "AVIF", "HEIC"}
UNTOLD = {(form, kind) for form in BLIND for kind in ("zeroed", "random bytes")}

# They may stand for as many blocks as were there.
UNTOLD.add(("JPEG, progressive", "random bytes"))

TOLD = [(form, kind) for form in FORMATS for kind in KINDS if (form, kind) not in UNTOLD]


def files(form: str) -> tuple[bytes, ...]:
    """Undamaged files of this format."""
    found = whole(form)
    if not found:
        pytest.skip(f"PHOTOS_DIR names no folder of {form} files")
    return found


@pytest.mark.security(
    endpoint="pictures",
    attack="Files of all formats that were cut, zeroed, overwritten, or changed as text",
    outcome="`BROKEN_IMAGE`",
)
@pytest.mark.parametrize(("form", "kind"), TOLD)
def test_a_damaged_file_is_broken(form: str, kind: str) -> None:
    """Every format and compression, every kind of damage, at several places."""
    for data in files(form):
        for damage in damaged(form, data):
            if damage.kind == kind:
                with pytest.raises(BrokenImage):
                    decode(damage.data, LIMIT)


@pytest.mark.parametrize("form", FORMATS)
def test_what_follows_a_file_is_no_part_of_it(form: str) -> None:
    """Some programs leave bytes behind it."""
    for data in files(form):
        rest = np.random.default_rng(4).bytes(50_000)
        assert np.array_equal(decode(data + rest, LIMIT)[0], decode(data, LIMIT)[0])


def test_a_bmp_file_of_the_colour_that_line_ends_are_is_whole() -> None:
    """Its length tells that it is no text, which its pixels do not."""
    colour = np.full((40, 40, 3), (200, 10, 13), np.uint8)
    for form in "BMP", "TIFF, uncompressed":
        assert np.array_equal(decode(written(form, colour), LIMIT)[0], colour)


def with_riff_metadata(data: bytes, text: bytes) -> bytes:
    """A WebP file with a chunk behind its picture."""
    chunk = b"XMP " + struct.pack("<L", len(text)) + text
    return data[:4] + struct.pack("<L", len(data) + len(chunk) - 8) + data[8:] + chunk


@pytest.mark.parametrize("form", ["GIF", "WebP, lossless"])
def test_comments_with_line_ends_of_text_are_no_damage(form: str) -> None:
    """In any language, and in a tiny picture that has no LF of its own."""
    text = "één\r\nété\r\nçà\r\n Ä\r\nà\r\n".encode("latin-1")
    colour = np.zeros((2, 2, 3), np.uint8)
    if form == "GIF":
        data = encoded(colour, "GIF", comment=text)
    else:
        data = with_riff_metadata(written(form, colour), text + b" " * (len(text) % 2))
    assert data.count(b"\n") == data.count(b"\r\n") == text.count(b"\n")
    assert decode(data, LIMIT)[0].shape == (2, 2, 3)


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
