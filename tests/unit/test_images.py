"""From bytes to an upright RGB array: every accepted format, mode and orientation; limits; broken files."""

import io
import logging
import struct
import threading
import zlib

import numpy as np
import pytest
from PIL import ExifTags, Image

from inference_server.images import Header, decode, inspect, load_decoders
from inference_server.images.formats import ACCEPTED, sniff
from tests.support.pictures import Pixels, bare_png, encoded, png, png_chunk, portrait
from utils.errors import (
    BrokenImage,
    ImageEmpty,
    ImageTooLarge,
    TooManyPixels,
    UnsupportedImageFormat,
)

LIMIT = 25_000_000
BYTES = 10 * 2**20

FORMS = {name: name.upper() for name in ("JPEG", "PNG", "WebP", "GIF", "BMP", "TIFF", "AVIF")}

# How an upright picture is stored, for each orientation to bring it back.
STORED = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


def sample() -> Image.Image:
    """A part of the portrait that no turn or mirroring maps to itself: 240 x 180."""
    return Image.fromarray(np.ascontiguousarray(portrait()[40:220, 130:370]))


def saved(image: Image.Image, form: str, **options: object) -> bytes:
    """A picture of any mode as a file."""
    file = io.BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


def decoded(data: bytes) -> Pixels:
    """The array alone."""
    return decode(data, LIMIT)[0]


def difference(found: Pixels, expected: Pixels) -> float:
    """The mean absolute difference of two pictures of the same size."""
    assert found.shape == expected.shape
    return float(np.abs(found.astype(float) - expected.astype(float)).mean())


@pytest.mark.parametrize("name", FORMS)
def test_every_accepted_format_is_decoded(name: str) -> None:
    """The header says the name and size; the array is contiguous uint8 RGB of that size."""
    data = saved(sample(), FORMS[name])
    assert inspect(data, BYTES, LIMIT) == Header(name, 240, 180)
    pixels, orientation = decode(data, LIMIT)
    assert (pixels.shape, pixels.dtype.name, orientation) == ((180, 240, 3), "uint8", 1)
    assert pixels.flags.c_contiguous
    assert pixels.flags.writeable
    assert difference(pixels, np.asarray(sample())) < 12


def test_a_jpeg_file_of_several_pictures_counts_as_jpeg() -> None:
    """MPO, which cameras write: the first picture is the one."""
    data = saved(sample(), "MPO", save_all=True, append_images=[sample().rotate(180)])
    assert inspect(data, BYTES, LIMIT).format == "JPEG"
    assert difference(decoded(data), np.asarray(sample())) < 6


@pytest.mark.parametrize("form", ["GIF", "PNG", "WEBP", "TIFF", "AVIF"])
def test_the_first_frame_is_used(form: str) -> None:
    """Of an animation or a document of several pages."""
    other = Image.new("RGB", sample().size, "red")
    data = saved(sample(), form, save_all=True, append_images=[other, other])
    assert difference(decoded(data), np.asarray(sample())) < 12


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied_once(form: str, orientation: int) -> None:
    """Whatever the orientation, the array is upright, and the tag that was applied is told."""
    stored = sample().transpose(STORED[orientation]) if orientation in STORED else sample()
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    pixels, applied = decode(saved(stored, form, exif=exif), LIMIT)
    assert applied == orientation
    assert difference(pixels, np.asarray(sample())) < 12


@pytest.mark.parametrize("value", [0, 9, 700, 65535])
def test_a_meaningless_orientation_is_none(value: int) -> None:
    """The tag may hold anything."""
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = value
    pixels, applied = decode(saved(sample(), "PNG", exif=exif), LIMIT)
    assert (applied, pixels.shape) == (1, (180, 240, 3))


@pytest.mark.security(
    endpoint="pictures",
    attack="EXIF data that cannot be read",
    outcome="Taken for none",
)
@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
def test_broken_metadata_does_not_break_a_picture() -> None:
    """EXIF data that cannot be read is as good as none."""
    for exif in (
        b"Exif\0\0nonsense",
        b"Exif\0\0II*\0\xff\xff\xff\xff",
        b"Exif\0\0MM\0*\0\0\0\x08\xff\xff" + b"\1" * 40,
    ):
        pixels, applied = decode(saved(sample(), "JPEG", exif=exif), LIMIT)
        assert (applied, pixels.shape) == (1, (180, 240, 3))


