"""The multipart form of a /predict request.

The body is there in one piece, so its parts are found in it, not collected from it: what is around the image
cannot cost more memory than it has bytes, and nothing is looked at twice.
"""

from collections.abc import Iterator

from werkzeug.http import parse_options_header

from gateway.forms.members import load_json, metadata_from, request_from_text, unique
from utils.domain import MAX_METADATA_CHARACTERS, DetectRequest, checked_image
from utils.errors import ImageMissing, MalformedRequest, shown

_MAX_PARTS = 100
_LONGEST_HEAD = 8 * 1024
"""Bytes from a part's boundary to its content."""
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
    places = unique(_parts(body, boundary.encode()))
    if "image" not in places:
        raise ImageMissing("There is no part named image.", field="image")
    image = checked_image(body[places.pop("image")], max_image_bytes)
    texts = {name: _text(name, body, place) for name, place in places.items()}
    metadata = metadata_from(load_json(texts.pop("metadata", "{}").encode(), "metadata", field="metadata"))
    return request_from_text(image, texts, metadata)


def _parts(body: bytes, boundary: bytes) -> Iterator[tuple[str, slice]]:
    """Names and places of the contents, where a part is one whether it has a filename or not."""
    mark = b"--" + boundary
    at = body.find(mark)
    if at < 0:
        raise _unreadable("it does not have the boundary that its Content-Type names")
    at += len(mark)
    # Lines end as the first one does: by CR LF, but what people write by hand has LF alone.
    line_end = body.find(b"\n", at, at + _LONGEST_HEAD)
    newline = b"\r\n" if body[line_end - 1 : line_end] == b"\r" else b"\n"
    number = 0
    while not body.startswith(b"--", at):
        number += 1
        if number > _MAX_PARTS:
            raise MalformedRequest(f"The multipart body has more than {_MAX_PARTS} parts.")
        blank = body.find(newline * 2, at, at + _LONGEST_HEAD)
        if blank < 0:
            raise _unreadable(
                f"the head of part {number} has no end; accepted: {_LONGEST_HEAD} bytes, then an empty line"
            )
        start = blank + 2 * len(newline)
        # From the empty line on, which some encoders take for an empty content's own line.
        end = body.find(newline + mark, start - len(newline))
        if end < 0:
            raise _unreadable(f"part {number} has no end")
        yield _name(body[at:blank], newline, number), slice(start, end)
        at = end + len(newline) + len(mark)


def _name(head: bytes, newline: bytes, number: int) -> str:
    """The name of a part by its head, which begins where the boundary ends."""
    for fold in (b" ", b"\t"):
        head = head.replace(newline + fold, b" ")
    padding, *lines = head.split(newline)
    if padding.strip(b" \t"):
        raise _unreadable(f"the boundary of part {number} does not end its line")
    for line in lines:
        key, _, value = line.partition(b":")
        if key.strip().lower() == b"content-disposition":
            try:
                return parse_options_header(value.strip().decode())[1].get("name", "")
            except UnicodeDecodeError as error:
                raise _unreadable(f"the head of part {number} is not UTF-8") from error
    raise _unreadable(f"part {number} has no Content-Disposition")


def _unreadable(why: str) -> MalformedRequest:
    return MalformedRequest(f"The multipart body cannot be read: {why}.")


def _text(name: str, body: bytes, place: slice) -> str:
    length = place.stop - place.start
    if length > _LONGEST_TEXT:
        raise MalformedRequest(
            f"The part {shown(name)!r} has {length} bytes; accepted: {_LONGEST_TEXT} at most, but for image",
            field=shown(name),
        )
    try:
        return body[place].decode()
    except UnicodeDecodeError as error:
        raise MalformedRequest(f"The part {shown(name)!r} is not UTF-8.", field=shown(name)) from error
