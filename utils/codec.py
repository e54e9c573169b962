"""Messages to domain types and back: the one place that knows both.

`encode_*` makes a message, `decode_*` reads one.
"""

from dataclasses import fields
from typing import Any

from protos import infer_pb2 as pb
from utils.domain import (
    OPTION_NAMES,
    Box,
    Detection,
    DetectOptions,
    DetectRequest,
    Face,
    ImageInfo,
    Landmarks,
    ModelInfo,
    Point,
    Timings,
)
from utils.extras_codec import (
    decode_picture,
    decode_quality,
    encode_picture,
    encode_quality,
    encode_wanted,
)
from utils.options import shortest

TRANSPORT_MARGIN = 1024**2
"""Bytes that a message may exceed the image limit by: everything in it that is not the image."""

_DEFAULT_OPTIONS = DetectOptions()
_OPTION_BOUNDS = tuple((option.name, *option.metadata["bounds"]) for option in fields(DetectOptions))

# --- requests ---------------------------------------------------------------------------------------


def encode_request(request: DetectRequest) -> pb.Image:
    """A request as its message. Options that have their default are left out."""
    message = pb.Image(
        raw_data=request.image,
        image_id=request.image_id,
        options=_encode_options(request.options),
        wanted=encode_wanted(request.wanted),
    )
    if request.metadata:
        message._meta_data.values.update(request.metadata)
    return message


def _encode_options(options: DetectOptions) -> pb.DetectOptions | None:
    changed = {
        name: getattr(options, name)
        for name in OPTION_NAMES
        if getattr(options, name) != getattr(_DEFAULT_OPTIONS, name)
    }
    return pb.DetectOptions(**changed) if changed else None


def check_options(message: pb.DetectOptions) -> None:
    """Refuse options out of range at no more cost than their comparison.

    Raises:
        OptionOutOfRange: As `decode_options`, which quotes the value as its sender wrote it.
    """
    for name, low, high in _OPTION_BOUNDS:
        if message.HasField(name) and not low <= getattr(message, name) <= high:
            decode_options(message)


def decode_options(message: pb.DetectOptions) -> DetectOptions:
    """A message as the options it means; what is not set has its default.

    Raises:
        OptionOutOfRange: An option has a value outside its range.
    """
    values: dict[str, Any] = {name: getattr(message, name) for name in OPTION_NAMES if message.HasField(name)}
    for name, value in values.items():
        if isinstance(value, float):
            values[name] = shortest(value)
    return DetectOptions(**values)


# --- answers ----------------------------------------------------------------------------------------


def encode_detection(detection: Detection) -> pb.InferResults:
    """A detection as its message."""
    message = pb.InferResults(
        image_id=detection.image_id,
        results=[_encode_face(face) for face in detection.faces],
        image=pb.ImageInfo(
            width=detection.image.width,
            height=detection.image.height,
            exif_orientation=detection.image.exif_orientation,
        ),
        model=pb.ModelInfo(
            name=detection.model.name,
            version=detection.model.version,
            engine=detection.model.engine,
        ),
        timings=pb.Timings(
            queue_ms=detection.timings.queue_ms,
            decode_ms=detection.timings.decode_ms,
            detect_ms=detection.timings.detect_ms,
            total_ms=detection.timings.total_ms,
            extras_ms=detection.timings.extras_ms,
        ),
        annotated=encode_picture(detection.annotated),
        crops_omitted=detection.crops_omitted,
    )
    if detection.metadata:
        message._meta_data.values.update(detection.metadata)
    return message


def decode_detection(message: pb.InferResults) -> Detection:
    """A message as the detection it means."""
    return Detection(
        faces=tuple(_decode_face(result) for result in message.results),
        image=ImageInfo(message.image.width, message.image.height, message.image.exif_orientation),
        model=ModelInfo(message.model.name, message.model.version, message.model.engine),
        timings=Timings(
            message.timings.queue_ms,
            message.timings.decode_ms,
            message.timings.detect_ms,
            message.timings.total_ms,
            message.timings.extras_ms,
        ),
        image_id=message.image_id,
        metadata=dict(message._meta_data.values),
        annotated=decode_picture(message.annotated) if message.HasField("annotated") else None,
        crops_omitted=message.crops_omitted if message.HasField("crops_omitted") else None,
    )


def _encode_face(face: Face) -> pb.Result:
    landmarks = face.landmarks
    return pb.Result(
        box=pb.Box(
            up_left=_encode_point(face.box.up_left),
            lower_right=_encode_point(face.box.lower_right),
        ),
        landmarks=pb.Landmarks(
            left_eye=_encode_point(landmarks.left_eye),
            right_eye=_encode_point(landmarks.right_eye),
            nose=_encode_point(landmarks.nose),
            mouth_left=_encode_point(landmarks.mouth_left),
            mouth_right=_encode_point(landmarks.mouth_right),
        ),
        confidence=face.confidence,
        quality=encode_quality(face.quality),
        crop=encode_picture(face.crop),
    )


def _decode_face(message: pb.Result) -> Face:
    landmarks = message.landmarks
    return Face(
        box=Box(_decode_point(message.box.up_left), _decode_point(message.box.lower_right)),
        landmarks=Landmarks(
            left_eye=_decode_point(landmarks.left_eye),
            right_eye=_decode_point(landmarks.right_eye),
            nose=_decode_point(landmarks.nose),
            mouth_left=_decode_point(landmarks.mouth_left),
            mouth_right=_decode_point(landmarks.mouth_right),
        ),
        confidence=message.confidence,
        quality=decode_quality(message.quality) if message.HasField("quality") else None,
        crop=decode_picture(message.crop) if message.HasField("crop") else None,
    )


def _encode_point(point: Point) -> pb.Point:
    return pb.Point(x=point.x, y=point.y)


def _decode_point(message: pb.Point) -> Point:
    return Point(message.x, message.y)
