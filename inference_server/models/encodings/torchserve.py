"""TorchServe's encoding of a model's input and output: bytes by keys in, bytes out."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import orjson
import pybase64
from pydantic import BaseModel

from inference_server.models.encodings.torchserve_inputs import (
    FILE_KEYS,
    check_keys,
    of_body,
    of_message,
    with_file,
)
from inference_server.models.members import Choices, Container, Member, Scalar, members_of, only_bytes
from inference_server.models.schema import Schema
from utils.errors import InvalidInput


class TorchServeEncoding:
    """Reads inputs and writes outputs of one model as TorchServe's clients have them.

    A key is a member's name. Bytes come as they are, text in UTF-8, all else as JSON. The file of a model
    that takes one may be under `data` or `body`; so may the whole input of a model that takes no bytes, as a
    JSON object.

    Args:
        schema: Of the model.
    """

    def __init__(self, schema: Schema) -> None:
        self._schema = schema
        self._members = {member.name: member for member in schema.input_members}
        self._file = only_bytes(schema.input_members)
        self._takes_bytes = any(member.kind is Scalar.BYTES for member in schema.input_members)
        self._value_of = _value_of(schema)

    def decode_message(self, payload: bytes, _: bytes) -> list[BaseModel]:
        """The input of a serialized PredictionsRequest.

        Raises:
            MalformedRequest: It is none, or its JSON is no object.
            InvalidInput: It does not fit the schema.
        """
        return [self._input(of_message(payload))]

    def decode_body(self, payload: bytes, content_type: bytes) -> list[BaseModel]:
        """The input of the body of an HTTP request.

        Raises:
            MalformedRequest: Its form or its JSON is broken.
            InvalidInput: It does not fit the schema.
        """
        return [self._input(of_body(payload, content_type.decode("latin-1")))]

    def encode(self, outputs: Sequence[BaseModel]) -> bytes:
        """An output: bytes and text as they are, all else as JSON with an indent of 2."""
        value = self._value_of(outputs[0])
        if isinstance(value, bytes):
            return value
        return value.encode() if isinstance(value, str) else orjson.dumps(value, option=orjson.OPT_INDENT_2)

    def _input(self, values: Mapping[str, bytes]) -> BaseModel:
        if self._file is not None:
            values = with_file(values, self._file, self._members)
        elif len(values) == 1 and not self._takes_bytes:
            [(key, content)] = values.items()
            if key in FILE_KEYS and key not in self._members:
                return self._schema.input.from_json(content)
        check_keys(values, self._members)
        if all(_is_plain(self._members[key]) for key in values):
            return self._schema.input.from_values(
                {key: self._plain(key, content) for key, content in values.items()}
            )
        document = b",".join(orjson.dumps(key) + b":" + self._json(key, values[key]) for key in values)
        return self._schema.input.from_json(b"{" + document + b"}", by_name=True)

    def _plain(self, key: str, content: bytes) -> bytes | str:
        if self._members[key].kind is Scalar.BYTES:
            return content
        try:
            return content.decode()
        except UnicodeDecodeError as error:
            raise InvalidInput(f"{key} is not UTF-8", field=key) from error

    def _json(self, key: str, content: bytes) -> bytes:
        if _is_plain(self._members[key]):
            value = self._plain(key, content)
            return orjson.dumps(value if isinstance(value, str) else pybase64.b64encode(value).decode())
        try:
            orjson.loads(content)
        except ValueError as error:
            raise InvalidInput(f"{key} is not JSON: {error}", field=key) from error
        return content


def _is_plain(member: Member) -> bool:
    """Whether its value comes as it is: bytes, text, or one of several texts."""
    fits = member.kind is Scalar.BYTES or member.kind is Scalar.STRING or isinstance(member.kind, Choices)
    return fits and member.container is Container.SINGLE


def _value_of(schema: Schema) -> Callable[[BaseModel], Any]:
    """What TorchServe's own handlers would return: of classes the class or a map, of one member its value."""
    members = {member.name: member for member in schema.output_members}
    if "class_id" in members and "classes" in members and _has_labels(members["classes"]):
        return _scores
    if members.keys() == {"class_id", "score"}:
        return lambda output: output.class_id  # type: ignore[attr-defined] # as the schema says
    if len(members) > 1:
        return lambda output: orjson.loads(schema.output.to_json(output))
    [(name, member)] = members.items() or [("", None)]
    if member is not None and _is_plain(member) and not isinstance(member.kind, Choices):
        return lambda output: getattr(output, name)
    return lambda output: next(iter(orjson.loads(schema.output.to_json(output)).values()), {})


def _has_labels(member: Member) -> bool:
    if member.container is not Container.LIST or not isinstance(member.kind, type):
        return False
    kinds = {part.name: part.kind for part in members_of(member.kind)}
    score = kinds.get("score")
    return kinds.get("label") is Scalar.STRING and (score is Scalar.FLOAT or score is Scalar.DOUBLE)


def _scores(output: Any) -> dict[str, float]:  # noqa: ANN401 - as the schema says
    """The score of each label; where two classes have the same one, that of the better class."""
    scores: dict[str, float] = {}
    for one in output.classes:  # best first
        scores.setdefault(one.label, one.score)
    return scores