def half_transparent(mode: str) -> Image.Image:
    """Black all over; the left half is transparent, the right one is not."""
    image = Image.new("RGBA", (40, 20), (0, 0, 0, 255))
    image.paste((0, 0, 0, 0), (0, 0, 20, 20))
    return image.convert(mode)


@pytest.mark.parametrize(
    ("mode", "form"), [("RGBA", "PNG"), ("RGBA", "WEBP"), ("RGBA", "TIFF"), ("RGBA", "AVIF"), ("LA", "PNG"),
                       ("PA", "TIFF"), ("RGBA", "GIF")],
)  # fmt: skip
def test_transparency_becomes_white(mode: str, form: str) -> None:
    """Alpha channels, and palettes with one."""
    options = {"lossless": True} if form == "WEBP" else {}
    pixels = decoded(saved(half_transparent(mode), form, **options))
    assert pixels[10, 2].min() > 250
    assert pixels[10, 38].max() < 5


def test_half_transparency_is_half_white() -> None:
    """Alpha is a share."""
    pixels = decoded(saved(Image.new("RGBA", (4, 4), (0, 100, 200, 128)), "PNG"))
    assert np.abs(pixels[0, 0] - [127, 177, 227]).max() <= 1


@pytest.mark.parametrize(
    ("mode", "black", "key"),
    [("P", 0, 0), ("L", 0, 0), ("1", 0, 0), ("RGB", (0, 0, 0), (0, 0, 0)), ("I;16", 0, 0)],
)
def test_a_transparent_colour_becomes_white(mode: str, black: object, key: object) -> None:
    """A PNG file may call one colour transparent, in any mode."""
    image = Image.new(mode, (8, 8), black)  # type: ignore[arg-type] # a colour of that mode
    image.putpixel((7, 7), {"RGB": (9, 9, 9), "I;16": 9000, "1": 255}.get(mode, 9))  # type: ignore[arg-type]
    if mode == "P":
        image.putpalette([0, 0, 0] * 9 + [9, 9, 9])
    pixels = decoded(saved(image, "PNG", transparency=key))
    assert pixels[0, 0].tolist() == [255, 255, 255]
    assert pixels[7, 7].max() < 128 or mode == "1"


def raw_png(bits: int, colour: int, row: bytes, width: int, *extra: bytes, height: int = 1) -> bytes:
    """A PNG file of equal rows."""
    pixels = zlib.compress(b"".join(b"\0" + row for _ in range(height)))
    return bare_png(width, height, bits, colour, *extra, png_chunk(b"IDAT", pixels))


def test_a_transparent_colour_has_the_bits_of_its_file() -> None:
    """It is scaled to 8 bits as the samples are: here from 4, and from 16."""
    four = raw_png(4, 0, b"\x3c", 2, png_chunk(b"tRNS", b"\0\3"))
    assert decoded(four)[0].tolist() == [[255, 255, 255], [204, 204, 204]]
    sixteen = raw_png(16, 2, b"\x12\x34" * 3 + b"\x40\0" * 3, 2, png_chunk(b"tRNS", b"\x12\x34" * 3))
    assert decoded(sixteen)[0].tolist() == [[255, 255, 255], [64, 64, 64]]


@pytest.mark.parametrize("form", ["PNG", "TIFF"])
def test_16_bits_are_scaled_to_8(form: str) -> None:
    """White stays white, and no grey is cut off."""
    ramp = np.linspace(0, 65535, 256).astype(np.uint16)[None, :].repeat(4, axis=0)
    pixels = decoded(saved(Image.fromarray(ramp), form))
    assert np.abs(pixels[0, :, 0].astype(int) - np.arange(256)).max() <= 1
    assert pixels[0, 255].tolist() == [255, 255, 255]


