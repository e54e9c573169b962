"""The networks' weights as plain lists of float32, for the engines that are not given a graph.

Layers are in their order: of each the kernel (rows, columns, inputs, outputs), the bias and the slopes of
its PReLU; then the kernel and the bias of all heads side by side. As in `graphs`, the two logits are one
head, their difference, which comes first, and the dense layers' weights are permuted, here to rows,
columns, channels. The native engine packs them for its instruction set; the tensorflow engine puts them back
in the package's order.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float32]

_LAYER = 3


def flat_weights(weights: Sequence[Array]) -> bytes:
    """Serialize a network: little-endian float32.

    Args:
        weights: The package's arrays in the order in which it saves them: kernel, bias and slopes of each
            layer, then kernel and bias of each head, the logits last.
    """
    parts: list[Array] = []
    layers, heads = _split(weights)
    channels = 3
    for kernel, bias, slopes in layers:
        parts += [_turned(kernel, channels), bias, slopes]
        channels = bias.size
    *others, logits, logits_bias = heads
    parts.append(np.concatenate([logits[..., 1:] - logits[..., :1], *others[0::2]], axis=-1))
    parts.append(np.concatenate([logits_bias[1:] - logits_bias[:1], *others[1::2]]))
    return np.concatenate([part.ravel() for part in parts]).astype("<f4").tobytes()


def package_weights(floats: bytes, shapes: Sequence[tuple[int, ...]]) -> list[Array]:
    """Undo `flat_weights`: the arrays of a network in the package's order.

    Of the two logits the first becomes 0 and the second their difference, which gives the same scores.

    Args:
        floats: What `flat_weights` has made of them.
        shapes: Their shapes, in that order.
    """
    values = np.frombuffer(floats, "<f4")
    arrays = [np.empty(shape, np.float32) for shape in shapes]
    layers, heads = _split(arrays)
    channels = 3
    for kernel, bias, slopes in layers:
        for array in (kernel, bias, slopes):
            array[:], values = values[: array.size].reshape(array.shape), values[array.size :]
        kernel[:] = _turned(kernel, channels).reshape(kernel.shape)
        channels = bias.size
    # What is left are the heads: a column for each output, whose last row is the bias.
    columns = values.reshape(-1, sum(bias.size for bias in heads[1::2]) - 1)
    difference, others = columns[:, :1], columns[:, 1:]
    columns = np.hstack([others, np.zeros_like(difference), difference])
    for kernel, bias in zip(heads[::2], heads[1::2], strict=True):
        kernel[:] = columns[:-1, : bias.size].reshape(kernel.shape)
        bias[:], columns = columns[-1, : bias.size], columns[:, bias.size :]
    return arrays


def _split(weights: Sequence[Array]) -> tuple[list[Sequence[Array]], Sequence[Array]]:
    """Layers and heads: a layer has slopes behind its bias, a head has not."""
    layers = []
    while len(weights) > _LAYER and weights[2].size == weights[1].size:
        layers.append(weights[:_LAYER])
        weights = weights[_LAYER:]
    return layers, weights


def _turned(kernel: Array, channels: int) -> Array:
    """Exchange the columns and the rows of a dense layer's inputs; leave convolutions alone."""
    if kernel.ndim > 2:  # noqa: PLR2004 - a matrix is a dense layer
        return kernel
    side = int((kernel.shape[0] / channels) ** 0.5)
    return kernel.reshape(side, side, channels, -1).transpose(1, 0, 2, 3)
