"""MTCNN's networks as their formulas read, in float64, on weights made up."""

import numpy as np

from inference_server.detector.engine import Floats
from inference_server.detector.flat import flat_weights
from tests.parity.reference import Rows
from tests.support.pictures import Pixels

Arrays = list[Floats]

CONVOLUTIONS = {
    "pnet": [(3, 3, 10), (3, 10, 16), (3, 16, 32)],
    "rnet": [(3, 3, 28), (3, 28, 48), (2, 48, 64)],
    "onet": [(3, 3, 32), (3, 32, 64), (3, 64, 64), (2, 64, 128)],
}
POOLS = {
    "pnet": [(2, True), None, None],
    "rnet": [(3, True), (3, False), None],
    "onet": [(3, True), (3, False), (2, True), None],
}
DENSE = {"pnet": [], "rnet": [(576, 128)], "onet": [(1152, 256)]}
HEADS = {"pnet": [4, 2], "rnet": [4, 2], "onet": [4, 10, 2]}


def made_up(network: str) -> Arrays:
    """Weights in the package's form: slopes of either sign and above one, values that stay near one."""
    random = np.random.default_rng(7)
    arrays: Arrays = []

    def add(*shape: int, scale: float) -> None:
        arrays.append(random.normal(0, scale, shape).astype(np.float32))

    for side, inputs, outputs in CONVOLUTIONS[network]:
        add(side, side, inputs, outputs, scale=(side * side * inputs) ** -0.5)
        add(outputs, scale=0.2)
        add(1, 1, outputs, scale=0.7)
    width = CONVOLUTIONS[network][-1][2]
    for inputs, width in DENSE[network]:
        add(inputs, width, scale=inputs**-0.5)
        add(width, scale=0.2)
        add(width, scale=0.7)
    for heads in HEADS[network]:
        add(*((1, 1) if network == "pnet" else ()), width, heads, scale=width**-0.5)
        add(heads, scale=0.2)
    return arrays


def prelu(values: Rows, slopes: Floats) -> Rows:
    """PReLU over the last axis."""
    rectified: Rows = np.where(values > 0, values, values * slopes.ravel().astype(float))
    return rectified


def convolved(maps: Rows, kernel: Floats, bias: Floats) -> Rows:
    """A convolution without padding: (rows, columns, channels)."""
    windows = np.lib.stride_tricks.sliding_window_view(maps, kernel.shape[:2], axis=(0, 1))
    result: Rows = np.einsum("yxcij,ijco->yxo", windows, kernel.astype(float), optimize=True) + bias
    return result


def pooled(maps: Rows, window: int, same: bool) -> Rows:
    """The largest of windows two apart; SAME cuts the last one, VALID leaves it out."""
    sides = [-(-side // 2) if same else (side - window) // 2 + 1 for side in maps.shape[:2]]
    return np.array(
        [
            [maps[2 * y : 2 * y + window, 2 * x : 2 * x + window].max(axis=(0, 1)) for x in range(sides[1])]
            for y in range(sides[0])
        ]
    )


def heads_of(network: str, arrays: Arrays, image: Rows) -> Rows:
    """What a network says of one image, (..., heads), in float64."""
    rest = list(arrays)
    for pool in POOLS[network]:
        kernel, bias, slopes, *rest = rest
        image = prelu(convolved(image, kernel, bias), slopes)
        image = pooled(image, *pool) if pool else image
    if DENSE[network]:
        kernel, bias, slopes, *rest = rest
        image = prelu(image.transpose(1, 0, 2).ravel() @ kernel.astype(float) + bias, slopes)
    *others, logits, logits_bias = (array.squeeze().astype(float) for array in rest)
    parts = [image @ (logits[:, 1:] - logits[:, :1]) + logits_bias[1:] - logits_bias[:1]]
    parts += [image @ kernel + bias for kernel, bias in zip(others[0::2], others[1::2], strict=True)]
    return np.concatenate(parts, axis=-1)


def flat(networks: dict[str, Arrays]) -> list[Floats]:
    """Weights in the order in which the native engine takes them."""
    return [np.frombuffer(flat_weights(networks[network]), np.float32) for network in CONVOLUTIONS]


def noise(width: int, height: int) -> Pixels:
    """A picture of random bytes."""
    return np.random.default_rng(width * height).integers(0, 256, (height, width, 3), dtype=np.uint8)