def raw_tiff(pixels: bytes, *entries: tuple[int, int], order: str = "<") -> bytes:
    """A TIFF file made by hand: its directory, entries as (tag, value), and then the pixels."""
    end = 8 + 2 + 12 * (len(entries) + 1) + 4
    placed = sorted([*entries, (273, end)])
    table = b"".join(struct.pack(order + "HHII", tag, 4, 1, value) for tag, value in placed)
    mark = b"II" if order == "<" else b"MM"
    return mark + struct.pack(order + "HIH", 42, 8, len(placed)) + table + struct.pack("<I", 0) + pixels


def test_12_bits_are_scaled_to_8() -> None:
    """White has 4095 in a file that says so."""
    tags = (256, 2), (257, 1), (258, 12), (259, 1), (262, 1), (277, 1), (278, 1), (279, 3)
    assert decoded(raw_tiff(b"\xff\xf8\x00", *tags))[0, :, 0].tolist() == [255, 128]


@pytest.mark.parametrize("largest", [1.0, 255.0, 65535.0, 3e6])
def test_floats_are_scaled_by_their_convention(largest: float) -> None:
    """A TIFF file of floats does not say what white is; black and white come out as such."""
    ramp = np.linspace(0, largest, 256).astype(np.float32)[None, :].repeat(4, axis=0)
    pixels = decoded(saved(Image.fromarray(ramp), "TIFF"))
    assert np.abs(pixels[0, :, 0].astype(int) - np.arange(256)).max() <= 1


def test_32_bit_integers_are_scaled_by_their_convention() -> None:
    """As floats, from 255 on."""
    for largest in (255, 65535, 2_000_000):
        ramp = np.linspace(0, largest, 256).astype(np.int32)[None, :].repeat(4, axis=0)
        pixels = decoded(saved(Image.fromarray(ramp), "TIFF"))
        assert np.abs(pixels[0, :, 0].astype(int) - np.arange(256)).max() <= 1


def test_floats_that_are_no_numbers_are_black_or_white() -> None:
    """NaN and the infinities do not spoil the rest."""
    values = np.array([[np.nan, -np.inf, np.inf, 0.5]], np.float32)
    assert decoded(saved(Image.fromarray(values), "TIFF"))[0, :, 0].tolist() == [0, 0, 255, 128]


@pytest.mark.parametrize(
    ("mode", "form"), [("CMYK", "JPEG"), ("CMYK", "TIFF"), ("L", "JPEG"), ("P", "GIF"), ("P", "PNG"),
                       ("LAB", "TIFF"), ("YCbCr", "TIFF"), ("1", "BMP"), ("1", "TIFF"), ("L", "BMP")],
)  # fmt: skip
def test_every_mode_becomes_rgb(mode: str, form: str) -> None:
    """Colours come out as they went in, as far as the mode has them."""
    image = sample()
    if mode == "LAB":
        from PIL import ImageCms

        profiles = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
        stored = ImageCms.profileToProfile(image, *profiles, outputMode="LAB")
        assert stored is not None
    else:
        stored = image.quantize(256) if mode == "P" else image.convert(mode)
    expected = image.convert(mode).convert("RGB") if mode in {"L", "1"} else image
    assert difference(decoded(saved(stored, form)), np.asarray(expected)) < 9


def test_no_bytes_are_no_image() -> None:
    """An empty body has a reason of its own."""
    with pytest.raises(ImageEmpty, match="0 bytes"):
        inspect(b"", BYTES, LIMIT)


def test_too_many_bytes_are_refused_before_they_are_looked_at() -> None:
    """The limit itself is within it."""
    data = png(portrait()[:50, :50])
    assert inspect(data, len(data), LIMIT).width == 50
    with pytest.raises(ImageTooLarge, match=rf"{len(data)} bytes; the limit is {len(data) - 1}"):
        inspect(data, len(data) - 1, LIMIT)


@pytest.mark.security(
    endpoint="pictures",
    attack="Odd files, to have Pillow fill the log",
    outcome="What Pillow says is not logged",
)
def test_what_pillow_says_of_odd_pictures_is_not_logged(monkeypatch: pytest.MonkeyPatch) -> None:
    """Or any caller could write errors into the operator's log."""
    heard: list[logging.LogRecord] = []
    handler = logging.Handler()
    monkeypatch.setattr(handler, "emit", heard.append)
    monkeypatch.setattr(logging.getLogger(), "handlers", [handler])
    load_decoders()
    logging.getLogger("PIL.TiffImagePlugin").error("More samples per pixel than can be decoded")
    assert heard == []
    logging.getLogger("somebody").error("else")
    assert len(heard) == 1


