"""Small bodies that are a JSON object, or nothing at all."""

from dataclasses import dataclass
from typing import Any

from gateway.arrival import Environ
from gateway.forms.input_form import InputForm, under_coding
from gateway.forms.members import load_json
from utils.errors import BodyTooLarge, MalformedRequest, PayloadTooLarge

_LIMIT = 64 * 1024


def object_form(environ: Environ) -> InputForm[dict[str, Any]]:
    """How to read such a body, whatever Content-Type it has; nothing is an object without members.

    Raises:
        UnsupportedContentEncoding: It is compressed in a way that is not accepted.
    """
    return under_coding(_Object(_LIMIT), environ.get("HTTP_CONTENT_ENCODING"))


@dataclass(frozen=True, slots=True)
class _Object(InputForm[dict[str, Any]]):
    def too_large(self, actual: str) -> PayloadTooLarge:
        return BodyTooLarge(f"The body has {actual} bytes; at this path it may have {self.limit}.")

    def parse(self, body: bytes, query: str) -> dict[str, Any]:  # noqa: ARG002 - as of InputForm
        document = load_json(body, "The body") if body.strip() else {}
        if not isinstance(document, dict):
            raise MalformedRequest("The body is not a JSON object.")
        return document
