from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Image(_message.Message):
    __slots__ = ("raw_data", "height", "width", "image_id", "_meta_data", "options", "wanted")
    RAW_DATA_FIELD_NUMBER: _ClassVar[int]
    HEIGHT_FIELD_NUMBER: _ClassVar[int]
    WIDTH_FIELD_NUMBER: _ClassVar[int]
    IMAGE_ID_FIELD_NUMBER: _ClassVar[int]
    _META_DATA_FIELD_NUMBER: _ClassVar[int]
    OPTIONS_FIELD_NUMBER: _ClassVar[int]
    WANTED_FIELD_NUMBER: _ClassVar[int]
    raw_data: bytes
    height: int
    width: int
    image_id: str
    _meta_data: MetaData
    options: DetectOptions
    wanted: Wanted
    def __init__(self, raw_data: _Optional[bytes] = ..., height: _Optional[int] = ..., width: _Optional[int] = ..., image_id: _Optional[str] = ..., _meta_data: _Optional[_Union[MetaData, _Mapping]] = ..., options: _Optional[_Union[DetectOptions, _Mapping]] = ..., wanted: _Optional[_Union[Wanted, _Mapping]] = ...) -> None: ...

class MetaData(_message.Message):
    __slots__ = ("values",)
    class ValuesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    VALUES_FIELD_NUMBER: _ClassVar[int]
    values: _containers.ScalarMap[str, str]
    def __init__(self, values: _Optional[_Mapping[str, str]] = ...) -> None: ...

class DetectOptions(_message.Message):
    __slots__ = ("min_face_size", "threshold_proposal", "threshold_refine", "threshold_output", "max_faces")
    MIN_FACE_SIZE_FIELD_NUMBER: _ClassVar[int]
    THRESHOLD_PROPOSAL_FIELD_NUMBER: _ClassVar[int]
    THRESHOLD_REFINE_FIELD_NUMBER: _ClassVar[int]
    THRESHOLD_OUTPUT_FIELD_NUMBER: _ClassVar[int]
    MAX_FACES_FIELD_NUMBER: _ClassVar[int]
    min_face_size: float
    threshold_proposal: float
    threshold_refine: float
    threshold_output: float
    max_faces: int
    def __init__(self, min_face_size: _Optional[float] = ..., threshold_proposal: _Optional[float] = ..., threshold_refine: _Optional[float] = ..., threshold_output: _Optional[float] = ..., max_faces: _Optional[int] = ...) -> None: ...

class Wanted(_message.Message):
    __slots__ = ("quality", "crops", "annotated")
    QUALITY_FIELD_NUMBER: _ClassVar[int]
    CROPS_FIELD_NUMBER: _ClassVar[int]
    ANNOTATED_FIELD_NUMBER: _ClassVar[int]
    quality: bool
    crops: Crops
    annotated: Annotated
    def __init__(self, quality: _Optional[bool] = ..., crops: _Optional[_Union[Crops, _Mapping]] = ..., annotated: _Optional[_Union[Annotated, _Mapping]] = ...) -> None: ...

