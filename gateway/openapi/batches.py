"""The path of many pictures in one request."""

from gateway.forms.extras import INCLUDED
from gateway.openapi import failures
from gateway.openapi.elements import (
    BINARY,
    JSON,
    MULTIPART,
    Element,
    answer,
    array,
    body,
    media,
    operation,
    record,
    schema,
)
from gateway.openapi.face_schemas import echoed, option_schemas
from utils.settings import Settings

_TEXT: Element = {"type": "string"}
_LINES = "application/x-ndjson"
_DESCRIPTION = (
    "Options come first, in the query or as fields of the form, then any number of files under any names. "
    "Each file is a picture of its own, is answered as soon as it is done, and fails by itself: the status "
    "of the answer is about the batch, that in a line about its picture. The last line says whether the "
    "batch was answered to its end; an answer without it was cut off. `X-Request-Timeout` is the time of "
    "each picture, counted from its last byte. With `Accept: application/json` the answer is one list, of 8 "
    "MiB at most, in the order of the files."
)


def paths() -> dict[str, Element]:
    """Each path and its methods."""
    options = {**option_schemas(INCLUDED), "image_id": echoed()["image_id"]}
    query = [{"name": name, "in": "query", "schema": one} for name, one in options.items()]
    content = media({MULTIPART: schema("BatchForm")})
    content[MULTIPART]["encoding"] = {"metadata": {"contentType": JSON}}
    lines = {"type": "string", "description": "Lines of JSON, each of them a BatchLine."}
    found = answer("What came of each picture.", {_LINES: lines, JSON: array(schema("BatchItem"))})
    return {
        "/predict/batch": {
            "post": operation(
                "predictBatch",
                "faces",
                "Find the faces in many pictures",
                {"200": found, **failures.BATCH.answers()},
                parameters=query,
                request=body(content, "Options, then pictures."),
                description=_DESCRIPTION,
            )
        }
    }


def schemas(settings: Settings) -> dict[str, Element]:
    """The objects of a batch, by name."""
    files = array(
        {**BINARY, "description": f"At most {settings.max_image_bytes} bytes (FACET_MAX_IMAGE_BYTES)."},
        "Pictures, under this name or any others, behind the options.",
    )
    files |= {"minItems": 1, "maxItems": settings.max_batch_items}
    count = {"type": "integer", "minimum": 0}
    place = {
        "index": {**count, "description": "Its place among the files."},
        "name": {**_TEXT, "description": "Of the file; at most 255 characters of it."},
    }
    problem = schema("ItemProblem")
    ends = {"ok": count, "failed": count, "seconds": {"type": "number", "minimum": 0}}
    return {
        "BatchForm": {
            "type": "object",
            "properties": {**option_schemas(INCLUDED), **echoed(), "files": files},
            "required": ["files"],
        },
        "ItemProblem": {
            "allOf": [
                schema("Problem"),
                {"properties": {"retry_after": {**count, "description": "Seconds, as Retry-After has it."}}},
            ]
        },
        "BatchFound": {
            "allOf": [schema("Detection"), record({**place, "status": {"const": 200}})],
            "description": "A picture whose faces are known.",
        },
        "BatchFailed": record(
            {**place, "status": {"type": "integer", "minimum": 400, "maximum": 599}, "problem": problem},
            description="A picture that failed, as POST /predict would have told it.",
        ),
        "BatchItem": {"oneOf": [schema("BatchFound"), schema("BatchFailed")]},
        "BatchEnd": record(
            {
                "done": {
                    "type": "boolean",
                    "description": "Whether the batch was read and answered to its end.",
                },
                **ends,
                "problem": {**problem, "description": "Why it was not."},
            },
            "problem",
            description="The last line.",
        ),
        "BatchLine": {"oneOf": [schema("BatchItem"), schema("BatchEnd")]},
    }
