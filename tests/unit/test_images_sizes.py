"""Sizes from headers alone: what every format's header says, and how much of a hostile one is looked at."""

import io
import struct

import numpy as np
import pytest
from PIL import Image

from inference_server.images import Header, decode, inspect
from tests.support.pictures import bare_png, png_chunk, portrait
from utils.errors import BrokenImage

LIMIT = 25_000_000
BYTES = 10 * 2**20

FORMS = {name: name.upper() for name in ("JPEG", "PNG", "WebP", "GIF", "BMP", "TIFF", "AVIF")}

ORIENTATION = 274
SHORT, LONG, RATIONAL, UNDEFINED = 3, 4, 5, 7


def saved(form: str, **options: object) -> bytes:
    """A part of the portrait, 64 x 48, as a file."""
    file = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(portrait()[40:88, 130:194])).save(file, form, **options)
    return file.getvalue()


def size(data: bytes) -> tuple[int, int]:
    """What `inspect` finds."""
    header = inspect(data, BYTES, LIMIT)
    return header.width, header.height


def flooded(data: bytes, at: int, part: bytes) -> bytes:
    """A file with as many of these parts as ten megabytes have room for."""
    return data[:at] + part * ((BYTES - len(data)) // len(part)) + data[at:]


def directory(*entries: tuple[int, int, int, int], rest: bytes = b"") -> bytes:
    """A TIFF file, or EXIF data, of one directory: entries as (tag, type, count, value), and what follows."""
    table = b"".join(struct.pack("<HHLL", *entry) for entry in entries)
    return b"II*\0" + struct.pack("<LH", 8, len(entries)) + table + struct.pack("<L", 0) + rest


def endless_exif(*entries: tuple[int, int, int, int]) -> bytes:
    """EXIF data of as many entries as a directory may have, these among them at the end."""
    others = range(1000, 1000 + 65535 - len(entries))
    return directory(*((tag & 0xFFFF, UNDEFINED, 2**31 - 1, 8) for tag in others), *entries)


def with_exif(form: str, exif: bytes) -> bytes:
    """A file with this EXIF data; a JPEG file has it in as many segments as it takes."""
    if form == "PNG":
        data = saved("PNG")
        return data[:33] + png_chunk(b"eXIf", exif) + data[33:]
    if form == "WEBP":
        return saved("WEBP", exif=exif)
    data = saved("JPEG")
    parts = [b"Exif\0\0" + exif[at : at + 65_000] for at in range(0, len(exif), 65_000)]
    segments = b"".join(b"\xff\xe1" + struct.pack(">H", len(part) + 2) + part for part in parts)
    return data[:2] + segments + data[2:]


def box(kind: bytes, content: bytes = b"") -> bytes:
    """A box of an AVIF or HEIC file."""
    return struct.pack(">L4s", len(content) + 8, kind) + content


def full(kind: bytes, content: bytes, version: int = 0) -> bytes:
    """A box with a version and flags."""
    return box(kind, struct.pack(">L", version << 24) + content)


def heic(properties: list[bytes], associated: bytes, *others: bytes, brand: bytes = b"heic") -> bytes:
    """The boxes of a file whose primary picture, number 1, has these of the properties."""
    entry = struct.pack(">LHB", 1, 1, len(associated)) + associated
    iprp = box(b"iprp", box(b"ipco", b"".join(properties)) + full(b"ipma", entry))
    meta = full(b"meta", full(b"pitm", struct.pack(">H", 1)) + iprp + b"".join(others))
    return box(b"ftyp", brand + bytes(4) + b"mif1") + meta


def extent(width: int, height: int) -> bytes:
    """The property that is a size."""
    return full(b"ispe", struct.pack(">LL", width, height))


@pytest.mark.parametrize("name", FORMS)
def test_inspect_asks_no_decoder(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever a decoder does with a header, the event loop does not wait for it."""
    data = saved(FORMS[name])

    def fail(*_: object, **__: object) -> None:
        raise AssertionError("a decoder was asked")

    monkeypatch.setattr(Image, "open", fail)
    monkeypatch.setattr("PIL.ImageFile.ImageFile.__init__", fail)
    monkeypatch.setattr("simplejpeg.decode_jpeg_header", fail)
    assert inspect(data, BYTES, LIMIT) == Header(name, 64, 48)


@pytest.mark.parametrize("options", [{}, {"lossless": True}, {"exif": b"Exif\0\0" + directory()}])
def test_every_kind_of_webp_says_its_size(options: dict[str, object]) -> None:
    """Lossy, lossless, and extended."""
    assert size(saved("WEBP", **options)) == (64, 48)


def test_a_bmp_file_may_be_stored_from_its_upper_row() -> None:
    """Its height is negative then."""
    data = bytearray(saved("BMP"))
    data[22:26] = struct.pack("<l", -48)
    assert size(bytes(data)) == (64, 48)
    assert np.array_equal(decode(bytes(data), LIMIT)[0][::-1], decode(saved("BMP"), LIMIT)[0])


def test_a_gif_picture_larger_than_its_screen_is_seen_whole() -> None:
    """As it is decoded."""
    data = bytearray(saved("GIF"))
    data[6:10] = struct.pack("<HH", 20, 90)
    assert size(bytes(data)) == (64, 90)
    assert decode(bytes(data), LIMIT)[0].shape == (90, 64, 3)


def test_the_size_of_a_png_file_may_stand_behind_other_chunks() -> None:
    """It should not, but decoders look for it."""
    data = saved("PNG")
    data = data[:8] + png_chunk(b"aaAa", b"IHDR") + data[8:]
    assert size(data) == (64, 48)
    assert decode(data, LIMIT)[0].shape == (48, 64, 3)


def test_an_animation_says_its_size() -> None:
    """AVIF keeps it with the track."""
    data = saved("AVIF", save_all=True, append_images=[Image.new("RGB", (64, 48))])
    assert data[8:12] == b"avis"
    assert size(data) == (64, 48)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("orientation", [1, 6])
def test_a_turned_tiff_file_says_its_size_as_it_is_stored(order: str, orientation: int) -> None:
    """In both byte orders, as every other format."""
    entries = [(256, SHORT, 1, 64), (257, SHORT, 1, 48), (ORIENTATION, SHORT, 1, orientation)]
    table = b"".join(struct.pack(order + "HHLHH", *entry, 0) for entry in entries)
    head = (b"II" if order == "<" else b"MM") + struct.pack(order + "HLH", 42, 8, len(entries))
    assert size(head + table) == (64, 48)


@pytest.mark.parametrize("order", ["<", ">"])
def test_a_tiff_file_of_64_bits_says_its_size(order: str) -> None:
    """BigTIFF."""
    entries = struct.pack(order + "HHQHHLHHQHHL", 256, LONG, 1, 64, 0, 0, 257, SHORT, 1, 48, 0, 0)
    if order == ">":
        entries = entries.replace(struct.pack(">HHL", 64, 0, 0), struct.pack(">LL", 64, 0))
    head = (b"II" if order == "<" else b"MM") + struct.pack(order + "HHH", 43, 8, 0)
    assert size(head + struct.pack(order + "QQ", 16, 2) + entries) == (64, 48)


def test_a_heic_file_says_the_size_of_its_primary_picture() -> None:
    """As it is stored, whatever turns and cuts it, and whatever others there are."""
    cut = box(b"clap", struct.pack(">8L", 80, 2, 30, 1, 0, 1, 0, 1))
    properties = [extent(7, 7), extent(64, 48), box(b"irot", b"\1"), cut]
    for associated in b"\2", b"\2\x83", b"\2\x84\x83":
        for brand in b"heic", b"avif":
            assert size(heic(properties, associated, brand=brand)) == (64, 48)


def size_or_error(data: bytes) -> tuple[int, int] | str:
    """What `inspect` finds, or refuses."""
    try:
        return size(data)
    except BrokenImage as error:
        return error.detail


@pytest.mark.parametrize("name", FORMS)
def test_a_header_that_ends_before_its_size_is_broken(name: str) -> None:
    """Wherever it ends: the error names the field, and no other is raised."""
    data = saved(FORMS[name])
    for length in range(12, 60):
        if size_or_error(data[:length]) != (64, 48):
            with pytest.raises(BrokenImage, match="no size") as caught:
                size(data[:length])
            assert caught.value.field == "image"


def test_no_width_is_no_size() -> None:
    """A picture has at least one pixel."""
    with pytest.raises(BrokenImage, match="no size"):
        inspect(bare_png(0, 5, 8, 0), BYTES, LIMIT)


def flooded_gif(before: bytes, part: bytes) -> bytes:
    """A GIF file with all this before its picture."""
    data = saved("GIF")
    at = data.index(b",")
    return flooded(data[:at] + before + data[at:], at + len(before), part)


def full_of(content: bytes, brand: bytes = b"heic") -> bytes:
    """A HEIC or AVIF file with these boxes beside those that it needs."""
    return heic([extent(64, 48)], b"\1", content, brand=brand)


# Files of up to ten megabytes, each full of the smallest part of its format.
HOSTILE = {
    "JPEG segments": lambda: flooded(saved("JPEG"), 2, b"\xff\xe2\0\2"),
    "JPEG padding": lambda: flooded(saved("JPEG"), 2, b"\xff"),
    "JPEG escapes": lambda: flooded(saved("JPEG"), 2, b"\xff\0"),
    "PNG chunks": lambda: flooded(saved("PNG"), 8, png_chunk(b"aaAa", b"")),
    "GIF extensions": lambda: flooded_gif(b"", b"!\xff\0"),
    "GIF blocks": lambda: flooded_gif(b"!\xfe", b"\1a"),
    "GIF junk": lambda: flooded_gif(b"", b"\1"),
    "TIFF entries": lambda: directory(*((tag, SHORT, 1, 1) for tag in range(60_000))),
    "HEIC boxes": lambda: flooded(full_of(b""), 20, box(b"free")),
    "HEIC properties": lambda: heic([extent(64, 48)] * 500_000, b"\1"),
    "HEIC references": lambda: full_of(full(b"iref", box(b"cdsc", struct.pack(">HHH", 2, 1, 1)) * 700_000)),
    "AVIF items": lambda: full_of(
        full(b"iinf", struct.pack(">H", 65535) + full(b"infe", bytes(8), 2) * 65535), b"avif"
    ),
    "HEIC names": lambda: full_of(
        full(b"iinf", struct.pack(">H", 1) + full(b"infe", bytes(4) + b"mime\0" + bytes(9_000_000), 2))
    ),
    "AVIF places": lambda: full_of(
        full(b"iloc", struct.pack(">HH", 0x4400, 65535) + bytes(6 * 65535)), b"avif"
    ),
    "AVIF references": lambda: full_of(
        full(b"iref", box(b"dimg", struct.pack(">HH", 1, 65535) + bytes(2 * 65535))), b"avif"
    ),
}


@pytest.mark.security(
    endpoint="pictures",
    attack=("Headers of JPEG, PNG, GIF, TIFF, HEIC and AVIF files that are megabytes of small parts"),
    outcome="`BROKEN_IMAGE`: accepted are 4,096 parts",
)
@pytest.mark.parametrize("kind", HOSTILE)
def test_a_header_of_endless_parts_is_refused_by_inspect(kind: str) -> None:
    """A few thousand are looked at, whatever the format; the decoder does not get to see the rest."""
    data = HOSTILE[kind]()
    reason = f"the {kind[:4].rstrip()} image's header has more than 4096 parts"
    for look in (lambda: inspect(data, BYTES, LIMIT), lambda: decode(data, LIMIT)):
        with pytest.raises(BrokenImage, match=reason):
            look()


@pytest.mark.security(
    endpoint="pictures",
    attack="EXIF data of 65,534 entries, each of which claims 2 GB",
    outcome="The orientation behind them is found",
)
@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP"])
def test_exif_data_of_very_many_entries_says_the_orientation(form: str) -> None:
    """It stands behind 65,534 others, each of which claims two gigabytes."""
    pixels, orientation = decode(with_exif(form, endless_exif((ORIENTATION, SHORT, 1, 6))), LIMIT)
    assert (pixels.shape, orientation) == ((64, 48, 3), 6)


def test_what_follows_a_png_file_is_no_part_of_it() -> None:
    """Whatever it is, and however much: zeros would be endless chunks."""
    assert decode(saved("PNG") + bytes(2 * 1024**2), 10**6)[0].shape == decode(saved("PNG"), 10**6)[0].shape


@pytest.mark.security(
    endpoint="pictures",
    attack="70,000 chunks, or 300 compressed ones, behind a PNG picture",
    outcome="`BROKEN_IMAGE`",
)
def test_a_png_file_of_endless_chunks_is_broken() -> None:
    """Behind the picture, where no header reader counts; and those that are inflated, each for itself."""
    data = saved("PNG")
    end = len(data) - 12
    many, inflated = png_chunk(b"aaAa", b""), png_chunk(b"iCCP", b"x\0\0")
    assert decode(data[:end] + many * 1000 + inflated * 200 + data[end:], LIMIT)[0].shape == (48, 64, 3)
    for flood in (many * 70_000, inflated * 300):
        with pytest.raises(BrokenImage, match="too many chunks"):
            decode(data[:end] + flood + data[end:], LIMIT)


@pytest.mark.security(
    endpoint="pictures",
    attack="A TIFF file of a million strips or tiles",
    outcome="`BROKEN_IMAGE`",
)
@pytest.mark.parametrize("tag", [273, 324])
def test_a_tiff_file_of_a_million_strips_or_tiles_is_broken(tag: int) -> None:
    """Each becomes objects of Python's when Pillow opens the file."""
    data = directory((256, LONG, 1, 64), (257, LONG, 1, 48), (tag, LONG, 1_000_000, 8), rest=bytes(4_000_000))
    for look in (lambda: inspect(data, BYTES, LIMIT), lambda: decode(data, LIMIT)):
        with pytest.raises(BrokenImage, match="1000000 strips or tiles; the limit is 65536"):
            look()


def pictures(number: int) -> bytes:
    """Items of a file that are pictures, from the second on."""
    infe = (full(b"infe", struct.pack(">HH", 2 + item, 0) + b"hvc1\0", 2) for item in range(number))
    return b"".join(infe)


def located(kind: bytes, length: int, others: int, brand: bytes = b"heic") -> bytes:
    """A file with an item of so many bytes, and so many pictures."""
    infe = full(b"infe", struct.pack(">HH", 1, 0) + kind + b"\0", 2) + pictures(others)
    iinf = full(b"iinf", struct.pack(">H", 1 + others) + infe)
    iloc = full(b"iloc", struct.pack(">HHHHHLL", 0x4400, 1, 1, 0, 1, 0, length))
    return full_of(iinf + iloc, brand)


@pytest.mark.security(
    endpoint="pictures",
    attack=("Metadata of 9 MB in a HEIC file, which its decoder would copy for each of 100 pictures"),
    outcome="`BROKEN_IMAGE`",
)
def test_metadata_that_would_be_copied_a_hundred_times_is_refused() -> None:
    """The decoder of HEIC files gives every picture a copy: gigabytes."""
    assert size(located(b"mime", 9_000_000, 5)) == (64, 48)
    for kind in b"mime", b"uri ", b"abcd":
        with pytest.raises(BrokenImage, match=r"9\d{8} bytes of its pictures' metadata"):
            inspect(located(kind, 9_000_000, 100), BYTES, LIMIT)


@pytest.mark.security(
    endpoint="pictures",
    attack=(
        "A colour profile of 100 KB in a HEIC file, which its decoder would copy for each of 1,000 pictures"
    ),
    outcome="`BROKEN_IMAGE`",
)
def test_a_colour_profile_that_would_be_copied_a_thousand_times_is_refused() -> None:
    """As metadata, though it stands with the properties."""
    items = full(b"iinf", struct.pack(">H", 1000) + pictures(1000))
    assert size(heic([extent(64, 48), box(b"colr", bytes(1000))], b"\1", items)) == (64, 48)
    with pytest.raises(BrokenImage, match="metadata"):
        inspect(heic([extent(64, 48), box(b"colr", bytes(100_000))], b"\1", items), BYTES, LIMIT)


@pytest.mark.security(
    endpoint="pictures",
    attack="2 MB of EXIF data in an AVIF file",
    outcome="`BROKEN_IMAGE`",
)
def test_megabytes_of_exif_data_are_refused_in_an_avif_file() -> None:
    """Pillow takes them to pieces, and may write them anew; those of a HEIC file it leaves alone."""
    assert size(located(b"Exif", 1_000_000, 1, b"avif")) == (64, 48)
    assert size(located(b"Exif", 2_000_000, 1)) == (64, 48)
    with pytest.raises(BrokenImage, match="2000000 bytes of EXIF data; the limit is 1048576"):
        inspect(located(b"Exif", 2_000_000, 1, b"avif"), BYTES, LIMIT)


@pytest.mark.security(
    endpoint="pictures",
    attack="A HEIC file with types that are no text, which would crash its decoder",
    outcome="`BROKEN_IMAGE` before the decoder sees it",
)
def test_a_type_that_is_no_text_does_not_reach_the_decoder_of_heic_files() -> None:
    """It would crash, and the worker with it: at an item's type, and at the content type of XMP data."""
    for names, brand in (
        (b"mim\xe9\0a/b\0", b"heic"),
        (b"mime\0a/\xac\0", b"heic"),
        (b"mime\0\xac\0", b"mif1"),
    ):
        infe = full(b"infe", struct.pack(">HH", 2, 0) + names, 2)
        data = full_of(full(b"iinf", struct.pack(">H", 1) + infe), brand)
        for look in (lambda data=data: inspect(data, BYTES, LIMIT), lambda data=data: decode(data, LIMIT)):
            with pytest.raises(BrokenImage):
                look()


@pytest.mark.security(
    endpoint="pictures",
    attack="An AVIF animation whose tracks have 200,000 bytes more",
    outcome="`BROKEN_IMAGE`: accepted are 131,072 bytes",
)
def test_an_animation_of_endless_chunks_is_refused() -> None:
    """Each chunk is looked for among all runs of chunks, so that megabytes of both would take long."""
    data = saved("AVIF", save_all=True, append_images=[Image.new("RGB", (64, 48))])
    at = data.index(b"moov") - 4
    (length,) = struct.unpack_from(">L", data, at)
    grown = struct.pack(">L", length + 200_000) + data[at + 4 : at + length] + bytes(200_000)
    with pytest.raises(BrokenImage, match=r"\d+ bytes of tracks; the limit is 131072"):
        inspect(data[:at] + grown + data[at + length :], BYTES, LIMIT)
