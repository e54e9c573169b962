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
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pi_heif
from PIL import AvifImagePlugin, Image, PngImagePlugin, TiffImagePlugin

from inference_server.images import jpeg, png
from inference_server.images.formats import ACCEPTED, has_text_line_ends, sniff
from inference_server.images.modes import read_white_is_zero, scale_transparent_colour, to_rgb
from inference_server.images.orientation import orientation_of, upright
from inference_server.images.sizes import read_size
from inference_server.images.strips import check_strips
from utils.domain import checked_image
from utils.errors import BrokenImage, TooManyPixels, UnsupportedImageFormat

# Pillow's names of the accepted formats, in the order in which its plugins are asked. AVIF comes before
# HEIF, which claims the files that name neither (brand mif1) and then fails on those that are AVIF.
_PILLOW_FORMATS = ("PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF", "HEIF")

# Reads of the file that Pillow may take to open it: a photo's takes a few dozen, while ten megabytes of empty
# segments or chunks would keep it busy for seconds.
_MAX_HEADER_READS = 4096

# Many times what any format takes, so that no slow machine is taken for a hung one.
_DECODE_SECONDS_PER_MEGAPIXEL = 0.4

# Inflated text of a PNG file. Pillow's own limit of 64 MiB takes a seventh of a second.
_MAX_PNG_TEXT = 4 * 1024**2

# Pixels of all tiles of a TIFF file, in those a picture may have: at its edges they may be larger than it.
_MAX_TILED = 4

# Offset of a PNG file's bits per sample, in its first chunk.
_PNG_BIT_DEPTH = 24


@dataclass(frozen=True, slots=True)
class Header:
    """What an image says of itself: its format, by the name in ACCEPTED, and its size in pixels.

    Width and height are those stored; EXIF orientation may exchange them. Those of TIFF and HEIC files are
    exchanged already, by their decoders.
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


def inspect(data: bytes, max_bytes: int, max_pixels: int) -> Header:
    """Read the size of an encoded image from its header, and judge nothing else: `decode` has the last word.

    It takes microseconds for a photograph, and a few milliseconds for the costliest file of any format: no
    more than `parts.MAX_PARTS` of a header's parts are looked at.

    Raises:
        ImageEmpty: There are no bytes.
        ImageTooLarge: There are more than `max_bytes`.
        UnsupportedImageFormat: They are no image, or one in a format that is not accepted.
        BrokenImage: The format is accepted, but its header says no size, or has too many parts before it.
        TooManyPixels: The header says more than `max_pixels`.
    """
    name = _accepted_format(checked_image(data, max_bytes))
    width, height = read_size(name, data)
    _check_pixels(width, height, max_pixels)
    return Header(name, width, height)


def decode(data: bytes, max_pixels: int) -> tuple[npt.NDArray[np.uint8], int]:
    """Decode the first frame of an encoded image.

    Transparency is laid on white; more than 8 bits a sample are scaled down; CMYK, LAB, grey and palettes
    become RGB. Embedded colour profiles are not applied.

    Returns:
        The upright picture, (height, width, 3) uint8 RGB, C-contiguous and writable, and the EXIF
        orientation (1 to 8) that was applied. HEIC files are turned by their decoder, by the file's own
        transformation, so theirs is 1.

    Raises:
        UnsupportedImageFormat: As `inspect`.
        BrokenImage: It cannot be decoded: truncated or corrupt.
        TooManyPixels: It has more than `max_pixels`, whatever its header said.
    """
    name = _accepted_format(data)
    seen = read_size(name, data)
    _check_pixels(*seen, max_pixels)
    if has_text_line_ends(name, data):
        raise BrokenImage(
            f"the {name} image has CR LF for every LF: it was sent or stored as text", field="image"
        )
    if name == "PNG":
        png.check_chunks(data)
    with _typed_errors(name), _open(name, data) as image:
        _check_pixels(*image.size, max_pixels)
        _check_size(name, seen, image.size)
        if name == "JPEG":
            return _decode_jpeg(image, data)
        return _decode_opened(image, data, max_pixels)


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
    _check_pixels(*image.size, max_pixels)
    orientation = orientation_of(image)
    if image.format == "PNG":
        scale_transparent_colour(image, bits=data[_PNG_BIT_DEPTH])
    return np.array(upright(to_rgb(image), orientation)), max(orientation, turned)


class _HeaderReader(io.BytesIO):
    """A file in memory that may be read so many times and no more, until it is told that its header is read.

    It ends the reading of endlessly many parts of the file itself. What Pillow takes out of it as one part
    and takes to pieces elsewhere, such as EXIF data, is not counted here.
    """

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self.reads_left: float = _MAX_HEADER_READS

    def read(self, size: int | None = -1, /) -> bytes:
        self.reads_left -= 1
        if self.reads_left < 0:
            raise ValueError("the header has too many parts")
        return super().read(size)


def _open(name: str, data: bytes) -> Image.Image:
    load_decoders()
    reader = _HeaderReader(data)
    image = jpeg.Picture(reader) if name == "JPEG" else Image.open(reader, formats=_PILLOW_FORMATS)
    reader.reads_left = float("inf")
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


def _accepted_format(data: bytes) -> str:
    name = sniff(data)
    if name not in ACCEPTED:
        looks = f"looks like {name}" if name else "is in no format known here"
        raise UnsupportedImageFormat(f"the image {looks}; accepted: {', '.join(ACCEPTED)}", field="image")
    return name


def _check_pixels(width: int, height: int, max_pixels: int) -> None:
    if width * height > max_pixels:
        raise TooManyPixels(
            f"the image has {width} x {height} = {width * height} pixels; the limit is {max_pixels}; "
            "send it reduced",
            field="image",
        )


def _check_size(name: str, seen: tuple[int, int], size: tuple[int, int]) -> None:
    """Refuse a file that says two sizes: it was accepted, and its time predicted, by what `inspect` saw.

    Of the many pictures that AVIF and HEIC files may hold, the decoder may choose a smaller one.
    """
    if seen == size or (name in {"AVIF", "HEIC"} and math.prod(size) <= math.prod(seen)):
        return
    raise BrokenImage(
        f"the {name} image says two sizes, {seen[0]} x {seen[1]} and {size[0]} x {size[1]}", field="image"
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
