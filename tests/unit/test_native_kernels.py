"""Each kernel of each instruction set against the plain reading of its formula, on weights made up."""

from typing import Any

import numpy as np
import pytest

from inference_server.detector.crops import crop
from inference_server.detector.pyramid import Level, planes
from tests.support.instruction_sets import instruction_sets
from tests.support.plain_networks import CONVOLUTIONS, flat, heads_of, made_up, noise

facet_native = pytest.importorskip("facet_native", reason="the native engine could not be compiled here")


@pytest.fixture(scope="module", params=instruction_sets())
def networks(request: pytest.FixtureRequest) -> Any:  # noqa: ANN401
    """Networks of made-up weights, on each instruction set that this CPU has."""
    return facet_native.Engine(request.param, *flat({network: made_up(network) for network in CONVOLUTIONS}))


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
