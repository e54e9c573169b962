"""The `onnx` engine: the converted networks in ONNX Runtime, one thread, pyramid and crops in NumPy."""

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np

# ONNX Runtime's own builds report to their maker: from its import on there would be an identifier and a
# database in the user's cache folder, and a thread that sends. It asks only this variable, and only once.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"
import onnxruntime

from inference_server.detector.crops import crop
from inference_server.detector.engine import Boxes, Cells, Floats, Image
from inference_server.detector.logistic import probability
from inference_server.detector.pyramid import Level, planes
from inference_server.detector.scales import level_size
from inference_server.detector.weights import NETWORKS, read_model

# The proposal network sees a level in tiles whose activations stay in the CPU's cache: at 640x480 a fifth
# faster than in one piece, and the memory of a 25-megapixel picture stays that of a small one. A cell
# (r, c) sees the 12 x 12 pixels from (2r, 2c) on, so a tile of n cells has 2n + 10 pixels.
_TILE_CELLS = 106
_TILE_MARGIN = 10

# Likewise for the crops that the other two networks see at once. Cutting out is cheaper in larger portions.
_CROPS_SEEN = {"rnet": 8, "onet": 4}
_CROPS_CUT = 32

_SIDES = {"rnet": 24, "onet": 48}


class OnnxEngine:
    """The networks in ONNX Runtime. One instance serves one thread.

    Args:
        cache_dir: The cache folder that holds the models.

    Raises:
        WeightsError: A model is missing from the cache, or is not what its manifest says.
    """

    name = "onnx"

    def __init__(self, cache_dir: Path) -> None:
        self._sessions = {network: _session(read_model(cache_dir, network)) for network in NETWORKS}

    def prepare(self, image: Image) -> "_Prepared":
        """Take in a picture."""
        return _Prepared(self, image)

    def run(self, network: str, batch: Floats) -> Floats:
        """The heads of a network on (N, 3, height, width), as `graphs.build_model` describes them."""
        heads: Floats = self._sessions[network].run(None, {"image": batch})[0]
        return heads


class _Prepared:
    """One picture before the three networks; see `engine.Prepared`."""

    def __init__(self, engine: OnnxEngine, image: Image) -> None:
        self._engine = engine
        self._pixels = planes(image)

    def propose(self, scale: float, threshold: float) -> tuple[Cells, Floats, Floats]:
        height, _, width = self._pixels.shape
        level = Level(self._pixels, level_size(width, height, scale))
        rows, columns = _cells(level.height), _cells(level.width)
        heads = np.empty((5, rows, columns), np.float32)
        for top, bottom in _tiles(rows):
            strip = level.rows(2 * top, min(2 * bottom + _TILE_MARGIN, level.height))
            for left, right in _tiles(columns):
                tile = strip[None, :, :, 2 * left : 2 * right + _TILE_MARGIN]
                heads[:, top:bottom, left:right] = self._engine.run("pnet", np.ascontiguousarray(tile))[0]
        scores = probability(heads[0])
        cells = np.argwhere(scores > threshold)
        row, column = cells.T
        return cells, scores[row, column], heads[1:, row, column].T

    def refine(self, boxes: Boxes) -> tuple[Floats, Floats]:
        heads = self._see("rnet", boxes, 5)
        return probability(heads[:, 0]), heads[:, 1:]

    def output(self, boxes: Boxes) -> tuple[Floats, Floats, Floats]:
        heads = self._see("onet", boxes, 15)
        return probability(heads[:, 0]), heads[:, 1:5], heads[:, 5:]

    def _see(self, network: str, boxes: Boxes, heads: int) -> Floats:
        seen = np.empty((len(boxes), heads), np.float32)
        step = _CROPS_SEEN[network]
        for cut in range(0, len(boxes), _CROPS_CUT):
            crops = crop(self._pixels, boxes[cut : cut + _CROPS_CUT], _SIDES[network])
            for start in range(0, len(crops), step):
                heads_seen = self._engine.run(network, crops[start : start + step])
                seen[cut + start : cut + start + len(heads_seen)] = heads_seen
        return seen


def _session(model: bytes) -> onnxruntime.InferenceSession:
    """A session that keeps neither threads nor, between pictures, memory of its own."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.enable_cpu_mem_arena = False
    options.enable_mem_pattern = False
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


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
