"""From an encoded image's bytes to the upright RGB array in which faces are looked for.

`inspect` looks for the size alone, with no decoder's help, and is for the event loop that receives requests;
`decode` does the work, and is for the thread that detects. Both take hostile input: limits are checked before
memory is used, and whatever a decoder raises becomes one of our errors.
"""

import functools
import io
import logging
import math
import warnings
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pi_heif
from PIL import AvifImagePlugin, Image, PngImagePlugin, TiffImagePlugin

from inference_server.images import jpeg, png
from inference_server.images.formats import accepted_format, has_text_line_ends
from inference_server.images.modes import read_white_is_zero, scale_transparent_colour, to_rgb
from inference_server.images.orientation import orientation_of, upright
from inference_server.images.sizes import read_size
from inference_server.images.strips import check_strips
from utils.domain import checked_image
from utils.errors import BrokenImage, TooManyPixels
from utils.settings import IMAGE_FORMATS

# Pillow's names of formats, in the order in which its plugins are asked. AVIF comes before HEIF, which claims
# the files that name neither (brand mif1) and then fails on those that are AVIF.
_PILLOW_FORMATS = {
    "png": "PNG", "webp": "WEBP", "gif": "GIF", "bmp": "BMP", "tiff": "TIFF", "avif": "AVIF", "heic": "HEIF",
}  # fmt: skip

# Many times what any format takes, so that no slow machine is taken for a hung one.
_DECODE_SECONDS_PER_MEGAPIXEL = 0.4

# Inflated text of a PNG file. Pillow's own limit of 64 MiB takes a seventh of a second.
_MAX_PNG_TEXT = 4 * 1024**2

# Pixels of all tiles of a TIFF file, in those a picture may have: at its edges they may be larger than it.
_MAX_TILED = 4

# Reads of the file that Pillow may take to open it: a photo's takes a few dozen, while ten megabytes of empty
# segments or chunks would keep it busy for seconds.
_MAX_HEADER_READS = 4096

_CONTAINERS = frozenset({"AVIF", "HEIC"})

# Offset of a PNG file's bits per sample, in its first chunk.
_PNG_BIT_DEPTH = 24


@dataclass(frozen=True, slots=True)
class Header:
    """What an image says of itself: its format, by the name in ACCEPTED, and its size in pixels.

    Width and height are those stored: turning the picture upright may exchange them.
    """

    format: str
    width: int
    height: int

    @property
    def pixels(self) -> int:
        """How many there are."""
        return self.width * self.height

    @property
    def decode_seconds(self) -> float:
        """The longest that decoding, which has no steps to be seen, may take on a slow CPU."""
        return self.pixels / 1e6 * _DECODE_SECONDS_PER_MEGAPIXEL


@functools.cache
def load_decoders() -> None:
    """Load and limit the decoders. `decode` does so itself; a worker does it at its start.

    What Pillow says of odd pictures in warnings and logs is not heard: callers make it, and are told.
    """
    pillows = logging.getLogger("PIL")
    pillows.addHandler(logging.NullHandler())
    pillows.propagate = False
    warnings.filterwarnings("ignore", module=r"PIL\.")
    Image.MAX_IMAGE_PIXELS = None  # our own limit rules
    PngImagePlugin.MAX_TEXT_MEMORY = _MAX_PNG_TEXT
    AvifImagePlugin.DEFAULT_MAX_THREADS = 1
    pi_heif.register_heif_opener(thumbnails=False, depth_images=False, aux_images=False, decode_threads=1)
    Image.init()
    read_white_is_zero()


def inspect(data: bytes, max_bytes: int, max_pixels: int, formats: Collection[str] = IMAGE_FORMATS) -> Header:
    """Read the size of an encoded image from its header, and judge nothing else: `decode` has the last word.

    It takes microseconds for a photograph, and a few milliseconds for the costliest file of any format.

    Raises:
        ImageEmpty: There are no bytes.
        ImageTooLarge: There are more than `max_bytes`.
        UnsupportedImageFormat: They are no image, or one in a format that is none of `formats`.
        BrokenImage: The format is accepted, but its header says no size, or has too many parts before it.
        TooManyPixels: The header says more than `max_pixels`.
    """
    name = accepted_format(checked_image(data, max_bytes), formats)
    width, height = read_size(name, data)
    _check_pixels(width, height, max_pixels)
    return Header(name, width, height)


