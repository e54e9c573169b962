"""Rules of the picture with its faces drawn into it, by its pixels."""

import io

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from inference_server.models.extras.drawing import FRAME, MARK, Canvas, annotated
from tests.support.pictures import Pixels
from utils.domain import Box, Face, Landmarks, Point
from utils.extras import Annotated, Picture

GREY = 20

Mask = npt.NDArray[np.bool_]


def plain(width: int, height: int) -> Pixels:
    """A grey picture."""
    return np.full((height, width, 3), GREY, np.uint8)


def face(left: float, top: float, right: float, bottom: float, confidence: float = 0.99) -> Face:
    """A face in this box, with its landmarks in a row through its middle."""
    places = [Point(left + (right - left) * share, (top + bottom) / 2) for share in (0.1, 0.3, 0.5, 0.7, 0.9)]
    return Face(Box(Point(left, top), Point(right, bottom)), Landmarks(*places), confidence)


def drawn(pixels: Pixels, *faces: Face, **wanted: object) -> tuple[Picture, Pixels]:
    """The file, and its pixels."""
    picture = annotated(pixels, faces, Annotated(**wanted), lambda: None)  # type: ignore[arg-type]
    with Image.open(io.BytesIO(picture.data)) as image:
        assert image.format == "JPEG"
        return picture, np.asarray(image)


def is_drawn(pixels: Pixels, colour: tuple[int, int, int]) -> Mask:
    """Which pixels have this colour, exactly."""
    return np.asarray((pixels == colour).all(axis=2))


def ink(pixels: Pixels) -> Mask:
    """Which pixels are drawn into, by their brightness, which JPEG keeps better than colours."""
    return np.asarray(Image.fromarray(pixels).convert("L")) > 3 * GREY


def test_a_frame_begins_in_the_pixels_of_the_boxs_corners_and_grows_inwards() -> None:
    """Centres of pixels are at whole numbers, so 10.4 is in pixel 10, and 20.6 in pixel 21."""
    pixels = plain(100, 80)
    Canvas(pixels, pixels).frame(Box(Point(10.4, 20.6), Point(49.5, 60.49)))
    expected = np.zeros((80, 100), bool)
    expected[21:61, 10:51] = True
    expected[23:59, 12:49] = False
    assert (is_drawn(pixels, FRAME) == expected).all()
    assert (pixels[~expected] == GREY).all()


@pytest.mark.parametrize(
    ("box", "pixels_drawn"),
    [
        (Box(Point(0, 0), Point(99, 79)), 4 * 100 + 4 * 76),
        (Box(Point(50, 40), Point(52, 42)), 9),
        (Box(Point(0, 0), Point(0, 0)), 1),
        (Box(Point(99, 79), Point(99, 79)), 1),
        (Box(Point(-50, -50), Point(-40, -40)), 0),
        (Box(Point(-50, -50), Point(500, 500)), 0),
    ],
)
def test_a_frame_stays_within_its_box_and_the_picture(box: Box, pixels_drawn: int) -> None:
    """One at the edge is whole, one smaller than its lines is filled, one outside is not there."""
    pixels = plain(100, 80)
    Canvas(pixels, pixels).frame(box)
    assert is_drawn(pixels, FRAME).sum() == pixels_drawn


def test_a_mark_is_a_square_around_the_pixel_of_its_place_cut_at_the_edges() -> None:
    """Landmarks are not clipped to the picture; what is outside is not drawn on the other side."""
    pixels = plain(100, 80)
    canvas = Canvas(pixels, pixels)
    canvas.mark(Point(30.2, 40.7))
    canvas.mark(Point(0, 79))
    canvas.mark(Point(-10, -10))
    canvas.mark(Point(110, 40))
    expected = np.zeros((80, 100), bool)
    expected[39:44, 28:33] = expected[77:80, 0:3] = True
    assert (is_drawn(pixels, MARK) == expected).all()


def test_a_confidence_is_written_above_its_box_or_in_it_where_there_is_no_room() -> None:
    """Digits of 3 x 5 dots, twice as large as a line is thick; the same ones wherever they are."""
    pixels = plain(200, 200)
    canvas = Canvas(pixels, pixels)
    canvas.write("1.00", Point(20, 50))
    written = pixels[36:50, 20:50]
    assert (pixels[50:] == GREY).all()
    assert is_drawn(written, FRAME).any()
    one = is_drawn(written, FRAME)[2:12:2, 2:8:2].astype(int).tolist()
    assert one == [[0, 1, 0], [1, 1, 0], [0, 1, 0], [0, 1, 0], [1, 1, 1]]
    canvas.write("1.00", Point(100, 3))
    assert (pixels[3:17, 100:130] == written).all()
    canvas.write("1.00", Point(198, 198))  # which is cut off


def test_lines_keep_their_thickness_where_the_picture_is_reduced() -> None:
    """It is reduced first; boxes lie at the pixels that are what was in theirs."""
    picture, pixels = drawn(plain(2000, 1000), face(200, 100, 999, 599), longest_side=500)
    assert (picture.width, picture.height, picture.media_type) == (500, 250, "image/jpeg")
    assert pixels.shape == (250, 500, 3)
    rows, columns = ink(pixels)[:, 150].nonzero()[0], ink(pixels)[90].nonzero()[0]
    assert rows.tolist() == [25, 26, 148, 149]
    assert columns.tolist() == [50, 51, 248, 249]


def test_what_is_drawn_is_what_is_wanted() -> None:
    """Marks and confidences only if they are; the frame always."""
    pixels = plain(400, 300)
    one = face(100, 100, 200, 200, confidence=0.123)
    inside, above = (slice(110, 190), slice(105, 195)), (slice(80, 98), slice(100, 140))
    frame = drawn(pixels, one)[1]
    marks = drawn(pixels, one, landmarks=True)[1]
    digits = drawn(pixels, one, scores=True)[1]
    assert [ink(marks)[150, column] for column in (110, 130, 150, 170, 190)] == [True] * 5
    has_ink = [[bool(ink(found)[part].any()) for part in (inside, above)] for found in (frame, marks, digits)]
    assert has_ink == [[False, False], [True, False], [False, True]]
    assert ink(frame)[100:200, 100].all()
    assert (pixels == GREY).all()


def test_a_picture_is_never_enlarged_and_keeps_its_pixels_without_faces() -> None:
    """As exactly as JPEG does."""
    rows, columns = np.mgrid[:120, :160]
    pixels = np.stack([rows, columns, rows // 2 + columns // 2], axis=2).astype(np.uint8)
    picture, found = drawn(pixels, longest_side=4096)
    assert (picture.width, picture.height) == (160, 120)
    assert abs(found.astype(int) - pixels).max() < 12


@pytest.mark.parametrize("size", [(1, 1), (5000, 1), (1, 5000)])
def test_the_oddest_picture_can_be_drawn_into(size: tuple[int, int]) -> None:
    """A side that would be reduced to nothing has one pixel."""
    picture, _ = drawn(plain(*size), face(0, 0, 0, 0), longest_side=64, landmarks=True, scores=True)
    assert (picture.width, picture.height) == tuple(min(side, 64) for side in size)


def test_the_checkpoint_is_called_at_each_face_and_ends_the_drawing() -> None:
    """Whatever it raises."""
    calls = []

    def checkpoint() -> None:
        calls.append(1)
        if len(calls) == 3:
            raise TimeoutError

    with pytest.raises(TimeoutError):
        annotated(plain(60, 60), [face(1, 1, 20, 20)] * 10, Annotated(), checkpoint)
    assert len(calls) == 3
