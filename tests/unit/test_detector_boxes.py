"""Box arithmetic against the plain reading of its formulas, one number at a time: equal to the last bit."""

from typing import Any

import numpy as np
import pytest

from inference_server.detector import boxes as subject
from inference_server.detector.engine import Boxes, Floats

COUNTS = (0, 1, 7, 300)


def squares_of(random: np.random.Generator, count: int) -> Boxes:
    """Boxes of many sizes, some of them beyond a picture and some inside out."""
    corner = random.uniform(-40, 900, (count, 2))
    return np.hstack([corner, corner + random.uniform(-5, 300, (count, 2))])


def floats(random: np.random.Generator, *shape: int) -> Floats:
    """What a network says: part of a larger array, as engines give it."""
    return random.normal(0, 0.3, (shape[0], shape[1] + 1)).astype(np.float32)[:, 1:]


def equal(found: Any, expected: list[Any]) -> bool:  # noqa: ANN401 - an array of either kind of floats
    """Bit for bit."""
    return bool(found.tobytes() == np.array(expected, found.dtype).reshape(found.shape).tobytes())


@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize("scale", [0.6, 0.4254, 1.2, 1 / 3])
def test_a_cell_covers_twelve_pixels_of_its_level_moved_by_shares_of_eleven(count: int, scale: float) -> None:
    """In float64, and then in pixels of the picture."""
    random = np.random.default_rng(count)
    cells, moves = random.integers(0, 900, (count, 2)), floats(random, count, 4)
    expected = [
        (2 * start + offset + float(move) * 11) / scale
        for (row, column), box in zip(cells.tolist(), moves, strict=True)
        for start, offset, move in zip((column, row) * 2, (1, 1, 12, 12), box, strict=True)
    ]
    assert equal(subject.boxes_of_cells(cells, moves, scale), expected)


@pytest.mark.parametrize("count", COUNTS)
def test_a_box_moves_in_float32_by_shares_of_its_size_in_whole_pixels(count: int) -> None:
    """Which is rounded to float32 before."""
    random = np.random.default_rng(count)
    boxes, moves = squares_of(random, count), floats(random, count, 4)
    expected = [
        np.float32(corner) + move * np.float32(size + 1)
        for (x1, y1, x2, y2), box in zip(boxes, moves, strict=True)
        for corner, size, move in zip((x1, y1, x2, y2), (x2 - x1, y2 - y1) * 2, box, strict=True)
    ]
    found = subject.regressed(boxes, moves)
    assert found.dtype == np.float64
    assert equal(found, expected)


@pytest.mark.parametrize("count", COUNTS)
def test_a_square_is_about_the_centre_and_as_large_as_the_longer_side(count: int) -> None:
    """Nothing is rounded but by float64."""
    boxes = squares_of(np.random.default_rng(count), count)
    expected = []
    for x1, y1, x2, y2 in boxes.tolist():
        side = max(x2 - x1, y2 - y1)
        left, top = x1 + (x2 - x1) * 0.5 - side * 0.5, y1 + (y2 - y1) * 0.5 - side * 0.5
        expected += [left, top, left + side, top + side]
    assert equal(subject.squared(boxes), expected)


@pytest.mark.parametrize("count", COUNTS)
def test_landmarks_are_shares_of_the_square_a_pixel_up_and_left(count: int) -> None:
    """Five x, then five y, in float64, and rounded once."""
    random = np.random.default_rng(count)
    boxes, marks = squares_of(random, count), floats(random, count, 10)
    expected = [
        (high - low + 1) * float(share) + low - 1
        for (x1, y1, x2, y2), shares in zip(boxes.tolist(), marks, strict=True)
        for low, high, axis in ((x1, x2, shares[:5]), (y1, y2, shares[5:]))
        for share in axis
    ]
    assert equal(subject.placed(marks, boxes), expected)
