"""Levels and crops against the plain reading of their formulas, and tiles against the whole."""

import numpy as np
import pytest

from inference_server.detector import tiles
from inference_server.detector.crops import crop
from inference_server.detector.engine_onnx import OnnxEngine
from inference_server.detector.pyramid import Level, planes
from inference_server.detector.scales import level_size, pyramid_scales
from tests.parity.engines import models
from tests.parity.reference import Rows
from tests.support.pictures import Pixels, portrait


def mean_matrix(size_in: int, size_out: int) -> Rows:
    """For each output its shares of each input, the last of which goes on for ever."""
    step = np.float32(size_in) / np.float32(size_out)
    edges = np.arange(size_out + 1, dtype=np.float32) * step
    low, high = edges[:-1, None].astype(float), edges[1:, None].astype(float)
    begin, end = np.arange(size_in, dtype=float), np.arange(1, size_in + 1, dtype=float)
    end[-1] = np.inf
    shares = np.maximum(0, np.minimum(end, high) - np.maximum(begin, low))
    # Within one input an output covers the step itself, whatever its edges were rounded to.
    whole: Rows = np.where((begin < low) & (end > high), step, shares) / float(step)
    return whole


def normalised(pixels: Pixels) -> Rows:
    """The picture as the networks are trained on it."""
    return (pixels.astype(np.float64) - 127.5) / 128


@pytest.mark.parametrize("scale", [1.2, 0.6, 0.4254, 0.1, 0.031])
@pytest.mark.parametrize("size", [(512, 512), (401, 397), (40, 511)])
def test_a_level_is_the_mean_over_the_area_that_each_pixel_covers(
    scale: float, size: tuple[int, int]
) -> None:
    """Resampling is exact to float32 rounding, at any scale, up or down."""
    pixels = np.ascontiguousarray(portrait()[: size[1], : size[0]])
    width, height = level_size(*size, scale)
    level = Level(planes(pixels), (width, height)).rows(0, height)
    rows, columns = mean_matrix(size[1], height), mean_matrix(size[0], width)
    expected = np.einsum("yh,hwc,xw->cyx", rows, normalised(pixels), columns, optimize=True)
    assert level.dtype == np.float32
    assert np.abs(level - expected).max() < 1e-5


def test_rows_of_a_level_do_not_depend_on_how_many_are_asked_for() -> None:
    """A large level can be computed in strips."""
    level = Level(planes(portrait()), (307, 307))
    strips = [level.rows(start, min(start + 23, 307)) for start in range(0, 307, 23)]
    assert np.abs(np.concatenate(strips, axis=1) - level.rows(0, 307)).max() < 1e-6


def plain_crop(pixels: Pixels, box: Rows, side: int) -> Rows:
    """TensorFlow's crop_and_resize, one sample at a time."""
    height, width = pixels.shape[:2]
    values = normalised(pixels)
    crops = np.zeros((3, side, side))
    low = (box / [width, height, width, height]).astype(np.float32)
    step_x = (low[2] - low[0]) * np.float32(width - 1) / np.float32(side - 1)
    step_y = (low[3] - low[1]) * np.float32(height - 1) / np.float32(side - 1)
    for row in range(side):
        for column in range(side):
            y = low[1] * np.float32(height - 1) + np.float32(row) * step_y
            x = low[0] * np.float32(width - 1) + np.float32(column) * step_x
            if not (0 <= y <= height - 1 and 0 <= x <= width - 1):
                continue
            top, left = int(np.floor(y)), int(np.floor(x))
            bottom, right = int(np.ceil(y)), int(np.ceil(x))
            upper = values[top, left] + (values[top, right] - values[top, left]) * (x - left)
            lower = values[bottom, left] + (values[bottom, right] - values[bottom, left]) * (x - left)
            crops[:, row, column] = upper + (lower - upper) * (y - top)
    return crops


def test_a_crop_is_bilinear_and_grey_outside_the_picture() -> None:
    """Boxes may lie inside, across an edge, beyond it, or be smaller than a pixel."""
    pixels = np.ascontiguousarray(portrait()[:200, :301])
    boxes = np.array(
        [
            [10.3, 20.7, 60.1, 70.9],
            [-30, -20, 80, 90],
            [250, 150, 350, 250],
            [400, 10, 420, 30],
            [50, 50, 50.2, 50.2],
        ]
    )
    crops = crop(planes(pixels), boxes, 24)
    for found, box in zip(crops, boxes, strict=True):
        assert np.abs(found - plain_crop(pixels, box, 24)).max() < 1e-5
    assert np.all(crops[3] == 0)


def test_a_large_level_is_looked_at_in_steps() -> None:
    """Between two of them a request can be given up, and a slow CPU shows that it goes on."""
    steps: list[None] = []
    OnnxEngine(models()).prepare(portrait(), lambda: steps.append(None)).propose(1.0, 0.3)
    assert len(steps) >= 3


@pytest.mark.parametrize("size", [(512, 512), (511, 509), (507, 333)])
def test_tiles_do_not_show(size: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    """The proposals of a level do not depend on the tiles in which it was looked at, whatever its parity."""
    pixels = np.ascontiguousarray(portrait()[: size[1], : size[0]])
    engine = OnnxEngine(models())
    for scale in (1.0, *pyramid_scales(*size, 20.0)[:2]):
        monkeypatch.setattr(tiles, "_TILE_CELLS", 10_000)
        cells, scores, regressions = engine.prepare(pixels).propose(scale, 0.3)
        monkeypatch.setattr(tiles, "_TILE_CELLS", 31)
        tiled = engine.prepare(pixels).propose(scale, 0.3)
        assert len(cells)
        assert np.array_equal(cells, tiled[0])
        assert np.allclose(scores, tiled[1], atol=1e-5)
        assert np.allclose(regressions, tiled[2], atol=1e-5)
