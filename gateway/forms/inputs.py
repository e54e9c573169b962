"""The forms of a /predict request: which one a body has, how long it may be, what it means.

    raw         image/* or application/octet-stream
    multipart   multipart/form-data; a file; options, image_id and metadata (JSON) as fields
    JSON        {"image": "<base64 or data: URI>", "image_id": "", "metadata": {}, "options": {}}

Each may be compressed by gzip. Options and image_id may also be query parameters, but not given twice. Names
that are not known are refused everywhere: a typo must not look like an option that has no effect.
"""

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from gateway.forms.compression import gunzip, is_gzip
from gateway.forms.hints import curl_lines
from gateway.forms.json_form import parse_json
from gateway.forms.members import request_from
from gateway.forms.multipart_form import parse_multipart
from utils.domain import DetectRequest, checked_image, image_too_large
from utils.errors import BodyTooLarge, PayloadTooLarge, UnsupportedContentType

_RAW = re.compile(r"image/.+|(application|binary)/octet-stream")
_ENVELOPE = 64 * 1024
"""Bytes that a JSON or multipart body may have around its image."""
_BASE64 = 4 / 3
"""Characters of a byte."""
_ESCAPED = 2 + len(r"\r\n") / 64
r"""Bytes of a character of base64 in JSON at most: in a line of 64, the shortest that encoders make, and each
escaped as `\/`. Where `\u002B` stands for + alone, they are fewer on average."""


class InputForm(Protocol):
    """How to read one kind of body."""

    @property
    def limit(self) -> int:
        """Bytes that the body may have."""

    def too_large(self, actual: str) -> PayloadTooLarge:
        """The error for a body that has more; `actual` says how many, in words."""

    def parse(self, body: bytes, query: str) -> DetectRequest:
        """The request that a body and a query string mean, or a FacetError."""


def input_form(
    content_type: str | None, content_encoding: str | None, host: Callable[[], str], max_image_bytes: int
) -> InputForm:
    """How to read a body under these headers.

    Raises:
        UnsupportedContentType: In no way; the detail shows two that work, against this host.
        UnsupportedContentEncoding: It is compressed by something else than gzip.
    """
    form = _uncompressed(content_type or "application/octet-stream", host, max_image_bytes)
    return _Gzipped(form) if is_gzip(content_encoding) else form


def _uncompressed(content_type: str, host: Callable[[], str], max_image_bytes: int) -> InputForm:
    mimetype = content_type.partition(";")[0].strip().lower()
    if mimetype == "application/json":
        return _Json(max_image_bytes, host)
    if mimetype == "multipart/form-data":
        return _Multipart(max_image_bytes, host, content_type)
    if _RAW.fullmatch(mimetype):
        return _Raw(max_image_bytes)
    raise UnsupportedContentType(
        f"Content-Type is {content_type[:100]!r}; accepted: multipart/form-data, application/json, image/*, "
        f"application/octet-stream, and none at all. Try: {'  or: '.join(curl_lines(host()))}",
        field="Content-Type",
    )


@dataclass(frozen=True, slots=True)
class _Raw:
    max_image_bytes: int

    @property
    def limit(self) -> int:
        return self.max_image_bytes

    def too_large(self, actual: str) -> PayloadTooLarge:
        return image_too_large(actual, self.max_image_bytes)

    def parse(self, body: bytes, query: str) -> DetectRequest:
        return request_from(checked_image(body, self.max_image_bytes), query)


@dataclass(frozen=True, slots=True)
class _Json:
    max_image_bytes: int
    host: Callable[[], str]

    @property
    def limit(self) -> int:
        return math.ceil(self.max_image_bytes * _BASE64 * _ESCAPED) + _ENVELOPE

    def too_large(self, actual: str) -> PayloadTooLarge:
        return _body_too_large("JSON", actual, self.limit)

    def parse(self, body: bytes, query: str) -> DetectRequest:
        return parse_json(body, query, self.max_image_bytes, self.host)


@dataclass(frozen=True, slots=True)
class _Multipart:
    max_image_bytes: int
    host: Callable[[], str]
    content_type: str

    @property
    def limit(self) -> int:
        return self.max_image_bytes + _ENVELOPE

    def too_large(self, actual: str) -> PayloadTooLarge:
        return _body_too_large("multipart", actual, self.limit)

    def parse(self, body: bytes, query: str) -> DetectRequest:
        return parse_multipart(body, query, self.content_type, self.max_image_bytes, self.host)


@dataclass(frozen=True, slots=True)
class _Gzipped:
    form: InputForm

    @property
    def limit(self) -> int:
        """As of the body within, and what gzip adds where it finds nothing to compress."""
        return self.form.limit + self.form.limit // 1024 + 1024

    def too_large(self, actual: str) -> PayloadTooLarge:
        return self.form.too_large(f"{actual} compressed")

    def parse(self, body: bytes, query: str) -> DetectRequest:
        content = gunzip(body, self.form.limit)
        if len(content) > self.form.limit:
            raise self.form.too_large(f"more than {self.form.limit}")
        return self.form.parse(content, query)


def _body_too_large(kind: str, actual: str, limit: int) -> PayloadTooLarge:
    return BodyTooLarge(
        f"The body has {actual} bytes; a {kind} body may have {limit}, which follows from "
        "FACET_MAX_IMAGE_BYTES. Send a smaller image, or the bytes of its file as the body."
    )
