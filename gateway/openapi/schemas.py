"""The objects of requests and answers as JSON Schemas, their ranges taken from where they are enforced."""

from dataclasses import fields

from gateway.openapi.elements import BINARY, Element, schema
from utils import domain
from utils.domain import DetectOptions
from utils.errors import error_classes
from utils.settings import MODEL_NAME, Settings

_TEXT: Element = {"type": "string"}
_NUMBER: Element = {"type": "number"}
_DURATION: Element = {"type": "number", "minimum": 0, "description": "Milliseconds."}
_BOOLEAN: Element = {"type": "boolean"}

_ABOUT_OPTIONS = {
    "min_face_size": "Shorter side in pixels of the smallest face looked for; the main lever of speed.",
    "threshold_proposal": "Score that a proposal must exceed to be refined.",
    "threshold_refine": "Score that a candidate must exceed to reach the last network.",
    "threshold_output": "Score that a face must exceed.",
    "max_faces": "Keep at most this many of the most confident; without it all.",
}


def record(properties: dict[str, Element], *optional: str, description: str = "") -> Element:
    """An object whose members are all there, but for these."""
    required = [name for name in properties if name not in optional]
    made = {"type": "object", "properties": properties, "required": required}
    return made | {"description": description} if description else made


def array(items: Element, description: str = "") -> Element:
    """A list of anything."""
    return {"type": "array", "items": items, "description": description}


def option_schemas() -> dict[str, Element]:
    """Each option of a detection."""
    made = {}
    for option in fields(DetectOptions):
        low, high = option.metadata["bounds"]
        made[option.name] = {
            "type": "integer" if isinstance(low, int) else "number",
            "minimum": low,
            "maximum": high,
            "description": _ABOUT_OPTIONS[option.name],
        }
        if option.default is not None:
            made[option.name]["default"] = option.default
    return made


def _nullable(described: Element) -> Element:
    return described | {"type": [described["type"], "null"]}


def echoed() -> dict[str, Element]:
    """What comes back as it was sent."""
    return {
        "image_id": {**_TEXT, "maxLength": domain.MAX_IMAGE_ID_CHARACTERS, "description": "Comes back."},
        "metadata": {
            "type": "object",
            "additionalProperties": _TEXT,
            "maxProperties": domain.MAX_METADATA_ENTRIES,
            "description": f"Comes back. At most {domain.MAX_METADATA_CHARACTERS} characters in all.",
        },
    }


def _closed(described: Element) -> Element:
    """An object whose other members are refused."""
    return described | {"additionalProperties": False}


def _face_requests(settings: Settings) -> dict[str, Element]:
    options = option_schemas()
    nullable = {name: _nullable(option) for name, option in options.items()}
    limit = f"At most {settings.max_image_bytes} bytes (FACET_MAX_IMAGE_BYTES)."
    picture = {**_TEXT, "contentEncoding": "base64", "description": f"Base64, or a data: URI of it. {limit}"}
    members = {"image": picture, **{name: _nullable(one) for name, one in echoed().items()}}
    members["options"] = _nullable(_closed({"type": "object", "properties": nullable}))
    file = {**BINARY, "description": f"The file; its part may have any other name, too. {limit}"}
    form = {"image": file, **options, **echoed()}
    return {
        "FaceRequest": _closed({"type": "object", "properties": members, "required": ["image"]}),
        # Not closed: where there is one file only, its part may have any name.
        "FaceForm": {"type": "object", "properties": form, "required": ["image"]},
    }


def _detection() -> dict[str, Element]:
    point = schema("Point")
    landmarks = ("leftEye", "rightEye", "nose", "mouthLeft", "mouthRight")
    score = {"type": "number", "minimum": 0, "maximum": 1}
    size = {"type": "integer", "minimum": 1}
    return {
        "Point": record(
            {"x": _NUMBER, "y": _NUMBER},
            description="Pixels of the upright picture; origin top left, not rounded.",
        ),
        "Box": record({"upLeft": point, "lowerRight": point}, description="Clipped to the picture."),
        "Landmarks": record(
            dict.fromkeys(landmarks, point),
            description="Left is the left of the picture. Not clipped to it.",
        ),
        "Face": record({"box": schema("Box"), "landmarks": schema("Landmarks"), "confidence": score}),
        "Detection": record(
            {
                "message": {"const": ""},
                **echoed(),
                "results": array(schema("Face"), "Most confident first."),
                "image": record(
                    {
                        "width": size,
                        "height": size,
                        "exif_orientation": {"type": "integer", "minimum": 1, "maximum": 8},
                    },
                    description="The upright picture, and the orientation that was applied to get there.",
                ),
                "model": record({"name": _TEXT, "version": _TEXT, "engine": _TEXT}),
                "timings": record(
                    dict.fromkeys(("queue_ms", "decode_ms", "detect_ms", "total_ms"), _DURATION)
                ),
            }
        ),
    }


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
        **_face_requests(settings),
        **_detection(),
        **_models(),
        "Problem": _problem(),
        "Alive": record({"status": {"const": "ok"}}),
        "Ready": record({"status": {"const": "ready"}}),
        "Version": record({"version": _TEXT}),
    }
