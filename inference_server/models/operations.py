"""The encodings in which a call reaches a model: how each is read into inputs, and outputs are written.

A model has those that fit its schema; its card lists them.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from google.protobuf.message import DecodeError
from pydantic import BaseModel

from inference_server.models.encodings.torchserve import TorchServeEncoding
from inference_server.models.members import Container, Member, Scalar, members_of, only_bytes
from inference_server.models.multipart import parse_multipart
from inference_server.models.schema import Schema
from protos.articles import Contract, message_class
from utils.errors import InvalidInput, InvalidRequest, MalformedRequest

Decode = Callable[[bytes, bytes], list[BaseModel]]
"""Makes inputs of payload and parameters. Raises InvalidRequest."""
Encode = Callable[[Sequence[BaseModel]], bytes]
"""Makes an answer of the outputs, one for each input. Raises ValueError where a number does not fit."""


@dataclass(frozen=True, slots=True)
class Operation:
    """One encoding.

    Attributes:
        decode: Reads a request.
        encode: Writes its answer.
        items: The member of a request that has the inputs, where there may be several; else empty.
    """

    decode: Decode
    encode: Encode
    items: str = ""

    def open(self, payload: bytes, parameters: bytes) -> tuple[list[BaseModel], Encode]:
        """The inputs of a request, and what makes its answer of their outputs.

        Raises:
            InvalidRequest: They cannot be read.
        """
        return self.decode(payload, parameters), self.encode


def operations_of(schema: Schema) -> dict[str, Operation]:
    """What fits a schema, by name.

    typed: bytes of its messages. json: an object each. multipart: a form, whose content type is in the
    parameters, and JSON. torchserve: TorchServe's messages, and the prediction's bytes. torchserve_http: the
    body of a request to TorchServe, whose content type is in the parameters, and the same bytes. classify:
    InferenceServer's messages. pipeline: Pipeline's messages.
    """
    made = {
        "typed": Operation(
            lambda payload, _: [schema.decode(payload)], lambda outputs: schema.encode(outputs[0])
        ),
        "json": Operation(lambda payload, _: [schema.input.from_json(payload)], partial(_json, schema)),
    }
    if all(map(_fits_part, schema.input_members)):
        decode = partial(_decode_multipart, schema)
        made["multipart"] = Operation(decode, partial(_json, schema))
    torchserve = TorchServeEncoding(schema)
    made["torchserve"] = Operation(torchserve.decode_message, torchserve.encode)
    made["torchserve_http"] = Operation(torchserve.decode_body, torchserve.encode)
    image = only_bytes(schema.input_members)
    if image and any(_is_class_id(member) for member in schema.output_members):
        made["classify"] = Operation(partial(_decode_images, schema, image), _encode_classes, "image")
    results = next((member.name for member in schema.output_members if _has_expressions(member)), None)
    if image and results:
        made["pipeline"] = Operation(partial(_decode_image, schema, image), partial(_encode_results, results))
    return made


def _json(schema: Schema, outputs: Sequence[BaseModel]) -> bytes:
    return schema.output.to_json(outputs[0])


# --- multipart ---


def _fits_part(member: Member) -> bool:
    return member.container is not Container.MAP and not isinstance(member.kind, type)


def _decode_multipart(schema: Schema, payload: bytes, content_type: bytes) -> list[BaseModel]:
    members = {member.name: member for member in schema.input_members}
    values: dict[str, object] = {}
    for name, contents in parse_multipart(payload, content_type.decode("latin-1")).items():
        member = members.get(name)
        if member is None:
            raise InvalidInput(f"{name} is no field of the input; accepted: {', '.join(members)}", field=name)
        found = [_part(name, content, member) for content in contents]
        if member.container is Container.SINGLE and len(found) > 1:
            raise InvalidInput(f"{name} came {len(found)} times; accepted: once", field=name)
        values[name] = found if member.container is Container.LIST else found[0]
    return [schema.input.from_values(values)]


def _part(name: str, content: bytes, member: Member) -> bytes | str:
    if member.kind is Scalar.BYTES:
        return content
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise InvalidInput(f"{name} is not UTF-8", field=name) from error


# --- the articles' contracts ---


def _parsed(contract: Contract, name: str, payload: bytes) -> object:
    try:
        return message_class(contract, name).FromString(payload)
    except DecodeError as error:
        raise MalformedRequest(f"The bytes are no message {name} of protobuf.") from error


def _decode_images(schema: Schema, field: str, payload: bytes, _: bytes) -> list[BaseModel]:
    images = _parsed("classifier", "InferenceRequest", payload).image  # type: ignore[attr-defined] # made at run time
    inputs = []
    for number, image in enumerate(images):
        try:
            inputs.append(schema.input.from_values({field: image}))
        except InvalidRequest as error:
            error.field = f"image.{number}"
            raise
    return inputs


def _is_class_id(member: Member) -> bool:
    return member.name == "class_id" and member.kind is Scalar.INT64 and not member.has_presence


def _encode_classes(outputs: Sequence[BaseModel]) -> bytes:
    reply = message_class("classifier", "InferenceReply")(
        pred=[output.class_id for output in outputs]  # type: ignore[attr-defined] # as the schema says
    )
    content: bytes = reply.SerializeToString()
    return content


_BOX = ("x1", "y1", "x2", "y2")
_EXPRESSIONS = ("neutral", "anger", "disgust", "fear", "happiness", "sadness", "surprise")


def _has_expressions(member: Member) -> bool:
    """Whether it is a list of faces as the Pipeline contract has them, whatever else each has."""
    if member.container is not Container.LIST or not isinstance(member.kind, type):
        return False
    parts = {part.name: part.kind for part in members_of(member.kind)}
    return all(
        isinstance(kind := parts.get(name), type) and _floats(kind) >= {*numbers}
        for name, numbers in (("bbox", _BOX), ("expression", _EXPRESSIONS))
    )


def _floats(model: type[BaseModel]) -> set[str]:
    return {
        member.name
        for member in members_of(model)
        if member.kind in {Scalar.FLOAT, Scalar.DOUBLE} and member.container is Container.SINGLE
    }


def _decode_image(schema: Schema, field: str, payload: bytes, _: bytes) -> list[BaseModel]:
    request = _parsed("pipeline", "Request", payload)
    return [schema.input.from_values({field: request.image})]  # type: ignore[attr-defined] # made at run time


def _encode_results(field: str, outputs: Sequence[BaseModel]) -> bytes:
    names = {"bbox": _BOX, "expression": _EXPRESSIONS}
    results = [
        {
            part: {number: getattr(getattr(result, part), number) for number in numbers}
            for part, numbers in names.items()
        }
        for result in getattr(outputs[0], field)
    ]
    content: bytes = message_class("pipeline", "Response")(response=results).SerializeToString()
    return content
