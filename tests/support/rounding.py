"""How far float32 may take P-Net, computed by Winograd's algorithm, from its exact values.

Each output of F(m x m, 3 x 3) is a sum of products of a pixel, a value of the kernel, and entries of B^T, G
and A^T, each matrix on both axes. With unit roundoff u = 2^-24 a term that passes through k roundings is off
by less than 1.01 k u of its size. So the sum is off by less than 1.01 k u S, where S is the sum of the sizes
of all terms: what the same algorithm gives for the absolute values of all that is in it. Errors of the pixels
themselves go through as through the convolution of |kernel|, and through PReLU enlarged by its steepest
slope; a pool hands on the largest.
"""

import numpy as np

from inference_server.detector.engine import Floats
from tests.parity.reference import Rows
from tests.support.plain_networks import Arrays, convolved, pooled, prelu

UNIT = 2.0**-24

# By tile: absolute values of B^T, G and A^T for the points 0, 1, -1 and infinity; and for 2 and -2, where a
# tile is 4.
SIZES = {
    2: (
        [[1, 0, 1, 0], [0, 1, 1, 0], [0, 1, 1, 0], [0, 1, 0, 1]],
        [[1, 0, 0], [1 / 2, 1 / 2, 1 / 2], [1 / 2, 1 / 2, 1 / 2], [0, 0, 1]],
        [[1, 1, 1, 0], [0, 1, 1, 1]],
    ),
    4: (
        [
            [4, 0, 5, 0, 1, 0],
            [0, 4, 4, 1, 1, 0],
            [0, 4, 4, 1, 1, 0],
            [0, 2, 1, 2, 1, 0],
            [0, 2, 1, 2, 1, 0],
            [0, 4, 0, 5, 0, 1],
        ],
        [
            [1 / 4, 0, 0],
            [1 / 6, 1 / 6, 1 / 6],
            [1 / 6, 1 / 6, 1 / 6],
            [1 / 24, 1 / 12, 1 / 6],
            [1 / 24, 1 / 12, 1 / 6],
            [0, 0, 1],
        ],
        [[1, 1, 1, 1, 1, 0], [0, 1, 1, 2, 2, 0], [0, 1, 1, 4, 4, 0], [0, 1, 1, 8, 8, 1]],
    ),
}


def term_sizes(maps: Rows, kernel: Floats, tile: int) -> Rows:
    """S of each output; what a tile reads outside the map is taken for as large as anything in it."""
    inputs, kernels, outputs = (np.array(matrix) for matrix in SIZES[tile])
    rows, columns = (side - 2 for side in maps.shape[:2])
    tiles = -(-rows // tile), -(-columns // tile)
    beyond = [(0, count * tile - side) for count, side in zip(tiles, (rows, columns), strict=True)]
    padded = np.pad(np.abs(maps), [*beyond, (0, 0)], constant_values=np.abs(maps).max())
    read = np.lib.stride_tricks.sliding_window_view(padded, (tile + 2, tile + 2), axis=(0, 1))[::tile, ::tile]
    pixels = np.einsum("ur,yxcrs,vs->yxuvc", inputs, read, inputs, optimize=True)
    weights = np.einsum("ur,rsco,vs->uvco", kernels, np.abs(kernel).astype(float), kernels, optimize=True)
    products = np.einsum("yxuvc,uvco->yxuvo", pixels, weights, optimize=True)
    sizes = np.einsum("iu,yxuvo,jv->yixjo", outputs, products, outputs, optimize=True)
    whole: Rows = sizes.reshape(tiles[0] * tile, tiles[1] * tile, -1)[:rows, :columns]
    return whole


def layer(maps: Rows, errors: Rows, arrays: Arrays, tile: int) -> tuple[Rows, Rows]:
    """Exact values of a layer, and the bounds of their errors.

    A product is rounded once, its kernel once, and each addition over the inputs once; of the transforms, two
    of the input and two of the output, each pass rounds up to three times; bias and PReLU round once each.

    Args:
        maps: Exact values, (rows, columns, inputs).
        errors: Bounds of their errors.
        arrays: Kernel, bias and slopes.
        tile: m of F(m x m, 3 x 3).
    """
    kernel, bias, slopes = arrays
    roundings = kernel.shape[2] + 1 + 4 * 3 + 2
    size = term_sizes(np.abs(maps) + errors, kernel, tile) + np.abs(bias)
    through = convolved(errors, np.abs(kernel), np.zeros_like(bias))
    steepest = np.maximum(1, np.abs(slopes)).ravel()
    return prelu(convolved(maps, kernel, bias), slopes), (1.01 * roundings * UNIT * size + through) * steepest


def proposals(arrays: Arrays, image: Rows) -> tuple[Rows, Rows]:
    """P-Net's heads of an image, (rows, columns, heads), and the bounds of their errors."""
    maps, errors = layer(image, np.zeros_like(image), arrays[:3], 2)
    maps, errors = pooled(maps, 2, True), pooled(errors, 2, True)
    for first in (3, 6):
        maps, errors = layer(maps, errors, arrays[first : first + 3], 4)
    regressions, bias, logits, logits_bias = (array.squeeze().astype(float) for array in arrays[9:])
    weights = np.concatenate([logits[:, 1:] - logits[:, :1], regressions], axis=1)
    biases_of_heads = np.concatenate([logits_bias[1:] - logits_bias[:1], bias])
    size = np.abs(maps) @ np.abs(weights) + np.abs(biases_of_heads)
    # Each term is rounded as a weight, as a product, and by each addition.
    rounded = 1.01 * (len(weights) + 3) * UNIT * (size + errors @ np.abs(weights))
    return maps @ weights + biases_of_heads, rounded + errors @ np.abs(weights)
