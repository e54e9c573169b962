"""The multipart form of a /predict request."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from gateway.forms.hints import curl_lines, refuse_reference, refuse_urls
from gateway.forms.members import ALL_OPTIONS, load_json, metadata_from, request_from, typed, unique
from gateway.forms.parts import boundary_of, read_parts
from utils.domain import MAX_METADATA_CHARACTERS, DetectRequest, checked_image
from utils.errors import ImageMissing, MalformedRequest, shown

MAX_PARTS = 100
LONGEST_TEXT = 16 * MAX_METADATA_CHARACTERS
r"""Bytes of a part that is not the image. Metadata takes twelve a character, written as \ud83d\ude00."""
FIELDS = {"image_id", "metadata", *ALL_OPTIONS}
"""Names of parts that are none of an image, though a browser may send one as a file."""
LONGEST_REFERENCE = 1024
"""Bytes of a part that may be where an image is, and not the image."""
_NAMES_SHOWN = 8


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
    came = (
        (part.name, _Part(b"".join(part.content), part.file_name is not None))
        for part in read_parts(iter((body,)), boundary_of(content_type), MAX_PARTS)
    )
    parts = unique(came, _joined)
    picture = parts.pop(_image_name(parts, host))
    if not picture.is_file:
        refuse_reference(_reference(picture), host)
    image = checked_image(picture.content, max_image_bytes)
    contents = {name: part.content for name, part in parts.items()}
    return request_with(image, query, contents, included=included)


def request_with(
    image: bytes, query: str, form_fields: Mapping[str, bytes], *, included: str = ""
) -> DetectRequest:
    """The request for an image that came with these fields of a form; `included` as of `request_from`.

    Raises:
        MalformedRequest: A field is too long or not UTF-8, or metadata is no JSON object of strings.
        UnknownOption, OptionOutOfRange: What is wrong with the others.
    """
    texts = {name: _text(name, content) for name, content in form_fields.items()}
    metadata = metadata_from(load_json(texts.pop("metadata", "{}").encode(), "metadata", field="metadata"))
    image_id = texts.pop("image_id", None)
    return request_from(image, query, typed(texts), image_id, metadata, included=included)


def joined(first: bytes, second: bytes) -> bytes:
    """The two values of a field that may come twice, as one."""
    return b"%s,%s" % (first, second)


def _joined(first: _Part, second: _Part) -> _Part:
    return _Part(joined(first.content, second.content), is_file=False)


def _image_name(parts: Mapping[str, _Part], host: Callable[[], str]) -> str:
    """The name of the part that is the image: image, or whatever the only file is called.

    Raises:
        ImageMissing: There is none, or one of several files would have to be chosen.
        MalformedRequest: There is a URL instead.
    """
    if "image" in parts:
        return "image"
    files = [name for name, part in parts.items() if part.is_file and name not in FIELDS]
    if len(files) == 1:
        return files[0]
    refuse_urls(((name, _reference(part)) for name, part in parts.items() if name not in FIELDS), host)
    came = ", ".join(repr(shown(name)) for name in [*parts][:_NAMES_SHOWN]) or "no part at all"
    raise ImageMissing(
        f"There is no part named image, and {'more than one' if files else 'no'} file; what came: {came}. "
        f"Send one file: {curl_lines(host())[0]}",
        field="image",
    )


def _reference(part: _Part) -> str:
    """What of a part could say where a picture is."""
    return part.content[:LONGEST_REFERENCE].decode(errors="replace")


def _text(name: str, value: bytes) -> str:
    if len(value) > LONGEST_TEXT:
        raise MalformedRequest(
            f"The part {shown(name)!r} has {len(value)} bytes; accepted: {LONGEST_TEXT}, but for the image",
            field=shown(name),
        )
    try:
        return value.decode()
    except UnicodeDecodeError as error:
        raise MalformedRequest(f"The part {shown(name)!r} is not UTF-8.", field=shown(name)) from error
