"""Messages of models.proto and JSON to the values of utils.models and back, as utils.codec does for faces."""

import base64
import json
from collections.abc import Mapping
from typing import Any

from google.protobuf.message import Message

from protos import models_pb2 as pb
from utils.errors import MalformedRequest, shown
from utils.models import ModelDescription, Prediction

JSON = "application/json"


def encode_json(inputs: Mapping[str, Any]) -> bytes:
    """An input as the JSON that a model takes; bytes become base64.

    Raises:
        MalformedRequest: It has what JSON has not: not a number, another class of object, a loop.
    """
    try:
        return json.dumps(inputs, allow_nan=False, ensure_ascii=False, default=_text).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise MalformedRequest(f"The input cannot be written as JSON: {error}") from error


def _text(value: object) -> str:
    if isinstance(value, bytes | bytearray | memoryview):
        return base64.b64encode(value).decode()
    raise TypeError(f"it has a value of the type {shown(type(value).__name__)}")


def encode_request(name: str, version: str, content: bytes, content_type: str = JSON) -> pb.PredictRequest:
    """A call of a model with a body of this type, JSON or multipart/form-data; nobody looks into it here."""
    if content_type == JSON:
        return pb.PredictRequest(name=name, version=version, json=content)
    return pb.PredictRequest(
        name=name, version=version, body=pb.Body(content_type=content_type, content=content)
    )


def encode_encoded(
    name: str, version: str, operation: str, content: bytes, parameters: bytes
) -> pb.PredictRequest:
    """A call of a model in one of the encodings that its description lists."""
    encoded = pb.Encoded(operation=operation, content=content, parameters=parameters)
    return pb.PredictRequest(name=name, version=version, encoded=encoded)


def decode_prediction(message: pb.PredictReply) -> Prediction:
    """A reply that carries JSON, or the answer to an encoded input."""
    return Prediction(message.name, message.version, message.json or message.encoded)


def decode_output(message: pb.PredictReply) -> dict[str, Any]:
    """What the JSON of a reply says."""
    output: dict[str, Any] = json.loads(message.json)
    return output


def decode_fields(message: Message) -> dict[str, Any]:
    """A message as an object of all its fields; enumerations by name, numbers of 64 bits as numbers."""
    return {field.name: _value(field, getattr(message, field.name)) for field in message.DESCRIPTOR.fields}


def _value(field: Any, value: Any) -> Any:  # noqa: ANN401 - a field's descriptor, of any type
    if field.is_repeated:
        return [_single(field, one) for one in value]
    return _single(field, value)


def _single(field: Any, value: Any) -> Any:  # noqa: ANN401
    if field.message_type is not None:
        return decode_fields(value)
    return value if field.enum_type is None else field.enum_type.values_by_number[value].name


def decode_models(message: pb.ListReply) -> list[ModelDescription]:
    """What there is, in the order of the reply."""
    return [decode_model(model) for model in message.models]


def decode_model(message: pb.ModelDescription) -> ModelDescription:
    """One version of a model."""
    return ModelDescription(
        name=message.name,
        version=message.version,
        state=message.state,
        default=message.default,
        display_name=message.display_name,
        description=message.description,
        kind=message.kind,
        max_batch=message.max_batch,
        operations=tuple(message.operations),
        input_schema=_object(message.input_schema),
        output_schema=_object(message.output_schema),
        descriptor=message.descriptor,
        input_type=message.input_type,
        output_type=message.output_type,
        tensors=_object(message.tensors),
    )


def _object(text: bytes) -> dict[str, Any] | None:
    return json.loads(text) if text else None
