"""What is sent to find faces, and what is answered, as JSON Schemas."""

import json
from collections.abc import Sequence
from dataclasses import Field, fields
from typing import Any

from gateway.forms.extras import ANNOTATED, EXTRA_OPTIONS, INCLUDE, INCLUDED
from gateway.openapi.elements import BINARY, Element, array, record, schema
from utils import domain
from utils.domain import DetectOptions
from utils.settings import Settings

_TEXT: Element = {"type": "string"}
_NUMBER: Element = {"type": "number"}
_DURATION: Element = {"type": "number", "minimum": 0, "description": "Milliseconds."}
_COUNT: Element = {"type": "integer", "minimum": 0}
_SIZE: Element = {"type": "integer", "minimum": 1}

_ABOUT_OPTIONS = {
    "min_face_size": "Shorter side in pixels of the smallest face looked for; the main lever of speed.",
    "threshold_proposal": "Score that a proposal must exceed to be refined.",
    "threshold_refine": "Score that a candidate must exceed to reach the last network.",
    "threshold_output": "Score that a face must exceed.",
    "max_faces": "Keep at most this many of the most confident; without it all.",
    "crop_size": "Of a crop, which is square, in pixels.",
    "crop_shape": "`aligned` by ArcFace's template, or the square around the `box`.",
    "crop_margin": "Of `box`, the share of its longer side that is added at each edge.",
    "crop_max": "At most this many faces have a crop, the most confident.",
    "annotated_longest_side": "Pixels that the annotated picture is reduced to, if it has more.",
    "annotated_landmarks": "Whether each landmark has a mark.",
    "annotated_scores": "Whether each face's confidence stands at its frame.",
}


def option_schemas(kinds: Sequence[str]) -> dict[str, Element]:
    """Each option of a detection, and those of what may be included in its answer.

    Defaults are in words alone: programs would send them, where they are not wanted, or the option is given
    elsewhere.

    Args:
        kinds: Some of INCLUDED.
    """
    options: dict[str, Field[Any]] = {option.name: option for option in fields(DetectOptions)}
    options |= {name: option for name, (kind, option) in EXTRA_OPTIONS.items() if kind in kinds}
    return {INCLUDE: _include(kinds)} | {name: _option(name, option) for name, option in options.items()}


def _include(kinds: Sequence[str]) -> Element:
    return array({"enum": [*kinds]}, "What the answer has beside the faces.") | {"uniqueItems": True}


def _option(name: str, option: Field[Any]) -> Element:
    made: Element = {"description": _ABOUT_OPTIONS[name]}
    if "bounds" in option.metadata:
        low, high = option.metadata["bounds"]
        kind = "integer" if isinstance(low, int) else "number"
        made |= {"type": kind, "minimum": low, "maximum": high}
    elif isinstance(option.default, bool):
        made |= {"type": "boolean"}
    else:
        made |= {"type": "string", "enum": [*option.metadata["choices"]]}
    if option.default is not None:
        made["description"] += f" Without it {json.dumps(option.default)}."
    return made


def _nullable(described: Element) -> Element:
    made = described | {"type": [described["type"], "null"]}
    return made | {"enum": [*described["enum"], None]} if "enum" in described else made


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


def _requests(name: str, kinds: Sequence[str], settings: Settings) -> dict[str, Element]:
    """The bodies of a path whose answer may include these, by names that begin with its own."""
    options = option_schemas(kinds)
    nullable = {option: _nullable(described) for option, described in options.items()}
    limit = f"At most {settings.max_image_bytes} bytes (FACET_MAX_IMAGE_BYTES)."
    picture = {**_TEXT, "contentEncoding": "base64", "description": f"Base64, or a data: URI of it. {limit}"}
    members = {"image": picture, **{member: _nullable(one) for member, one in echoed().items()}}
    members["options"] = {"anyOf": [schema(f"{name}Options"), {"type": "null"}]}
    file = {**BINARY, "description": f"The file; its part may have any other name, too. {limit}"}
    form = {"image": file, **options, **echoed()}
    return {
        f"{name}Options": _closed({"type": "object", "properties": nullable}),
        f"{name}Request": _closed({"type": "object", "properties": members, "required": ["image"]}),
        # Not closed: where there is one file only, its part may have any name.
        f"{name}Form": {"type": "object", "properties": form, "required": ["image"]},
    }


def _detection() -> dict[str, Element]:
    point = schema("Point")
    landmarks = ("leftEye", "rightEye", "nose", "mouthLeft", "mouthRight")
    score = {"type": "number", "minimum": 0, "maximum": 1}
    timings = ("queue_ms", "decode_ms", "detect_ms", "total_ms", "extras_ms")
    face = {"box": schema("Box"), "landmarks": schema("Landmarks"), "confidence": score}
    face |= {"quality": schema("Quality"), "crop": _picture("mediaType")}
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
        "Quality": _quality(),
        "Face": record(face, "quality", "crop"),
        "Detection": record(
            {
                "message": {"const": ""},
                **echoed(),
                "results": array(schema("Face"), "Most confident first."),
                "image": record(
                    {
                        "width": _SIZE,
                        "height": _SIZE,
                        "exif_orientation": {"type": "integer", "minimum": 1, "maximum": 8},
                    },
                    description="The upright picture, and the orientation that was applied to get there.",
                ),
                "model": record({"name": _TEXT, "version": _TEXT, "engine": _TEXT}),
                "timings": record(dict.fromkeys(timings, _DURATION), "extras_ms"),
                "annotated": _picture("media_type"),
                "crops_omitted": {**_COUNT, "description": "Faces without a crop: there were too many."},
            },
            "annotated",
            "crops_omitted",
        ),
    }


def _picture(media_type: str) -> Element:
    """An encoded picture; within `results` members are named in another way."""
    return record(
        {
            "data": {**_TEXT, "contentEncoding": "base64"},
            media_type: {"const": "image/jpeg"},
            "width": _SIZE,
            "height": _SIZE,
        },
        description="Only where it was asked for.",
    )


def _quality() -> Element:
    grey: Element = {"type": "number", "minimum": 0}
    return record(
        {
            "sharpness": {**grey, "description": "Variance of the Laplacian."},
            "brightness": {**grey, "maximum": 255, "description": "Mean."},
            "contrast": {**grey, "description": "Standard deviation."},
            "rollDegrees": {"type": "number", "minimum": -180, "maximum": 180},
            "eyeDistance": {**grey, "description": "Pixels of the upright picture."},
        },
        description="Only where it was asked for; of the aligned crop of 112 x 112 in grey.",
    )


def components(settings: Settings) -> dict[str, Element]:
    """All of them by name."""
    return {
        **_requests("Face", INCLUDED, settings),
        **_requests("AnnotatedFace", [ANNOTATED], settings),
        **_detection(),
    }
