from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ListRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListReply(_message.Message):
    __slots__ = ("models", "generation")
    MODELS_FIELD_NUMBER: _ClassVar[int]
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    models: _containers.RepeatedCompositeFieldContainer[ModelDescription]
    generation: int
    def __init__(self, models: _Optional[_Iterable[_Union[ModelDescription, _Mapping]]] = ..., generation: _Optional[int] = ...) -> None: ...

class DescribeRequest(_message.Message):
    __slots__ = ("name", "version")
    NAME_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    name: str
    version: str
    def __init__(self, name: _Optional[str] = ..., version: _Optional[str] = ...) -> None: ...

class ModelDescription(_message.Message):
    __slots__ = ("name", "version", "state", "default", "description", "kind", "max_batch", "operations", "input_schema", "output_schema", "descriptor", "input_type", "output_type", "generation", "display_name", "tensors")
    NAME_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    DEFAULT_FIELD_NUMBER: _ClassVar[int]
    DESCRIPTION_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    MAX_BATCH_FIELD_NUMBER: _ClassVar[int]
    OPERATIONS_FIELD_NUMBER: _ClassVar[int]
    INPUT_SCHEMA_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_SCHEMA_FIELD_NUMBER: _ClassVar[int]
    DESCRIPTOR_FIELD_NUMBER: _ClassVar[int]
    INPUT_TYPE_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_TYPE_FIELD_NUMBER: _ClassVar[int]
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    DISPLAY_NAME_FIELD_NUMBER: _ClassVar[int]
    TENSORS_FIELD_NUMBER: _ClassVar[int]
    name: str
    version: str
    state: str
    default: bool
    description: str
    kind: str
    max_batch: int
    operations: _containers.RepeatedScalarFieldContainer[str]
    input_schema: bytes
    output_schema: bytes
    descriptor: bytes
    input_type: str
    output_type: str
    generation: int
    display_name: str
    tensors: bytes
    def __init__(self, name: _Optional[str] = ..., version: _Optional[str] = ..., state: _Optional[str] = ..., default: _Optional[bool] = ..., description: _Optional[str] = ..., kind: _Optional[str] = ..., max_batch: _Optional[int] = ..., operations: _Optional[_Iterable[str]] = ..., input_schema: _Optional[bytes] = ..., output_schema: _Optional[bytes] = ..., descriptor: _Optional[bytes] = ..., input_type: _Optional[str] = ..., output_type: _Optional[str] = ..., generation: _Optional[int] = ..., display_name: _Optional[str] = ..., tensors: _Optional[bytes] = ...) -> None: ...

class PredictRequest(_message.Message):
    __slots__ = ("name", "version", "message", "json", "body", "encoded")
    NAME_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    JSON_FIELD_NUMBER: _ClassVar[int]
    BODY_FIELD_NUMBER: _ClassVar[int]
    ENCODED_FIELD_NUMBER: _ClassVar[int]
    name: str
    version: str
    message: bytes
    json: bytes
    body: Body
    encoded: Encoded
    def __init__(self, name: _Optional[str] = ..., version: _Optional[str] = ..., message: _Optional[bytes] = ..., json: _Optional[bytes] = ..., body: _Optional[_Union[Body, _Mapping]] = ..., encoded: _Optional[_Union[Encoded, _Mapping]] = ...) -> None: ...

class Body(_message.Message):
    __slots__ = ("content_type", "content")
    CONTENT_TYPE_FIELD_NUMBER: _ClassVar[int]
    CONTENT_FIELD_NUMBER: _ClassVar[int]
    content_type: str
    content: bytes
    def __init__(self, content_type: _Optional[str] = ..., content: _Optional[bytes] = ...) -> None: ...

class Encoded(_message.Message):
    __slots__ = ("operation", "content", "parameters")
    OPERATION_FIELD_NUMBER: _ClassVar[int]
    CONTENT_FIELD_NUMBER: _ClassVar[int]
    PARAMETERS_FIELD_NUMBER: _ClassVar[int]
    operation: str
    content: bytes
    parameters: bytes
    def __init__(self, operation: _Optional[str] = ..., content: _Optional[bytes] = ..., parameters: _Optional[bytes] = ...) -> None: ...

class PredictReply(_message.Message):
    __slots__ = ("name", "version", "message", "json", "encoded")
    NAME_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    JSON_FIELD_NUMBER: _ClassVar[int]
    ENCODED_FIELD_NUMBER: _ClassVar[int]
    name: str
    version: str
    message: bytes
    json: bytes
    encoded: bytes
    def __init__(self, name: _Optional[str] = ..., version: _Optional[str] = ..., message: _Optional[bytes] = ..., json: _Optional[bytes] = ..., encoded: _Optional[bytes] = ...) -> None: ...

class StreamItem(_message.Message):
    __slots__ = ("index", "output", "error")
    INDEX_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    index: int
    output: bytes
    error: StreamError
    def __init__(self, index: _Optional[int] = ..., output: _Optional[bytes] = ..., error: _Optional[_Union[StreamError, _Mapping]] = ...) -> None: ...

class StreamError(_message.Message):
    __slots__ = ("code", "reason", "field", "detail")
    CODE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    FIELD_FIELD_NUMBER: _ClassVar[int]
    DETAIL_FIELD_NUMBER: _ClassVar[int]
    code: int
    reason: str
    field: str
    detail: str
    def __init__(self, code: _Optional[int] = ..., reason: _Optional[str] = ..., field: _Optional[str] = ..., detail: _Optional[str] = ...) -> None: ...
