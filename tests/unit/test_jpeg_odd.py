"""Rules of odd JPEG files: what no pixel depends on refuses none."""

import io
from collections import Counter
from collections.abc import Iterator

import numpy as np
import pytest
from PIL import Image

from inference_server.images import decode
from inference_server.images.formats import has_binary_line_ends
from tests.support.pictures import Pixels, encoded, portrait
from utils.errors import BrokenImage

MAX_PIXELS = 25_000_000
END = b"\xff\xd9"

SMALL_PICTURES = 200


def decoded(data: bytes) -> Pixels:
    """The array alone."""
    return decode(data, MAX_PIXELS)[0]


def has_pixels_of(plain: bytes, odd: bytes) -> bool:
    """Whether a file is answered, with the pixels that Pillow reads of a plain one."""
    with Image.open(io.BytesIO(plain)) as image:
        pixels = np.asarray(image.convert("RGB"))
    try:
        return np.array_equal(decoded(odd), pixels)
    except BrokenImage:
        return False


def small_pictures() -> Iterator[Image.Image]:
    """Noise, one colour, gradients and stripes, of 1 to 64 pixels a side, in colour, grey and ink."""
    random = np.random.default_rng(3)
    for number in range(SMALL_PICTURES):
        high, wide = random.integers(1, 65, 2)
        drawn = (
            random.integers(0, 256, (high, wide, 3)),
            np.full((high, wide, 3), random.integers(0, 256, 3)),
            np.linspace(0, 255, wide)[None, :, None] * random.random(3) + np.zeros((high, 1, 1)),
            np.linspace(0, 255, wide)[None, :, None] + random.normal(0, 6, (high, wide, 1)) + np.zeros(3),
            (np.indices((high, wide)).sum(0) // 3 % 2)[:, :, None] * random.integers(0, 256, 3),
        )[number % 5]
        mode = ("RGB", "L", "CMYK")[number % 3]
        yield Image.fromarray(np.clip(drawn, 0, 255).astype(np.uint8)).convert(mode)


@pytest.mark.parametrize("progressive", [False, True])
def test_small_pictures_of_all_kinds_are_answered(progressive: bool) -> None:
    """All as they were written; with an oddity, all but one of a hundred."""
    refused: Counter[str] = Counter()
    for number, picture in enumerate(small_pictures()):
        file = io.BytesIO()
        picture.save(file, "JPEG", quality=10 + number % 90, progressive=progressive)
        data = file.getvalue()
        tables = data.index(b"\xff\xdb")
        for kind, odd in {
            "plain": data,
            "no end marker": data[:-2],
            "filled": data[:-2] + bytes(40) + END,
            "bytes between segments": data[:tables] + b"\1\2junk" + data[tables:],
        }.items():
            refused[kind] += not has_pixels_of(data, odd)
    assert refused["plain"] == 0
    assert max(refused.values()) <= SMALL_PICTURES // 100, refused


def test_long_zeros_may_refine_coefficients() -> None:
    """A smooth gradient has a thousand zero bits in a row in a progressive file's last scans."""
    random = np.random.default_rng(1)
    down = np.broadcast_to(np.linspace(0, 255, 400)[:, None], (400, 800))
    across = np.linspace(20, 220, 800)[None] + random.normal(0, 6, (400, 800))
    pixels = np.clip(np.concatenate([down, across]), 0, 255).astype(np.uint8)
    data = encoded(pixels, "JPEG", quality=75, progressive=True)
    assert has_pixels_of(data, data)


def test_the_version_of_jfif_is_no_matter() -> None:
    """The library complains of a major version that it does not know, and reads on."""
    data = encoded(portrait(), "JPEG")
    at = data.index(b"JFIF\0") + 5
    assert np.array_equal(decoded(data[:at] + b"\2\0" + data[at + 2 :]), decoded(data))


@pytest.mark.parametrize("selection", [b"\0\0\0", b"\0\x3f\1"])
def test_a_sequential_scan_may_select_wrong_coefficients(selection: bytes) -> None:
    """It has all of them, whatever its header says."""
    data = encoded(portrait(), "JPEG")
    end = data.index(b"\xff\xda") + 14
    assert np.array_equal(decoded(data[: end - 3] + selection + data[end:]), decoded(data))


@pytest.mark.parametrize("odd", [b"", b"\1\2junk"])
def test_comments_with_line_ends_of_text_are_no_damage(odd: bytes) -> None:
    """In any language, and in a tiny picture that has no LF of its own."""
    text = "één\r\nété\r\nça\r\nÄ\r\nà\r\n".encode("latin-1")
    data = encoded(np.zeros((1, 1, 3), np.uint8), "JPEG", comment=text, optimize=True, quality=100)
    assert data.count(b"\n") == data.count(b"\r\n")
    at = data.index(b"\xff\xdb")
    assert decoded(data[:at] + odd + data[at:]).shape == (1, 1, 3)


def test_line_ends_that_a_pattern_repeats_are_no_sign_of_text() -> None:
    """The three inks of a grey picture have the same code, with the same CR LF; different places are one."""
    place = b"\x14\xfb\r\nE\xc6"
    assert not has_binary_line_ends(place * 3)
    assert has_binary_line_ends(place + b"\x80\r\n\x81\x82" + b"\x83\r\n\x84\x85")
