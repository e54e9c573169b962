"""The multipart form of a /predict request."""

from collections.abc import Iterator

import orjson
from werkzeug.exceptions import RequestEntityTooLarge
from werkzeug.http import parse_options_header
from werkzeug.sansio.multipart import Data, Epilogue, Field, File, MultipartDecoder

from gateway.forms.members import metadata_from, request_from_text, unique
from utils.domain import DetectRequest, checked_image
from utils.errors import ImageMissing, MalformedRequest

_MAX_PARTS = 100


def parse_multipart(body: bytes, content_type: str, max_image_bytes: int) -> DetectRequest:
    """The request that a multipart body means.

    Raises:
        MalformedRequest: It cannot be taken apart, a part comes twice or is not UTF-8, or metadata is no
            JSON object of strings.
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
    metadata = _metadata(texts.pop("metadata", "{}"))
    request = request_from_text(image, texts)
    return DetectRequest(image, request.options, request.image_id, metadata)


def _parts(body: bytes, boundary: bytes) -> Iterator[tuple[str, bytes]]:
    """Names and contents, where a part is one whether it has a filename or not."""
    decoder = MultipartDecoder(boundary, max_parts=_MAX_PARTS)
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


def _text(name: str, value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError as error:
        raise MalformedRequest(f"The part {name[:40]!r} is not UTF-8.", field=name[:40]) from error


def _metadata(text: str) -> dict[str, str]:
    try:
        return metadata_from(orjson.loads(text))
    except orjson.JSONDecodeError as error:
        raise MalformedRequest(f"metadata is not JSON: {error}", field="metadata") from error