def decode(
    data: bytes, max_pixels: int, formats: Collection[str] = IMAGE_FORMATS
) -> tuple[npt.NDArray[np.uint8], int]:
    """Decode the first frame of an encoded image.

    Transparency is laid on white; more than 8 bits a sample are scaled down; CMYK, LAB, grey and palettes
    become RGB. Embedded colour profiles are not applied.

    Returns:
        The upright picture, (height, width, 3) uint8 RGB, C-contiguous and writable, and the EXIF
        orientation (1 to 8) that was applied. HEIC files are turned by their decoder, by the file's own
        transformation, so theirs is 1.

    Raises:
        UnsupportedImageFormat: As `inspect`.
        BrokenImage: It cannot be decoded: truncated or corrupt, or its header says another size.
        TooManyPixels: It has more than `max_pixels`, whatever its header said.
    """
    name = accepted_format(data, formats)
    size = read_size(name, data)
    _check_pixels(*size, max_pixels)
    if has_text_line_ends(name, data):
        raise BrokenImage(
            f"the {name} image has CR LF for every LF: it was sent or stored as text", field="image"
        )
    if name == "PNG":
        png.check_chunks(data)
    with _typed_errors(name), _open(name, data, formats) as image:
        _check_pixels(*image.size, max_pixels)
        if name == "JPEG":
            pixels, orientation = _decode_jpeg(image, data)
        else:
            pixels, orientation = _decode_opened(image, data, max_pixels)
    _check_size(name, size, pixels.shape)
    return pixels, orientation


def _decode_jpeg(image: Image.Image, data: bytes) -> tuple[npt.NDArray[np.uint8], int]:
    pixels = jpeg.decode(data, image.mode, image.size)
    orientation = orientation_of(image)
    if orientation == 1 and image.mode != "CMYK":
        return pixels, orientation
    picture = Image.fromarray(pixels, "CMYK" if image.mode == "CMYK" else "RGB")
    return np.array(upright(to_rgb(picture), orientation)), orientation


def _decode_opened(image: Image.Image, data: bytes, max_pixels: int) -> tuple[npt.NDArray[np.uint8], int]:
    turned = 1
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        _check_tiles(image, max_pixels)
        check_strips(image, data)
        turned = orientation_of(image)
    image.load()  # which turns a TIFF file, and no other
    orientation = orientation_of(image)
    if image.format == "PNG":
        scale_transparent_colour(image, bits=data[_PNG_BIT_DEPTH])
    return np.array(upright(to_rgb(image), orientation)), max(orientation, turned)


class _HeaderReader(io.BytesIO):
    """A file in memory that may be read so many times and no more, until its header is read."""

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self.reads_left: float = _MAX_HEADER_READS

    def read(self, size: int | None = -1, /) -> bytes:
        self.reads_left -= 1
        if self.reads_left < 0:
            raise ValueError("the header has too many parts")
        return super().read(size)


def _open(name: str, data: bytes, formats: Collection[str]) -> Image.Image:
    load_decoders()
    reader = _HeaderReader(data)
    if name == "JPEG":
        image: Image.Image = jpeg.Picture(reader)
    else:
        names = [pillows for known, pillows in _PILLOW_FORMATS.items() if known in formats]
        image = Image.open(reader, formats=names)
    reader.reads_left = math.inf
    return image


@contextmanager
def _typed_errors(name: str) -> Iterator[None]:
    """Turn whatever decoders raise of a file, which is any exception there is, into a BrokenImage."""
    try:
        yield
    except (BrokenImage, TooManyPixels, MemoryError):  # a lack of memory is no fault of the file's
        raise
    except Exception as error:
        raise BrokenImage(
            f"the {name} image cannot be decoded: it is truncated, corrupt, or of a rare unsupported kind",
            field="image",
        ) from error


def _check_pixels(width: int, height: int, max_pixels: int) -> None:
    if width * height > max_pixels:
        raise TooManyPixels(
            f"the image has {width} x {height} = {width * height} pixels; the limit is {max_pixels}; "
            "send it reduced",
            field="image",
        )


def _check_size(name: str, said: tuple[int, int], shape: tuple[int, ...]) -> None:
    """Refuse a file that says two sizes: it was accepted, and its time predicted, by the one in its header.

    Turning exchanges width and height. Of AVIF and HEIC files the decoder may cut a picture, or choose a
    smaller one of several.
    """
    height, width, _ = shape
    if sorted(said) == sorted((width, height)):
        return
    if name in _CONTAINERS and width * height <= math.prod(said):
        return
    raise BrokenImage(
        f"the {name} image says two sizes, {said[0]} x {said[1]} and {width} x {height}", field="image"
    )


def _check_tiles(image: TiffImagePlugin.TiffImageFile, max_pixels: int) -> None:
    """Refuse TIFF tiles far larger than the picture, which would take libtiff's memory and time."""
    tags = image.tag_v2
    wide, high = tags.get(TiffImagePlugin.TILEWIDTH, 0), tags.get(TiffImagePlugin.TILELENGTH, 0)
    _check_pixels(wide, high, max_pixels)
    if wide and high:
        across, down = (
            -(-tags[TiffImagePlugin.IMAGEWIDTH] // wide),
            -(-tags[TiffImagePlugin.IMAGELENGTH] // high),
        )
        _check_pixels(across * wide, down * high, _MAX_TILED * max_pixels)
