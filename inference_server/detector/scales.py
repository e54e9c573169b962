"""Which levels the image pyramid has, and whether its total area is acceptable.

The formulas are those of `build_scale_pyramid` in `mtcnn/utils/images.py` of mtcnn 1.0.0; where it is
wrong, the comments say so. This module is pure Python: `FaceDetection.examine` asks
it, in microseconds, about a picture of which only the header is known.
"""

import math

from utils.errors import PyramidTooLarge

SCALE_FACTOR = 0.709
"""From one level to the next: about the square root of one half, so that the area halves."""

CELL = 12
"""Side in pixels of what the proposal network sees at once; no level's shorter side is less."""

_REFERENCE_FACE_SIZE = 20.0

# The package counts its levels without looking at min_face_size, by a formula that holds for its default
# of 20 only: round(log(side / 12) / log(1 / factor) - 1). There it gives every level whose shorter side is
# at least this, 12.06. Being its equal at its default is a promise, so a last level between 12 and
# 12.06 pixels, which one picture in 70 would have, is left out there, and nowhere else.
_REFERENCE_SHORTEST = CELL * CELL / _REFERENCE_FACE_SIZE * SCALE_FACTOR**-1.5


def pyramid_scales(width: int, height: int, min_face_size: float) -> list[float]:
    """The factors by which the picture is reduced, largest first; none for a picture too small.

    The first makes a face of `min_face_size` pixels as large as a cell of the proposal network (it is
    above 1 where min_face_size is below 12); the last is the least with a shorter side of at least 12.

    Args:
        width: Of the picture, in pixels.
        height: Of the picture, in pixels.
        min_face_size: Shorter side in pixels of the smallest face to find.
    """
    shortest = _REFERENCE_SHORTEST if min_face_size == _REFERENCE_FACE_SIZE else CELL
    largest = CELL / min_face_size
    scales: list[float] = []
    while (scale := largest * SCALE_FACTOR ** len(scales)) * min(width, height) >= shortest:
        scales.append(scale)
    return scales


def level_size(width: int, height: int, scale: float) -> tuple[int, int]:
    """Width and height in pixels of the picture's level at this scale, rounded down as the package does."""
    return int(width * scale), int(height * scale)


def pyramid_area(width: int, height: int, min_face_size: float) -> int:
    """Pixels of all levels together: what the proposal network has to look at."""
    sizes = (level_size(width, height, scale) for scale in pyramid_scales(width, height, min_face_size))
    return sum(level_width * level_height for level_width, level_height in sizes)


def check_pyramid(width: int, height: int, min_face_size: float, max_pixels: int) -> int:
    """Refuse a picture whose pyramid would be too large; gives the area of one that is not.

    Raises:
        PyramidTooLarge: All levels together have more than `max_pixels`; names the smallest whole
            min_face_size with which they have not.
    """
    area = pyramid_area(width, height, min_face_size)
    if area <= max_pixels:
        return area
    raise PyramidTooLarge(
        f"the levels at which a {width} x {height} image is searched for faces of {min_face_size:g} "
        f"pixels have {area} pixels in all; the limit is {max_pixels}; with options.min_face_size "
        f"{_smallest_that_fits(width, height, min_face_size, max_pixels)} or more it is met",
        field="options.min_face_size",
    )


def _smallest_that_fits(width: int, height: int, min_face_size: float, max_pixels: int) -> int:
    """Find it near where it would be if the area fell exactly with the square of the size."""
    area = pyramid_area(width, height, min_face_size)
    size = math.ceil(min_face_size * math.sqrt(area / max_pixels))
    while pyramid_area(width, height, size - 1) <= max_pixels:
        size -= 1
    while pyramid_area(width, height, size) > max_pixels:
        size += 1
    return size
