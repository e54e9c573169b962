"""Which classes can be had as messages, and what the others are refused with."""

import logging
import typing
from dataclasses import replace
from enum import Enum
from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field, RootModel, create_model

from inference_server.api.typed_pool import typed_pool
from inference_server.models.members import ACCEPTED
from inference_server.models.schema import Schema
from tests.support.models import version
from tests.support.schemas import Colour, Everything, Exact, Point, Tree, card, one, schema_of
from utils.errors import InvalidModel


def refusal(model_input: type[BaseModel], model_output: type[BaseModel] = Point) -> InvalidModel:
    """Why there are no messages of classes."""
    with pytest.raises(InvalidModel) as caught:
        Schema("odd", model_input, model_output)
    return caught.value


@pytest.mark.parametrize(
    "annotation",
    [
        Any,
        object,
        complex,
        None,
        list,
        dict,
        typing.List,  # noqa: UP006 - it is not the same
        typing.Dict,  # noqa: UP006
        typing.Sequence,
        set[int],
        tuple[int, str],
        int | str,
        int | str | None,
        list[int | None],
        list[list[int]],
        dict[str, list[int]],
        dict[bytes, int],
        dict[float, int],
        Literal[1, 2],
        Literal["a", None],
        RootModel[int],
    ],
    ids=str,
)
def test_a_type_that_no_message_can_have_is_refused_by_its_field(annotation: object) -> None:
    """Whoever writes the class is told what is accepted."""
    error = refusal(one(annotation))
    assert error.field == "One.member"
    assert error.detail.startswith("One.member is of type ")
    assert error.detail.endswith(f"; accepted: {ACCEPTED}")


def test_the_field_of_a_nested_class_is_refused_by_that_class() -> None:
    """However deep."""
    inner = create_model("Inner", odd=(complex, ...), __config__=ConfigDict(arbitrary_types_allowed=True))
    assert refusal(one(dict[str, inner])).field == "Inner.odd"  # type: ignore[valid-type]


@pytest.mark.parametrize(
    "annotation", [Annotated[int, Field(ge=0)], Annotated[list[Exact], Field(min_length=1)]]
)
def test_what_else_is_said_of_a_type_does_not_matter(annotation: object) -> None:
    """Whether the field may be None or not."""
    for accepted in (annotation, annotation | None):  # type: ignore[operator]
        assert len(schema_of(one(accepted)).input_members) == 1


def test_a_class_without_fields_is_a_message() -> None:
    """Some models need no input."""
    empty = create_model("Empty")
    assert schema_of(empty).decode(b"") == empty()


def test_a_root_model_is_refused() -> None:
    """A message has fields."""
    assert "is a RootModel" in refusal(RootModel[int]).detail


def test_a_class_that_mentions_an_unknown_one_is_refused_by_its_name() -> None:
    """Pydantic cannot complete it."""
    error = refusal(one("Nowhere"))
    assert (error.field, error.detail) == ("One", "One: name 'Nowhere' is not defined")


@pytest.mark.parametrize("name", ["größe", "HasField", "SerializeToString", "DESCRIPTOR"])
def test_a_field_with_a_name_that_no_message_can_have_is_refused(name: str) -> None:
    """Protobuf takes it, but its messages could not be used."""
    fields: dict[str, Any] = {name: int}
    assert refusal(create_model("In", **fields)).field == f"In.{name}"


def test_fields_with_one_name_in_the_json_of_protobuf_are_refused() -> None:
    """As protoc refuses them."""
    error = refusal(create_model("In", up_left=int, upLeft=int))
    assert error.field == "odd_input.up_left"
    assert "upLeft" in error.detail


@pytest.mark.parametrize("name", ["Tree", "input", "output", "item"])
def test_two_types_of_one_name_are_refused(name: str) -> None:
    """The messages of input, output and streams have theirs already."""
    inner: type[BaseModel] = create_model(name, a=int)
    assert refusal(create_model("In", a=Tree, b=inner)).field == f"odd_{name}"


@pytest.mark.parametrize(
    "values", [("a", "A"), ("a_b", "a__b"), ("a-b", "a b"), ("", "_"), ("UNSPECIFIED",), ("unspecified",)]
)
def test_values_that_protoc_would_take_for_the_same_are_refused_by_their_enum(
    values: tuple[str, ...],
) -> None:
    """For it they differ in nothing but their case and `_`."""
    error = refusal(one(Literal[values]))
    assert error.field == "odd_input_member"
    assert error.detail.startswith("two values of odd_input_member would be called ")


def test_a_value_is_not_taken_for_the_type_of_another_field() -> None:
    """In protobuf the values of enums are named beside the enums."""

    class In(BaseModel):
        sort: Literal["order", "none"]
        sort_order: Literal["up", "down"]

    value = In(sort="order", sort_order="down")
    schema = schema_of(In)
    assert schema.decode(schema.encode(value)) == value


def test_one_class_is_one_message_wherever_it_is_used() -> None:
    """Also an enum, and the input itself."""
    schema = Schema("trees", Tree, create_model("Out", a=Tree, b=list[Tree], c=Colour, d=dict[str, Colour]))
    assert [message.name for message in schema.descriptor.message_type] == ["trees_input", "trees_output"]
    assert [enum.name for enum in schema.descriptor.enum_type] == ["trees_Colour"]


def test_two_enums_of_one_name_are_refused() -> None:
    """Their values would be mixed."""
    other = Enum("Colour", {"GREEN": "green"})  # type: ignore[misc]
    assert refusal(create_model("In", a=Colour, b=other)).field == "odd_Colour"


def test_models_with_the_same_classes_and_enums_are_told_of_together(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Reflection has the messages of all models in one pool."""
    names = ("first", "second", "second-first")
    served = [replace(version(name), card=card(Schema(name, Everything, Everything))) for name in names]
    with caplog.at_level(logging.WARNING):
        service = typed_pool(served).FindServiceByName("model_grpc_service.ModelgRPCService")
    assert not caplog.records
    assert {method.name for method in service.methods} >= {
        "first_predict",
        "second_predict",
        "second_first_predict",
    }
