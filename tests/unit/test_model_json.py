"""What the JSON of inputs and outputs looks like."""

from typing import Any

import pytest
from pydantic import Field, create_model

from tests.support.schemas import Colour, one, schema_of
from utils.errors import InvalidInput


@pytest.mark.parametrize(
    "name", ["data", "metadata", "default", "members", "expected", "type", "fields", "config"]
)
def test_bytes_are_base64_in_json_whatever_the_field_is_called(name: str) -> None:
    """Also where pydantic's own schemas have parts of that name."""
    fields: dict[str, Any] = {name: (bytes, ...)}
    schema = schema_of(create_model("In", **fields))
    assert schema.input.from_json(b'{"%s": "+/8="}' % name.encode()) == schema.decode(b"\x0a\x02\xfb\xff")
    assert schema.output.to_json(schema.decode(b"\x0a\x02\xfb\xff")) == b'{"%s":"+/8="}' % name.encode()


@pytest.mark.parametrize("name", ["metadata", "default", "members", "expected"])
def test_numbers_are_checked_whatever_the_field_is_called(name: str) -> None:
    """Those too large for protobuf are refused."""
    fields: dict[str, Any] = {name: (int, ...)}
    with pytest.raises(InvalidInput) as caught:
        schema_of(create_model("In", **fields)).input.from_json(b'{"%s": %d}' % (name.encode(), 2**63))
    assert caught.value.field == name


def test_the_json_schema_says_that_bytes_are_base64() -> None:
    """As those who write JSON need to know."""
    schema = schema_of(one(bytes)).input.json_schema("validation")
    assert schema["properties"]["member"] == {
        "contentEncoding": "base64",
        "title": "Member",
        "type": "string",
    }


def test_json_has_aliases_and_messages_have_names() -> None:
    """In what is told of a fault, too."""
    schema = schema_of(create_model("In", colour=(Colour, Field(alias="color"))))
    made = schema.input.from_json(b'{"color": "red"}')
    assert made == schema.decode(b"\x08\x01")
    assert schema.output.to_json(made) == b'{"color":"red"}'
    for read, content, name in (
        (schema.input.from_json, b'{"colour": "red"}', "color"),
        (schema.decode, b"", "colour"),
    ):
        with pytest.raises(InvalidInput) as caught:
            read(content)
        assert caught.value.field == name
