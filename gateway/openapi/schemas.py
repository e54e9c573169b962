"""The objects of requests and answers as JSON Schemas, their ranges taken from where they are enforced."""

from gateway.openapi import face_schemas
from gateway.openapi.elements import Element, array, record, schema
from utils.errors import error_classes
from utils.settings import MODEL_NAME, Settings

_TEXT: Element = {"type": "string"}
_BOOLEAN: Element = {"type": "boolean"}


def _models() -> dict[str, Element]:
    summary = {
        "name": {**_TEXT, "pattern": f"^{MODEL_NAME.pattern}$"},
        "version": _TEXT,
        "state": {"enum": ["loading", "ready", "idle", "failed"], "description": "Calls need `ready`."},
        "default": {**_BOOLEAN, "description": "Whether it serves calls that name no version."},
        "display_name": _TEXT,
        "description": _TEXT,
        "kind": {**_TEXT, "description": "What it is made of, such as `onnx` or `python`."},
    }
    of_input, of_answer = (
        {"type": ["object", "null"], "description": f"JSON Schema of an {what}; null where it is not known."}
        for what in ("input", "answer")
    )
    return {
        "ModelSummary": record(summary),
        "Models": record({"models": array(schema("ModelSummary"), "By name and version.")}),
        "Model": record(
            {
                **summary,
                "max_batch": {"type": "integer", "minimum": 0, "description": "0 where it is not known."},
                "operations": array(_TEXT, "The encodings in which it can be called."),
                "input_schema": of_input,
                "output_schema": of_answer,
            }
        ),
        "ModelInput": {"type": "object", "description": "By the `input_schema` of the model."},
        "ModelAnswer": {"type": "object", "description": "By the `output_schema` of the model."},
    }


def _problem() -> Element:
    return record(
        {
            "type": {**_TEXT, "pattern": "^urn:facet:problem:[a-z0-9-]+$"},
            "title": _TEXT,
            "status": {"type": "integer", "minimum": 400, "maximum": 599},
            "detail": {**_TEXT, "description": "For people."},
            "reason": {
                "enum": [kind.reason for kind in error_classes()],
                "description": "For programs; it never changes.",
            },
            "request_id": _TEXT,
            "message": {**_TEXT, "description": "As `detail`."},
            "field": {**_TEXT, "description": "The member of the request that is at fault, if one is."},
        },
        "field",
        description=(
            "RFC 9457. Beside those of its path, any request may end with 404 `ROUTE_NOT_FOUND`, where there "
            "is no such path, or 405 `METHOD_NOT_ALLOWED`."
        ),
    )


def components(settings: Settings) -> dict[str, Element]:
    """All of them by name, but for those of the Open Inference Protocol."""
    return {
        **face_schemas.components(settings),
        **_models(),
        "Problem": _problem(),
        "Alive": record({"status": {"const": "ok"}}),
        "Ready": record({"status": {"const": "ready"}}),
        "Version": record({"version": _TEXT}),
    }
