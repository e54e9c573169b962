"""The path of face detection."""

from gateway.openapi import failures
from gateway.openapi.elements import (
    BINARY,
    BYTES,
    JSON,
    MULTIPART,
    Element,
    answer,
    body,
    media,
    operation,
    schema,
)
from gateway.openapi.schemas import option_schemas
from utils.domain import MAX_IMAGE_ID_CHARACTERS

_IMAGE_ID: Element = {"type": "string", "maxLength": MAX_IMAGE_ID_CHARACTERS, "description": "Comes back."}
_DESCRIPTION = (
    "The picture is the body itself, a part of a form, or base64 in JSON. Options and `image_id` may be in "
    "the query beside any body, but not given twice. The body may be compressed by gzip or deflate."
)


def paths() -> dict[str, Element]:
    """Each path and its methods."""
    options = {name: _without_default(option) for name, option in option_schemas().items()}
    query = [
        {"name": name, "in": "query", "schema": described}
        for name, described in {**options, "image_id": _IMAGE_ID}.items()
    ]
    # The file itself comes first: pages that send requests offer to choose one.
    content = media(
        {BYTES: BINARY, "image/*": BINARY, MULTIPART: schema("FaceForm"), JSON: schema("FaceRequest")}
    )
    content[MULTIPART]["encoding"] = {"metadata": {"contentType": JSON}}
    found = answer("The faces, none in a picture without any.", {JSON: schema("Detection")})
    return {
        "/predict": {
            "post": operation(
                "predict",
                "faces",
                "Find the faces in one picture",
                {"200": found, **failures.FACES.answers()},
                parameters=query,
                request=body(content, "The picture."),
                description=_DESCRIPTION,
            )
        }
    }


def _without_default(option: Element) -> Element:
    """An option with its default in words.

    Programs would send it, and so give the option twice where the body has it, too.
    """
    told = {name: value for name, value in option.items() if name != "default"}
    if "default" in option:
        told["description"] = f"{option['description']} Without it {option['default']}."
    return told
