"""Each kernel of each instruction set against the plain reading of its formula, on weights made up."""

from typing import Any

import numpy as np
import pytest

from inference_server.detector.crops import crop
from inference_server.detector.engine import Floats
from inference_server.detector.flat import flat_weights
from inference_server.detector.pyramid import Level, planes
from tests.parity.reference import Rows
from tests.support.instruction_sets import instruction_sets
from tests.support.pictures import Pixels

facet_native = pytest.importorskip("facet_native", reason="the native engine could not be compiled here")

Arrays = list[Floats]

CONVOLUTIONS = {
    "pnet": [(3, 3, 10), (3, 10, 16), (3, 16, 32)],
    "rnet": [(3, 3, 28), (3, 28, 48), (2, 48, 64)],
    "onet": [(3, 3, 32), (3, 32, 64), (3, 64, 64), (2, 64, 128)],
}
POOLS = {
    "pnet": [(2, True), None, None],
    "rnet": [(3, True), (3, False), None],
    "onet": [(3, True), (3, False), (2, True), None],
}
DENSE = {"pnet": [], "rnet": [(576, 128)], "onet": [(1152, 256)]}
HEADS = {"pnet": [4, 2], "rnet": [4, 2], "onet": [4, 10, 2]}


def made_up(network: str) -> Arrays:
    """Weights in the package's form: slopes of either sign and above one, values that stay near one."""
    random = np.random.default_rng(7)
    arrays: Arrays = []

    def add(*shape: int, scale: float) -> None:
        arrays.append(random.normal(0, scale, shape).astype(np.float32))

    for side, inputs, outputs in CONVOLUTIONS[network]:
        add(side, side, inputs, outputs, scale=(side * side * inputs) ** -0.5)
        add(outputs, scale=0.2)
        add(1, 1, outputs, scale=0.7)
    width = CONVOLUTIONS[network][-1][2]
    for inputs, width in DENSE[network]:
        add(inputs, width, scale=inputs**-0.5)
        add(width, scale=0.2)
        add(width, scale=0.7)
    for heads in HEADS[network]:
        add(*((1, 1) if network == "pnet" else ()), width, heads, scale=width**-0.5)
        add(heads, scale=0.2)
    return arrays


def prelu(values: Rows, slopes: Floats) -> Rows:
    """PReLU over the last axis."""
    rectified: Rows = np.where(values > 0, values, values * slopes.ravel().astype(float))
    return rectified


def convolved(maps: Rows, kernel: Floats, bias: Floats) -> Rows:
    """A convolution without padding: (rows, columns, channels)."""
    windows = np.lib.stride_tricks.sliding_window_view(maps, kernel.shape[:2], axis=(0, 1))
    result: Rows = np.einsum("yxcij,ijco->yxo", windows, kernel.astype(float), optimize=True) + bias
    return result


