"""The tensors of a model whose inputs and outputs are objects: one for each member, a row for each object.

The first dimension of each tensor counts the items of a request. A number, a text or bytes is one element of
it, a list a row of elements. Where a member that an input must have cannot be had as a tensor, such as an
object or a map, the only input is `json`: a JSON object for each item, by the input's schema. Such members
that have a default keep it. Where an output has one, or one that may be None, `json` has all of the output,
beside the tensors of its other members.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel

from inference_server.models.encodings.tensors import TensorInterface, TensorSpec
from inference_server.models.members import Choices, Container, Member, Scalar
from inference_server.models.schema import Schema
from utils.errors import InvalidInput

JSON = "json"
"""The tensor of what no other can hold."""

_MOST_ITEMS = 10_000
_DATATYPES = {
    Scalar.BOOL: "BOOL",
    Scalar.INT64: "INT64",
    Scalar.FLOAT: "FP32",
    Scalar.DOUBLE: "FP64",
    Scalar.STRING: "BYTES",
    Scalar.BYTES: "BYTES",
}


class SchemaTensors(TensorInterface):
    """The tensors of a schema.

    Args:
        schema: It.
    """

    batched = True
    most_items = _MOST_ITEMS

    def __init__(self, schema: Schema) -> None:
        self._schema = schema
        held = [(member, _spec(member, required=member.required)) for member in schema.input_members]
        self._is_json_in = any(spec is None and member.required for member, spec in held)
        self._taken = {spec.name: member for member, spec in held if spec is not None}
        self.inputs = [_JSON_SPEC] if self._is_json_in else [spec for _, spec in held if spec is not None]
        self._given = [
            (member, spec)
            for member in schema.output_members
            if not member.nullable and member.name != JSON and (spec := _spec(member)) is not None
        ]
        self._is_json_out = len(self._given) < len(schema.output_members)
        self.outputs = [spec for _, spec in self._given] + [_JSON_SPEC] * self._is_json_out
        self.item_name = self.inputs[0].name if len(self.inputs) == 1 else ""

    def split(self, arrays: Mapping[str, Any], _most: int, _parameters: Mapping[str, Any]) -> list[BaseModel]:
        """As TensorInterface has it."""
        if self._is_json_in:
            return [self._input({JSON: one}, number) for number, one in enumerate(arrays[JSON])]
        if not arrays:  # all has defaults
            return [self._input({}, 0)]
        columns = {name: _values(self._taken[name], array) for name, array in arrays.items()}
        rows = zip(*columns.values(), strict=True)
        return [self._input(dict(zip(columns, row, strict=True)), number) for number, row in enumerate(rows)]

    def _input(self, values: Mapping[str, Any], number: int) -> BaseModel:
        """One item.

        Raises:
            InvalidInput: It is not valid.
        """
        try:
            if self._is_json_in:
                return self._schema.input.from_json(values[JSON])
            return self._schema.input.from_values(values)
        except InvalidInput as error:
            if self.item_name:
                error.field = f"{self.item_name}.{number}"
            raise

    def join(self, outputs: Sequence[BaseModel]) -> dict[str, Any]:
        """As TensorInterface has it."""
        found: dict[str, Any] = {
            member.name: [_plain(member, getattr(one, member.name)) for one in outputs]
            for member, _ in self._given
        }
        if self._is_json_out:
            found[JSON] = [self._schema.output.to_json(one) for one in outputs]
        return found


_JSON_SPEC = TensorSpec(JSON, "BYTES", (-1,))


def _spec(member: Member, *, required: bool = True) -> TensorSpec | None:
    """The tensor of a member; None where no tensor can hold it."""
    if isinstance(member.kind, Choices):
        is_text = all(isinstance(_choice(value), str) for value in member.kind.values.values())
        datatype = "BYTES" if is_text else None
    else:
        datatype = _DATATYPES.get(member.kind) if isinstance(member.kind, Scalar) else None
    if datatype is None or member.container is Container.MAP:
        return None
    shape = (-1,) if member.container is Container.SINGLE else (-1, -1)
    return TensorSpec(member.name, datatype, shape, required)


def _choice(value: Any) -> Any:  # noqa: ANN401
    """What JSON has for a value of an Enum or a Literal."""
    return getattr(value, "value", value)


def _plain(member: Member, value: Any) -> Any:  # noqa: ANN401
    if not isinstance(member.kind, Choices):
        return value
    return _choice(value) if member.container is Container.SINGLE else [*map(_choice, value)]


def _values(member: Member, array: Any) -> list[Any]:  # noqa: ANN401 - an array
    """The values of a member for each item.

    Raises:
        InvalidInput: One that is a text is not UTF-8.
    """
    values: list[Any] = array.tolist()
    if member.kind is Scalar.BYTES or (
        isinstance(member.kind, Scalar) and _DATATYPES[member.kind] != "BYTES"
    ):
        return values
    try:
        if member.container is Container.SINGLE:
            return [one.decode() for one in values]
        return [[one.decode() for one in row] for row in values]
    except UnicodeDecodeError as error:
        raise InvalidInput(f"{member.name} is not UTF-8", field=member.name) from error
