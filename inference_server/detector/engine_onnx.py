"""The `onnx` engine: the converted networks in ONNX Runtime, one thread, pyramid and crops in NumPy."""

from pathlib import Path

import numpy as np

from inference_server.detector.engine import Checkpoint, Floats, Image, no_checkpoint
from inference_server.detector.logistic import probability
from inference_server.detector.tiles import Tiled
from inference_server.detector.weights import NETWORKS, read_model
from inference_server.onnx_session import open_session


class OnnxEngine:
    """The networks in ONNX Runtime. One instance serves one thread.

    Args:
        cache_dir: The cache folder that holds the models.

    Raises:
        WeightsError: A model is missing from the cache, or is not what its manifest says.
    """

    name = "onnx"

    def __init__(self, cache_dir: Path) -> None:
        self._sessions = {network: open_session(read_model(cache_dir, network)) for network in NETWORKS}

    def prepare(self, image: Image, checkpoint: Checkpoint = no_checkpoint) -> Tiled:
        """Take in a picture."""
        return Tiled(self._run, image, checkpoint)

    def _run(self, network: str, batch: Floats) -> Floats:
        """Compute a network; see `tiles.Run`."""
        heads: Floats = self._sessions[network].run(None, {"image": np.ascontiguousarray(batch)})[0]
        heads[:, 0] = probability(heads[:, 0])
        return heads
