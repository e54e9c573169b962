"""What is wanted beside the faces, and what comes of it, as messages and as domain types."""

from collections.abc import Mapping
from typing import Any

from protos import infer_pb2 as pb
from utils.domain import Detection
from utils.errors import ExtrasNotAnswered, OptionOutOfRange
from utils.extras import ALIGNED, BOX, Annotated, Crops, Picture, Quality, Shape, Wanted
from utils.options import shortest

_SHAPES: Mapping[Shape, Any] = {ALIGNED: pb.Crops.ALIGNED, BOX: pb.Crops.BOX}
_SHAPE_NAMES = {number: name for name, number in _SHAPES.items()}


def encode_wanted(wanted: Wanted) -> pb.Wanted | None:
    """What is wanted as its message; None where that is nothing."""
    if wanted.is_nothing:
        return None
    message = pb.Wanted(quality=wanted.quality)
    if (crops := wanted.crops) is not None:
        message.crops.CopyFrom(
            pb.Crops(size=crops.size, shape=_SHAPES[crops.shape], margin=crops.margin, max=crops.max)
        )
    if (drawn := wanted.annotated) is not None:
        message.annotated.CopyFrom(
            pb.Annotated(longest_side=drawn.longest_side, landmarks=drawn.landmarks, scores=drawn.scores)
        )
    return message


def decode_wanted(message: pb.Wanted) -> Wanted:
    """A message as what it means; a number that is 0 has its default.

    Raises:
        OptionOutOfRange: A value is outside its range.
    """
    return Wanted(
        quality=message.quality,
        crops=_decode_crops(message.crops) if message.HasField("crops") else None,
        annotated=_decode_annotated(message.annotated) if message.HasField("annotated") else None,
    )


def _decode_crops(message: pb.Crops) -> Crops:
    shape = _SHAPE_NAMES.get(message.shape)
    if shape is None:
        raise OptionOutOfRange(
            f"wanted.crops.shape is {message.shape}; accepted: 0 (ALIGNED) or 1 (BOX)",
            field="wanted.crops.shape",
        )
    return Crops(shape=shape, margin=shortest(message.margin), **_set(message, "size", "max"))


def _decode_annotated(message: pb.Annotated) -> Annotated:
    return Annotated(landmarks=message.landmarks, scores=message.scores, **_set(message, "longest_side"))


def _set(message: Any, *names: str) -> dict[str, Any]:  # noqa: ANN401 - any message
    """The fields of these names that are not 0."""
    return {name: value for name in names if (value := getattr(message, name))}


def encode_picture(picture: Picture | None) -> pb.Picture | None:
    """A picture as its message; nothing is nothing."""
    if picture is None:
        return None
    return pb.Picture(
        data=picture.data, media_type=picture.media_type, width=picture.width, height=picture.height
    )


def decode_picture(message: pb.Picture) -> Picture:
    """A message as the picture it means."""
    return Picture(message.data, message.media_type, message.width, message.height)


def encode_quality(quality: Quality | None) -> pb.Quality | None:
    """A quality as its message; nothing is nothing."""
    if quality is None:
        return None
    return pb.Quality(
        sharpness=quality.sharpness,
        brightness=quality.brightness,
        contrast=quality.contrast,
        roll_degrees=quality.roll_degrees,
        eye_distance=quality.eye_distance,
    )


def decode_quality(message: pb.Quality) -> Quality:
    """A message as the quality it means."""
    return Quality(
        message.sharpness, message.brightness, message.contrast, message.roll_degrees, message.eye_distance
    )


def with_all(detection: Detection, wanted: Wanted) -> Detection:
    """An answer that has what was wanted beside the faces.

    Raises:
        ExtrasNotAnswered: It lacks some of it, as that of a backend which does not know of it.
    """
    lacking = [
        name
        for name, lacks in (
            ("quality", wanted.quality and any(face.quality is None for face in detection.faces)),
            ("crops", wanted.crops is not None and _lacks_crops(detection)),
            ("annotated", wanted.annotated is not None and detection.annotated is None),
        )
        if lacks
    ]
    if lacking:
        raise ExtrasNotAnswered(
            f"The answer of the backend lacks what was asked for: {', '.join(lacking)}. It is of a release "
            "that does not know this; ask without it, or have the backend upgraded.",
            field="wanted",
        )
    return detection


def _lacks_crops(detection: Detection) -> bool:
    cut = sum(face.crop is not None for face in detection.faces)
    return detection.crops_omitted is None or cut + detection.crops_omitted != len(detection.faces)
