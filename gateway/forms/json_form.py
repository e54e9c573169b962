"""The JSON form of a /predict request."""

import json
from typing import Any

from gateway.forms.base64_text import decode_image
from gateway.forms.members import count_up_to, load_json, metadata_from, options_from, unique
from utils.domain import DetectRequest, checked_image
from utils.errors import ImageMissing, MalformedRequest, shown

_MEMBERS = ("image", "image_id", "metadata", "options")


def parse_json(body: bytes, max_image_bytes: int) -> DetectRequest:
    """The request that a JSON body means.

    Raises:
        MalformedRequest: It is not JSON, not an object, or a member is unknown, repeated or of a wrong type.
        ImageMissing, ImageEmpty, InvalidBase64, ImageTooLarge: What is wrong with its image.
        UnknownOption, OptionOutOfRange: What is wrong with its options.
    """
    document = _load(body)
    image_id = document.get("image_id", "")
    if not isinstance(image_id, str):
        raise MalformedRequest("image_id is not a string", field="image_id")
    options = document.get("options", {})
    if not isinstance(options, dict):
        raise MalformedRequest("options is not an object", field="options")
    metadata = metadata_from(document.get("metadata", {}))
    text = _image_text(document)
    _refuse_repeated(body, document)
    image = decode_image(text)
    return DetectRequest(checked_image(image, max_image_bytes), options_from(options), image_id, metadata)


def _load(body: bytes) -> dict[str, Any]:
    document = load_json(body, "The body")
    if not isinstance(document, dict):
        raise MalformedRequest('The body is not a JSON object such as {"image": "<base64>"}.')
    for name in document:
        if name not in _MEMBERS:
            raise MalformedRequest(
                f"There is no member {shown(name)!r}; known: {', '.join(_MEMBERS)}", field=shown(name)
            )
    return document


def _image_text(document: dict[str, Any]) -> str:
    text = document.get("image")
    if text is None:
        raise ImageMissing("There is no image; send it as base64 or as a data: URI.", field="image")
    if not isinstance(text, str):
        raise MalformedRequest("image is not a string of base64 or a data: URI", field="image")
    return text


def _refuse_repeated(body: bytes, document: dict[str, Any]) -> None:
    """Refuse a name that comes twice, of which orjson silently takes the last.

    Every member has a colon and base64 has none, so that as many colons as members prove the usual
    body good without a second look at its image.
    """
    members = len(document) + sum(len(value) for value in document.values() if isinstance(value, dict))
    if count_up_to(members + 1, b":", body) == members:
        return
    try:
        json.loads(body, object_pairs_hook=unique)
    except RecursionError as error:
        raise MalformedRequest("The body is nested too deeply.") from error
