"""The networks' weights as plain lists of float32, which the native engine packs for its instruction set.

Layers are in their order: of each the kernel (rows, columns, inputs, outputs), the bias and the slopes of
its PReLU; then the kernel and the bias of all heads side by side. As in `graphs`, the two logits are one
head, their difference, which comes first, and the dense layers' weights are permuted, here to rows,
columns, channels.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

_LAYER = 3


def flat_weights(weights: Sequence[npt.NDArray[np.float32]]) -> bytes:
    """Serialize a network: little-endian float32.

    Args:
        weights: The package's arrays in the order in which it saves them: kernel, bias and slopes of each
            layer, then kernel and bias of each head, the logits last.
    """
    parts: list[npt.NDArray[np.float32]] = []
    layers, heads = _split(weights)
    channels = 3
    for kernel, bias, slopes in layers:
        parts += [_rows_first(kernel, channels), bias, slopes]
        channels = bias.size
    *others, logits, logits_bias = heads
    parts.append(np.concatenate([logits[..., 1:] - logits[..., :1], *others[0::2]], axis=-1))
    parts.append(np.concatenate([logits_bias[1:] - logits_bias[:1], *others[1::2]]))
    return np.concatenate([part.ravel() for part in parts]).astype("<f4").tobytes()


def _split(
    weights: Sequence[npt.NDArray[np.float32]],
) -> tuple[list[Sequence[npt.NDArray[np.float32]]], Sequence[npt.NDArray[np.float32]]]:
    """Layers and heads: a layer has slopes behind its bias, a head has not."""
    layers = []
    while len(weights) > _LAYER and weights[2].size == weights[1].size:
        layers.append(weights[:_LAYER])
        weights = weights[_LAYER:]
    return layers, weights


def _rows_first(kernel: npt.NDArray[np.float32], channels: int) -> npt.NDArray[np.float32]:
    """Permute a dense layer's inputs, which are columns, rows, channels; leave convolutions alone."""
    if kernel.ndim > 2:  # noqa: PLR2004 - a matrix is a dense layer
        return kernel
    side = int((kernel.shape[0] / channels) ** 0.5)
    return kernel.reshape(side, side, channels, -1).transpose(1, 0, 2, 3)
