"""The levels of the pyramid, and the limit of its area."""

import math
import subprocess
import sys

import pytest

from inference_server.detector.scales import (
    CELL,
    SCALE_FACTOR,
    check_pyramid,
    level_size,
    pyramid_area,
    pyramid_scales,
)
from utils.errors import PyramidTooLarge


def packages_count(side: int) -> int:
    """How many levels mtcnn 1.0.0 makes (build_scale_pyramid in mtcnn/utils/images.py)."""
    return max(0, round(-((math.log(side / 12) / math.log(0.709)) + 1)))


def test_by_default_there_are_as_many_levels_as_the_package_makes() -> None:
    """At the default min_face_size the package is followed, whatever the picture's size."""
    counts = {side: len(pyramid_scales(side, 2 * side, 20.0)) for side in range(1, 6000)}
    assert counts == {side: packages_count(side) for side in counts}


@pytest.mark.parametrize("min_face_size", [10.0, 12.5, 19.9, 20.1, 40.0, 60.0, 333.0])
def test_at_another_minimum_there_is_every_level_of_at_least_a_cell(min_face_size: float) -> None:
    """Levels follow from min_face_size, down to the last whose shorter side has 12 pixels."""
    for side in range(1, 3000, 7):
        scales = pyramid_scales(side, side + 100, min_face_size)
        assert all(min(level_size(side, side + 100, scale)) >= CELL for scale in scales)
        following = CELL / min_face_size * SCALE_FACTOR ** len(scales)
        assert side * following < CELL


def test_the_first_level_makes_the_smallest_face_a_cell() -> None:
    """A face of min_face_size is as large as what the proposal network sees."""
    assert pyramid_scales(640, 480, 48.0)[0] * 48 == CELL


@pytest.mark.parametrize("size", [(1, 1), (11, 5000), (5000, 11), (20, 20)])
def test_a_picture_smaller_than_a_face_has_no_level(size: tuple[int, int]) -> None:
    """Nothing is looked for where nothing can be found."""
    assert pyramid_scales(*size, 21.0) == []


def test_the_area_is_that_of_all_levels() -> None:
    """The area is summed over the levels as they are computed, in whole pixels."""
    assert pyramid_area(640, 480, 20.0) == sum(
        int(640 * scale) * int(480 * scale) for scale in pyramid_scales(640, 480, 20.0)
    )


@pytest.mark.parametrize(
    ("width", "height", "min_face_size", "limit"),
    [(5000, 5000, 10.0, 25_000_000), (640, 480, 10.0, 200_000), (9000, 30, 11.5, 100_000), (100, 100, 10, 1)],
)
def test_too_large_a_pyramid_is_refused_with_the_smallest_size_that_fits(
    width: int, height: int, min_face_size: float, limit: int
) -> None:
    """The size that the error names is accepted, and the one below it is not."""
    with pytest.raises(PyramidTooLarge) as caught:
        check_pyramid(width, height, min_face_size, limit)
    named = int(caught.value.detail.split("options.min_face_size ")[1].split()[0])
    assert caught.value.field == "options.min_face_size"
    assert str(limit) in caught.value.detail
    check_pyramid(width, height, named, limit)
    with pytest.raises(PyramidTooLarge):
        check_pyramid(width, height, named - 1, limit)


def test_the_largest_picture_fits_at_the_default_size() -> None:
    """25 megapixels of any shape are accepted at min_face_size 20."""
    for width, height in ((5000, 5000), (25_000_000 // 21, 21), (6124, 4082)):
        assert check_pyramid(width, height, 20.0, 25_000_000) == pyramid_area(width, height, 20.0)


def test_checking_a_pyramid_loads_no_numpy() -> None:
    """The event loop may ask without loading what the detector needs."""
    code = (
        "import sys, inference_server.detector.scales, inference_server.detector.weights; "
        "sys.exit(' '.join({'numpy', 'onnx', 'onnxruntime', 'PIL', 'grpc'} & set(sys.modules)) or 0)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
