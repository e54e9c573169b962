"""817 odd and hostile files: each is decoded as it should be, or refused with the error that it deserves.

`INDEX.csv` of the folder says what Pillow makes of each file, `faces.jsonl` where the one face is in those
that are variants of a portrait. The folder is a part of the one that PHOTOS_DIR names.
"""

import csv
import json
import os
from pathlib import Path
from typing import Any

import pytest

from inference_server.images import decode, inspect
from inference_server.images.formats import ACCEPTED
from tests.parity.engines import detector
from utils.domain import Face
from utils.errors import BrokenImage, FacetError, TooManyPixels, UnsupportedImageFormat

LIMIT = 25_000_000
BYTES = 10 * 2**20

FILES = 817
FACES = 32

FOLDER = Path(os.environ.get("PHOTOS_DIR", "")) / "odd_images"

# Warnings of Pillow's about such files are no failures of ours.
pytestmark = [
    pytest.mark.filterwarnings("ignore::UserWarning"),
    pytest.mark.skipif(not os.environ.get("PHOTOS_DIR"), reason="PHOTOS_DIR names no folder of photographs"),
]

PILLOWS_NAMES = {"WEBP": "WebP", "MPO": "JPEG"}

# The index calls them fine, since Pillow gives what it has when it is asked a second time.
BROKEN_IN_TRUTH = {
    "pillow/apng/chunk_no_fctl.png",
    "pillow/broken_data_stream.png",
    "pillow/truncated_end_chunk.png",
}

# The index calls them fine, since Pillow hears no complaint: an interval of the first, whose picture shows
# stripes, has bytes left over; the second has a wrong checksum.
DAMAGED = {"pillow/hopper_bad_exif.jpg", "pngsuite/xcsn0g01.png"}

# Of this one the end marker is missing, and nothing else.
WHOLE = {"pillow/truncated_jpeg.jpg"}

# The index was made without a decoder for HEIC.
BROKEN_HEIC = {"pillow_heif/heif_corrupted/corrupted.heic"}

# The index does not say that they are large, since Pillow stops before it has found their size.
TOO_LARGE = {"pillow/libtiff_segfault.tif"}

NOT_EVEN_A_SIGNATURE = {"pngsuite/xs4n0g01.png"}

# Formats that are not accepted have no signature in some files, or one that says something else.
UNREADABLE_AND_UNKNOWN = (".dds", ".fli", ".ico", ".j2k", ".jp2", ".pcx", ".ppm", ".psd", ".tga")


def index() -> list[dict[str, str]]:
    """What is known of the files."""
    if not os.environ.get("PHOTOS_DIR"):
        return []
    with (FOLDER / "INDEX.csv").open(newline="") as lines:
        return list(csv.DictReader(lines))


def faces() -> list[dict[str, Any]]:
    """Where the face is in the variants of the portrait."""
    if not os.environ.get("PHOTOS_DIR"):
        return []
    return [json.loads(line) for line in (FOLDER / "faces.jsonl").read_text().splitlines()]


def expected_error(row: dict[str, str]) -> type[FacetError] | tuple[type[FacetError], ...] | None:
    """What is to be raised for a file, by what the index says of it; None where it is to be decoded."""
    name, suffix = row["file"], Path(row["file"]).suffix.lower()
    pillows = PILLOWS_NAMES.get(row["format"], row["format"])
    if name in NOT_EVEN_A_SIGNATURE:
        return UnsupportedImageFormat
    if name in BROKEN_IN_TRUTH | DAMAGED | BROKEN_HEIC:
        return BrokenImage
    if name in TOO_LARGE:
        return TooManyPixels
    if name in WHOLE or suffix in {".heic", ".heif"}:
        return None
    if row["pillow_status"] == "ok":
        return None if pillows in ACCEPTED else UnsupportedImageFormat
    if suffix in UNREADABLE_AND_UNKNOWN:
        return UnsupportedImageFormat
    if row["width"] and int(row["width"]) * int(row["height"]) > LIMIT:
        return TooManyPixels
    return TooManyPixels if row["error"].startswith("DecompressionBomb") else BrokenImage


