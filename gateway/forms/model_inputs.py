"""The forms of a request to a model, which are passed on as they come: JSON, multipart/form-data, or any.

Each may be compressed by gzip or deflate. There are no query parameters: the model's schema says what a body
has.
"""

from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import unquote_plus

from gateway.arrival import Environ
from gateway.forms.input_form import InputForm, under_coding
from utils.errors import BodyTooLarge, PayloadTooLarge, UnknownOption, UnsupportedContentType, shown
from utils.settings import Settings

_JSON = "application/json"
_MULTIPART = "multipart/form-data"
_SHOWN = 100


@dataclass(frozen=True, slots=True)
class ModelBody:
    """A body without its coding, and its content type, with a boundary where it has one."""

    content_type: str
    content: bytes


def model_form(
    content_type: str | None, content_encoding: str | None, url: Callable[[], str], max_request_bytes: int
) -> InputForm[ModelBody]:
    """How to read a body under these headers.

    Raises:
        UnsupportedContentType: In no way; the detail shows one that works, against this URL.
        UnsupportedContentEncoding: It is compressed in a way that is not accepted.
    """
    mimetype = (content_type or "").partition(";")[0].strip().lower()
    if content_type is None or mimetype not in {_JSON, _MULTIPART}:
        came = "missing" if content_type is None else repr(content_type[:_SHOWN])
        raise UnsupportedContentType(
            f"Content-Type is {came}; accepted: {_JSON} and {_MULTIPART}. "
            f"Try: curl -H 'Content-Type: {_JSON}' -d '{{...}}' {url()}",
            field="Content-Type",
        )
    kind = _JSON if mimetype == _JSON else content_type
    return under_coding(_PassedOn(max_request_bytes, kind), content_encoding)


def any_form(environ: Environ, settings: Settings) -> InputForm[ModelBody]:
    """How to read a body of any type, which is the model's to know.

    Raises:
        UnsupportedContentEncoding: It is compressed in a way that is not accepted.
    """
    body = _PassedOn(settings.max_request_bytes, environ.get("CONTENT_TYPE", ""))
    return under_coding(body, environ.get("HTTP_CONTENT_ENCODING"))


@dataclass(frozen=True, slots=True)
class _PassedOn(InputForm[ModelBody]):
    content_type: str

    def too_large(self, actual: str) -> PayloadTooLarge:
        return BodyTooLarge(
            f"The body has {actual} bytes; a request to a model may have {self.limit} "
            "(FACET_MAX_REQUEST_BYTES)."
        )

    def parse(self, body: bytes, query: str) -> ModelBody:
        if query:
            name = shown(unquote_plus(query.partition("&")[0].partition("=")[0]))
            raise UnknownOption(
                f"There is no parameter {name!r}: a request to a model has all of its input in its body.",
                field=name,
            )
        return ModelBody(self.content_type, body)
