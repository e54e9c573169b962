"""Crops of boxes, resampled to a network's input, exactly as the reference resamples.

The formula is that of TensorFlow's CropAndResize kernel (`crop_and_resize_op.cc`, bilinear) as
`extract_patches` in `mtcnn/utils/images.py` calls it: corners are aligned, nothing is smoothed, and boxes
are divided by the picture's size but multiplied by its size less one, so that a crop shrinks by up to a
pixel towards the far edges. Outside the picture lies 0, which is middle grey. Positions are float32.
"""

import numpy as np
import numpy.typing as npt

from inference_server.detector.engine import Boxes, Floats
from inference_server.detector.pyramid import Planes


def crop(pixels: Planes, boxes: Boxes, side: int) -> Floats:
    """Cut boxes out of a picture.

    Args:
        pixels: The picture, (height, 3, width) int8, RGB, 128 subtracted: see `pyramid.Planes`.
        boxes: (N, 4) float64, x1, y1, x2, y2 in pixels of the picture; they may reach beyond it.
        side: Of a crop, in pixels, 2 at least.

    Returns:
        (N, 3, side, side) float32, RGB, normalised to [-1, 1]; 0 outside the picture.
    """
    height, channels, width = pixels.shape
    top, bottom, y_share, y_inside = _axis(boxes[:, 1], boxes[:, 3], height, side)
    left, right, x_share, x_inside = _axis(boxes[:, 0], boxes[:, 2], width, side)
    flat = pixels.reshape(-1)
    plane = np.arange(channels)[:, None]

    def row(y: npt.NDArray[np.intp]) -> Floats:
        """Interpolate along x, in these rows."""
        lines = ((y[:, None, :] * channels + plane) * width)[..., None]
        first: Floats = flat.take(lines + left[:, None, None, :]).astype(np.float32)
        second: Floats = flat.take(lines + right[:, None, None, :]).astype(np.float32)
        first += 0.5
        second += 0.5
        second -= first
        second *= x_share[:, None, None, :]
        first += second
        return first

    upper, lower = row(top), row(bottom)
    lower -= upper
    lower *= y_share[:, None, :, None]
    upper += lower
    upper *= np.float32(1 / 128)
    upper *= (y_inside[:, :, None] & x_inside[:, None, :])[:, None]
    return upper


def _axis(
    start: npt.NDArray[np.float64], stop: npt.NDArray[np.float64], size: int, side: int
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp], Floats, npt.NDArray[np.bool_]]:
    """Where the samples of an axis lie, (N, side) each: both neighbours, the second's share, if inside."""
    last = np.float32(size - 1)
    low, high = (start / size).astype(np.float32), (stop / size).astype(np.float32)
    step = (high - low) * last / np.float32(side - 1)
    position = (low * last)[:, None] + np.arange(side, dtype=np.float32) * step[:, None]
    inside = (position >= 0) & (position <= last)
    position = np.clip(position, 0, last)
    before = np.floor(position)
    return before.astype(np.intp), np.ceil(position).astype(np.intp), position - before, inside
