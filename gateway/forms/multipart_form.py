"""The multipart form of a /predict request."""

import re
from collections.abc import Iterator

from werkzeug.exceptions import RequestEntityTooLarge
from werkzeug.http import parse_options_header
from werkzeug.sansio.multipart import Data, Epilogue, Field, File, MultipartDecoder

from gateway.forms.members import load_json, metadata_from, request_from_text, unique
from utils.domain import MAX_METADATA_CHARACTERS, DetectRequest, checked_image
from utils.errors import ImageMissing, MalformedRequest, shown

_MAX_PARTS = 100
_LONGEST_HEAD = 16 * 1024
"""Bytes from a part's boundary to its content."""
_EMPTY_LINE = re.compile(rb"\r\n\r\n|\n\n|\r\r")
_BEFORE_MARK = frozenset({b"\r", b"\n"})
_LONGEST_TEXT = 16 * MAX_METADATA_CHARACTERS
r"""Bytes of a part that is not the image. Metadata takes twelve a character, written as \ud83d\ude00."""


def parse_multipart(body: bytes, content_type: str, max_image_bytes: int) -> DetectRequest:
    """The request that a multipart body means.

    Raises:
        MalformedRequest: It cannot be taken apart, a part comes twice, is too long or not UTF-8, or metadata
            is no JSON object of strings.
        ImageMissing, ImageEmpty, ImageTooLarge: What is wrong with its image.
        UnknownOption, OptionOutOfRange: What is wrong with its other parts.
    """
    boundary = parse_options_header(content_type)[1].get("boundary", "")
    if not boundary.isascii() or not boundary:
        raise MalformedRequest("The Content-Type names no boundary.", field="Content-Type")
    try:
        parts = unique(_parts(body, boundary.encode()))
    except RequestEntityTooLarge as error:
        raise MalformedRequest(f"The multipart body has more than {_MAX_PARTS} parts.") from error
    except ValueError as error:
        raise MalformedRequest(f"The multipart body cannot be read: {error}") from error
    if "image" not in parts:
        raise ImageMissing("There is no part named image.", field="image")
    image = checked_image(parts.pop("image"), max_image_bytes)
    texts = {name: _text(name, value) for name, value in parts.items()}
    metadata = metadata_from(load_json(texts.pop("metadata", "{}").encode(), "metadata", field="metadata"))
    return request_from_text(image, texts, metadata)


def _parts(body: bytes, boundary: bytes) -> Iterator[tuple[str, bytes]]:
    """Names and contents, where a part is one whether it has a filename or not."""
    _check_heads(body, b"--" + boundary)
    decoder = MultipartDecoder(boundary, max_parts=_MAX_PARTS)
    # In one piece: where one ends amid a boundary, the decoder may add a byte to what is before it.
    decoder.receive_data(body)
    decoder.receive_data(None)
    name = ""
    pieces: list[bytes] = []
    while not isinstance(event := decoder.next_event(), Epilogue):
        if isinstance(event, Field | File):
            name, pieces = event.name or "", []
        elif isinstance(event, Data):
            pieces.append(event.data)
            if not event.more_data:
                yield name, b"".join(pieces)


def _check_heads(body: bytes, mark: bytes) -> None:
    """Refuse too many parts, and a long head, which the decoder takes apart at many times its memory.

    Raises:
        MalformedRequest: There is one.
    """
    parts = 0
    at = body.find(mark)
    while at >= 0:
        end = at + len(mark)
        if parts == 0 or body[at - 1 : at] in _BEFORE_MARK:
            if body.startswith(b"--", end):  # what follows is no part
                return
            parts += 1
            if parts > _MAX_PARTS:
                raise MalformedRequest(f"The multipart body has more than {_MAX_PARTS} parts.")
            if _EMPTY_LINE.search(body, end, end + _LONGEST_HEAD) is None:
                raise MalformedRequest(
                    f"The head of part {parts} of the multipart body has no end; accepted: "
                    f"{_LONGEST_HEAD} bytes, then an empty line"
                )
        at = body.find(mark, end)


def _text(name: str, value: bytes) -> str:
    if len(value) > _LONGEST_TEXT:
        raise MalformedRequest(
            f"The part {shown(name)!r} has {len(value)} bytes; accepted: {_LONGEST_TEXT}, but for image",
            field=shown(name),
        )
    try:
        return value.decode()
    except UnicodeDecodeError as error:
        raise MalformedRequest(f"The part {shown(name)!r} is not UTF-8.", field=shown(name)) from error
