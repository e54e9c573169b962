"""The multiply-adds that a share of GEMM is computed from."""

import pytest

from benchmarks import work
from benchmarks.drawings import CELLS, DRAWINGS
from benchmarks.ours import Facet


@pytest.mark.parametrize("size", [(12, 12), (57, 33), (384, 288)])
def test_multiply_adds_of_a_level_are_those_of_its_layers(size: tuple[int, int]) -> None:
    """Counted again, pixel by pixel of each layer's output; the pool rounds up."""
    width, height = size
    first = [(x, y) for x in range(width - 2) for y in range(height - 2)]
    pooled = {(x // 2, y // 2) for x, y in first}
    columns, rows = max(x for x, _ in pooled) + 1, max(y for _, y in pooled) + 1
    second, third = (columns - 2) * (rows - 2), (columns - 4) * (rows - 4)
    counted = len(first) * 27 * 10 + second * 90 * 16 + third * (144 * 32 + 32 * 6)
    assert work.proposal(width, height) == counted


def test_the_smallest_level_is_one_cell() -> None:
    """P-Net sees 12 x 12 pixels at once."""
    assert work.proposal(12, 12) == 100 * 270 + 9 * 1440 + 1 * (4608 + 192)


def test_a_crop_costs_r_net_one_and_a_half_and_o_net_thirteen_million() -> None:
    """Worked out by hand from the shapes of their layers."""
    assert work.refinement(1) == 1_530_768
    assert work.output(1) == 12_909_952
    assert work.by_stage([], {"refinement": 2, "output": 3}) == {
        "proposal": 0,
        "refinement": 2 * 1_530_768,
        "output": 3 * 12_909_952,
    }


def test_a_detection_in_stages_is_the_same_detection() -> None:
    """And tells all that the networks saw of it."""
    contender, picture = Facet("onnx"), DRAWINGS["many"](320, 240)
    assert contender.in_stages(picture) == contender.detect(picture)
    seen = contender.seen(picture)
    assert seen["levels"][0] == (192, 144)
    assert seen["candidates"]["refinement"] >= seen["candidates"]["output"] > 12
    assert all(seconds > 0 for seconds in seen["stages"].values())


def test_drawings_are_as_large_as_they_are_asked_for() -> None:
    """And every one has another content."""
    drawn = [DRAWINGS[name](width, height) for name, width, height in CELLS]
    assert [pixels.shape[1::-1] for pixels in drawn] == [tuple(size) for _, *size in CELLS]
    assert len({pixels.tobytes() for pixels in drawn}) == len(drawn)
