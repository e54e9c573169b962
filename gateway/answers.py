"""What the backend has answered as the JSON that callers get."""

from collections.abc import Iterable
from typing import Any

import orjson
from flask import Response

from utils.domain import Detection, Face, Point
from utils.models import ModelDescription, Prediction

MODEL = "X-Model"


def detection_response(detection: Detection) -> Response:
    """The answer to a picture whose faces are known."""
    timings = detection.timings
    document = {
        "message": "",
        "image_id": detection.image_id,
        "metadata": dict(detection.metadata),
        "results": [_face(face) for face in detection.faces],
        # orjson writes a dataclass as an object of its fields.
        "image": detection.image,
        "model": detection.model,
        "timings": {
            "queue_ms": _number(timings.queue_ms),
            "decode_ms": _number(timings.decode_ms),
            "detect_ms": _number(timings.detect_ms),
            "total_ms": _number(timings.total_ms),
        },
    }
    return _json(orjson.dumps(document))


def models_response(models: Iterable[ModelDescription]) -> Response:
    """A list of models, without what only the callers of one need to know."""
    return _json(orjson.dumps({"models": [_summary(model) for model in models]}))


def model_response(model: ModelDescription) -> Response:
    """All that HTTP callers of a model need to know; a schema that is not known is null."""
    document = {
        **_summary(model),
        "max_batch": model.max_batch,
        "operations": model.operations,
        "input_schema": model.input_schema,
        "output_schema": model.output_schema,
    }
    return _json(orjson.dumps(document))


def prediction_response(prediction: Prediction) -> Response:
    """A model's own answer, and which version gave it."""
    response = _json(prediction.content)
    response.headers[MODEL] = f"{prediction.name}/{prediction.version}"
    return response


def _json(document: bytes) -> Response:
    return Response(document, content_type="application/json")


def _summary(model: ModelDescription) -> dict[str, Any]:
    return {
        "name": model.name,
        "version": model.version,
        "state": model.state,
        "default": model.default,
        "display_name": model.display_name,
        "description": model.description,
        "kind": model.kind,
    }


def _face(face: Face) -> dict[str, Any]:
    marks = face.landmarks
    return {
        "box": {"upLeft": _point(face.box.up_left), "lowerRight": _point(face.box.lower_right)},
        "landmarks": {
            "leftEye": _point(marks.left_eye),
            "rightEye": _point(marks.right_eye),
            "nose": _point(marks.nose),
            "mouthLeft": _point(marks.mouth_left),
            "mouthRight": _point(marks.mouth_right),
        },
        "confidence": _number(face.confidence),
    }


def _point(point: Point) -> dict[str, float]:
    return {"x": _number(point.x), "y": _number(point.y)}


def _number(value: float) -> float:
    """At most nine significant digits, which is all that a float32 holds."""
    return float(f"{value:.9g}")
