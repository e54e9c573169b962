"""Rules of reading JPEG: Pillow's pixels of every whole file, however odd, and none of a damaged one."""

import gc
import io
import os
import struct
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import simplejpeg
from PIL import Image

from inference_server.images import decode, inspect
from tests.support.pictures import Pixels, encoded, portrait
from utils.errors import BrokenImage, FacetError

MAX_PIXELS = 25_000_000
END = b"\xff\xd9"


def by_pillow(data: bytes) -> Pixels:
    """What Pillow makes of it."""
    with Image.open(io.BytesIO(data)) as image:
        return np.asarray(image.convert("RGB"))


def decoded(data: bytes) -> Pixels:
    """The array alone."""
    return decode(data, MAX_PIXELS)[0]


def in_ink(pixels: Pixels) -> bytes:
    """A picture as a CMYK file."""
    file = io.BytesIO()
    Image.fromarray(pixels).convert("CMYK").save(file, "JPEG")
    return file.getvalue()


def starts(data: bytes, marker: bytes) -> list[int]:
    """Where a marker stands, which is no part of entropy-coded data."""
    return [at for at in range(len(data)) if data.startswith(marker, at)]


@pytest.mark.parametrize("quality", [10, 75, 95])
@pytest.mark.parametrize("subsampling", [0, 1, 2])
@pytest.mark.parametrize("progressive", [False, True])
def test_pixels_are_those_of_pillow(quality: int, subsampling: int, progressive: bool) -> None:
    """To the bit, for every quality, subsampling and order; also of odd sizes, grey and in ink."""
    for pixels in (portrait(), portrait()[:101, :67], portrait()[:8, :1]):
        options = {"quality": quality, "subsampling": subsampling, "progressive": progressive}
        data = encoded(np.ascontiguousarray(pixels), "JPEG", **options)
        assert np.array_equal(decoded(data), by_pillow(data))
    for data in encoded(portrait()[:, :, 0].copy(), "JPEG", quality=quality), in_ink(portrait()):
        assert np.array_equal(decoded(data), by_pillow(data))


def test_a_subsampling_without_a_name_is_read() -> None:
    """4:4:1, which turning 4:1:1 without loss gives: valid, and unknown to the library's binding."""
    data = bytearray(simplejpeg.encode_jpeg(np.zeros((8, 32, 3), np.uint8), colorsubsampling="411"))
    frame = data.index(b"\xff\xc0")
    data[frame + 5 : frame + 9] = struct.pack(">HH", 32, 8)
    data[frame + 11] = 0x14
    assert inspect(bytes(data), len(data), MAX_PIXELS).height == 32
    assert decoded(bytes(data)).shape == (32, 8, 3)


def test_the_answer_can_be_written_and_is_contiguous() -> None:
    """As every engine expects."""
    for data in encoded(portrait(), "JPEG"), in_ink(portrait()):
        pixels, orientation = decode(data, MAX_PIXELS)
        assert orientation == 1
        assert pixels.flags.c_contiguous
        assert pixels.flags.writeable
        assert pixels.dtype == np.uint8


@pytest.mark.parametrize("progressive", [False, True])
def test_every_truncation_is_broken(progressive: bool) -> None:
    """Wherever the file was cut, and whether an end marker was put there or not; between two scans, too."""
    data = encoded(portrait()[:96, :96].copy(), "JPEG", progressive=progressive)
    cuts = {
        *range(4, len(data) - 2, 23),
        *starts(data, b"\xff\xda"),
        *starts(data, b"\xff\xc4"),
        len(data) - 3,
    }
    for cut in sorted(cuts):
        for end in b"", END:
            with pytest.raises(BrokenImage):
                decode(data[:cut] + end, MAX_PIXELS)


