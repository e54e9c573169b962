"""What inputs and outputs are refused, as messages and as JSON, and what the caller is told."""

import json
import math
from collections.abc import Callable
from copy import deepcopy
from enum import Enum
from typing import Annotated, Any, Literal, Self

import pytest
from google.protobuf import message_factory
from google.protobuf.descriptor_pool import DescriptorPool
from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model, model_validator

from inference_server.models.schema import Schema
from tests.support.schemas import Colour, Exact, Point, Tree, one, schema_of
from utils.errors import Code, FacetError, InvalidInput, MalformedRequest


class Shape(BaseModel):
    points: list[Point]
    weights: dict[str, Exact] = {}


def told(error_class: type[FacetError], call: Callable[[], object]) -> FacetError:
    """The error that a call raises."""
    with pytest.raises(error_class) as caught:
        call()
    assert type(caught.value) is error_class
    return caught.value


def refused(schema: Schema, content: str) -> FacetError:
    """Why JSON is no input."""
    return told(InvalidInput, lambda: schema.input.from_json(content.encode()))


def message(schema: Schema, **values: Any) -> bytes:  # noqa: ANN401 - whatever protobuf takes
    """The bytes of an input that no class has checked."""
    pool = DescriptorPool()
    pool.AddSerializedFile(schema.descriptor.SerializeToString())
    name = f"model_grpc_service.{schema.input_type}"
    made: bytes = message_factory.GetMessageClass(pool.FindMessageTypeByName(name))(
        **values
    ).SerializeToString()
    return made


@pytest.mark.security(
    endpoint="models",
    attack="NaN and infinity where the class does not allow them",
    outcome="Refused by the path of the member",
)
@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize(
    ("content", "path"),
    [
        ({"points": [{"x": 0.0}, {"x": "?"}]}, "points.1.x"),
        ({"points": [], "weights": {"a": "?"}}, "weights.a"),
    ],
)
def test_a_number_that_is_not_finite_is_refused_by_its_path(
    content: object, path: str, number: float
) -> None:
    """In nested objects, lists and maps; pydantic alone would take it."""
    schema, text = schema_of(Shape), json.dumps(content).replace('"?"', json.dumps(number))
    error = refused(schema, text)
    assert (error.reason, error.code, error.http_status) == ("INVALID_INPUT", Code.INVALID_ARGUMENT, 422)
    assert error.field == path
    assert error.detail == f"{path}: Input should be a finite number; it is {number}"
    same = told(InvalidInput, lambda: schema.decode(message(schema, **json.loads(text))))
    assert (same.field, same.detail) == (error.field, error.detail)


def test_a_number_that_is_not_finite_is_taken_where_the_class_or_the_field_says_so() -> None:
    """And there alone: a class says it of its own fields."""

    class Loose(BaseModel):
        model_config = ConfigDict(allow_inf_nan=True)
        number: float
        point: Point

    schema = schema_of(Loose)
    assert schema.input.from_json(b'{"number": Infinity, "point": {"x": 1}}').number == math.inf  # type: ignore[attr-defined]
    assert refused(schema, '{"number": Infinity, "point": {"x": Infinity}}').field == "point.x"
    field = schema_of(one(Annotated[float, Field(allow_inf_nan=True)]))
    assert field.input.from_json(b'{"member": -Infinity}').member == -math.inf  # type: ignore[attr-defined]


@pytest.mark.parametrize("number", [2**63, -(2**63) - 1])
@pytest.mark.parametrize(
    ("annotation", "content", "path"),
    [
        (int, "{}", "member"),
        (int | None, "{}", "member"),
        (list[int], "[1, {}]", "member.1"),
        (dict[str, int], '{{"a": {}}}', "member.a"),
        (dict[int, int], '{{"{}": 1}}', "member.{}.[key]"),
        (Annotated[int, Field(multiple_of=1)], "{}", "member"),
    ],
)
def test_a_whole_number_that_does_not_fit_into_64_bits_is_refused(
    annotation: object, content: str, path: str, number: int
) -> None:
    """JSON can have it, and protobuf cannot."""
    error = refused(schema_of(one(annotation)), f'{{"member": {content.format(number)}}}')
    assert error.field == path.format(number)
    assert "9223372036854775807" in error.detail or "-9223372036854775808" in error.detail


def test_the_largest_numbers_of_64_bits_and_the_limits_of_the_class_hold() -> None:
    """Both of them."""
    for number in (2**63 - 1, -(2**63)):
        assert dict(schema_of(one(int)).input.from_json(b'{"member": %d}' % number)) == {"member": number}
    limited = schema_of(one(Annotated[int, Field(ge=0, le=10)]))
    assert "greater than or equal to 0" in refused(limited, '{"member": -1}').detail
    assert "less than or equal to 10" in refused(limited, '{"member": 11}').detail


@pytest.mark.parametrize(
    ("annotation", "content"),
    [
        (Colour, "{}"),
        (Literal["red", "3"], "{}"),
        (Colour | None, "{}"),
        (list[Colour], "[{}]"),
        (dict[str, Colour], '{{"a": {}}}'),
    ],
)
def test_what_is_no_value_of_an_enum_is_refused_with_those_that_there_are(
    annotation: object, content: str
) -> None:
    """Whether it is a text of JSON or a number of protobuf."""
    schema = schema_of(one(annotation))
    error = refused(schema, '{"member": ' + content.format('"green"') + "}")
    assert error.detail.startswith(f"{error.field}: Input should be 'red' or ")
    assert error.detail.endswith("; it is 'green'")
    unknown = message(schema, member=json.loads(content.format(9)))
    assert told(InvalidInput, lambda: schema.decode(unknown)).detail == error.detail.replace(
        "'green'", "number 9"
    )


