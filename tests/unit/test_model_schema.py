"""The messages of a model are read and written as any client of protobuf does."""

import gc
from pathlib import Path
from typing import Annotated, Any

import pytest
from google.protobuf.message import Message
from pydantic import BaseModel, ConfigDict, create_model

from inference_server.models.schema import Schema
from tests.support.protoc import stub
from tests.support.schemas import IN_PROTOBUF, VALUES, Colour, Everything, Exact, Point, one, schema_of

INF = float("inf")


def read(schema: Schema, message: bytes) -> Any:  # noqa: ANN401 - of the model's class
    """An input."""
    return schema.decode(message)


def again(value: BaseModel) -> Any:  # noqa: ANN401 - of the same class
    """An object that was written as a message, and read."""
    schema = schema_of(type(value))
    return read(schema, schema.encode(value))


@pytest.mark.parametrize("field", VALUES)
def test_a_value_of_each_type_comes_back_from_its_message(field: str) -> None:
    """Whatever a class can have."""
    info = Everything.model_fields[field]
    annotation = Annotated[(info.annotation, *info.metadata)] if info.metadata else info.annotation
    value = one(annotation)(member=VALUES[field])
    assert again(value) == value


def test_a_compiled_stub_reads_what_is_written(tmp_path: Path) -> None:
    """Clients have nothing but the text of the messages."""
    schema = schema_of(Point, Everything)
    classes = stub(schema.descriptor, tmp_path)
    expected = getattr(classes, schema.output_type)(**IN_PROTOBUF)
    expected.points_by_number[0].x = 1.0
    for point in (expected.point, *expected.points, expected.points_by_number[0], expected.maybe_point):
        point.y = point.y  # an object has its defaults, which are written
    message = getattr(classes, schema.output_type).FromString(schema.encode(Everything(**VALUES)))
    assert message == expected


def test_what_a_compiled_stub_writes_is_read(tmp_path: Path) -> None:
    """By field, whatever it is."""
    schema = schema_of(Everything, Point)
    message = getattr(stub(schema.descriptor, tmp_path), schema.input_type)(**IN_PROTOBUF)
    message.points_by_number[0].x = 1.0
    assert schema.decode(message.SerializeToString()) == Everything(**VALUES)


@pytest.mark.parametrize("value", [None, 0, 1])
def test_an_optional_zero_is_told_from_none(value: int | None) -> None:
    """It has presence in its message."""
    model = one(int | None, None)
    assert again(model(member=value)) == model(member=value)


def test_what_is_absent_has_its_default() -> None:
    """Of the class, which is not always zero."""
    schema = schema_of(create_model("In", a=(int, 7), b=(list[int], [1]), c=(Colour, Colour.RED)))
    assert dict(schema.decode(b"")) == {"a": 7, "b": [1], "c": Colour.RED}


def test_the_unspecified_value_of_an_enum_with_a_default_is_its_default() -> None:
    """A client that sets it says nothing."""
    assert read(schema_of(one(Colour, Colour.RED)), b"\x08\x00").member is Colour.RED


def test_required_scalars_and_lists_that_are_absent_are_zero_and_empty() -> None:
    """Zeros are not sent."""
    schema = schema_of(
        create_model("In", a=(int, ...), b=(str, ...), c=(list[Point], ...), d=(int | None, ...))
    )
    assert dict(schema.decode(b"")) == {"a": 0, "b": "", "c": [], "d": None}


def test_an_empty_nested_object_is_told_from_none() -> None:
    """Though there is nothing in it."""
    empty = create_model("Empty")
    model = one(empty | None, None)
    assert again(model(member=empty())) == model(member=empty())
    assert again(model(member=None)) == model(member=None)


def test_floats_have_32_bits_and_doubles_64() -> None:
    """As the class says."""
    model = create_model("Floats", single=(float, ...), double=(Exact, ...))
    assert again(model(single=0.1, double=0.1)) == model(single=0.10000000149011612, double=0.1)


def test_bytes_are_neither_encoded_nor_copied_into_text() -> None:
    """They are in the message as they are."""
    content = bytes(range(256)) * 400
    schema = schema_of(one(bytes))
    message = schema.encode(one(bytes)(member=content))
    assert content in message
    assert len(message) < len(content) + 10
    assert read(schema, message).member == content


@pytest.mark.parametrize(
    ("annotation", "value"), [(float, 1e39), (list[float], [1.0, -1e39]), (dict[str, float], {"a": 1e39})]
)
def test_a_number_too_large_for_32_bits_is_an_error_that_names_the_field(
    annotation: object, value: object
) -> None:
    """Else protobuf makes it infinite."""
    with pytest.raises(ValueError, match=r"^member has a number that is too large for 32 bits"):
        again(one(annotation)(member=value))


def test_infinity_is_written_where_the_class_allows_it() -> None:
    """It fits into 32 bits."""

    class Infinite(BaseModel):
        model_config = ConfigDict(allow_inf_nan=True)
        member: list[float]

    assert again(Infinite(member=[INF, -INF])) == Infinite(member=[INF, -INF])


def test_the_bytes_of_a_client_from_before_a_field_was_added_are_read() -> None:
    """With what the class has for it."""
    new = create_model(
        "New", __base__=Point, label=(str | None, None), weight=(float, 2.0), near=(list[Point], [])
    )
    message = schema_of(Point).encode(Point(x=1.0, y=2.0))
    assert schema_of(new).decode(message) == new(x=1.0, y=2.0)


def test_a_field_that_a_client_has_and_the_model_has_not_is_passed_over() -> None:
    """The client may know a later version."""
    new: type[Any] = create_model("New", __base__=Point, label=(str, ...))
    message = schema_of(new).encode(new(x=1.0, y=2.0, label="a"))
    assert schema_of(Point).decode(message) == Point(x=1.0, y=2.0)


def test_a_field_called_by_an_alias_is_read_and_written_by_its_own_name() -> None:
    """Aliases are for JSON."""

    class Aliased(BaseModel):
        model_config = ConfigDict(alias_generator=lambda name: f"{name}-alias")
        colour: Colour

    schema = schema_of(Aliased)
    assert schema.descriptor.message_type[0].field[0].name == "colour"
    assert again(Aliased.model_validate({"colour-alias": "red"})).colour is Colour.RED


def test_a_class_that_keeps_the_values_of_its_enums_is_written() -> None:
    """Its objects have no members of the Enum."""

    class Plain(BaseModel):
        model_config = ConfigDict(use_enum_values=True)
        colour: Colour

    assert again(Plain(colour=Colour.DARK_BLUE)).colour == 3


def test_schemas_that_are_made_again_and_again_leave_nothing_behind() -> None:
    """Their descriptor pools forget nothing as long as they are there."""
    gc.collect()
    before = len(Message.__subclasses__())
    made = [again(Point(x=1.0)) for _ in range(20)]
    gc.collect()
    assert (len(made), len(Message.__subclasses__())) == (20, before)