@pytest.mark.security(
    endpoint="pictures",
    attack="Truncated JPEG files, to fill the memory",
    outcome="The pixels of one are freed at once",
)
def test_a_truncated_file_leaves_no_pixels_in_memory() -> None:
    """They would else stay until a garbage collection, which is rare."""
    data = encoded(portrait(), "JPEG")
    gc.disable()
    tracemalloc.start()
    try:
        with pytest.raises(BrokenImage):
            decode(data[: len(data) // 2], 10**7)
        left, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
        gc.enable()
    assert left < portrait().nbytes / 4


def test_odd_exif_data_on_the_resolution_are_no_fault() -> None:
    """A resolution of one byte, as some cameras write it, in a file without a JFIF header."""
    data = encoded(portrait(), "JPEG")
    headless = data[:2] + data[4 + int.from_bytes(data[4:6], "big") :]
    resolution = struct.pack("<HHL4s", 282, 1, 1, b"\x48\0\0\0") + struct.pack(
        "<HHL4s", 296, 3, 1, b"\2\0\0\0"
    )
    exif = b"Exif\0\0II*\0\x08\0\0\0" + struct.pack("<H", 2) + resolution + bytes(4)
    segment = b"\xff\xe1" + struct.pack(">H", 2 + len(exif)) + exif
    pixels, _ = decode(headless[:2] + segment + headless[2:], 10**7)
    assert pixels.shape == portrait().shape


def test_a_file_of_one_component_of_three_is_broken() -> None:
    """Scans may carry one each; where the others are cut off, grey is not the picture."""
    file = io.BytesIO()
    Image.fromarray(portrait()).save(file, "JPEG", progressive=True)
    data = file.getvalue()
    first, second = starts(data, b"\xff\xda")[:2]
    sequential = data[:first].replace(b"\xff\xc2", b"\xff\xc0")
    scan = sequential + struct.pack(">BBHB2sBBB", 0xFF, 0xDA, 8, 1, b"\1\0", 0, 63, 0)
    with pytest.raises(BrokenImage):
        decode(scan + data[first + 14 : second] + END, MAX_PIXELS)


@pytest.mark.parametrize("quality", [30, 75, 95])
@pytest.mark.parametrize("optimize", [False, True])
def test_line_ends_of_text_in_a_picture_are_told(quality: int, optimize: bool) -> None:
    """LF made CR LF is refused at any size: tables have other values then, or blocks other places."""
    for edge in (64, 200, 512):
        data = encoded(portrait()[:edge, :edge].copy(), "JPEG", quality=quality, optimize=optimize)
        with pytest.raises(BrokenImage):
            decode(data.replace(b"\n", b"\r\n"), MAX_PIXELS)


def test_metadata_with_line_ends_of_text_are_no_damage() -> None:
    """Windows programs write them, into tiny pictures, too."""
    lines = b"<a>\r\n" * 50
    data = encoded(np.zeros((1, 1, 3), np.uint8), "JPEG", comment=lines, optimize=True, quality=100)
    assert data.count(b"\n") == data.count(b"\r\n")
    assert decoded(data).shape == (1, 1, 3)


def test_zeros_in_the_middle_are_told() -> None:
    """They may stand for as many blocks as were there, so that the decoder has nothing to complain about."""
    data = encoded(portrait(), "JPEG", quality=85)
    for at in range(1000, len(data) - 600, 1700):
        with pytest.raises(BrokenImage):
            decode(data[:at] + bytes(512) + data[at + 512 :], MAX_PIXELS)


def test_long_runs_of_zeros_may_be_a_white_picture() -> None:
    """With tables made for it, an empty block is two zero bits."""
    white = np.full((2000, 2000, 3), 255, np.uint8)
    data = encoded(white, "JPEG", optimize=True)
    assert bytes(200) in data
    assert decoded(data).min() == 255


def test_bytes_between_segments_are_passed_over() -> None:
    """Before every marker of the header, and what fills a scan's end: no pixel depends on them."""
    data = encoded(portrait(), "JPEG")
    for marker in (b"\xff\xdb", b"\xff\xc0", b"\xff\xc4", b"\xff\xda"):
        at = data.index(marker)
        assert np.array_equal(decoded(data[:at] + b"\x01junk\n" + data[at:]), by_pillow(data))
    for filling in (bytes(1), bytes(4000), b"\x55" * 90, b"\xff" * 90):
        assert np.array_equal(decoded(data[:-2] + filling + END), by_pillow(data))


def test_a_rest_of_entropy_coded_data_is_a_fault() -> None:
    """Blocks are missing where bytes of them are left over; the library complains as of harmless ones."""
    data = encoded(portrait(), "JPEG")
    with pytest.raises(BrokenImage):
        decode(data[:-2] + data[-600:], MAX_PIXELS)


@pytest.mark.parametrize("progressive", [False, True])
def test_a_missing_end_marker_is_forgiven(progressive: bool) -> None:
    """Whole, cut in two, or overwritten: every pixel is there."""
    data = encoded(portrait(), "JPEG", progressive=progressive)
    for odd in (data[:-1], data[:-2], data[:-2] + b"\0\0"):
        assert np.array_equal(decoded(odd), by_pillow(data))


@pytest.mark.parametrize("progressive", [False, True])
def test_what_follows_the_end_is_no_part_of_the_picture(progressive: bool) -> None:
    """Phones put a film there, which may hold any marker a hundred times."""
    data = encoded(np.tile(portrait(), (6, 8, 1)), "JPEG", progressive=progressive)
    film = b"\0\0\0\x18ftypmp42" + np.random.default_rng(2).bytes(2_000_000) + b"\xff\xda" * 100
    assert np.array_equal(decoded(data + film), by_pillow(data))


def test_a_restart_marker_out_of_turn_is_a_fault() -> None:
    """An interval is missing."""
    data = encoded(portrait(), "JPEG", restart_marker_rows=1)
    third, fourth = data.index(b"\xff\xd2"), data.index(b"\xff\xd3")
    with pytest.raises(BrokenImage):
        decode(data[:third] + data[fourth:], MAX_PIXELS)


@pytest.mark.skipif(not os.environ.get("PHOTOS_DIR"), reason="PHOTOS_DIR names no folder of photographs")
@pytest.mark.filterwarnings("ignore:Image appears to be a malformed MPO file")
def test_all_jpeg_files_of_the_photo_sets_give_pillows_pixels() -> None:
    """Photographs, and odd ones: what is answered, is answered as Pillow does."""
    refused = set()
    for path in sorted(Path(os.environ["PHOTOS_DIR"]).rglob("*.jp*g")):
        data = path.read_bytes()
        try:
            pixels, orientation = decode(data, MAX_PIXELS)
        except FacetError:
            refused.add(path.name)
            continue
        if orientation == 1 and path.name != "truncated_jpeg.jpg":  # which Pillow does not forgive
            assert np.array_equal(pixels, by_pillow(data)), path.name
    assert refused == {"monkey12.jpg", "hopper_bad_exif.jpg"}  # 12 bits a sample; bytes left over
