"""A picture before networks that take arrays: each level of its pyramid in tiles, its crops in small batches.

For an engine that brings nothing but the networks; pyramid and crops are NumPy, channels first.
"""

from collections.abc import Callable, Iterator

import numpy as np

from inference_server.detector.crops import crop
from inference_server.detector.engine import Boxes, Cells, Checkpoint, Floats, Image
from inference_server.detector.pyramid import Level, planes
from inference_server.detector.scales import level_size

Run = Callable[[str, Floats], Floats]
"""Computes one of NETWORKS on (N, 3, height, width), RGB, normalised to [-1, 1], float32.

It gives the heads: (N, 5, rows, columns) of pnet, (N, 5) of rnet and (N, 15) of onet. The first is the score,
the next four are the regressions, the last ten the landmarks."""

# The proposal network sees a level in tiles whose activations stay in the CPU's cache: at 640x480 a fifth
# faster than in one piece, and the memory of a 25-megapixel picture stays that of a small one. A cell
# (r, c) sees the 12 x 12 pixels from (2r, 2c) on, so a tile of n cells has 2n + 10 pixels.
_TILE_CELLS = 106
_TILE_MARGIN = 10

# Likewise for the crops that the other two networks see at once. Cutting out is cheaper in larger portions.
_CROPS_SEEN = {"rnet": 8, "onet": 4}
_CROPS_CUT = 32

_SIDES = {"rnet": 24, "onet": 48}


class Tiled:
    """One picture before the three networks; see `engine.Prepared`.

    Args:
        run: Computes the networks.
        image: The picture.
        checkpoint: Called before each strip of tiles: a large level takes seconds on a slow CPU.
    """

    def __init__(self, run: Run, image: Image, checkpoint: Checkpoint) -> None:
        self._run = run
        self._checkpoint = checkpoint
        self._pixels = planes(image)

    def propose(self, scale: float, threshold: float) -> tuple[Cells, Floats, Floats]:
        """Look at the whole picture, reduced by `scale`."""
        height, _, width = self._pixels.shape
        level = Level(self._pixels, level_size(width, height, scale))
        rows, columns = _cells(level.height), _cells(level.width)
        heads = np.empty((5, rows, columns), np.float32)
        for top, bottom in _tiles(rows):
            self._checkpoint()
            strip = level.rows(2 * top, min(2 * bottom + _TILE_MARGIN, level.height))
            for left, right in _tiles(columns):
                tile = strip[None, :, :, 2 * left : 2 * right + _TILE_MARGIN]
                heads[:, top:bottom, left:right] = self._run("pnet", tile)[0]
        scores = heads[0]
        cells = np.argwhere(scores > threshold)
        row, column = cells.T
        return cells, scores[row, column], heads[1:, row, column].T

    def refine(self, boxes: Boxes) -> tuple[Floats, Floats]:
        """Look into these boxes with the refinement network."""
        heads = self._see("rnet", boxes, 5)
        return heads[:, 0], heads[:, 1:]

    def output(self, boxes: Boxes) -> tuple[Floats, Floats, Floats]:
        """Look into these boxes with the output network."""
        heads = self._see("onet", boxes, 15)
        return heads[:, 0], heads[:, 1:5], heads[:, 5:]

    def _see(self, network: str, boxes: Boxes, heads: int) -> Floats:
        seen = np.empty((len(boxes), heads), np.float32)
        step = _CROPS_SEEN[network]
        for cut in range(0, len(boxes), _CROPS_CUT):
            crops = crop(self._pixels, boxes[cut : cut + _CROPS_CUT], _SIDES[network])
            for start in range(0, len(crops), step):
                heads_seen = self._run(network, crops[start : start + step])
                seen[cut + start : cut + start + len(heads_seen)] = heads_seen
        return seen


def _cells(side: int) -> int:
    """Cells along a side of a level, in pixels: two convolutions and the last row after pooling cost 5.

    A pooling window at an odd edge is cut, not dropped.
    """
    return -(-(side - 2) // 2) - 4


def _tiles(cells: int) -> Iterator[tuple[int, int]]:
    """Split a side into about equal parts of at most `_TILE_CELLS`."""
    count = -(-cells // _TILE_CELLS)
    for number in range(count):
        yield cells * number // count, cells * (number + 1) // count
