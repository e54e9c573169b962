"""The image of a JSON request: base64 or a data: URI, decoded strictly and refused helpfully.

Accepted are the standard alphabet and the URL-safe one, with or without padding: each character means the
same wherever it occurs, so both may also be mixed. White space, which many encoders insert, is skipped.
Offsets in errors count the characters of the base64 text, from 0, white space included.
"""

import re

import pybase64

from utils.errors import InvalidBase64, MalformedRequest

_WHITE = b" \t\n\r\f\v"
_TO_STANDARD = bytes.maketrans(b"-_", b"+/")
_FOREIGN = re.compile(r"[^A-Za-z0-9+/_=\s-]", re.ASCII)
_AFTER_PADDING = re.compile(r"[^=\s]", re.ASCII)
_DATA = re.compile(r"\s*data:", re.ASCII | re.IGNORECASE)
_DATA_URI = re.compile(r"\s*data:[^,]{0,200};\s*base64\s*,", re.ASCII | re.IGNORECASE)


def decode_image(text: str) -> bytes:
    """The bytes that the text stands for.

    Raises:
        InvalidBase64: It is not base64; names the character and its offset.
        MalformedRequest: It is a data: URI that is not base64.
    """
    if _DATA.match(text):
        head = _DATA_URI.match(text)
        if head is None:
            raise MalformedRequest("image is a data: URI without ;base64,", field="image")
        text = text[head.end() :]
    packed = b""
    if text.isascii():
        try:
            return pybase64.b64decode(text, validate=True)
        except ValueError:
            packed = text.encode().translate(_TO_STANDARD, _WHITE)
        try:
            return pybase64.b64decode(_padded(packed), validate=True)
        except ValueError:
            pass
    raise InvalidBase64(f"image {_fault(text, len(packed))}", field="image")


def _padded(packed: bytes) -> bytes:
    """With padding where there is none at all; a part of it is damage."""
    return packed if packed.endswith(b"=") else packed + b"=" * (-len(packed) % 4)


def _fault(text: str, length: int) -> str:
    """Why a text is not base64. `length` counts its characters without white space."""
    foreign = _FOREIGN.search(text)
    if foreign is not None:
        return f"has {foreign[0]!r} at offset {foreign.start()}, which base64 does not have"
    padding = text.find("=")
    if padding >= 0 and _AFTER_PADDING.search(text, padding):
        return f"has '=' at offset {padding}, before its end"
    if length % 4:
        return f"ends at offset {len(text)} with {length} characters, which no bytes give: it was cut off"
    return f"has '=' at offset {padding} more than twice"
