"""The `onnx` engine: the converted networks in ONNX Runtime, one thread, pyramid and crops in NumPy."""

import os
from pathlib import Path

import numpy as np

# ONNX Runtime's own builds report to their maker: from its import on there would be an identifier and a
# database in the user's cache folder, and a thread that sends. It asks only this variable, and only once.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"
import onnxruntime

from inference_server.detector.engine import Checkpoint, Floats, Image, no_checkpoint
from inference_server.detector.logistic import probability
from inference_server.detector.tiles import Tiled
from inference_server.detector.weights import NETWORKS, read_model


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

    def prepare(self, image: Image, checkpoint: Checkpoint = no_checkpoint) -> Tiled:
        """Take in a picture."""
        return Tiled(self._run, image, checkpoint)

    def _run(self, network: str, batch: Floats) -> Floats:
        """Compute a network; see `tiles.Run`."""
        heads: Floats = self._sessions[network].run(None, {"image": np.ascontiguousarray(batch)})[0]
        heads[:, 0] = probability(heads[:, 0])
        return heads


def _session(model: bytes) -> onnxruntime.InferenceSession:
    """A session that keeps neither threads nor, between pictures, memory of its own."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.enable_cpu_mem_arena = False
    options.enable_mem_pattern = False
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
