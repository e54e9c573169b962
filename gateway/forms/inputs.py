"""The forms of a /predict request: which one a body has, how long it may be, what it means.

    raw         image/* or application/octet-stream
    multipart   multipart/form-data; a file; options, image_id and metadata (JSON) as fields
    JSON        {"image": "<base64 or data: URI>", "image_id": "", "metadata": {}, "options": {}}

Each may be compressed by gzip or deflate. Options and image_id may also be query parameters, but not given
twice. Names that are not known are refused everywhere: a typo must not look like an option without effect.
"""

import math
import re
import urllib.parse
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from gateway.forms.hints import curl_lines, refuse_urls
from gateway.forms.input_form import InputForm, under_coding
from gateway.forms.json_form import parse_json
from gateway.forms.members import ALL_OPTIONS, request_from
from gateway.forms.multipart_form import parse_multipart
from utils.domain import DetectRequest, checked_image, image_too_large
from utils.errors import BodyTooLarge, PayloadTooLarge, UnsupportedContentType

_RAW = re.compile(r"image/.+|(application|binary)/octet-stream")
_PARAMETERS = {"image_id", *ALL_OPTIONS}
_ENVELOPE = 64 * 1024
"""Bytes that a JSON or multipart body may have around its image."""
_BASE64 = 4 / 3
"""Characters of a byte."""
_ESCAPED = 2 + len(r"\r\n") / 64
r"""Bytes of a character of base64 in JSON at most: in a line of 64, the shortest that encoders make, and each
escaped as `\/`. Where `\u002B` stands for + alone, they are fewer on average."""


def input_form(
    content_type: str | None,
    content_encoding: str | None,
    host: Callable[[], str],
    max_image_bytes: int,
    included: str = "",
) -> InputForm[DetectRequest]:
    """How to read a body under these headers.

    Args:
        content_type: One of them.
        content_encoding: One of them.
        host: Of the request, for what it is shown.
        max_image_bytes: Of the image in it.
        included: As of `request_from`.

    Raises:
        UnsupportedContentType: In no way; the detail shows two that work, against this host.
        UnsupportedContentEncoding: It is compressed in a way that is not accepted.
    """
    form = _uncompressed(content_type or "application/octet-stream", host, max_image_bytes, included)
    return under_coding(form, content_encoding)


def _uncompressed(
    content_type: str, host: Callable[[], str], max_image_bytes: int, included: str
) -> InputForm[DetectRequest]:
    mimetype = content_type.partition(";")[0].strip().lower()
    if mimetype == "application/json":
        room = math.ceil(max_image_bytes * _BASE64 * _ESCAPED)
        read = partial(parse_json, max_image_bytes=max_image_bytes, host=host, included=included)
        return _Enveloped(room + _ENVELOPE, host, "JSON", read)
    if mimetype == "multipart/form-data":
        read = partial(
            parse_multipart,
            content_type=content_type,
            max_image_bytes=max_image_bytes,
            host=host,
            included=included,
        )
        return _Enveloped(max_image_bytes + _ENVELOPE, host, "multipart", read)
    if _RAW.fullmatch(mimetype):
        return _Raw(max_image_bytes, host, included)
    raise UnsupportedContentType(
        f"Content-Type is {content_type[:100]!r}; accepted: multipart/form-data, application/json, image/*, "
        f"application/octet-stream, and none at all. Try: {'  or: '.join(curl_lines(host()))}",
        field="Content-Type",
    )


@dataclass(frozen=True, slots=True)
class _Raw(InputForm[DetectRequest]):
    host: Callable[[], str]
    included: str

    def too_large(self, actual: str) -> PayloadTooLarge:
        return image_too_large(actual, self.limit)

    def parse(self, body: bytes, query: str) -> DetectRequest:
        _refuse_urls(query, self.host)
        return request_from(checked_image(body, self.limit), query, included=self.included)


@dataclass(frozen=True, slots=True)
class _Enveloped(InputForm[DetectRequest]):
    host: Callable[[], str]
    kind: str
    read: Callable[[bytes, str], DetectRequest]

    def too_large(self, actual: str) -> PayloadTooLarge:
        return BodyTooLarge(
            f"The body has {actual} bytes; a {self.kind} body may have {self.limit}, which follows from "
            "FACET_MAX_IMAGE_BYTES. Send a smaller image, or the bytes of its file as the body."
        )

    def parse(self, body: bytes, query: str) -> DetectRequest:
        _refuse_urls(query, self.host)
        return self.read(body, query)


def _refuse_urls(query: str, host: Callable[[], str]) -> None:
    """Refuse a query that says where the picture is, before a body that has none is complained of."""
    if query:
        pairs = urllib.parse.parse_qsl(query)
        refuse_urls((pair for pair in pairs if pair[0] not in _PARAMETERS), host)
