"""Rules of the short way for JPEG: never other pixels than Pillow's."""

import io
import os
import struct
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import simplejpeg
from PIL import Image

from inference_server.images import decode, inspect
from inference_server.images.jpeg import decode_plain
from tests.support.pictures import encoded, portrait

MAX_PIXELS = 25_000_000


def by_pillow(data: bytes) -> npt.NDArray[np.uint8]:
    """What Pillow makes of it."""
    with Image.open(io.BytesIO(data)) as image:
        return np.asarray(image.convert("RGB"))


def plain(data: bytes) -> npt.NDArray[np.uint8] | None:
    """The short way, as `images.decode` takes it."""
    with Image.open(io.BytesIO(data)) as image:
        return decode_plain(data, image.mode, image.size)


@pytest.mark.parametrize("quality", [10, 75, 95])
@pytest.mark.parametrize("subsampling", [0, 1, 2])
@pytest.mark.parametrize("progressive", [False, True])
def test_pixels_are_those_of_pillow(quality: int, subsampling: int, progressive: bool) -> None:
    """To the bit, for every quality, subsampling and order; also of odd sizes, and grey."""
    for pixels in (portrait(), portrait()[:101, :67], portrait()[:8, :1]):
        options = {"quality": quality, "subsampling": subsampling, "progressive": progressive}
        data = encoded(np.ascontiguousarray(pixels), "JPEG", **options)
        assert np.array_equal(plain(data), by_pillow(data))  # type: ignore[arg-type]
    grey = encoded(np.ascontiguousarray(portrait()[:, :, 0]), "JPEG", quality=quality)
    assert np.array_equal(plain(grey), by_pillow(grey))  # type: ignore[arg-type]


def test_what_is_not_certain_is_left_to_pillow() -> None:
    """CMYK, which is converted otherwise; a fault, which Pillow may forgive; a size not announced."""
    file = io.BytesIO()
    Image.fromarray(portrait()).convert("CMYK").save(file, "JPEG")
    assert plain(file.getvalue()) is None
    whole = encoded(portrait(), "JPEG")
    assert plain(whole[: len(whole) // 2]) is None
    assert decode_plain(whole, "RGB", (512, 511)) is None
    assert decode_plain(b"no picture", "RGB", (1, 1)) is None


def test_a_subsampling_without_a_name_is_pillows() -> None:
    """4:4:1, which turning 4:1:1 without loss gives: valid, and unknown to the library's binding."""
    data = bytearray(simplejpeg.encode_jpeg(np.zeros((8, 32, 3), np.uint8), colorsubsampling="411"))
    frame = data.index(b"\xff\xc0")
    data[frame + 5 : frame + 9] = struct.pack(">HH", 32, 8)
    data[frame + 11] = 0x14
    assert decode_plain(bytes(data), "RGB", (8, 32)) is None
    assert inspect(bytes(data), len(data), MAX_PIXELS).height == 32
    assert decode(bytes(data), MAX_PIXELS)[0].shape == (32, 8, 3)


def test_the_answer_can_be_written_and_is_contiguous() -> None:
    """As every engine expects."""
    pixels, orientation = decode(encoded(portrait(), "JPEG"), MAX_PIXELS)
    assert orientation == 1
    assert pixels.flags.c_contiguous
    assert pixels.flags.writeable
    assert pixels.dtype == np.uint8


@pytest.mark.skipif(not os.environ.get("PHOTOS_DIR"), reason="PHOTOS_DIR names no folder of photographs")
@pytest.mark.filterwarnings("ignore:Image appears to be a malformed MPO file")
def test_all_jpeg_files_of_the_photo_sets_give_pillows_pixels() -> None:
    """Photographs, and odd ones: where the short way answers, it answers as Pillow does."""
    answered = 0
    for path in sorted(Path(os.environ["PHOTOS_DIR"]).rglob("*.jp*g")):
        data = path.read_bytes()
        try:
            short = plain(data)
        except OSError:  # Pillow cannot read its header
            continue
        if short is not None:
            answered += 1
            assert np.array_equal(short, by_pillow(data)), path.name
    assert answered > 400
