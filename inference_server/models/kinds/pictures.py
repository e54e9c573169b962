"""Encoded pictures before a network: decoded under the server's limits, resized, normalised."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
from PIL import Image
from pydantic import BaseModel, ConfigDict, Field

from inference_server import images
from inference_server.models.kinds.loading import FileName, Options, open_model
from utils.errors import InvalidModel
from utils.settings import Settings

Pixels = npt.NDArray[np.uint8]
"""An upright picture: (height, width, 3), RGB."""
Floats = npt.NDArray[np.float32]

_GREY = 1
_MAX_SIDE = 4096
_MOST_AT_ONCE = 64
_RANK = 4

Side = Annotated[int, Field(ge=1, le=_MAX_SIDE)]
Positive = Annotated[float, Field(gt=0)]


class NetworkOptions(Options):
    """The keys of model.toml that say what a network of pictures takes and gives.

    Attributes:
        file: The ONNX file, with one input of float32, (N, channels, h, w) or (N, h, w, channels). Of
            several outputs the first counts.
        size: Height and width of its input, to which a picture is resized as a whole.
        mean: Subtracted from the channels, which are shares of 255: three numbers for RGB, one for grey.
        std: By which they are then divided, as many numbers.
        softmax: Whether the scores still need a softmax, as those of a network without one at its end do.
    """

    file: FileName = "model.onnx"
    size: tuple[Side, Side]
    mean: Annotated[tuple[float, ...], Field(min_length=1, max_length=3)]
    std: Annotated[tuple[Positive, ...], Field(min_length=1, max_length=3)]
    softmax: bool = False


class PictureInput(BaseModel):
    """One encoded picture."""

    model_config = ConfigDict(extra="forbid", ser_json_bytes="base64", val_json_bytes="base64")

    image: bytes = Field(description="An encoded picture; its EXIF orientation is applied.")


class PictureReader:
    """Decodes pictures, within the limits of the settings."""

    def __init__(self) -> None:
        settings = Settings.from_environ(os.environ)
        self._max_bytes = settings.max_image_bytes
        self._max_pixels = settings.max_image_pixels
        self._formats = settings.image_formats
        images.load_decoders()

    def read(self, picture: PictureInput) -> Pixels:
        """The pixels of a picture.

        Raises:
            ImageEmpty, ImageTooLarge, UnsupportedImageFormat, BrokenImage, TooManyPixels: See
                `inference_server.images`.
        """
        images.inspect(picture.image, self._max_bytes, self._max_pixels, self._formats)
        pixels, _ = images.decode(picture.image, self._max_pixels, self._formats)
        return pixels


class PictureNetwork:
    """A network of pictures.

    Args:
        folder: Of the version.
        options: What the network takes.

    Attributes:
        max_batch: Most pictures of one run.
        classes: How many numbers it gives for each picture, where the graph says that.

    Raises:
        InvalidModel: The file is no ONNX model, or takes something else than the options say.
    """

    def __init__(self, folder: Path | None, options: NetworkOptions) -> None:
        self._channels = len(options.mean)
        if self._channels not in {_GREY, 3} or len(options.std) != self._channels:
            raise InvalidModel(
                f"mean has {self._channels} numbers and std {len(options.std)}; accepted: three of each for "
                "RGB, one for grey",
                field="mean",
            )
        self.size = options.size
        self._mean, self._std = np.array(options.mean, np.float32), np.array(options.std, np.float32)
        self._softmax = options.softmax
        self._session = open_model(folder, options.file)
        (taken, *others), (given, *_) = self._session.get_inputs(), self._session.get_outputs()
        if others or taken.type != "tensor(float)" or given.type != "tensor(float)":
            raise InvalidModel(
                f"the graph takes {1 + len(others)} inputs, the first of type {taken.type}, and gives "
                f"{given.type}; accepted: one input, tensor(float), and tensor(float) as its first output",
                field="file",
            )
        self._input, self._output = taken.name, given.name
        self._channels_first = self._layout(taken.shape)
        self.max_batch = 1 if isinstance(taken.shape[0], int) else _MOST_AT_ONCE
        numbers = given.shape[1:]
        known = bool(numbers) and all(isinstance(length, int) for length in numbers)
        self.classes: int | None = int(np.prod(numbers)) if known else None

    def normalised(self, picture: Image.Image) -> Floats:
        """The network's view of a picture that has its size: (height, width, channels).

        With Pillow's bilinear filter, by which it was resized, it is exactly that of torchvision's Resize,
        ToTensor and Normalize.
        """
        pixels = np.asarray(picture.convert("L" if self._channels == _GREY else "RGB"), np.float32)
        shares: Floats = pixels.reshape(*self.size, self._channels) / np.float32(255)
        shares -= self._mean
        shares /= self._std
        return shares

    def run(self, pictures: Sequence[Floats]) -> Floats:
        """The network's first output for pictures as `normalised` gives them: (N, numbers)."""
        results = [
            self._run(np.stack(pictures[start : start + self.max_batch]))
            for start in range(0, len(pictures), self.max_batch)
        ]
        return np.concatenate(results) if results else np.empty((0, self.classes or 0), np.float32)

    def _run(self, batch: Floats) -> Floats:
        if self._channels_first:
            batch = np.ascontiguousarray(batch.transpose(0, 3, 1, 2))
        output: Floats = self._session.run([self._output], {self._input: batch})[0]
        output = output.reshape(len(batch), -1)
        return _softmax(output) if self._softmax else output

    def _layout(self, shape: Sequence[Any]) -> bool:
        """Whether channels come before rows.

        Raises:
            InvalidModel: The graph takes other pictures, or a batch of exactly so many.
        """
        first, last = (self._channels, *self.size), (*self.size, self._channels)
        single = len(shape) == _RANK and (shape[0] == 1 or not isinstance(shape[0], int))
        for wanted in (first, last):
            if single and all(
                said == length or not isinstance(said, int)
                for said, length in zip(shape[1:], wanted, strict=True)
            ):
                return wanted is first
        raise InvalidModel(
            f"the graph takes {list(shape)}; by size, mean and std it must be [N, {first[0]}, {first[1]}, "
            f"{first[2]}] or [N, {last[0]}, {last[1]}, {last[2]}] with N variable or 1",
            field="size",
        )


def resized(pixels: Pixels, size: tuple[int, int]) -> Image.Image:
    """A picture at (height, width), as a whole, by Pillow's bilinear filter."""
    return Image.fromarray(pixels).resize(size[::-1], Image.Resampling.BILINEAR)


def _softmax(logits: Floats) -> Floats:
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    shares: Floats = powers / powers.sum(axis=1, keepdims=True)
    return shares
