"""The multipart form of a /predict request."""

from collections.abc import Iterator

from werkzeug.exceptions import RequestEntityTooLarge
from werkzeug.http import parse_options_header
from werkzeug.sansio.multipart import Data, Epilogue, Event, Field, File, MultipartDecoder, NeedData

from gateway.forms.members import load_json, metadata_from, request_from_text, unique
from utils.domain import MAX_METADATA_CHARACTERS, DetectRequest, checked_image
from utils.errors import ImageMissing, MalformedRequest, shown

_MAX_PARTS = 100
_LONGEST_HEAD = 16 * 1024
"""Bytes from a part's boundary to its content, give or take a piece."""
_PIECE = 8 * 1024
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
    name = ""
    pieces: list[bytes] = []
    for event in _events(body, boundary):
        if isinstance(event, Field | File):
            name, pieces = event.name or "", []
        elif isinstance(event, Data):
            pieces.append(event.data)
            if not event.more_data:
                yield name, b"".join(pieces)


def _events(body: bytes, boundary: bytes) -> Iterator[Event]:
    """What the body is made of.

    The decoder is given a little at a time: it would take apart a head of any length, at a hundred times the
    memory of its bytes.
    """
    decoder = MultipartDecoder(boundary, max_parts=_MAX_PARTS)
    unread = 0
    for start in range(0, len(body), _PIECE):
        decoder.receive_data(body[start : start + _PIECE])
        unread += _PIECE
        while not isinstance(event := decoder.next_event(), NeedData):
            unread = 0
            yield event
        if unread > _LONGEST_HEAD:
            raise MalformedRequest(
                f"The head of a part of the multipart body has no end; accepted: {_LONGEST_HEAD} bytes"
            )
    decoder.receive_data(None)
    while not isinstance(event := decoder.next_event(), Epilogue):
        yield event


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
