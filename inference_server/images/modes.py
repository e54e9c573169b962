"""Pictures of any of Pillow's modes as plain RGB: palettes, transparency, 16 and 32 bits a sample."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, TiffImagePlugin

_WHITE = (255, 255, 255)

_WHITE_IS_ZERO, _BLACK_IS_ZERO = 0, 1  # what a TIFF file says of its grey


def scale_transparent_colour(image: Image.Image, bits: int) -> None:
    """Bring the one transparent colour of a PNG file to 8 bits, as Pillow brings the samples and not it."""

    def scaled(sample: int) -> int:
        return sample >> 8 if bits == 16 else sample * 255 // (2**bits - 1)  # noqa: PLR2004

    colour = image.info.get("transparency")
    if image.mode == "L" and isinstance(colour, int):
        image.info["transparency"] = scaled(colour)
    elif image.mode == "RGB" and colour is not None:
        image.info["transparency"] = tuple(map(scaled, colour))


def to_rgb(image: Image.Image) -> Image.Image:
    """The picture in mode RGB, transparency laid on white; the same one where it is so already."""
    image = _to_8_bits(image)
    if not image.has_transparency_data or _is_alpha_unused(image):
        return image if image.mode == "RGB" else image.convert("RGB")
    layer = image.convert("RGBA")
    picture = Image.new("RGB", image.size, _WHITE)
    picture.paste(layer, mask=layer.getchannel("A"))
    return picture


def _is_alpha_unused(image: Image.Image) -> bool:
    """Whether this is a BMP file whose alpha is 0 everywhere: its writer left it out, and viewers do, too."""
    return image.format == "BMP" and image.mode == "RGBA" and image.getchannel("A").getextrema() == (0, 0)


def read_white_is_zero() -> None:
    """Have Pillow read grey TIFF files of more than 8 bits whose white is zero as those whose black is."""
    for (order, photometric, kind, fill, bits, extra), modes in tuple(TiffImagePlugin.OPEN_INFO.items()):
        if photometric == _BLACK_IS_ZERO and modes[0].startswith(("I", "F")):
            TiffImagePlugin.OPEN_INFO.setdefault((order, _WHITE_IS_ZERO, kind, fill, bits, extra), modes)


def _to_8_bits(image: Image.Image) -> Image.Image:
    """A picture of 16 or 32 bits a sample (modes I;16, I and F, all grey) in mode L; others as they are."""
    if not image.mode.startswith(("I", "F")):
        return image
    samples = np.asarray(image)
    scaled = np.clip(np.nan_to_num(samples.astype(np.float32) * (255 / _white_of(image, samples))), 0, 255)
    if _tags_of(image).get(TiffImagePlugin.PHOTOMETRIC_INTERPRETATION) == _WHITE_IS_ZERO:
        scaled = 255 - scaled  # which Pillow does up to 8 bits only
    grey = Image.fromarray(np.rint(scaled).astype(np.uint8))
    transparent = image.info.get("transparency")
    if isinstance(transparent, int):
        grey.putalpha(Image.fromarray((samples != transparent).astype(np.uint8) * np.uint8(255)))
    return grey


def _tags_of(image: Image.Image) -> Mapping[int, Any]:
    """A TIFF file's; others have none."""
    return image.tag_v2 if isinstance(image, TiffImagePlugin.TiffImageFile) else {}


def _white_of(image: Image.Image, samples: npt.NDArray[np.generic]) -> float:
    """The sample that stands for white.

    Up to 16 bits, the file says how many there are. Of 32-bit integers and floats only convention tells:
    it is 1 (for floats), 255, 65535 or the largest there is, the first that is not exceeded.
    """
    if image.mode.startswith("I;16"):
        return float(2 ** _tags_of(image).get(TiffImagePlugin.BITSPERSAMPLE, (16,))[0] - 1)
    largest = float(np.max(samples, initial=0, where=np.isfinite(samples)))
    conventions = (255.0, 65535.0) if image.mode == "I" else (1.0, 255.0, 65535.0)
    return next((white for white in conventions if largest <= white), largest)