def test_a_large_picture_may_take_its_time_to_decode() -> None:
    """Ten seconds for the largest: no slow machine needs as long."""
    assert Header("JPEG", 6250, 4000).decode_seconds == pytest.approx(10.0)


@pytest.mark.security(
    endpoint="pictures",
    attack="A PNG file of 109 KB that decodes to 900 million pixels",
    outcome="`TOO_MANY_PIXELS` by its header; nothing is decoded",
)
def test_too_many_pixels_are_refused_by_the_header() -> None:
    """A one-bit PNG of 30000 x 30000 has 110 KB; nothing of it is decoded."""
    data = raw_png(1, 0, b"\0" * 3750, 30_000, height=30_000)
    assert len(data) < BYTES
    for look in (lambda: inspect(data, BYTES, LIMIT), lambda: decode(data, LIMIT)):
        with pytest.raises(TooManyPixels, match=r"30000 x 30000 = 900000000 pixels; the limit is 25000000"):
            look()


def test_the_pixel_limit_is_within_it() -> None:
    """Exactly as many pixels as the limit are accepted."""
    data = png(portrait()[:40, :50])
    assert inspect(data, BYTES, 2000) == Header("PNG", 50, 40)
    assert decode(data, 2000)[0].shape == (40, 50, 3)
    for look in (lambda: inspect(data, BYTES, 1999), lambda: decode(data, 1999)):
        with pytest.raises(TooManyPixels):
            look()


@pytest.mark.security(
    endpoint="pictures",
    attack="A GIF frame that is larger than its canvas",
    outcome="`TOO_MANY_PIXELS`",
)
def test_a_gif_frame_larger_than_its_canvas_counts() -> None:
    """Pillow enlarges the canvas to the frame, so the frame's size is what is limited."""
    data = bytearray(saved(Image.new("P", (64, 64)), "GIF"))
    frame = data.index(b"\x2c", 13)
    data[frame + 5 : frame + 9] = struct.pack("<HH", 40_000, 40_000)
    with pytest.raises(TooManyPixels, match="40000 x 40000"):
        inspect(bytes(data), BYTES, LIMIT)


@pytest.mark.security(
    endpoint="pictures",
    attack="A small TIFF picture in an enormous tile",
    outcome="`TOO_MANY_PIXELS`",
)
def test_a_tiff_tile_larger_than_the_limit_is_refused() -> None:
    """A small picture in an enormous tile would take the tile's memory."""
    tags = (256, 16), (257, 16), (258, 8), (259, 8), (262, 1), (277, 1), (322, 60_000), (323, 60_000)
    data = raw_tiff(b"\0" * 32, *tags, (324, 8), (325, 16))
    assert inspect(data, BYTES, LIMIT) == Header("TIFF", 16, 16)
    with pytest.raises(TooManyPixels, match="60000 x 60000"):
        decode(data, LIMIT)


@pytest.mark.parametrize("order", "<>")
def test_white_may_be_zero(order: str) -> None:
    """A grey TIFF file says which end of its samples is white, in either byte order."""
    pixels = struct.pack(order + "2H", 0, 65535)
    tags = (256, 2), (257, 1), (258, 16), (259, 1), (262, 0), (277, 1), (278, 1), (279, len(pixels))
    assert decoded(raw_tiff(pixels, *tags, order=order))[0, :, 0].tolist() == [255, 0]


@pytest.mark.parametrize("compression", ["tiff_lzw", "tiff_adobe_deflate", "packbits"])
def test_white_may_be_zero_in_compressed_files(compression: str) -> None:
    """As in others."""
    ramp = np.linspace(0, 65535, 256).astype(np.uint16)[None, :].repeat(4, axis=0)
    data = saved(Image.fromarray(ramp), "TIFF", compression=compression, tiffinfo={262: 0})
    assert np.abs(decoded(data)[0, :, 0].astype(int) - np.arange(256)[::-1]).max() <= 1


