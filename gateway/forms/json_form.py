"""The JSON form of a /predict request."""

from collections.abc import Callable
from typing import Any

from gateway.forms.base64_text import decode_image
from gateway.forms.hints import refuse_reference, refuse_urls
from gateway.forms.members import load_json, metadata_from, request_from
from utils.domain import DetectRequest, checked_image
from utils.errors import ImageMissing, MalformedRequest, shown

_MEMBERS = ("image", "image_id", "metadata", "options")


def parse_json(
    body: bytes, query: str, max_image_bytes: int, host: Callable[[], str], *, included: str = ""
) -> DetectRequest:
    """The request that a JSON body means; a member that is null is absent; `included` as of `request_from`.

    Raises:
        MalformedRequest: It is not JSON, not an object, or a member is unknown, repeated or of a wrong type.
        ImageMissing, ImageEmpty, InvalidBase64, ImageTooLarge: What is wrong with its image.
        UnknownOption, OptionOutOfRange: What is wrong with its options.
    """
    document = load_json(body, "The body")
    if not isinstance(document, dict):
        raise MalformedRequest('The body is not a JSON object such as {"image": "<base64>"}.')
    unknown = [name for name in document if name not in _MEMBERS]
    refuse_urls(((name, document[name]) for name in unknown), host)
    if unknown:
        name = shown(unknown[0])
        raise MalformedRequest(f"There is no member {name!r}; known: {', '.join(_MEMBERS)}", field=name)
    image_id = _member(document, "image_id", str, "a string")
    options = _member(document, "options", dict, "an object")
    metadata = metadata_from(document.get("metadata"))
    text = _member(document, "image", str, "a string of base64 or a data: URI")
    if text is None:
        raise ImageMissing("There is no image; send it as base64 or as a data: URI.", field="image")
    refuse_reference(text, host)
    image = checked_image(decode_image(text), max_image_bytes)
    return request_from(image, query, options or {}, image_id, metadata, included=included)


def _member(document: dict[str, Any], name: str, kind: type, expected: str) -> Any:  # noqa: ANN401 - kind or None
    value = document.get(name)
    if value is not None and not isinstance(value, kind):
        raise MalformedRequest(f"{name} is not {expected}", field=name)
    return value
