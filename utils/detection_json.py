"""A detection as the JSON object that callers over HTTP get."""

from base64 import b64encode
from typing import Any

from utils.domain import Detection, Face, Point
from utils.extras import Picture


def detection_document(detection: Detection) -> dict[str, Any]:
    """The members of the object, in their order, which orjson can write."""
    timings = detection.timings
    document: dict[str, Any] = {
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
    if timings.extras_ms:
        document["timings"]["extras_ms"] = _number(timings.extras_ms)
    if detection.annotated is not None:
        document["annotated"] = _picture(detection.annotated, "media_type")
    if detection.crops_omitted is not None:
        document["crops_omitted"] = detection.crops_omitted
    return document


def _face(face: Face) -> dict[str, Any]:
    marks = face.landmarks
    document: dict[str, Any] = {
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
    if (quality := face.quality) is not None:
        document["quality"] = {
            "sharpness": _number(quality.sharpness),
            "brightness": _number(quality.brightness),
            "contrast": _number(quality.contrast),
            "rollDegrees": _number(quality.roll_degrees),
            "eyeDistance": _number(quality.eye_distance),
        }
    if face.crop is not None:
        document["crop"] = _picture(face.crop, "mediaType")
    return document


def _picture(picture: Picture, media_type: str) -> dict[str, Any]:
    """A picture as base64; within `results` the names of members are written in another way."""
    return {
        "data": b64encode(picture.data).decode(),
        media_type: picture.media_type,
        "width": picture.width,
        "height": picture.height,
    }


def _point(point: Point) -> dict[str, float]:
    return {"x": _number(point.x), "y": _number(point.y)}


def _number(value: float) -> float:
    """At most nine significant digits, which is all that a float32 holds."""
    return float(f"{value:.9g}")
