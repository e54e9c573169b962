"""Messages to domain types and back: the one place that knows both.

`encode_*` makes a message, `decode_*` reads one. A message that cannot be meant raises the error that
its sender is told. Errors themselves travel as google.rpc.Status with ErrorInfo (the stable reason),
BadRequest (the field at fault) and RetryInfo (the delay).
"""

from collections.abc import Mapping
from ctypes import c_float
from typing import Any

from google.protobuf import any_pb2, duration_pb2
from google.rpc import code_pb2, error_details_pb2, status_pb2

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
    check_metadata,
)
from utils.errors import (
    LARGER_FACES_HELP,
    MORE_TIME_HELPS,
    BackendUnavailable,
    Code,
    DeadlineExceeded,
    FacetError,
    InternalError,
    MalformedRequest,
    MessageTooLarge,
    error_class,
)

ERROR_DOMAIN = "facet"
RETRY_SECONDS = 1.0
"""What a caller is told to wait when nobody knows better."""

_LONGEST_CAUSE = 200

_DEFAULT_OPTIONS = DetectOptions()

# --- requests ---------------------------------------------------------------------------------------


def encode_request(request: DetectRequest) -> pb.Image:
    """A request as its message. Options that have their default are left out."""
    message = pb.Image(
        raw_data=request.image,
        image_id=request.image_id,
        options=_encode_options(request.options),
    )
    if request.metadata:
        message._meta_data.values.update(request.metadata)
    return message


def decode_request(message: pb.Image, picture: bytes) -> DetectRequest:
    """A message as the request it means.

    Args:
        message: The message.
        picture: Its `raw_data`, of which each look makes a copy.

    Raises:
        OptionOutOfRange: An option has a value outside its range.
        MalformedRequest: The caller's id or notes are too long.
    """
    metadata = message._meta_data.values
    check_metadata(metadata)  # before it is copied
    return DetectRequest(
        image=picture,
        options=_decode_options(message.options) if message.HasField("options") else _DEFAULT_OPTIONS,
        image_id=message.image_id,
        metadata=dict(metadata),
    )


def _encode_options(options: DetectOptions) -> pb.DetectOptions | None:
    changed = {
        name: getattr(options, name)
        for name in OPTION_NAMES
        if getattr(options, name) != getattr(_DEFAULT_OPTIONS, name)
    }
    return pb.DetectOptions(**changed) if changed else None


def _decode_options(message: pb.DetectOptions) -> DetectOptions:
    values: dict[str, Any] = {name: getattr(message, name) for name in OPTION_NAMES if message.HasField(name)}
    for name, value in values.items():
        if isinstance(value, float):
            values[name] = shortest(value)
    return DetectOptions(**values)


def shortest(value: float) -> float:
    """The number with the fewest digits that is this float32: what its sender wrote, 0.6 for 0.60000002."""
    for digits in (6, 7, 8):
        candidate = float(f"{value:.{digits}g}")
        if c_float(candidate).value == value:
            return candidate
    return float(f"{value:.9g}")  # nine digits always tell two float32 apart


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
        ),
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
        ),
        image_id=message.image_id,
        metadata=dict(message._meta_data.values),
    )


def returned_as_sent(message: pb.InferResults, image_id: str, metadata: Mapping[str, str]) -> pb.InferResults:
    """The message of an answer, with the caller's own id and notes put in."""
    message.image_id = image_id
    if metadata:
        message._meta_data.values.update(metadata)
    return message


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
    )


def _encode_point(point: Point) -> pb.Point:
    return pb.Point(x=point.x, y=point.y)


def _decode_point(message: pb.Point) -> Point:
    return Point(message.x, message.y)


# --- errors -----------------------------------------------------------------------------------------


def encode_error(error: FacetError) -> status_pb2.Status:
    """An error as the status that its caller receives."""
    details = [error_details_pb2.ErrorInfo(reason=error.reason, domain=ERROR_DOMAIN)]
    if error.field is not None:
        violation = error_details_pb2.BadRequest.FieldViolation(field=error.field, description=error.detail)
        details.append(error_details_pb2.BadRequest(field_violations=[violation]))
    if error.retry_after is not None:
        delay = duration_pb2.Duration()
        delay.FromMilliseconds(round(error.retry_after * 1000))
        details.append(error_details_pb2.RetryInfo(retry_delay=delay))
    packed = []
    for detail in details:
        packed.append(any_pb2.Any())
        packed[-1].Pack(detail)
    return status_pb2.Status(code=error.code.value, message=error.detail, details=packed)


def decode_error(status: status_pb2.Status) -> FacetError:
    """The error that a status means: ours by its reason; else by its code, with its words as cause."""
    info = _detail(status, error_details_pb2.ErrorInfo)
    known = error_class(info.reason) if info is not None and info.domain == ERROR_DOMAIN else None
    if known is None:
        error = _foreign_error(status)
        error.cause = f"{Code(status.code).name}: {status.message}"[:_LONGEST_CAUSE]
        return error
    bad = _detail(status, error_details_pb2.BadRequest)
    retry = _detail(status, error_details_pb2.RetryInfo)
    return known(
        status.message,
        field=bad.field_violations[0].field if bad is not None else None,
        retry_after=retry.retry_delay.ToMilliseconds() / 1000 if retry is not None else None,
    )


def _detail(status: status_pb2.Status, kind: Any) -> Any:  # noqa: ANN401 - generated classes
    for packed in status.details:
        if packed.Is(kind.DESCRIPTOR):
            detail = kind()
            packed.Unpack(detail)
            return detail
    return None


def _foreign_error(status: status_pb2.Status) -> FacetError:
    """What a status means that gRPC itself or a proxy made, and no code of ours."""
    if status.code in {code_pb2.UNAVAILABLE, code_pb2.CANCELLED}:
        # CANCELLED: a server that stops cancels what it has not finished. Our own cancellation does
        # not come this way.
        return BackendUnavailable(
            "The backend cannot be reached. Where none runs, `python -m inference_server` starts one, and "
            "`make serve` one with its gateway.",
            retry_after=RETRY_SECONDS,
        )
    if status.code == code_pb2.DEADLINE_EXCEEDED:
        return DeadlineExceeded(
            f"The request's time ran out before the backend answered. {MORE_TIME_HELPS} {LARGER_FACES_HELP}"
        )
    if status.code == code_pb2.RESOURCE_EXHAUSTED:
        return MessageTooLarge("The request is larger than the backend receives.")
    if status.code == code_pb2.INVALID_ARGUMENT:
        return MalformedRequest(status.message)
    return InternalError()


def error_metadata(status: status_pb2.Status) -> tuple[tuple[str, bytes], ...]:
    """The trailing metadata that carries a status beside gRPC's own code and message."""
    return (("grpc-status-details-bin", status.SerializeToString()),)


def status_of(code: Code, message: str, trailing: Mapping[str, str | bytes]) -> status_pb2.Status:
    """The status that a failed call ended with: the rich one if it came, else code and message."""
    rich = trailing.get("grpc-status-details-bin")
    if isinstance(rich, bytes):
        status = status_pb2.Status.FromString(rich)
        if status.code == code.value:
            return status
    return status_pb2.Status(code=code.value, message=message)