def test_the_folder_is_complete() -> None:
    """All of the files are looked at, and all of the faces."""
    assert len(index()) == FILES
    assert len(faces()) == FACES


@pytest.mark.parametrize("row", index(), ids=lambda row: row["file"])
def test_every_file_is_decoded_or_refused_as_it_should_be(row: dict[str, str]) -> None:
    """Readable pictures of accepted formats come out upright and whole; all else is named."""
    data = (FOLDER / row["file"]).read_bytes()
    error = expected_error(row)
    if error is not None:
        with pytest.raises(error) as caught:
            decode(data, LIMIT)
        assert caught.value.field == "image"
        return
    header = inspect(data, BYTES, LIMIT)
    pixels, orientation = decode(data, LIMIT)
    height, width, _ = pixels.shape
    if header.format == "HEIC":  # which may be cut
        assert width * height <= header.pixels
    else:
        assert (width, height) == (
            (header.height, header.width) if orientation >= 5 else (header.width, header.height)
        )
    if row["format"]:
        assert header.format == PILLOWS_NAMES.get(row["format"], row["format"])
        assert sorted((width, height)) == sorted((int(row["width"]), int(row["height"])))
    if row["exif_orientation"] in {"2", "3", "4", "5", "6", "7", "8"}:
        assert orientation == int(row["exif_orientation"])


@pytest.mark.parametrize("row", index(), ids=lambda row: row["file"])
def test_inspect_refuses_only_what_the_decoder_refuses(row: dict[str, str]) -> None:
    """A header check never turns away a picture, and finds the wrong formats by itself."""
    data = (FOLDER / row["file"]).read_bytes()
    error = expected_error(row)
    if error is None:
        inspect(data, BYTES, LIMIT)
    elif error is UnsupportedImageFormat:
        with pytest.raises(error):
            inspect(data, BYTES, LIMIT)


@pytest.mark.parametrize("variant", faces(), ids=lambda variant: variant["image"])
def test_the_face_is_found_where_it_is(variant: dict[str, Any]) -> None:
    """In every accepted format, mode and orientation, with the default options.

    The portrait has 128 x 128 pixels and its face 42 x 50 (in one file half of that), twice what the
    defaults look for. The boxes are approximate, so an overlap of two thirds is asked for; the most
    confident face is the one (the coarsest of the JPEG files shows a second).
    """
    data = (FOLDER / variant["image"]).read_bytes()
    if variant["format"] not in {"AVIF", "BMP", "GIF", "JPEG", "PNG", "TIFF", "WEBP"}:
        with pytest.raises(UnsupportedImageFormat):
            decode(data, LIMIT)
        return
    pixels, orientation = decode(data, LIMIT)
    assert [pixels.shape[1], pixels.shape[0]] == variant["upright_size"]
    assert orientation == int(variant["exif_orientation"] or 1)
    best, *others = detector().detect(pixels)
    assert len(others) <= 1
    assert overlap(best, variant["boxes"][0]) > 2 / 3
    eye, (x, y) = best.landmarks.left_eye, variant["landmarks"][0][0]
    assert max(abs(eye.x - x), abs(eye.y - y)) < 5


def overlap(face: Face, box: list[float]) -> float:
    """Intersection over union."""
    found = (face.box.up_left.x, face.box.up_left.y, face.box.lower_right.x, face.box.lower_right.y)
    width = min(found[2], box[2]) - max(found[0], box[0])
    height = min(found[3], box[3]) - max(found[1], box[1])
    shared = max(0.0, width) * max(0.0, height)
    areas = [(corner[2] - corner[0]) * (corner[3] - corner[1]) for corner in (found, box)]
    return shared / (sum(areas) - shared)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_a_truncated_heic_file_is_broken(share: float) -> None:
    """It cannot be made at test time, for want of an encoder."""
    data = (FOLDER / "pillow_heif/heif_other/RGB_8_chroma444.heif").read_bytes()
    with pytest.raises(BrokenImage):
        decode(data[: int(len(data) * share)], LIMIT)
