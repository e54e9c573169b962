"""Rules of crops and quality, and of what is computed where they are wanted, by known pictures."""

import io
import math
from collections.abc import Iterable
from dataclasses import fields

import numpy as np
import pytest
from PIL import Image

from inference_server.models.alignment import aligned, squared
from inference_server.models.extras.computing import compute, cost_of_extras
from inference_server.models.extras.quality import quality
from tests.support.pictures import Pixels, portrait
from utils.domain import Box, Face, Landmarks, Point
from utils.extras import Annotated, Crops, Picture, Quality, Wanted

# Of ArcFace: eyes, nose, corners of the mouth in 112 x 112.
TEMPLATE = np.array(
    [38.2946 + 51.6963j, 73.5318 + 51.5014j, 56.0252 + 71.7366j, 41.5493 + 92.3655j, 70.7299 + 92.2041j]
)


def landmarks(places: Iterable[complex]) -> Landmarks:
    """As the numbers x + iy say."""
    return Landmarks(*(Point(float(place.real), float(place.imag)) for place in places))


def face(left: float, top: float, side: float, confidence: float = 0.9) -> Face:
    """A face in a square, with its landmarks where the template has them in its own."""
    corners = Point(left, top), Point(left + side, top + side)
    return Face(Box(*corners), landmarks(TEMPLATE * side / 112 + complex(left, top)), confidence)


def noise(height: int, width: int) -> Pixels:
    """Any pixels."""
    return np.random.default_rng(1).integers(0, 256, (height, width, 3), np.uint8)


def dots(places: Iterable[complex], size: float, side: int) -> list[Pixels]:
    """A picture for each place, black with one soft spot there, `size` pixels wide."""
    rows, columns = np.mgrid[:side, :side]
    spots = [np.exp(-(((columns - at.real) ** 2 + (rows - at.imag) ** 2) / (2 * size**2))) for at in places]
    return [(spot[..., None] * [255, 255, 255]).astype(np.uint8) for spot in spots]


def centre(picture: Image.Image) -> complex:
    """Of what is bright in it."""
    grey = np.asarray(picture.convert("L"), float)
    rows, columns = np.mgrid[: picture.height, : picture.width]
    return complex((grey * columns).sum() / grey.sum(), (grey * rows).sum() / grey.sum())


def nothing() -> None:
    """A checkpoint at which all is well."""


# --- crops ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("side", "scale"),
    [(112, 0.6), (112, 1.0), (112, 1.99), (112, 2), (224, 3.3), (112, 7.7), (512, 12), (32, 12)],
)
def test_landmarks_come_to_the_templates_places_at_any_scale(side: int, scale: float) -> None:
    """Within half a pixel of the crop, whether the picture is enlarged, or reduced by squares before."""
    turn = scale * np.exp(0.4j)
    middle = TEMPLATE.mean()
    places = turn * (TEMPLATE - middle) + (700.3 + 690.8j)
    expected = (TEMPLATE + (0.5 + 0.5j)) * side / 112 - (0.5 + 0.5j)
    spot = max(3.0 * scale * 112 / side, 3.0)
    for picture, place in zip(dots(places, spot, 1400), expected, strict=True):
        assert abs(centre(aligned(picture, landmarks(places), side)) - place) < 0.5


def test_the_alignment_is_the_one_of_least_squares_in_the_crop() -> None:
    """Of landmarks that no similarity brings to the template, as NumPy's own least squares have it."""
    off = np.array([3 - 2j, -4 + 1j, 6 + 5j, -2 - 3j, 1 + 4j])
    places = 2 * np.exp(-0.2j) * (TEMPLATE + off) + (200 + 150j)
    (scale, shift), *_ = np.linalg.lstsq(np.stack([places, np.ones(5)], axis=1), TEMPLATE, rcond=None)
    pictures = dots(places, 5, 600)
    for picture, place in zip(pictures, places, strict=True):
        assert abs(centre(aligned(picture, landmarks(places), 112)) - (scale * place + shift)) < 0.1


def test_fine_detail_is_averaged_and_does_not_alias() -> None:
    """A chess board of single pixels becomes grey; a bilinear interpolation alone would find patterns."""
    rows, columns = np.mgrid[:800, :800]
    board = np.repeat(np.where((rows + columns) % 2, 255, 0).astype(np.uint8)[..., None], 3, axis=2)
    for crop in (
        aligned(board, face(50, 50, 672).landmarks, 112),
        squared(board, Box(Point(100, 100), Point(604, 604)), 0, 112),
    ):
        assert np.asarray(crop, int).std() < 4
        assert abs(np.asarray(crop, int).mean() - 127) < 3


