"""A detection as the JSON object that callers over HTTP get."""

from typing import Any

from utils.domain import Detection, Face, Point


def detection_document(detection: Detection) -> dict[str, Any]:
    """The members of the object, in their order, which orjson can write."""
    timings = detection.timings
    return {
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
