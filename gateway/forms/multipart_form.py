"""The multipart form of a /predict request."""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from werkzeug.http import parse_options_header

from gateway.forms.hints import curl_lines, refuse_reference
from gateway.forms.members import ALL_OPTIONS, load_json, metadata_from, request_from, typed, unique
from utils.domain import MAX_METADATA_CHARACTERS, DetectRequest, checked_image
from utils.errors import ImageMissing, MalformedRequest, shown

_MAX_PARTS = 100
_LONGEST_HEAD = 16 * 1024
"""Bytes from a part's boundary to its content."""
_LONGEST_TEXT = 16 * MAX_METADATA_CHARACTERS
r"""Bytes of a part that is not the image. Metadata takes twelve a character, written as \ud83d\ude00."""
_LONGEST_REFERENCE = 1024
_NAMES_SHOWN = 8
_FIELDS = {"image_id", "metadata", *ALL_OPTIONS}

# RFC 2046 has CR LF alone; some clients, and people who write a form by hand, end lines by one of the two.
_AFTER_BOUNDARY = re.compile(rb"(--)|[ \t]*(?=\r|\n)")
_EMPTY_LINE = re.compile(rb"\r\n\r\n|\n\n|\r\r")
_DISPOSITION = re.compile(rb"^content-disposition[ \t]*:(.*)", re.IGNORECASE | re.DOTALL)
_CONTINUED = re.compile(rb"(?:\r\n|\r|\n)[ \t]")


@dataclass(frozen=True, slots=True)
class _Part:
    content: bytes
    is_file: bool


def parse_multipart(
    body: bytes,
    query: str,
    content_type: str,
    max_image_bytes: int,
    host: Callable[[], str],
    *,
    included: str = "",
) -> DetectRequest:
    """The request that a multipart body means; `included` as of `request_from`.

    Raises:
        MalformedRequest: It cannot be taken apart, a part comes twice, is too long or not UTF-8, or metadata
            is no JSON object of strings.
        ImageMissing, ImageEmpty, ImageTooLarge: What is wrong with its image.
        UnknownOption, OptionOutOfRange: What is wrong with its other parts.
    """
    boundary = parse_options_header(content_type)[1].get("boundary", "")
    if not boundary.isascii() or not boundary:
        raise MalformedRequest("The Content-Type names no boundary.", field="Content-Type")
    parts = unique(_parts(body, b"--" + boundary.encode()), _joined)
    picture = parts.pop(_image_name(parts, host))
    if not picture.is_file:
        refuse_reference(picture.content[:_LONGEST_REFERENCE].decode(errors="replace"), host)
    image = checked_image(picture.content, max_image_bytes)
    texts = {name: _text(name, part.content) for name, part in parts.items()}
    metadata = metadata_from(load_json(texts.pop("metadata", "{}").encode(), "metadata", field="metadata"))
    image_id = texts.pop("image_id", None)
    return request_from(image, query, typed(texts), image_id, metadata, included=included)


def _joined(first: _Part, second: _Part) -> _Part:
    return _Part(b"%s,%s" % (first.content, second.content), is_file=False)


def _image_name(parts: Mapping[str, _Part], host: Callable[[], str]) -> str:
    """The name of the part that is the image: image, or whatever the only file is called.

    Raises:
        ImageMissing: There is none, or one of several files would have to be chosen.
    """
    if "image" in parts:
        return "image"
    files = [name for name, part in parts.items() if part.is_file and name not in _FIELDS]
    if len(files) == 1:
        return files[0]
    came = ", ".join(repr(shown(name)) for name in [*parts][:_NAMES_SHOWN]) or "no part at all"
    raise ImageMissing(
        f"There is no part named image, and {'more than one' if files else 'no'} file; what came: {came}. "
        f"Send one file: {curl_lines(host())[0]}",
        field="image",
    )


def _parts(body: bytes, mark: bytes) -> Iterator[tuple[str, _Part]]:
    """Names and contents of the parts between the boundaries `mark`.

    Raises:
        MalformedRequest: They cannot be told apart, or are too many.
    """
    place = _boundary(body, mark, 0)
    for number in range(1, _MAX_PARTS + 1):
        if place is None:
            raise MalformedRequest("The multipart body ends before its last boundary.")
        if place[1] is None:
            return
        head = _EMPTY_LINE.search(body, place[1], place[1] + _LONGEST_HEAD)
        if head is None:
            raise MalformedRequest(
                f"The head of part {number} of the multipart body has no end; accepted: "
                f"{_LONGEST_HEAD} bytes, then an empty line"
            )
        disposition = _disposition(body[place[1] : head.start()], number)
        place = _boundary(body, mark, head.end())
        if place is not None:
            content = body[head.end() : place[0]]
            yield disposition.get("name", ""), _Part(content, "filename" in disposition)
    raise MalformedRequest(f"The multipart body has more than {_MAX_PARTS} parts.")


def _boundary(body: bytes, mark: bytes, start: int) -> tuple[int, int | None] | None:
    """Where what is before the next boundary ends, and where its own line does; None after the last one."""
    at = body.find(mark, start)
    while at >= 0:
        before = body[max(at - 2, 0) : at]
        after = _AFTER_BOUNDARY.match(body, at + len(mark))
        # Nothing, or any text at all, may be before the first.
        if after is not None and (start == 0 or before.endswith((b"\r", b"\n"))):
            line_end = 2 if before == b"\r\n" else 1
            return at - line_end, None if after[1] else after.end()
        at = body.find(mark, at + len(mark))
    return None


def _disposition(head: bytes, number: int) -> Mapping[str, str]:
    """The parameters of a part's Content-Disposition; old clients write a file name in Latin-1."""
    for line in _CONTINUED.sub(b" ", head).splitlines():
        if match := _DISPOSITION.match(line):
            try:
                text = match[1].decode()
            except UnicodeDecodeError:
                text = match[1].decode("latin-1")
            return parse_options_header(text.strip())[1]
    raise MalformedRequest(f"Part {number} of the multipart body has no Content-Disposition.")


def _text(name: str, value: bytes) -> str:
    if len(value) > _LONGEST_TEXT:
        raise MalformedRequest(
            f"The part {shown(name)!r} has {len(value)} bytes; accepted: {_LONGEST_TEXT}, but for the image",
            field=shown(name),
        )
    try:
        return value.decode()
    except UnicodeDecodeError as error:
        raise MalformedRequest(f"The part {shown(name)!r} is not UTF-8.", field=shown(name)) from error
