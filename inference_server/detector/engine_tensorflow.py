"""The `tensorflow` engine: the `mtcnn` package's own networks, for those who must run TensorFlow."""

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from inference_server.detector.engine import Checkpoint, Floats, Image, no_checkpoint
from inference_server.detector.flat import package_weights
from inference_server.detector.tiles import Tiled
from inference_server.detector.weights import read_floats


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """Discard what is written to standard error, past Python too."""
    sys.stderr.flush()
    kept = os.dup(2)
    with Path(os.devnull).open("wb") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


# These are read at the imports. TensorFlow would log, and take hold of every GPU; the user's configuration of
# Keras, a file that Keras would make where there is none, could change what is computed.
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
os.environ["KERAS_HOME"] = os.devnull
os.environ["KERAS_BACKEND"] = "tensorflow"
# Some lines come before TensorFlow looks at its log level.
with _silence():
    import tensorflow as tf
    from mtcnn.network.onet import ONet
    from mtcnn.network.pnet import PNet
    from mtcnn.network.rnet import RNet

_NETWORKS = {"pnet": (PNet, None), "rnet": (RNet, 24), "onet": (ONet, 48)}
"""The package's classes, and the sides of what they look at; the first takes any."""


class TensorflowEngine:
    """The networks in TensorFlow, on one thread. One instance serves one thread.

    Args:
        cache_dir: The cache folder that holds the weights.

    Raises:
        WeightsError: Weights are missing from the cache, or are not what their manifest says.
    """

    name = "tensorflow"

    def __init__(self, cache_dir: Path) -> None:
        tf.config.threading.set_intra_op_parallelism_threads(1)
        tf.config.threading.set_inter_op_parallelism_threads(1)
        self._functions = {
            network: _function(network, read_floats(cache_dir, network)) for network in _NETWORKS
        }

    def prepare(self, image: Image, checkpoint: Checkpoint = no_checkpoint) -> Tiled:
        """Take in a picture."""
        return Tiled(self._run, image, checkpoint)

    def _run(self, network: str, batch: Floats) -> Floats:
        """Compute a network; see `tiles.Run`. TensorFlow has the channels last."""
        channels_last = np.ascontiguousarray(np.moveaxis(batch, 1, -1))
        heads: Floats = np.moveaxis(self._functions[network](tf.constant(channels_last)).numpy(), -1, 1)
        return heads


def _function(network: str, floats: bytes) -> Any:  # noqa: ANN401 - TensorFlow has no types
    """A graph of a network and its heads, traced once for all sizes: plain calls cost more."""
    make, side = _NETWORKS[network]
    model = make()
    model.build()
    model.set_weights(package_weights(floats, [tuple(weight.shape) for weight in model.weights]))

    def heads(images: Any) -> Any:  # noqa: ANN401
        *others, classes = model(images)
        return tf.concat([classes[..., 1:], *others], axis=-1)

    images = tf.TensorSpec((None, side, side, 3), tf.float32)
    return tf.function(heads, input_signature=[images], autograph=False).get_concrete_function()
