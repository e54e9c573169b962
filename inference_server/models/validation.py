"""Validation of a model's inputs and outputs by their pydantic class, stricter than pydantic's own defaults.

Floats must be finite unless the class says `allow_inf_nan`, whole numbers fit into 64 bits, and bytes are
base64 in JSON. The author's class is left as it is: a copy of its core schema is changed, which needs
`__pydantic_core_schema__` and pydantic-core's `_use_prebuilt`, so pydantic is pinned exactly.
"""

from collections.abc import Mapping
from typing import Any

import pybase64
from pydantic import BaseModel, ValidationError
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaMode, JsonSchemaValue
from pydantic_core import SchemaSerializer, SchemaValidator, core_schema

from inference_server.models.members import NoChoice
from utils.errors import FacetError, InvalidInput, MalformedRequest, shown
from utils.json_names import refuse_repeated_names

_LEAST, _MOST = -(2**63), 2**63 - 1

# Parts of a core schema that hold an author's values, whatever they look like.
_VALUES = frozenset({"default", "expected", "members", "metadata"})

_WHOLE_REQUEST = frozenset({"json_invalid", "json_type", "model_type", "model_attributes_type"})
"""pydantic's types of errors that, of the input as a whole, say that it is no object."""


class Validation:
    """Makes objects of one class, and JSON of them.

    Args:
        model: The class.
    """

    def __init__(self, model: type[BaseModel]) -> None:
        self._model = model
        schema = _stricter(model.__pydantic_core_schema__)
        # Not prebuilt: that would take the validators of nested classes as they are.
        self._validator = SchemaValidator(schema, _use_prebuilt=False)
        self._serializer = SchemaSerializer(schema, _use_prebuilt=False)

    def from_values(self, values: Mapping[str, Any]) -> BaseModel:
        """An object from the values of its fields, by the fields' own names, not their aliases.

        Raises:
            InvalidInput: They are not valid.
        """
        try:
            # Not strictly, whatever the class says: protobuf has no tuples, and forms have texts alone.
            made: BaseModel = self._validator.validate_python(
                values, strict=False, by_alias=False, by_name=True
            )
        except ValidationError as error:
            raise as_request_error(error) from error
        return made

    def from_json(self, content: bytes, *, by_name: bool = False) -> BaseModel:
        """An object from JSON.

        Args:
            content: The JSON.
            by_name: Whether members may come by the fields' own names, where those have aliases.

        Raises:
            MalformedRequest: It is not JSON, or no object, or an object in it has a name twice.
            InvalidInput: Its members are not valid.
        """
        try:
            made: BaseModel = self._validator.validate_json(content, by_name=by_name or None)
        except ValidationError as error:
            raise as_request_error(error) from error
        refuse_repeated_names(content)
        return made

    def check(self, value: object) -> BaseModel:
        """An object from an object of the class, which may have been changed since it was made, or a mapping.

        Raises:
            ValidationError: It is not valid.
        """
        made: BaseModel = self._validator.validate_python(value, by_alias=True, by_name=True)
        return made

    def to_json(self, value: BaseModel) -> bytes:
        """An object of the class as JSON, members by their aliases."""
        return self._serializer.to_json(value, by_alias=True)

    def json_schema(self, mode: JsonSchemaMode) -> dict[str, Any]:
        """What JSON is accepted (`validation`), or given (`serialization`)."""
        return self._model.model_json_schema(by_alias=True, schema_generator=_JsonSchema, mode=mode)


class _JsonSchema(GenerateJsonSchema):
    """pydantic's, but for bytes, which pydantic describes by what a class's own configuration says."""

    def bytes_schema(self, schema: core_schema.BytesSchema) -> JsonSchemaValue:  # noqa: ARG002
        """They are base64 here."""
        return {"type": "string", "contentEncoding": "base64"}


def as_request_error(error: ValidationError) -> FacetError:
    """What a caller is told of an input that is not valid: the first fault, and how many there are."""
    faults = error.errors(include_url=False, include_context=False)
    first = faults[0]
    if not first["loc"] and first["type"] in _WHOLE_REQUEST:
        return MalformedRequest(f"The input is no JSON object: {first['msg']}")
    path = ".".join(map(str, first["loc"]))
    if first["type"] == "missing":
        detail = f"{shown(path)} is missing"
    else:
        detail = f"{shown(path) or 'The input'}: {first['msg']}{_what_came(first['input'])}"
    more = f" ({len(faults) - 1} more)" if len(faults) > 1 else ""
    return InvalidInput(detail + more, field=shown(path) or None)


def _what_came(value: object) -> str:
    if isinstance(value, str):
        return f"; it is {shown(value)!r}"
    if value is None or isinstance(value, bool | int | float | NoChoice):
        return f"; it is {shown(str(value))}"
    return ""


def _stricter(node: Any) -> Any:  # noqa: ANN401 - any part of a core schema
    """A copy of a core schema in which what the classes leave to pydantic's defaults is decided."""
    if isinstance(node, list | tuple):
        return type(node)(map(_stricter, node))
    if not isinstance(node, dict):
        return node
    # Else it has the fields of a class by their names, which may be anything.
    values = _VALUES if isinstance(node.get("type"), str) else frozenset()
    made = {key: value if key in values else _stricter(value) for key, value in node.items()}
    match made.get("type"):
        case "model":
            made["config"] = {**made.get("config", {}), **_configuration(made["cls"])}
        case "int":
            if "ge" not in made and "gt" not in made:
                made["ge"] = _LEAST
            if "le" not in made and "lt" not in made:
                made["le"] = _MOST
        case "bytes":
            made["serialization"] = _AS_BASE64
        case _:
            pass
    return made


def _configuration(model: type[BaseModel]) -> dict[str, Any]:
    return {
        "allow_inf_nan": model.model_config.get("allow_inf_nan", False),
        "val_json_bytes": "base64",
        "revalidate_instances": "always",
    }


def _base64(content: bytes) -> str:
    return pybase64.b64encode(content).decode()


# pydantic's own would be the URL-safe alphabet, which browsers and many libraries do not take.
_AS_BASE64 = core_schema.plain_serializer_function_ser_schema(_base64, when_used="json")
