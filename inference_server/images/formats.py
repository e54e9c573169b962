"""What kind of file some bytes are, by the signature that they begin with.

The accepted formats are listed here, and those that people send instead, so that an answer can name them.
Signatures are those of the formats' own specifications.
"""

import itertools
import re
from collections.abc import Collection

from utils.errors import UnsupportedImageFormat

ACCEPTED = ("JPEG", "PNG", "WebP", "GIF", "BMP", "TIFF", "AVIF", "HEIC")
"""Formats that can be decoded. A JPEG file with several pictures (MPO) is a JPEG file."""

_SIGNATURES = (
    (b"\xff\xd8\xff", "JPEG"),
    (b"\x89PNG", "PNG"),
    (b"GIF87a", "GIF"),
    (b"GIF89a", "GIF"),
    (b"II*\0", "TIFF"),
    (b"MM\0*", "TIFF"),
    (b"II+\0", "TIFF"),
    (b"MM\0+", "TIFF"),
    (b"8BPS", "PSD"),
    (b"%PDF-", "PDF"),
    (b"%!PS", "PostScript"),
    (b"\xff\x4f\xff\x51", "JPEG 2000"),
    (b"\0\0\0\x0cjP  \r\n\x87\n", "JPEG 2000"),
    (b"\xff\x0a", "JPEG XL"),
    (b"\0\0\0\x0cJXL \r\n\x87\n", "JPEG XL"),
    (b"\0\0\1\0", "ICO"),
    (b"\0\0\2\0", "CUR"),
    (b"DDS ", "DDS"),
    (b"qoif", "QOI"),
    (b"icns", "ICNS"),
    (b"gimp xcf", "XCF"),
    (b"\x76\x2f\x31\x01", "OpenEXR"),
    (b"#?RADIANCE", "Radiance HDR"),
    (b"SIMPLE  =", "FITS"),
    (b"PK\3\4", "ZIP"),
    (b"\x1f\x8b", "gzip"),
    (b"\x1a\x45\xdf\xa3", "Matroska or WebM"),
    (b"BM", "BMP"),
)

# Containers that say by a four-letter brand what they hold: `ftyp` of ISO/IEC 14496-12, and RIFF.
_AVIF_BRANDS = frozenset({b"avif", b"avis"})
_HEIC_BRANDS = frozenset(
    {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"msf1"}
)
_RIFF_HEAD = 8  # bytes before those that its length counts
_RIFF_KINDS = {b"WEBP": "WebP", b"AVI ": "AVI", b"WAVE": "WAV"}

_MARKUP = ((b"<svg", "SVG"), (b"<?xml", "XML"), (b"<!doctype html", "HTML"), (b"<html", "HTML"))
_NETPBM = frozenset(b"P%d" % kind for kind in range(1, 8))
_LOOKED_AT = 512

_LONE_LF = re.compile(rb"(?<!\r)\n")
_GIF_COMMENT = re.compile(rb"!\xfe[^\0]*+")
_BINARY_CR_LF = re.compile(rb"[^\r\n -~]\r\n")  # not behind a character of text, as metadata may have it
_LINE_ENDS = 3  # fewer may be chance


def sniff(data: bytes) -> str | None:
    """The name of the format that the bytes begin like, or None where they are like none known here.

    Text is a format, too. A HEIF file whose brand does not tell what it holds is called AVIF if `avif`
    is among the brands it is compatible with, else HEIC.
    """
    head = data[:_LOOKED_AT]
    for signature, name in _SIGNATURES:
        if head.startswith(signature):
            return name
    if head[:4] == b"RIFF":
        return _RIFF_KINDS.get(head[8:12])
    if head[4:8] == b"ftyp":
        return _iso_media(head)
    if head[:2] in _NETPBM and head[2:3].isspace():
        return "PPM"
    return _text(head)


def accepted_format(data: bytes, accepted: Collection[str]) -> str:
    """The name in ACCEPTED of the format that the bytes begin like.

    Args:
        data: The file.
        accepted: The names of the formats that are accepted, in small letters.

    Raises:
        UnsupportedImageFormat: It is none of these.
    """
    name = sniff(data)
    if name is None or name.lower() not in accepted:
        looks = f"looks like {name}" if name else "is in no format known here"
        names = ", ".join(known for known in ACCEPTED if known.lower() in accepted)
        raise UnsupportedImageFormat(f"the image {looks}; accepted: {names}", field="image")
    return name


def lacks_lone_lf(data: bytes) -> bool:
    """Tell whether there is a CR before every LF, of which there is one at least."""
    return b"\n" in data and not _LONE_LF.search(data)


def has_text_line_ends(name: str, data: bytes) -> bool:
    """Tell whether a file has been through a program that takes bytes for text, and writes CR LF for LF.

    In a file of hundreds of compressed bytes some LF has another byte before it. Of BMP and WebP files, which
    may repeat one colour or hold text, the length that they say must tell. Of JPEG and TIFF files their
    decoders do.
    """
    if name in {"JPEG", "TIFF"} or not lacks_lone_lf(data):
        return False
    if name == "BMP":
        return len(data) - int.from_bytes(data[2:6], "little") == data.count(b"\n")
    if name == "WebP":
        return len(data) - _RIFF_HEAD - int.from_bytes(data[4:8], "little") == data.count(b"\n")
    if name == "GIF":
        data = _GIF_COMMENT.sub(b"", data)
    return has_binary_line_ends(data)


def has_binary_line_ends(data: bytes) -> bool:
    """Tell whether CR LF, and never LF alone, is at several places of data that are no text.

    Places count once that have the same bytes around them, as those of one colour do.
    """
    if not lacks_lone_lf(data):
        return False
    found = itertools.islice(_BINARY_CR_LF.finditer(data), _LOOKED_AT)
    return len({data[place.start() - 1 : place.end() + 2] for place in found}) >= _LINE_ENDS


def _iso_media(head: bytes) -> str:
    brand = head[8:12]
    size = int.from_bytes(head[:4])
    compatible = {head[at : at + 4] for at in range(16, min(size, len(head)), 4)}
    if brand in _AVIF_BRANDS or (brand in _HEIC_BRANDS and compatible & _AVIF_BRANDS):
        return "AVIF"
    return "HEIC" if brand in _HEIC_BRANDS else "MP4"


def _text(head: bytes) -> str | None:
    start = head.lstrip().lower()
    for signature, name in _MARKUP:
        if start.startswith(signature):
            return name
    try:
        decoded = head.decode("utf-8", errors="strict")
    except UnicodeDecodeError as error:
        if error.start < len(head) - 3 or error.start == 0:  # else a character is merely cut off
            return None
        decoded = head[: error.start].decode()
    return "text" if all(character.isprintable() or character.isspace() for character in decoded) else None