class Crops(_message.Message):
    __slots__ = ("size", "shape", "margin", "max")
    class Shape(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        ALIGNED: _ClassVar[Crops.Shape]
        BOX: _ClassVar[Crops.Shape]
    ALIGNED: Crops.Shape
    BOX: Crops.Shape
    SIZE_FIELD_NUMBER: _ClassVar[int]
    SHAPE_FIELD_NUMBER: _ClassVar[int]
    MARGIN_FIELD_NUMBER: _ClassVar[int]
    MAX_FIELD_NUMBER: _ClassVar[int]
    size: int
    shape: Crops.Shape
    margin: float
    max: int
    def __init__(self, size: _Optional[int] = ..., shape: _Optional[_Union[Crops.Shape, str]] = ..., margin: _Optional[float] = ..., max: _Optional[int] = ...) -> None: ...

class Annotated(_message.Message):
    __slots__ = ("longest_side", "landmarks", "scores")
    LONGEST_SIDE_FIELD_NUMBER: _ClassVar[int]
    LANDMARKS_FIELD_NUMBER: _ClassVar[int]
    SCORES_FIELD_NUMBER: _ClassVar[int]
    longest_side: int
    landmarks: bool
    scores: bool
    def __init__(self, longest_side: _Optional[int] = ..., landmarks: _Optional[bool] = ..., scores: _Optional[bool] = ...) -> None: ...

class InferResults(_message.Message):
    __slots__ = ("image_id", "_meta_data", "results", "image", "model", "timings", "annotated", "crops_omitted")
    IMAGE_ID_FIELD_NUMBER: _ClassVar[int]
    _META_DATA_FIELD_NUMBER: _ClassVar[int]
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    IMAGE_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    TIMINGS_FIELD_NUMBER: _ClassVar[int]
    ANNOTATED_FIELD_NUMBER: _ClassVar[int]
    CROPS_OMITTED_FIELD_NUMBER: _ClassVar[int]
    image_id: str
    _meta_data: MetaData
    results: _containers.RepeatedCompositeFieldContainer[Result]
    image: ImageInfo
    model: ModelInfo
    timings: Timings
    annotated: Picture
    crops_omitted: int
    def __init__(self, image_id: _Optional[str] = ..., _meta_data: _Optional[_Union[MetaData, _Mapping]] = ..., results: _Optional[_Iterable[_Union[Result, _Mapping]]] = ..., image: _Optional[_Union[ImageInfo, _Mapping]] = ..., model: _Optional[_Union[ModelInfo, _Mapping]] = ..., timings: _Optional[_Union[Timings, _Mapping]] = ..., annotated: _Optional[_Union[Picture, _Mapping]] = ..., crops_omitted: _Optional[int] = ...) -> None: ...

class Result(_message.Message):
    __slots__ = ("box", "landmarks", "confidence", "quality", "crop")
    BOX_FIELD_NUMBER: _ClassVar[int]
    LANDMARKS_FIELD_NUMBER: _ClassVar[int]
    CONFIDENCE_FIELD_NUMBER: _ClassVar[int]
    QUALITY_FIELD_NUMBER: _ClassVar[int]
    CROP_FIELD_NUMBER: _ClassVar[int]
    box: Box
    landmarks: Landmarks
    confidence: float
    quality: Quality
    crop: Picture
    def __init__(self, box: _Optional[_Union[Box, _Mapping]] = ..., landmarks: _Optional[_Union[Landmarks, _Mapping]] = ..., confidence: _Optional[float] = ..., quality: _Optional[_Union[Quality, _Mapping]] = ..., crop: _Optional[_Union[Picture, _Mapping]] = ...) -> None: ...

class Quality(_message.Message):
    __slots__ = ("sharpness", "brightness", "contrast", "roll_degrees", "eye_distance")
    SHARPNESS_FIELD_NUMBER: _ClassVar[int]
    BRIGHTNESS_FIELD_NUMBER: _ClassVar[int]
    CONTRAST_FIELD_NUMBER: _ClassVar[int]
    ROLL_DEGREES_FIELD_NUMBER: _ClassVar[int]
    EYE_DISTANCE_FIELD_NUMBER: _ClassVar[int]
    sharpness: float
    brightness: float
    contrast: float
    roll_degrees: float
    eye_distance: float
    def __init__(self, sharpness: _Optional[float] = ..., brightness: _Optional[float] = ..., contrast: _Optional[float] = ..., roll_degrees: _Optional[float] = ..., eye_distance: _Optional[float] = ...) -> None: ...

class Picture(_message.Message):
    __slots__ = ("data", "media_type", "width", "height")
    DATA_FIELD_NUMBER: _ClassVar[int]
    MEDIA_TYPE_FIELD_NUMBER: _ClassVar[int]
    WIDTH_FIELD_NUMBER: _ClassVar[int]
    HEIGHT_FIELD_NUMBER: _ClassVar[int]
    data: bytes
    media_type: str
    width: int
    height: int
    def __init__(self, data: _Optional[bytes] = ..., media_type: _Optional[str] = ..., width: _Optional[int] = ..., height: _Optional[int] = ...) -> None: ...

class Box(_message.Message):
    __slots__ = ("up_left", "lower_right")
    UP_LEFT_FIELD_NUMBER: _ClassVar[int]
    LOWER_RIGHT_FIELD_NUMBER: _ClassVar[int]
    up_left: Point
    lower_right: Point
    def __init__(self, up_left: _Optional[_Union[Point, _Mapping]] = ..., lower_right: _Optional[_Union[Point, _Mapping]] = ...) -> None: ...

class Point(_message.Message):
    __slots__ = ("x", "y")
    X_FIELD_NUMBER: _ClassVar[int]
    Y_FIELD_NUMBER: _ClassVar[int]
    x: float
    y: float
    def __init__(self, x: _Optional[float] = ..., y: _Optional[float] = ...) -> None: ...

class Landmarks(_message.Message):
    __slots__ = ("left_eye", "right_eye", "nose", "mouth_left", "mouth_right")
    LEFT_EYE_FIELD_NUMBER: _ClassVar[int]
    RIGHT_EYE_FIELD_NUMBER: _ClassVar[int]
    NOSE_FIELD_NUMBER: _ClassVar[int]
    MOUTH_LEFT_FIELD_NUMBER: _ClassVar[int]
    MOUTH_RIGHT_FIELD_NUMBER: _ClassVar[int]
    left_eye: Point
    right_eye: Point
    nose: Point
    mouth_left: Point
    mouth_right: Point
    def __init__(self, left_eye: _Optional[_Union[Point, _Mapping]] = ..., right_eye: _Optional[_Union[Point, _Mapping]] = ..., nose: _Optional[_Union[Point, _Mapping]] = ..., mouth_left: _Optional[_Union[Point, _Mapping]] = ..., mouth_right: _Optional[_Union[Point, _Mapping]] = ...) -> None: ...

class ImageInfo(_message.Message):
    __slots__ = ("width", "height", "exif_orientation")
    WIDTH_FIELD_NUMBER: _ClassVar[int]
    HEIGHT_FIELD_NUMBER: _ClassVar[int]
    EXIF_ORIENTATION_FIELD_NUMBER: _ClassVar[int]
    width: int
    height: int
    exif_orientation: int
    def __init__(self, width: _Optional[int] = ..., height: _Optional[int] = ..., exif_orientation: _Optional[int] = ...) -> None: ...

class ModelInfo(_message.Message):
    __slots__ = ("name", "version", "engine")
    NAME_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    ENGINE_FIELD_NUMBER: _ClassVar[int]
    name: str
    version: str
    engine: str
    def __init__(self, name: _Optional[str] = ..., version: _Optional[str] = ..., engine: _Optional[str] = ...) -> None: ...

class Timings(_message.Message):
    __slots__ = ("queue_ms", "decode_ms", "detect_ms", "total_ms", "extras_ms")
    QUEUE_MS_FIELD_NUMBER: _ClassVar[int]
    DECODE_MS_FIELD_NUMBER: _ClassVar[int]
    DETECT_MS_FIELD_NUMBER: _ClassVar[int]
    TOTAL_MS_FIELD_NUMBER: _ClassVar[int]
    EXTRAS_MS_FIELD_NUMBER: _ClassVar[int]
    queue_ms: float
    decode_ms: float
    detect_ms: float
    total_ms: float
    extras_ms: float
    def __init__(self, queue_ms: _Optional[float] = ..., decode_ms: _Optional[float] = ..., detect_ms: _Optional[float] = ..., total_ms: _Optional[float] = ..., extras_ms: _Optional[float] = ...) -> None: ...

class PredictStreamRequest(_message.Message):
    __slots__ = ("number", "image", "timeout_seconds")
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    IMAGE_FIELD_NUMBER: _ClassVar[int]
    TIMEOUT_SECONDS_FIELD_NUMBER: _ClassVar[int]
    number: int
    image: Image
    timeout_seconds: float
    def __init__(self, number: _Optional[int] = ..., image: _Optional[_Union[Image, _Mapping]] = ..., timeout_seconds: _Optional[float] = ...) -> None: ...

class PredictStreamReply(_message.Message):
    __slots__ = ("number", "results", "problem")
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    PROBLEM_FIELD_NUMBER: _ClassVar[int]
    number: int
    results: InferResults
    problem: Problem
    def __init__(self, number: _Optional[int] = ..., results: _Optional[_Union[InferResults, _Mapping]] = ..., problem: _Optional[_Union[Problem, _Mapping]] = ...) -> None: ...

class Problem(_message.Message):
    __slots__ = ("code", "reason", "detail", "field", "retry_after_seconds")
    CODE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    DETAIL_FIELD_NUMBER: _ClassVar[int]
    FIELD_FIELD_NUMBER: _ClassVar[int]
    RETRY_AFTER_SECONDS_FIELD_NUMBER: _ClassVar[int]
    code: int
    reason: str
    detail: str
    field: str
    retry_after_seconds: float
    def __init__(self, code: _Optional[int] = ..., reason: _Optional[str] = ..., detail: _Optional[str] = ..., field: _Optional[str] = ..., retry_after_seconds: _Optional[float] = ...) -> None: ...
