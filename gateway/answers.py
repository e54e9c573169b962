"""A detection as the JSON that /predict answers with."""

from dataclasses import asdict
from typing import Any

import orjson
from flask import Response

from utils.domain import Detection, Face, Point


def detection_response(detection: Detection) -> Response:
    """The answer to a picture whose faces are known."""
    document = {
        "message": "",
        "image_id": detection.image_id,
        "metadata": dict(detection.metadata),
        "results": [_face(face) for face in detection.faces],
        "image": asdict(detection.image),
        "model": asdict(detection.model),
        "timings": {name: _number(value) for name, value in asdict(detection.timings).items()},
    }
    return Response(orjson.dumps(document), content_type="application/json")


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
