"""The paths of face detection."""

from collections.abc import Sequence

from gateway.forms.extras import ANNOTATED, INCLUDED
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
from gateway.openapi.face_schemas import option_schemas
from utils.domain import MAX_IMAGE_ID_CHARACTERS

_IMAGE_ID: Element = {"type": "string", "maxLength": MAX_IMAGE_ID_CHARACTERS, "description": "Comes back."}
_DESCRIPTION = (
    "The picture is the body itself, a part of a form, or base64 in JSON. Options and `image_id` may be in "
    "the query beside any body, but not given twice. The body may be compressed by gzip or deflate."
)


def paths() -> dict[str, Element]:
    """Each path and its methods."""
    found = answer("The faces, none in a picture without any.", {JSON: schema("Detection")})
    count: Element = {
        "description": "How many faces there are.",
        "required": True,
        "schema": {"type": "integer", "minimum": 0},
    }
    drawn = answer("The picture with its faces drawn into it.", {"image/jpeg": BINARY}, X_Facet_Faces=count)
    return {
        "/predict": _path("predict", "Find the faces in one picture", "Face", INCLUDED, found),
        "/predict/annotated": _path(
            "predictAnnotated", "Draw the faces into one picture", "AnnotatedFace", [ANNOTATED], drawn
        ),
    }


def _path(identifier: str, summary: str, bodies: str, kinds: Sequence[str], success: Element) -> Element:
    """What is done by POST.

    Args:
        identifier: Names it among all.
        summary: A few words.
        bodies: How the names of the schemas of its bodies begin.
        kinds: What its answer may include beside the faces.
        success: Its answer.
    """
    query = [
        {"name": name, "in": "query", "schema": described}
        for name, described in {**option_schemas(kinds), "image_id": _IMAGE_ID}.items()
    ]
    # The file itself comes first: pages that send requests offer to choose one.
    form, document = schema(f"{bodies}Form"), schema(f"{bodies}Request")
    content = media({BYTES: BINARY, "image/*": BINARY, MULTIPART: form, JSON: document})
    content[MULTIPART]["encoding"] = {"metadata": {"contentType": JSON}}
    made = operation(
        identifier,
        "faces",
        summary,
        {"200": success, **failures.FACES.answers()},
        parameters=query,
        request=body(content, "The picture."),
        description=_DESCRIPTION,
    )
    return {"post": made}