def test_a_required_enum_that_is_absent_or_unspecified_is_refused() -> None:
    """Also where it has a value of that name."""
    named = Enum("named", {"A": "UNSPECIFIED", "B": "number 9"})
    for annotation in (Colour, named):
        schema = schema_of(one(annotation))
        for content in (b"", b"\x08\x00", b"\x08\x09"):
            assert told(InvalidInput, lambda: schema.decode(content)).field == "member"  # noqa: B023 - at once


@pytest.mark.parametrize(
    ("annotation", "content", "path"),
    [
        (bool, '"maybe"', "member"),
        (int, '"many"', "member"),
        (int, "1.5", "member"),
        (float, "[1.0]", "member"),
        (str, "1", "member"),
        (bytes, "1", "member"),
        (bytes, '"no base64!"', "member"),
        (int, "null", "member"),
        (Point, "1", "member"),
        (Point, '{"x": "a"}', "member.x"),
        (list[int], "1", "member"),
        (list[Point], '[{"x": 1}, {"x": {}}]', "member.1.x"),
        (dict[str, int], "[]", "member"),
        (dict[int, int], '{"a": 1}', "member.a.[key]"),
        (Tree, '{"name": "a", "children": [{"name": 1}]}', "member.children.0.name"),
    ],
)
def test_json_of_a_wrong_type_is_refused_by_its_path(annotation: object, content: str, path: str) -> None:
    """By names of members, places in lists and keys of maps."""
    error = refused(schema_of(one(annotation)), f'{{"member": {content}}}')
    assert error.field == path
    assert error.detail.startswith(f"{path}: ")


def test_members_that_are_missing_are_named() -> None:
    """The first of them, and how many there are more."""
    schema = schema_of(create_model("In", a=(int, ...), b=(Point, ...), c=(int, 0)))
    assert (error := refused(schema, "{}")).detail == "a is missing (1 more)"
    assert error.field == "a"
    assert refused(schema, '{"a": 1, "b": {}}').field == "b.x"
    assert told(InvalidInput, lambda: schema.decode(b"\x08\x01")).detail == "b is missing"


@pytest.mark.parametrize(
    "content", ["", "{", "[]", "1", "null", '"a"', "{'member': 1}", '{"member": 1} 2', "\udcff"]
)
def test_what_is_no_json_object_is_malformed(content: str) -> None:
    """No member is at fault."""
    schema = schema_of(one(int))
    error = told(MalformedRequest, lambda: schema.input.from_json(content.encode(errors="surrogateescape")))
    assert (error.reason, error.field, error.http_status) == ("MALFORMED_REQUEST", None, 400)
    assert error.detail.startswith("The input is no JSON object: ")


def test_what_the_class_itself_says_of_an_input_is_told_without_a_field() -> None:
    """No single member is at fault."""

    class Range(BaseModel):
        low: int
        high: int

        @model_validator(mode="after")
        def _check(self) -> Self:
            if self.low > self.high:
                raise ValueError("low is above high")
            return self

    error = refused(schema_of(Range), '{"low": 2, "high": 1}')
    assert (error.field, error.detail) == (None, "The input: Value error, low is above high")


@pytest.mark.security(
    endpoint="models",
    attack="Bytes that are no message, or text that is no UTF-8",
    outcome="`MALFORMED_REQUEST`",
)
@pytest.mark.parametrize("content", [b"\xff", b"\x0a\x05a", b"\x0a\x01\xff", b"\x0a"])
def test_bytes_that_are_no_message_are_malformed(content: bytes) -> None:
    """Cut off, or with a text that is not UTF-8."""
    schema = schema_of(one(str))
    error = told(MalformedRequest, lambda: schema.decode(content))
    assert (error.field, error.detail) == (None, f"The bytes are no message {schema.input_type} of protobuf.")


@pytest.mark.security(
    endpoint="models",
    attack="Inputs nested 10,000 deep, in JSON and in protobuf",
    outcome="`MALFORMED_REQUEST`",
)
def test_inputs_that_are_nested_without_end_are_malformed() -> None:
    """They are not followed to the end of the stack."""
    schema = schema_of(Tree)
    told(MalformedRequest, lambda: schema.input.from_json(b'{"name":"a","children":[' * 10_000))
    told(MalformedRequest, lambda: schema.decode(b"\x12" * 10_000))


@pytest.mark.security(
    endpoint="models",
    attack="A value and a key of 10,000 characters, to have them repeated",
    outcome="Only their beginnings are",
)
def test_no_more_of_a_callers_own_text_is_repeated_than_is_useful() -> None:
    """Neither of a value nor of a key."""
    schema = schema_of(one(dict[str, int]))
    error = refused(schema, json.dumps({"member": {"k" * 10_000: "v" * 10_000}}))
    assert error.field == "member." + "k" * 33
    assert len(error.detail) < 250


def test_outputs_are_checked_as_they_are_when_they_are_given() -> None:
    """Not only when they were made; and a mapping is one, too."""
    check = schema_of(Shape).output.check
    shape = Shape(points=[Point(x=1.0)])
    assert check(shape) == shape == check({"points": [{"x": 1}]})
    shape.points[0].x = math.nan
    with pytest.raises(ValidationError, match="finite"):
        check(shape)


def test_the_authors_class_is_left_as_it_is() -> None:
    """It may be used elsewhere, too."""
    model = one(float)
    before = deepcopy(model.__pydantic_core_schema__)
    schema_of(model)
    assert model.__pydantic_core_schema__ == before