def test_outside_the_picture_a_crop_is_black() -> None:
    """Where a face is at an edge, and where it is nowhere near."""
    white = np.full((300, 300, 3), 255, np.uint8)
    for crop in (
        aligned(white, face(-56, 0, 112).landmarks, 112),
        squared(white, Box(Point(-56, 0), Point(56, 112)), 0, 112),
        squared(white, Box(Point(0, 0), Point(1200, 1200)), 0.5, 112).transpose(Image.Transpose.ROTATE_180),
    ):
        found = np.asarray(crop.convert("L"))
        assert (found[:, :50] == 0).all()
        assert found[:, 70:80].max() == 255
    assert np.asarray(aligned(white, face(5000, 5000, 300).landmarks, 112)).max() == 0


def test_a_boxed_crop_is_the_square_around_the_boxs_middle() -> None:
    """As wide as its longer side and a margin at each edge; what is not square stays in proportion."""
    rows, columns = np.mgrid[:400, :400]
    picture = np.stack([columns // 2, rows // 2, rows * 0], axis=2).astype(np.uint8)
    box = Box(Point(100, 80), Point(180, 240))
    plain = np.asarray(squared(picture, box, 0, 160), int)
    assert plain[80, 80, :2] == pytest.approx([70, 80], abs=1)
    assert plain[0, 0, :2] == pytest.approx([30, 40], abs=1)
    assert plain[-1, -1, :2] == pytest.approx([110, 120], abs=1)
    wide = np.asarray(squared(picture, box, 0.25, 160), int)
    assert wide[0, 0, :2] == pytest.approx([10, 20], abs=1)
    assert wide[-1, -1, :2] == pytest.approx([130, 140], abs=1)


@pytest.mark.parametrize("places", [[5 + 5j] * 5, [*(40 - TEMPLATE.conj())]])
def test_landmarks_that_are_no_face_give_a_crop_all_the_same(places: list[complex]) -> None:
    """All in one place, or mirrored."""
    assert aligned(noise(60, 60), landmarks(places), 64).size == (64, 64)
    assert squared(noise(60, 60), Box(Point(5, 5), Point(5, 5)), 0.2, 64).size == (64, 64)


# --- quality ----------------------------------------------------------------------------------------


def measured(grey: Pixels) -> Quality:
    """Of an aligned crop of these grey values."""
    return quality(Image.fromarray(np.repeat(grey[..., None], 3, axis=2)), face(0, 0, 112).landmarks)


def test_the_numbers_of_known_pictures_are_those_of_the_formulas() -> None:
    """Of one grey; of stripes, whose Laplacian is -200 and 200 in turn; of a ramp, which has none."""
    flat = measured(np.full((112, 112), 77, np.uint8))
    assert (flat.sharpness, flat.brightness, flat.contrast) == (0, 77, 0)
    stripes = measured(np.tile(np.array([50, 150], np.uint8), (112, 56)))
    assert (stripes.sharpness, stripes.brightness, stripes.contrast) == (200**2, 100, 50)
    ramp = measured(np.tile(np.arange(112, dtype=np.uint8), (112, 1)))
    assert (ramp.sharpness, ramp.brightness) == (0, 55.5)
    assert ramp.contrast == pytest.approx(math.sqrt((112**2 - 1) / 12))


def test_colours_count_as_grey_by_their_luma() -> None:
    """By ITU-R 601: green most, blue least."""
    crops = [Image.new("RGB", (112, 112), colour) for colour in ((255, 0, 0), (0, 255, 0), (0, 0, 255))]
    found = [quality(crop, face(0, 0, 112).landmarks).brightness for crop in crops]
    assert found == pytest.approx([76, 150, 29])


@pytest.mark.parametrize("degrees", [-170, -90, -20, 0, 45, 90, 135])
def test_roll_and_eye_distance_are_those_of_the_line_between_the_eyes(degrees: float) -> None:
    """Above 0 where it falls to the right, as y grows downwards."""
    turned = landmarks(3 * TEMPLATE * np.exp(1j * math.radians(degrees)))
    level = math.degrees(math.atan2(51.5014 - 51.6963, 73.5318 - 38.2946))
    found = quality(Image.new("RGB", (112, 112)), turned)
    assert found.roll_degrees == pytest.approx(degrees + level)
    assert found.eye_distance == pytest.approx(3 * abs(TEMPLATE[1] - TEMPLATE[0]))


def test_a_blurred_face_is_less_sharp_and_a_darker_one_less_bright() -> None:
    """Of the portrait."""
    found = face(178, 66, 90)
    pixels = portrait()
    small = Image.fromarray(pixels).resize((64, 64)).resize((512, 512), Image.Resampling.BICUBIC)
    variants = (pixels, np.array(small), pixels // 2)
    qualities = [
        compute(variant, [found], Wanted(quality=True), nothing).faces[0].quality for variant in variants
    ]
    plain, blurred, dark = (one for one in qualities if one is not None)
    assert blurred.sharpness < plain.sharpness / 10
    assert dark.brightness == pytest.approx(plain.brightness / 2, abs=1)
    assert dark.contrast == pytest.approx(plain.contrast / 2, abs=1)


# --- what is wanted ---------------------------------------------------------------------------------


def size_of(picture: Picture | None) -> tuple[int, int]:
    """That of a file, by itself."""
    assert picture is not None
    with Image.open(io.BytesIO(picture.data)) as image:
        assert image.format == "JPEG"
        return image.size


def test_a_thousand_faces_have_a_hundred_crops_and_each_its_quality() -> None:
    """The others are counted; the answer stays within megabytes, though noise is what compresses worst."""
    faces = [face(number % 40 * 10, number // 40 * 10, 100) for number in range(1000)]
    pixels = noise(400, 500)
    extras = compute(pixels, faces, Wanted(quality=True, crops=Crops(size=512)), nothing)
    assert extras.crops_omitted == 900
    crops = [one.crop for one in extras.faces]
    assert [crop is not None for crop in crops] == [True] * 100 + [False] * 900
    assert all(one.quality is not None for one in extras.faces)
    assert size_of(crops[0]) == (512, 512)
    assert sum(len(crop.data) for crop in crops if crop is not None) < 8 * 1024**2


@pytest.mark.parametrize("crops", [Crops(112), Crops(64, "box", 0.3), Crops(33, max=1)])
def test_a_crop_is_the_same_whatever_else_is_wanted(crops: Crops) -> None:
    """And the picture is not changed by being drawn into."""
    pixels = portrait().copy()
    faces = [face(178, 66, 90), face(300, 300, 40)]
    alone = compute(pixels, faces, Wanted(crops=crops), nothing)
    together = compute(pixels, faces, Wanted(True, crops, Annotated(scores=True)), nothing)
    assert [one.crop for one in together.faces] == [one.crop for one in alone.faces]
    assert size_of(alone.faces[0].crop) == (crops.size, crops.size)
    assert (pixels == portrait()).all()


@pytest.mark.parametrize("wanted", [Wanted(True), Wanted(crops=Crops()), Wanted(annotated=Annotated())])
def test_progress_is_shown_at_each_face(wanted: Wanted) -> None:
    """So that many faces are no hang, and one whose caller has left is given up."""
    calls = []
    compute(noise(200, 200), [face(0, 0, 100)] * 30, wanted, lambda: calls.append(1))
    assert len(calls) >= 30


def test_what_is_wanted_costs_something_and_more_of_it_costs_more() -> None:
    """By the picture's pixels and those of what is made; never more faces than can be answered."""

    def cost(wanted: Wanted, width: int = 2000, most: int = 0) -> float:
        return cost_of_extras(wanted, width, 1000, most)

    assert cost(Wanted()) == 0
    large, small = Wanted(annotated=Annotated(2000)), Wanted(annotated=Annotated(200))
    assert 0 < cost(small) < cost(large) < cost(large, width=4000)
    assert (
        cost(Wanted(quality=True), most=1)
        < cost(Wanted(quality=True))
        == cost(Wanted(quality=True), most=999)
    )
    crops = [Wanted(crops=Crops(size)) for size in (32, 112, 512)]
    assert [cost(one) for one in crops] == sorted(cost(one) for one in crops)
    assert cost(Wanted(crops=Crops(max=1))) < cost(Wanted(crops=Crops()))
    assert cost(Wanted(True, Crops(512), Annotated(4096))) < 2  # of a picture that costs 6 to search


def test_the_numbers_of_a_quality_are_finite() -> None:
    """Whatever the face."""
    found = compute(noise(50, 50), [face(0, 0, 0)], Wanted(quality=True), nothing).faces[0].quality
    assert found is not None
    assert all(math.isfinite(getattr(found, field.name)) for field in fields(Quality))
