"""Face detection in the forms that models are called by: its card, its messages and their JSON.

Its messages are those of infer.proto under the names that a model's messages have, without what callers send
only to get it back, and without what they may want beside the faces. So they are the same on the wire, and
only JSON has to be translated.
"""

import base64
import binascii
from collections.abc import Mapping
from dataclasses import fields
from functools import cache
from typing import Any

import orjson
from google.protobuf import descriptor_pool, json_format
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.descriptor_pb2 import DescriptorProto, FileDescriptorProto

from inference_server.catalogue.names import identifier
from inference_server.models.encodings import inference
from inference_server.models.encodings.torchserve_inputs import check_keys, with_file
from inference_server.models.face_tensors import FaceTensors
from protos import infer_pb2 as pb
from utils.codec import decode_detection
from utils.detection_json import detection_document
from utils.domain import DetectOptions
from utils.errors import InvalidBase64, InvalidInput, MalformedRequest, shown
from utils.json_names import refuse_repeated_names

PACKAGE = "model_grpc_service"
OPERATIONS = ("typed", "json", *inference.OPERATIONS, "torchserve", "torchserve_http")

_MEMBERS = ("image", "options")
_ECHOED = {"image_id", "_meta_data"}
_LEFT_OUT = {
    "Image": {*_ECHOED, "height", "width", "wanted"},
    "InferResults": {*_ECHOED, "annotated", "crops_omitted"},
    "Result": {"quality", "crop"},
    "Timings": {"extras_ms"},
}
_MESSAGES_LEFT_OUT = {"MetaData", "Wanted", "Crops", "Annotated", "Quality", "Picture"}
_BOUNDS = {option.name: option.metadata["bounds"] for option in fields(DetectOptions)}
_STANDARD_ALPHABET = str.maketrans("-_", "+/")
_NUMBERS = {FieldDescriptor.CPPTYPE_FLOAT, FieldDescriptor.CPPTYPE_DOUBLE}


@cache
def face_card(name: str) -> dict[str, Any]:
    """What face detection says of itself where it is listed as a model of this name."""
    file = _file(identifier(name))
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(file.SerializeToString())
    given, made = (f"{identifier(name)}_{end}" for end in ("input", "output"))
    input_schema = _schema(pool.FindMessageTypeByName(f"{PACKAGE}.{given}")) | {"required": ["image"]}
    return {
        "description": "Finds faces with five landmarks each, as MTCNN does.",
        "display_name": "Face detection",
        "max_batch": 1,
        "operations": list(OPERATIONS),
        "descriptor": base64.b64encode(file.SerializeToString()).decode(),
        "input_type": given,
        "output_type": made,
        "input_schema": input_schema,
        "output_schema": _schema(pool.FindMessageTypeByName(f"{PACKAGE}.{made}")),
        "tensors": FaceTensors().describe(),
    }


def decode_json(raw: bytes) -> pb.Image:
    """A JSON object by the input's schema as its message.

    Raises:
        MalformedRequest: It is no JSON, or no object, or has a name twice.
        InvalidInput: It is not by that schema.
        InvalidBase64: The image is not base64.
    """
    try:
        values = orjson.loads(raw)
    except ValueError as error:
        raise MalformedRequest(f"The input is not JSON: {error}") from error
    if not isinstance(values, dict):
        raise MalformedRequest("The input is no JSON object.")
    if not isinstance(values.get("image"), str):
        raise InvalidInput("The input must have an `image` that is text: base64.", field="image")
    for name in values:
        if name not in _MEMBERS:
            raise InvalidInput(
                f"There is no member {shown(name)!r}; there are image and options.", field=name
            )
    options = _options(values.get("options"))
    refuse_repeated_names(raw)
    try:
        image = _decoded(values["image"])
    except (binascii.Error, ValueError) as error:
        raise InvalidBase64(f"The image is not base64: {error}", field="image") from error
    return pb.Image(raw_data=image, options=options)


def encode_json(results: bytes) -> bytes:
    """Serialized InferResults as JSON by the output's schema."""
    values = json_format.MessageToDict(
        pb.InferResults.FromString(results),
        preserving_proto_field_name=True,
        always_print_fields_with_no_presence=True,
    )
    del values["timings"]["extras_ms"]
    return orjson.dumps({name: value for name, value in values.items() if name not in _ECHOED})