def bmp_with_alpha(alpha: int) -> bytes:
    """A BMP file of 32 bits and a mask for alpha, 2 x 1, blue and red."""
    masks = struct.pack("<4L", 0xFF0000, 0xFF00, 0xFF, 0xFF000000)
    head = struct.pack("<LllHHLLllLL", 56, 2, 1, 1, 32, 3, 8, 0, 0, 0, 0) + masks
    pixels = bytes((200, 0, 0, alpha, 0, 0, 200, alpha))
    return struct.pack("<2sLHHL", b"BM", 14 + 56 + 8, 0, 0, 14 + 56) + head + pixels


def test_a_bmp_file_without_any_alpha_is_opaque() -> None:
    """Programs that know no alpha leave it 0 everywhere; where there is any, it counts."""
    assert decoded(bmp_with_alpha(0)).tolist() == [[[0, 0, 200], [200, 0, 0]]]
    half = decoded(bmp_with_alpha(128))
    assert np.abs(half[0, 0].astype(int) - [127, 127, 227]).max() <= 1
    assert decoded(saved(Image.new("RGBA", (2, 2), (9, 9, 9, 0)), "PNG")).min() == 255


@pytest.mark.parametrize("share", [0.05, 0.3, 0.6, 0.95])
@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "BMP", "TIFF", "AVIF", "GIF"])
def test_a_truncated_file_is_broken(form: str, share: float) -> None:
    """It is refused, by `inspect` or by the decoder, and never half of it searched."""
    data = saved(sample(), form)
    data = data[: int(len(data) * share)]
    with pytest.raises(BrokenImage) as caught:
        decode(data, LIMIT)
    assert caught.value.field == "image"


@pytest.mark.security(
    endpoint="pictures",
    attack="A JPEG file that was cut off, to learn of the inside",
    outcome="No path, no address and no name of an exception in the error",
)
def test_an_error_tells_nothing_of_the_inside() -> None:
    """Neither a path nor an address, an exception's name or a traceback."""
    data = saved(sample(), "JPEG")[:3000]
    with pytest.raises(BrokenImage) as caught:
        decode(data, LIMIT)
    assert not any(word in caught.value.detail for word in ("0x", "/", "Error", "object", "PIL"))
    assert caught.value.__cause__ is not None


