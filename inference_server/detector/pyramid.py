"""Levels of the image pyramid: area resampling, exactly as the reference resamples.

The formula is that of TensorFlow's ResizeArea kernel (`resize_area_op.cc`), which the package applies
to the normalised picture: an output pixel is the mean of the input over the rectangle that it covers,
pixels at the rectangle's edge counting by their covered part. The edges are computed in float32, which is
seen in the result: they decide weights that do not quite add up to one.

The mean is separable, and each axis of it a product with a banded matrix. It is computed in dense blocks
along the band, so that the work is done by matrix products that fit the cache, at any scale, and
without ever holding the picture in float32.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from inference_server.detector.engine import Floats, Image

Planes = npt.NDArray[np.int8]
"""A picture as (height, 3, width), 128 subtracted, so that int8 holds it and float32 sums stay exact."""

# Inputs that a block of the band spans, about: more is wasted on zeros, fewer on calls.
_SPAN = 32


def planes(image: Image) -> Planes:
    """Rearrange (height, width, 3) uint8 for the functions of this module and of `crops`."""
    height, width, channels = image.shape
    signed = np.empty((height, channels, width), np.uint8)
    return np.bitwise_xor(image.transpose(0, 2, 1), np.uint8(0x80), out=signed).view(np.int8)


@dataclass(frozen=True)
class _Band:
    """A banded matrix in dense blocks: `weights[i]` maps inputs from `starts[i]` on to outputs `i * block`.

    Attributes:
        weights: (blocks, block, span), float32.
        starts: (blocks,), the first input of each block.
        sums: (outputs,), the sums of the weights.
        outputs: The number of outputs; the last block may be in part superfluous.
    """

    weights: Floats
    starts: npt.NDArray[np.intp]
    sums: Floats
    outputs: int


def _band(size_in: int, size_out: int) -> _Band:
    """The weights of one axis, already divided by the length that an output covers."""
    step = np.float32(size_in) / np.float32(size_out)
    block = min(max(4, int(_SPAN / step)), size_out)
    blocks = -(-size_out // block)
    index = np.arange(blocks * block).reshape(blocks, block, 1).astype(np.float32)
    low, high = index * step, (index + 1) * step
    span = min(size_in, int(np.ceil(block * step)) + 2)
    starts = np.clip(low[:, 0, 0].astype(np.intp), 0, size_in - span)
    left = (starts[:, None, None] + np.arange(span)).astype(np.float32)
    right = left + 1
    right[right >= size_in] = np.inf  # the last pixel goes on where rounding put an edge beyond it
    weights = np.maximum(0, np.minimum(right, high) - np.maximum(left, low))
    weights = (np.where((left < low) & (right > high), step, weights) / step).astype(np.float32, copy=False)
    return _Band(weights, starts, weights.sum(axis=2).ravel()[:size_out], size_out)


class Level:
    """One level of a picture's pyramid, of which any rows can be computed.

    Args:
        pixels: The picture.
        size: Width and height of the level in pixels.
    """

    def __init__(self, pixels: Planes, size: tuple[int, int]) -> None:
        self.width, self.height = size
        self._pixels = pixels
        self._vertical = _band(pixels.shape[0], self.height)
        self._horizontal = _band(pixels.shape[2], self.width)

    def rows(self, start: int, stop: int) -> Floats:
        """Rows `start` to `stop` of the level: (3, stop - start, width), normalised to [-1, 1]."""
        reduced = self._reduce_vertically(start, stop).reshape(-1, self._pixels.shape[2])
        sums = np.empty((stop - start, 3, self.width), np.float32)
        flat = sums.reshape(-1, self.width)
        band = self._horizontal
        block, span = band.weights.shape[1:]
        for number, begin in enumerate(band.starts):
            out = flat[:, number * block : (number + 1) * block]
            weights = band.weights[number, : out.shape[1]].T
            np.matmul(reduced[:, begin : begin + span], weights, out=out)
        # (value - 127.5) / 128, for a mean of (value - 128) with weights that do not quite add up to 1.
        half = np.outer(self._vertical.sums[start:stop] * np.float32(0.5), band.sums)
        level = np.empty((3, stop - start, self.width), np.float32)
        np.add(sums.transpose(1, 0, 2), half, out=level)
        level *= np.float32(1 / 128)
        return level

    def _reduce_vertically(self, start: int, stop: int) -> Floats:
        """Rows of the level in the picture's own columns: (stop - start, 3 * picture's width)."""
        band = self._vertical
        pixels = self._pixels.reshape(len(self._pixels), -1)
        block, span = band.weights.shape[1:]
        reduced = np.empty((stop - start, pixels.shape[1]), np.float32)
        source = np.empty((span, pixels.shape[1]), np.float32)
        for number in range(start // block, -(-stop // block)):
            first, last = max(start, number * block), min(stop, (number + 1) * block)
            begin = band.starts[number]
            np.copyto(source, pixels[begin : begin + span])
            weights = band.weights[number, first - number * block : last - number * block]
            np.matmul(weights, source, out=reduced[first - start : last - start])
        return reduced