def pooled(maps: Rows, window: int, same: bool) -> Rows:
    """The largest of windows two apart; SAME cuts the last one, VALID leaves it out."""
    sides = [-(-side // 2) if same else (side - window) // 2 + 1 for side in maps.shape[:2]]
    return np.array(
        [
            [maps[2 * y : 2 * y + window, 2 * x : 2 * x + window].max(axis=(0, 1)) for x in range(sides[1])]
            for y in range(sides[0])
        ]
    )


def heads_of(network: str, arrays: Arrays, image: Rows) -> Rows:
    """What a network says of one image, (..., heads), in float64."""
    rest = list(arrays)
    for pool in POOLS[network]:
        kernel, bias, slopes, *rest = rest
        image = prelu(convolved(image, kernel, bias), slopes)
        image = pooled(image, *pool) if pool else image
    if DENSE[network]:
        kernel, bias, slopes, *rest = rest
        image = prelu(image.transpose(1, 0, 2).ravel() @ kernel.astype(float) + bias, slopes)
    *others, logits, logits_bias = (array.squeeze().astype(float) for array in rest)
    parts = [image @ (logits[:, 1:] - logits[:, :1]) + logits_bias[1:] - logits_bias[:1]]
    parts += [image @ kernel + bias for kernel, bias in zip(others[0::2], others[1::2], strict=True)]
    return np.concatenate(parts, axis=-1)


@pytest.fixture(scope="module", params=instruction_sets())
def networks(request: pytest.FixtureRequest) -> Any:  # noqa: ANN401
    """Networks of made-up weights, on each instruction set that this CPU has."""
    flat = [np.frombuffer(flat_weights(made_up(network)), np.float32) for network in CONVOLUTIONS]
    return facet_native.Engine(request.param, *flat)


def noise(width: int, height: int) -> Pixels:
    """A picture of random bytes."""
    return np.random.default_rng(width * height).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize(
    ("size", "level"),
    [
        ((64, 48), (38, 28)),
        ((65, 49), (13, 12)),
        ((23, 1201), (12, 640)),
        ((1, 1), (12, 12)),
        ((700, 1), (420, 12)),
        ((40, 9000), (12, 13)),
        ((97, 61), (97, 61)),
        ((31, 30), (50, 49)),
    ],
)
def test_a_level_is_that_of_the_numpy_pyramid(
    networks: Any,  # noqa: ANN401
    size: tuple[int, int],
    level: tuple[int, int],
) -> None:
    """Up and down, by little and by much, of one row and of one column."""
    picture = noise(*size)
    expected = Level(planes(picture), level).rows(0, level[1]).transpose(1, 2, 0)
    found = networks.resize(picture, *level)
    assert found.dtype == np.float32
    assert np.abs(found - expected).max() < 2e-6


BOXES = np.array(
    [
        [10.3, 20.7, 60.1, 70.9],
        [-30, -20, 80, 90],
        [60, 30, 130, 100],
        [400, 10, 420, 30],
        [50, 50, 50.2, 50.2],
        [0, 0, 97, 61],
        [96, 60, 97, 61],
        [-1e9, -1e9, 1e9, 1e9],
        [20, -3e5, 21, 3e5],
        [40, 40, 30, 30],
        [7, 7, 7, 7],
        [np.nan, 0, 10, 10],
        [-1e300, 0, 1e300, 10],
        [0, 0, np.inf, 10],
    ]
)


@pytest.mark.parametrize("side", [24, 48])
@pytest.mark.parametrize("size", [(97, 61), (1, 1), (1, 50), (50, 1), (2, 2)])
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_a_crop_is_that_of_numpy(networks: Any, size: tuple[int, int], side: int) -> None:  # noqa: ANN401
    """Inside, across edges, far outside, without size, inverted, not a number: never a crash."""
    picture = noise(*size)
    expected = crop(planes(picture), BOXES[:-3], side).transpose(0, 2, 3, 1)
    found = networks.crop(picture, BOXES, side)
    assert np.abs(found[:-3] - expected).max() < 1e-6
    assert np.isfinite(found).all()
    assert not found[-3:-1].any()


@pytest.mark.parametrize(
    "level", [(12, 12), (13, 14), (24, 37), (48, 50), (111, 23), (155, 12), (206, 31), (12, 99)]
)
def test_proposals_are_those_of_plain_convolutions(
    networks: Any,  # noqa: ANN401
    level: tuple[int, int],
) -> None:
    """All cells in order with all heads, at every parity of the sides and every width of a tile."""
    picture = noise(90, 70)
    image = networks.resize(picture, *level).astype(float)
    expected = heads_of("pnet", made_up("pnet"), image)
    cells, heads = networks.propose(picture, *level, -np.inf)
    assert np.array_equal(cells, np.argwhere(np.ones(expected.shape[:2])))
    assert np.abs(heads - expected.reshape(-1, 5)).max() < 1e-5
    least = float(np.median(heads[:, 0]))
    some_cells, some_heads = networks.propose(picture, *level, least)
    passed = heads[:, 0] > least
    assert np.array_equal(some_cells, cells[passed])
    assert np.array_equal(some_heads, heads[passed])


@pytest.mark.parametrize("network", ["rnet", "onet"])
def test_crops_are_seen_as_by_plain_convolutions(networks: Any, network: str) -> None:  # noqa: ANN401
    """Each crop by itself and in any number at once, whole batches and rests.

    Weights are such that values stay near one, and so do errors that come from before. Rounding in a layer
    adds one with the standard deviation a sqrt(k / 3) 2^-24, where k is how often a product is rounded and
    a how much Winograd's transforms amplify its errors: for two axes, the mean over a tile's outputs i of
    sum over u of A[i, u]^2 |B[u]|^2 |G[u]|^2 / 3, which is 6.0 for F(3 x 3, 3 x 3), 10.8 for F(4 x 4, 3 x 3).
    With k as half the inputs and 13 for the transforms, O-Net's three convolutions add up to 3e-6, and what
    follows adds little. The bound is three times that. Bounds that nothing can exceed are those of each
    convolution by itself, in native/tests/winograd_bound.h.
    """
    picture = noise(90, 70)
    boxes = np.random.default_rng(1).uniform(-20, 60, (19, 4))
    boxes[:, 2:] = boxes[:, :2] + 30
    side, see = (24, networks.refine) if network == "rnet" else (48, networks.output)
    crops = networks.crop(picture, boxes, side).astype(float)
    expected = np.array([heads_of(network, made_up(network), image) for image in crops])
    assert np.abs(see(picture, boxes) - expected).max() < 1e-5
    for count in range(8):
        assert np.abs(see(picture, boxes[:count]) - expected[:count]).max(initial=0) < 1e-5
