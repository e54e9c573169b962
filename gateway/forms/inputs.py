"""The three forms of a /predict request: which one a body has, how long it may be, what it means.

    raw         image/* or application/octet-stream; options and image_id as query parameters
    multipart   multipart/form-data; a part image; options, image_id and metadata (JSON) as fields
    JSON        {"image": "<base64 or data: URI>", "image_id": "", "metadata": {}, "options": {}}

Names that are not known are refused in all three: a typo must not look like an option that has no effect.
"""

import math
import re
from collections.abc import Callable
from dataclasses import dataclass

from gateway.forms.json_form import parse_json
from gateway.forms.members import parse_query, request_from_text
from gateway.forms.multipart_form import parse_multipart
from utils.domain import DetectRequest, checked_image, image_too_large
from utils.errors import BodyTooLarge, MalformedRequest, PayloadTooLarge, UnsupportedContentType, shown

_ENVELOPE = 64 * 1024
"""Bytes that a JSON or multipart body may have around its image."""
_BASE64 = 4 / 3
"""Characters of a byte."""
_LINES = 1 + len(r"\r\n") / 64
"""What line breaks may add, in lines of 64 characters, which are the shortest that encoders make."""


@dataclass(frozen=True, slots=True)
class InputForm:
    """How to read one kind of body.

    Attributes:
        limit: Bytes that it may have.
        too_large: The error for a body that has more; is told how many, in words.
        parse: Body and query string to the request they mean, or a FacetError.
    """

    limit: int
    too_large: Callable[[str], PayloadTooLarge]
    parse: Callable[[bytes, str], DetectRequest]


def input_form(content_type: str | None, host: Callable[[], str], max_image_bytes: int) -> InputForm:
    """How to read a body of this Content-Type.

    Raises:
        UnsupportedContentType: In no way; the detail shows two that work, against this host.
    """
    sent = content_type or ""
    mimetype = sent.partition(";")[0].strip().lower()
    if mimetype == "application/json":
        room = math.ceil(max_image_bytes * _BASE64 * _LINES)
        return _enveloped("JSON", room, lambda body: parse_json(body, max_image_bytes))
    if mimetype == "multipart/form-data":
        return _enveloped(
            "multipart", max_image_bytes, lambda body: parse_multipart(body, sent, max_image_bytes)
        )
    if re.fullmatch(r"image/.+|application/octet-stream", mimetype):
        return _raw(max_image_bytes)
    came = f"Content-Type is {sent[:100]!r}" if sent else "There is no Content-Type"
    raise UnsupportedContentType(
        f"{came}; accepted: multipart/form-data, application/json, image/* and application/octet-stream. "
        f"Try: {'  or: '.join(curl_lines(host()))}",
        field="Content-Type",
    )


def curl_lines(host: str) -> tuple[str, str]:
    """Two commands that send photo.jpg to this host: as a form, and as JSON."""
    url = f"http://{host}/predict"
    # curl's -d takes out the line breaks that base64 puts in.
    as_json = """(echo '{"image": "'; base64 < photo.jpg; echo '"}')"""
    return (
        f"curl -F image=@photo.jpg {url}",
        f"{as_json} | curl -H 'Content-Type: application/json' -d @- {url}",
    )


def _raw(max_image_bytes: int) -> InputForm:
    def parse(body: bytes, query: str) -> DetectRequest:
        return request_from_text(checked_image(body, max_image_bytes), parse_query(query))

    return InputForm(max_image_bytes, lambda actual: image_too_large(actual, max_image_bytes), parse)


def _enveloped(kind: str, room: int, parse: Callable[[bytes], DetectRequest]) -> InputForm:
    limit = room + _ENVELOPE

    def too_large(actual: str) -> PayloadTooLarge:
        return BodyTooLarge(
            f"The body has {actual} bytes; a {kind} body may have {limit}, which follows from "
            "FACET_MAX_IMAGE_BYTES. Send a smaller image, or the bytes of its file as the body."
        )

    def parse_without_query(body: bytes, query: str) -> DetectRequest:
        for name in parse_query(query):
            raise MalformedRequest(
                f"The query names {shown(name)!r}; a {kind} request says everything in its body.",
                field=shown(name),
            )
        return parse(body)

    return InputForm(limit, too_large, parse_without_query)
