"""The work of MTCNN's networks, and the multiplications that an engine does for it.

Work is the multiply-adds of direct convolutions, counted from the shapes of the layers as the package defines
them, whatever an engine leaves out: every output of P-Net in every cell, though the regression of one that is
no candidate need not be computed (2 % of P-Net). Pyramid, crops, activations, pools and all of the pipeline
count for nothing.

An engine may do fewer multiplications. Winograd's F(m x m, k x k) gives a tile of m x m outputs of a k x k
convolution by (m + k - 1)^2 multiplications for each pair of an input and an output channel, where direct
convolution, which is the same with m = 1, does m^2 k^2. Tiles that reach beyond the output count whole.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

Tiles = Mapping[str, Sequence[int]]
"""By stage, m of each of its convolutions, first to last."""

DIRECT = 1


class Layer(NamedTuple):
    """A convolution, or a dense layer: one whose kernel and output have a side of 1.

    Attributes:
        kernel: Its side.
        inputs: Channels.
        outputs: Channels.
        side: Of a crop's output, in pixels.
    """

    kernel: int
    inputs: int
    outputs: int
    side: int = 1

    @property
    def name(self) -> str:
        """Such as 3 x 3, 32 to 64."""
        return f"{self.kernel} x {self.kernel}, {self.inputs} to {self.outputs}"

    def multiplications(self, width: int, height: int, tile: int = DIRECT) -> int:
        """For an output of this size, computed in tiles of this side."""
        tiles = -(-width // tile) * -(-height // tile)
        return tiles * (tile + self.kernel - 1) ** 2 * self.inputs * self.outputs


class Count(NamedTuple):
    """What was counted of a layer.

    Attributes:
        stage: proposal, refinement or output.
        layer: Its name.
        tile: m of its algorithm.
        work: Multiply-adds of the direct convolution.
        multiplications: That are done.
    """

    stage: str
    layer: str
    tile: int
    work: int
    multiplications: int


# Heads are one layer: two logits, four regressions, ten landmarks.
_NETWORKS = {
    "proposal": (Layer(3, 3, 10), Layer(3, 10, 16), Layer(3, 16, 32), Layer(1, 32, 2 + 4)),
    "refinement": (
        *(Layer(3, 3, 28, 22), Layer(3, 28, 48, 9), Layer(2, 48, 64, 3)),
        *(Layer(1, 3 * 3 * 64, 128), Layer(1, 128, 2 + 4)),
    ),
    "output": (
        *(Layer(3, 3, 32, 46), Layer(3, 32, 64, 21), Layer(3, 64, 64, 8), Layer(2, 64, 128, 3)),
        *(Layer(1, 3 * 3 * 128, 256), Layer(1, 256, 2 + 4 + 10)),
    ),
}


def by_layer(
    levels: Sequence[Sequence[int]], candidates: Mapping[str, int], tiles: Tiles | None = None
) -> list[Count]:
    """What each layer does in a detection.

    Args:
        levels: Width and height of each level that P-Net sees.
        candidates: How many crops R-Net (refinement) and O-Net (output) see.
        tiles: Of the convolutions that are not direct.
    """
    counts = []
    for stage, network in _NETWORKS.items():
        told = (tiles or {}).get(stage, ())
        for number, layer in enumerate(network):
            tile = told[number] if number < len(told) else DIRECT  # dense layers have none
            if stage == "proposal":
                outputs = [_sizes(*level)[number] for level in levels]
            else:
                outputs = [(layer.side, layer.side)] * candidates[stage]
            counts.append(_count(stage, layer, tile, outputs))
    return counts


def gflop(counts: Iterable[Count]) -> dict[str, float]:
    """Thousands of millions of operations of the work by stage, two for each multiply-add."""
    work = dict.fromkeys(_NETWORKS, 0)
    for count in counts:
        work[count.stage] += count.work
    return {stage: 2 * done / 1e9 for stage, done in work.items()}


def _count(stage: str, layer: Layer, tile: int, outputs: Sequence[tuple[int, int]]) -> Count:
    """Count a layer over outputs of these widths and heights."""
    work = sum(layer.multiplications(*output) for output in outputs)
    return Count(
        stage, layer.name, tile, work, sum(layer.multiplications(*output, tile) for output in outputs)
    )


def _sizes(width: int, height: int) -> list[tuple[int, int]]:
    """Width and height of what each of P-Net's layers gives over a level; between two the pool rounds up."""
    columns, rows = -(-(width - 2) // 2), -(-(height - 2) // 2)
    last = (columns - 4, rows - 4)
    return [(width - 2, height - 2), (columns - 2, rows - 2), last, last]