@pytest.mark.security(
    endpoint="pictures",
    attack="A file at which its decoder raises any of eleven exceptions",
    outcome="`BROKEN_IMAGE`, with nothing of the exception's text",
)
@pytest.mark.parametrize(
    "error", [TypeError, ValueError, NotImplementedError, SyntaxError, OverflowError, struct.error,
              OSError, KeyError, UserWarning, RuntimeError, RecursionError],
)  # fmt: skip
def test_whatever_a_decoder_raises_is_a_broken_image(
    error: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Decoders raise all kinds of exceptions on hostile files."""

    def fail(*_: object, **__: object) -> None:
        raise error("secret")

    picture = saved(sample(), "PNG")
    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", fail)
    with pytest.raises(BrokenImage) as caught:
        decode(picture, LIMIT)
    assert "secret" not in caught.value.detail


def test_a_lack_of_memory_is_no_fault_of_a_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is not told as a broken one, which nobody sends again: it passes through as what it is."""

    def fail(*_: object, **__: object) -> None:
        raise MemoryError

    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", fail)
    with pytest.raises(MemoryError):
        decode(saved(sample(), "PNG"), LIMIT)


@pytest.mark.parametrize(
    ("data", "name"),
    [
        (b"hello, this is not a picture\n", "text"), ("naïve text, étude".encode(), "text"),
        (b"8BPS\0\1rest", "PSD"), (b"%PDF-1.7\n%\xe2\xe3", "PDF"), (b"\0\0\1\0\1\0rest", "ICO"),
        (b"<svg xmlns='x'/>", "SVG"),
        (b"<!DOCTYPE html><html>", "HTML"), (b"PK\3\4rest", "ZIP"), (b"RIFF\0\0\0\0AVI rest", "AVI"),
        (b"\0\0\0\x18ftypmp42rest", "MP4"), (b"P6\n1 1\n255\n\0\0\0", "PPM"),
        (b"\0\0\0\x0cJXL \r\n\x87\nrest", "JPEG XL"), (b"\xff\x4f\xff\x51rest", "JPEG 2000"),
        (b"DDS rest", "DDS"),
    ],
)  # fmt: skip
def test_what_is_not_accepted_is_named(data: bytes, name: str) -> None:
    """The answer says what came, and what is accepted; neither step takes it."""
    for look in (lambda: inspect(data, BYTES, LIMIT), lambda: decode(data, LIMIT)):
        with pytest.raises(UnsupportedImageFormat) as caught:
            look()
        assert f"looks like {name};" in caught.value.detail
        assert all(accepted in caught.value.detail for accepted in ACCEPTED)


def test_formats_may_be_left_out() -> None:
    """They are refused as others are, and the answer names those that are accepted."""
    data = saved(sample(), "GIF")
    accepted = ("png", "jpeg")
    for look in (lambda: inspect(data, BYTES, LIMIT, accepted), lambda: decode(data, LIMIT, accepted)):
        with pytest.raises(UnsupportedImageFormat, match="looks like GIF; accepted: JPEG, PNG") as caught:
            look()
        assert caught.value.field == "image"
    assert inspect(png(portrait()[:9, :9]), BYTES, LIMIT, accepted) == Header("PNG", 9, 9)
    assert decode(png(portrait()[:9, :9]), LIMIT, accepted)[0].shape == (9, 9, 3)


@pytest.mark.security(
    endpoint="pictures",
    attack="A format that the operator has left out, in a container of either kind",
    outcome="Refused; no decoder sees it",
)
def test_a_format_that_is_left_out_reaches_no_decoder(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where a container may be of either kind: the decoder of AVIF files is asked first."""
    asked: list[bytes] = []

    def refuse(data: bytes, *_: object) -> None:
        asked.append(data)
        raise SyntaxError

    monkeypatch.setattr("PIL.AvifImagePlugin._avif.AvifDecoder", refuse)
    data = saved(sample(), "AVIF")
    data = data[:8] + b"mif1" + data[12:40].replace(b"avif", b"heic") + data[40:]
    for accepted, times in (("avif", "heic"), 1), (("heic",), 0):
        asked.clear()
        with pytest.raises(BrokenImage):
            decode(data, LIMIT, accepted)
        assert len(asked) == times


def test_bytes_of_no_known_kind_say_so() -> None:
    """Nothing is guessed."""
    with pytest.raises(UnsupportedImageFormat, match="no format known here"):
        inspect(bytes(range(128, 256)) * 4, BYTES, LIMIT)


@pytest.mark.security(
    endpoint="pictures",
    attack="A text that begins like a GIF file",
    outcome="Taken for a text",
)
def test_a_name_in_a_file_means_nothing() -> None:
    """Only the bytes decide: a text is a text, and a PNG in disguise is a PNG."""
    assert sniff(b"GIF is a format") == "text"
    assert sniff(png(portrait()[:9, :9])) == "PNG"


def flood(data: bytes, at: int, part: bytes) -> bytes:
    """A file whose header has as many of these parts as the limit of bytes allows."""
    return data[:at] + part * ((BYTES - len(data)) // len(part)) + data[at:]


def test_a_header_of_endless_parts_is_broken() -> None:
    """Millions of empty segments or chunks would keep Pillow busy for seconds."""
    jpeg = flood(saved(sample(), "JPEG"), 2, b"\xff\xfe\0\2")
    chunks = flood(png(portrait()[:9, :9]), 33, png_chunk(b"aaAa", b""))
    for data in (jpeg, chunks):
        with pytest.raises(BrokenImage):
            decode(data, LIMIT)


def test_inspect_reads_no_megabytes_of_metadata() -> None:
    """The library keeps all that it reads: a second, in which an event loop answers nobody."""
    with pytest.raises(BrokenImage):
        inspect(flood(saved(sample(), "JPEG"), 2, b"\xff\xe2\0\2"), BYTES, LIMIT)


def test_the_size_is_found_behind_much_metadata() -> None:
    """Photographs carry previews and colour profiles before it."""
    data = saved(sample(), "JPEG")
    profile = b"\xff\xe2\xff\xff" + bytes(65533)
    whole = data[:2] + profile * 3 + data[2:]
    assert inspect(whole, BYTES, LIMIT) == inspect(data, BYTES, LIMIT)
    assert np.array_equal(decode(whole, LIMIT)[0], decode(data, LIMIT)[0])


@pytest.mark.security(
    endpoint="pictures",
    attack="A file with a small size in its header, and a large one behind it",
    outcome="`BROKEN_IMAGE`",
)
def test_a_file_that_says_two_sizes_is_broken() -> None:
    """It would be accepted as a small one, and computed as a large one."""
    small, large = png(portrait()[:9, :9]), png(portrait()[:90, :90])
    with pytest.raises(BrokenImage, match="two sizes, 9 x 9 and 90 x 90"):
        decode(small[:33] + large[8:], LIMIT)


@pytest.mark.security(
    endpoint="pictures",
    attack="Texts in a PNG file that inflate to 60 MB",
    outcome="`BROKEN_IMAGE`",
)
def test_text_that_inflates_to_megabytes_is_broken() -> None:
    """A few kilobytes of PNG text may hold sixty megabytes."""
    bomb = png_chunk(b"zTXt", b"k\0\0" + zlib.compress(b"a" * (2**20 - 10)))
    data = png(portrait()[:9, :9])
    assert inspect(data[:33] + bomb * 3 + data[33:], BYTES, LIMIT).width == 9
    with pytest.raises(BrokenImage):
        decode(data[:33] + bomb * 60 + data[33:], LIMIT)


@pytest.mark.security(
    endpoint="pictures",
    attack="A progressive JPEG file of 1,000 scans, each a pass over the picture",
    outcome="`BROKEN_IMAGE`",
)
def test_a_jpeg_of_endless_scans_is_broken() -> None:
    """Every scan of a progressive file is a pass over the whole picture."""
    data = saved(sample(), "JPEG", progressive=True)
    assert decoded(data).shape == (180, 240, 3)
    last = data.rindex(b"\xff\xda")
    with pytest.raises(BrokenImage, match="scans"):
        decode(data[:-2] + data[last:-2] * 1000 + data[-2:], LIMIT)


def test_a_large_jpeg_may_have_fewer_scans_than_a_small_one() -> None:
    """What its scans pass over in all is bounded; as many as encoders write are always accepted."""
    data = saved(Image.new("RGB", (4000, 4000)), "JPEG", progressive=True)
    assert decoded(data).shape == (4000, 4000, 3)
    last = data.rindex(b"\xff\xda")
    with pytest.raises(BrokenImage, match="scans"):
        decode(data[:-2] + data[last:-2] * 20 + data[-2:], LIMIT)


def test_one_pixel_is_a_picture() -> None:
    """The smallest there is, in every format."""
    for form in FORMS.values():
        assert decoded(saved(Image.new("RGB", (1, 1), "white"), form)).tolist() == [[[255, 255, 255]]]


def test_decoding_in_many_threads_gives_what_one_gives() -> None:
    """Nothing is shared between two images."""
    files = [
        encoded(np.ascontiguousarray(portrait()[i * 9 :, i * 5 :]), form)
        for form in FORMS.values()
        for i in range(4)
    ]
    expected = [decoded(data) for data in files]
    wrong: list[int] = []

    def work(start: int) -> None:
        for step in range(len(files)):
            number = (start + step) % len(files)
            if not np.array_equal(decoded(files[number]), expected[number]):
                wrong.append(number)

    threads = [threading.Thread(target=work, args=(start * 7,)) for start in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


@pytest.mark.security(
    endpoint="pictures",
    attack="Three bytes changed at random in files of all formats, 60 times each",
    outcome="Decoded, or refused by a typed error",
)
def test_no_flipped_byte_raises_anything_else() -> None:
    """A damaged file is decoded or refused with a typed error."""
    random = np.random.default_rng(11)
    small = sample().resize((48, 36))
    for form in FORMS.values():
        data = saved(small, form)
        for _ in range(60):
            damaged = bytearray(data)
            for place in random.integers(0, len(data), 3):
                damaged[place] = random.integers(256)
            try:
                inspect(bytes(damaged), BYTES, LIMIT)
                decode(bytes(damaged), LIMIT)
            except (UnsupportedImageFormat, BrokenImage, TooManyPixels):
                continue
