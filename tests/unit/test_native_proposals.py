"""P-Net's kernels of each instruction set at every remainder of tiles and vectors, against float64."""

from functools import cache
from typing import Any

import numpy as np
import pytest

from tests.parity.reference import Rows
from tests.support.instruction_sets import instruction_sets
from tests.support.pictures import Pixels
from tests.support.plain_networks import CONVOLUTIONS, flat, heads_of, made_up, noise
from tests.support.rounding import proposals

facet_native = pytest.importorskip("facet_native", reason="the native engine could not be compiled here")

WEIGHTS = {network: made_up(network) for network in CONVOLUTIONS}


@pytest.fixture(scope="module", params=instruction_sets())
def networks(request: pytest.FixtureRequest) -> Any:  # noqa: ANN401
    """Networks of made-up weights, on each instruction set that this CPU has."""
    return facet_native.Engine(request.param, *flat(WEIGHTS))


@cache
def level(width: int, height: int) -> tuple[Pixels, Rows, Rows]:
    """A picture, P-Net's heads of it as its level, and the bounds of their errors."""
    picture = noise(width, height)
    return picture, *proposals(WEIGHTS["pnet"], (picture.astype(float) - 127.5) / 128)


def agrees(networks: Any, width: int, height: int) -> None:  # noqa: ANN401
    """All cells in order, each head within the bound, which is of the worst case, and near what is exact."""
    picture, expected, bounds = level(width, height)
    cells, heads = networks.propose(picture, width, height, -np.inf)
    errors = np.abs(heads - expected.reshape(-1, 5))
    assert np.array_equal(cells, np.argwhere(np.ones(expected.shape[:2])))
    assert (errors <= bounds.reshape(-1, 5)).all()
    assert errors.max() < 1e-5


@pytest.mark.parametrize("tiles", range(36))
def test_any_number_of_tiles_is_within_the_bound_of_rounding(networks: Any, tiles: int) -> None:  # noqa: ANN401
    """A tile is eight columns of a level, and the widest vector has sixteen tiles."""
    agrees(networks, 12 + 8 * tiles + 3 * tiles % 8, 12 + tiles % 3)


@pytest.mark.parametrize("height", range(12, 29))
def test_any_remainder_of_tiles_is_within_the_bound_of_rounding(networks: Any, height: int) -> None:  # noqa: ANN401
    """Rows and columns of tiles that are whole and cut, and rings that have gone round."""
    agrees(networks, 32 + height % 8, height)


def test_a_large_level_is_within_the_bound_of_rounding(networks: Any) -> None:  # noqa: ANN401
    """Of several vectors in a row and many rows of tiles."""
    agrees(networks, 301, 90)


def test_bounds_are_of_the_same_values_as_the_plain_network() -> None:
    """Or the tests above would compare with something else."""
    picture, expected, _ = level(50, 49)
    assert (
        np.abs(expected - heads_of("pnet", WEIGHTS["pnet"], (picture.astype(float) - 127.5) / 128)).max()
        < 1e-12
    )


def test_what_does_not_exceed_the_least_logit_is_left_out(networks: Any) -> None:  # noqa: ANN401
    """Whichever lanes and rows of a tile pass."""
    picture, _, _ = level(206, 31)
    cells, heads = networks.propose(picture, 206, 31, -np.inf)
    for share in (0.5, 0.99, 1.0):
        least = float(np.quantile(heads[:, 0], share))
        passed = heads[:, 0] > least
        some_cells, some_heads = networks.propose(picture, 206, 31, least)
        assert np.array_equal(some_cells, cells[passed])
        assert np.array_equal(some_heads, heads[passed])