def decode_keys(values: Mapping[str, bytes]) -> pb.Image:
    """An input as TorchServe's clients have it, bytes by keys, as its message.

    Raises:
        InvalidInput: There is no picture, or something else; or the options are not by their schema.
        MalformedRequest: The options have a name twice.
    """
    values = with_file(values, "image", _MEMBERS)
    check_keys(values, _MEMBERS)
    text = values.get("options", b"null")
    try:
        options = _options(orjson.loads(text))
    except ValueError as error:
        raise InvalidInput(f"options is not JSON: {error}", field="options") from error
    refuse_repeated_names(text)
    return pb.Image(raw_data=values["image"], options=options)


def encode_document(results: bytes) -> bytes:
    """Serialized InferResults as the JSON that `POST /predict` answers, with an indent of 2."""
    detection = decode_detection(pb.InferResults.FromString(results))
    return orjson.dumps(detection_document(detection), option=orjson.OPT_INDENT_2)


def _options(values: Any) -> pb.DetectOptions:  # noqa: ANN401 - any JSON
    options = pb.DetectOptions()
    try:
        json_format.ParseDict(values or {}, options)
    except (json_format.ParseError, AttributeError) as error:  # the latter of what is no object
        raise InvalidInput(f"The options do not fit their schema: {error}", field="options") from error
    return options


def _decoded(text: str) -> bytes:
    """The bytes of base64 of either alphabet, with or without padding and white space."""
    digits = "".join(text.split()).translate(_STANDARD_ALPHABET).rstrip("=")
    return base64.b64decode(digits + "=" * (-len(digits) % 4), validate=True)


def _file(prefix: str) -> FileDescriptorProto:
    """infer.proto with its messages under the names of a model with this identifier."""
    file = FileDescriptorProto()
    pb.DESCRIPTOR.CopyToProto(file)
    file.name, file.package = f"facet/models/{prefix}.proto", PACKAGE
    del file.service[:]
    _remove(file.message_type, _MESSAGES_LEFT_OUT)
    names = {message.name: f"{prefix}_{message.name}" for message in file.message_type}
    names |= {"Image": f"{prefix}_input", "InferResults": f"{prefix}_output"}
    for message in file.message_type:
        if message.name in _LEFT_OUT:
            _remove(message.field, _LEFT_OUT[message.name])
            _remove_empty_oneofs(message)
        message.name = names[message.name]
        for field in message.field:
            if field.type_name:
                field.type_name = f".{PACKAGE}.{names[field.type_name.removeprefix('.')]}"
            if field.name == "raw_data":
                field.name = field.json_name = "image"
    return file


def _remove(declared: Any, names: set[str]) -> None:  # noqa: ANN401 - a repeated field
    kept = [one for one in declared if one.name not in names]
    del declared[:]
    declared.extend(kept)


def _remove_empty_oneofs(message: DescriptorProto) -> None:
    """Remove those whose fields are gone: each `optional` one has its own."""
    in_oneofs = [field for field in message.field if field.HasField("oneof_index")]
    used = sorted({field.oneof_index for field in in_oneofs})
    kept = [message.oneof_decl[index] for index in used]
    for field in in_oneofs:
        field.oneof_index = used.index(field.oneof_index)
    del message.oneof_decl[:]
    message.oneof_decl.extend(kept)


def _schema(message: Descriptor) -> dict[str, Any]:
    """The JSON Schema of a message: an object with its fields."""
    properties = {field.name: _schema_of_field(field) for field in message.fields}
    return {"type": "object", "properties": properties, "additionalProperties": False}


def _schema_of_field(field: FieldDescriptor) -> dict[str, Any]:
    one = _schema_of_value(field)
    return {"type": "array", "items": one} if field.is_repeated else one


def _schema_of_value(field: FieldDescriptor) -> dict[str, Any]:
    if field.message_type is not None:
        return _schema(field.message_type)
    if field.type == FieldDescriptor.TYPE_BYTES:
        return {"type": "string", "contentEncoding": "base64"}
    if field.type == FieldDescriptor.TYPE_STRING:
        return {"type": "string"}
    schema: dict[str, Any] = {"type": "number" if field.cpp_type in _NUMBERS else "integer"}
    if field.name in _BOUNDS:
        schema["minimum"], schema["maximum"] = _BOUNDS[field.name]
    return schema
