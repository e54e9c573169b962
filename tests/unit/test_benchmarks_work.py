"""The work that a share of GEMM is computed from, and the multiplications that are done for it."""

from collections.abc import Sequence

import pytest

from benchmarks import staged, work
from benchmarks.drawings import CELLS, DRAWINGS
from benchmarks.ours import Facet
from tests.support.instruction_sets import instruction_sets

LEVELS, CROPS = [(31, 20), (12, 12)], {"refinement": 5, "output": 2}


def multiply_adds(levels: Sequence[tuple[int, int]], crops: int) -> dict[str, int]:
    """Of the work, by stage."""
    gflop = work.gflop(work.by_layer(levels, {"refinement": crops, "output": crops}))
    return {stage: round(operations * 1e9 / 2) for stage, operations in gflop.items()}


@pytest.mark.parametrize("size", [(12, 12), (57, 33), (384, 288)])
def test_multiply_adds_of_a_level_are_those_of_its_layers(size: tuple[int, int]) -> None:
    """Counted again, pixel by pixel of each layer's output; the pool rounds up."""
    width, height = size
    first = [(x, y) for x in range(width - 2) for y in range(height - 2)]
    pooled = {(x // 2, y // 2) for x, y in first}
    columns, rows = max(x for x, _ in pooled) + 1, max(y for _, y in pooled) + 1
    second, third = (columns - 2) * (rows - 2), (columns - 4) * (rows - 4)
    counted = len(first) * 27 * 10 + second * 90 * 16 + third * (144 * 32 + 32 * 6)
    assert multiply_adds([size], 0)["proposal"] == counted


def test_the_smallest_level_is_one_cell() -> None:
    """P-Net sees 12 x 12 pixels at once."""
    assert multiply_adds([(12, 12)], 0)["proposal"] == 100 * 270 + 9 * 1440 + 1 * (4608 + 192)


def test_a_crop_costs_r_net_one_and_a_half_and_o_net_thirteen_million() -> None:
    """Worked out by hand from the shapes of their layers."""
    assert multiply_adds([], 3) == {"proposal": 0, "refinement": 3 * 1_530_768, "output": 3 * 12_909_952}


def test_an_engine_that_computes_directly_does_the_work_and_no_less() -> None:
    """Layer by layer, whether it says so or says nothing."""
    direct = {"proposal": (1, 1, 1), "refinement": (1, 1, 1), "output": (1, 1, 1, 1)}
    counts = work.by_layer(LEVELS, CROPS)
    assert counts == work.by_layer(LEVELS, CROPS, direct)
    assert all(count.multiplications == count.work > 0 for count in counts)


def test_winograds_tiles_need_fewer_multiplications_and_the_work_stays() -> None:
    """Worked out by hand: whole tiles, those that reach beyond the output included."""
    tiles = {"proposal": (2, 4), "refinement": (1, 3), "output": (1, 4, 4)}
    counts = work.by_layer([(31, 20)], {"refinement": 1, "output": 2}, tiles)
    multiplied = {(one.stage, one.layer): one.multiplications for one in counts if one.tile > 1}
    assert multiplied == {
        ("proposal", "3 x 3, 3 to 10"): 9 * 15 * 16 * 3 * 10,  # of 29 x 18
        ("proposal", "3 x 3, 10 to 16"): 4 * 2 * 36 * 10 * 16,  # of 13 x 7
        ("refinement", "3 x 3, 28 to 48"): 3 * 3 * 25 * 28 * 48,
        ("output", "3 x 3, 32 to 64"): 2 * 6 * 6 * 36 * 32 * 64,  # of 21 x 21
        ("output", "3 x 3, 64 to 64"): 2 * 2 * 2 * 36 * 64 * 64,
    }
    direct = work.by_layer([(31, 20)], {"refinement": 1, "output": 2})
    assert [one.work for one in counts] == [one.work for one in direct]
    assert work.gflop(counts) == work.gflop(direct)


@pytest.mark.parametrize("instruction_set", instruction_sets())
def test_the_kernels_say_how_each_convolution_is_computed(instruction_set: str) -> None:
    """Of every one that is counted, and of no other layer; what cannot be tiled is direct."""
    pytest.importorskip("facet_native", reason="the native engine could not be compiled here")
    tiles = staged.tiles(Facet("native", instruction_set).detector._engine)
    counts = work.by_layer(LEVELS, CROPS, tiles)
    convolutions = [one for one in counts if not one.layer.startswith("1 x 1")]
    assert [(one.stage, one.tile) for one in convolutions] == [
        (stage, tile) for stage, told in tiles.items() for tile in told
    ]
    assert all(one.tile == 1 or one.layer.startswith("3 x 3") for one in counts)


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
