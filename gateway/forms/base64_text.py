"""The image of a JSON request: base64 or a data: URI, decoded strictly and refused helpfully.

Accepted is the standard alphabet with its padding. Spaces and line breaks, which many encoders insert, are
skipped. Offsets in errors count the characters of the base64 text, from 0, white space included.
"""

import re

import pybase64

from utils.errors import InvalidBase64, MalformedRequest

_WHITE = b" \t\n\r\f\v"
_FOREIGN = re.compile(r"[^A-Za-z0-9+/=\s]", re.ASCII)
_AFTER_PADDING = re.compile(r"[^=\s]", re.ASCII)
_DATA_URI = re.compile(r"data:[^,]{0,200};base64,", re.ASCII | re.IGNORECASE)


def decode_image(text: str) -> bytes:
    """The bytes that the text stands for.

    Raises:
        InvalidBase64: It is not base64; names the character and its offset.
        MalformedRequest: It is a data: URI that is not base64.
    """
    if text[:5].lower() == "data:":
        head = _DATA_URI.match(text)
        if head is None:
            raise MalformedRequest("image is a data: URI without ;base64,", field="image")
        text = text[head.end() :]
    packed = b""
    if text.isascii():
        try:
            return pybase64.b64decode(text, validate=True)
        except ValueError:
            packed = text.encode().translate(None, _WHITE)
        try:
            return pybase64.b64decode(packed, validate=True)
        except ValueError:
            pass
    raise InvalidBase64(f"image {_fault(text, len(packed))}", field="image")


def _fault(text: str, length: int) -> str:
    """Why a text is not base64. `length` counts its characters without white space."""
    foreign = _FOREIGN.search(text)
    if foreign is not None:
        what = "which base64 does not have"
        if foreign[0] in "-_":
            what = "of the URL-safe alphabet; accepted is the standard one, with + and /"
        return f"has {foreign[0]!r} at offset {foreign.start()}, {what}"
    padding = text.find("=")
    if padding >= 0 and _AFTER_PADDING.search(text, padding):
        return f"has '=' at offset {padding}, before its end"
    if length % 4:
        return (
            f"ends at offset {len(text)} with {length} characters, no multiple of 4: "
            "it was cut off, or its padding (=) is missing"
        )
    return f"has '=' at offset {padding} more than twice"
