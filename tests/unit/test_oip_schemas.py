"""The Open Inference Protocol to models whose inputs and outputs are objects."""

import json
from collections.abc import Sequence
from enum import Enum
from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, Field

from facet_serving import Double, InvalidInput, Model
from inference_server.models.contract import LoadedModel
from inference_server.models.kinds.echo import Echo, EchoInput, EchoOutput
from tests.support.loaded_models import call, loaded, refusal
from tests.support.open_inference import answered, raw, request, tensor
from utils.errors import AnswerTooLarge, BrokenImage, MalformedRequest, ModelFailed


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


class Level(Enum):
    LOW = 1


class Point(BaseModel):
    x: float


class Everything(BaseModel):
    count: int
    share: float
    exact: Annotated[float, Double]
    flag: bool
    text: str
    content: bytes
    colour: Colour
    word: Literal["a", "b"]
    numbers: list[int]
    texts: list[str]


class Echoes(Model):
    """Gives back what it was given."""

    Input = Everything
    Output = Everything
    max_batch = 4

    def predict(self, inputs: list[Any]) -> list[Any]:
        return inputs


EVERYTHING: dict[str, tuple[str, list[Any]]] = {
    "count": ("INT64", [-(2**63), 7]),
    "share": ("FP32", [0.5, -0.25]),
    "exact": ("FP64", [0.1, 1e300]),
    "flag": ("BOOL", [True, False]),
    "text": ("BYTES", ["é".encode(), b""]),
    "content": ("BYTES", [b"\xff", b"\0"]),
    "colour": ("BYTES", [b"red", b"blue"]),
    "word": ("BYTES", [b"b", b"a"]),
    "numbers": ("INT64", [[1, 2, 3], [4, 5, 6]]),
    "texts": ("BYTES", [[b"x", b"y"], [b"", "ö".encode()]]),
}
"""Datatypes and values of two items."""


def sent(values: dict[str, tuple[str, list[Any]]], **others: Any) -> bytes:  # noqa: ANN401
    """A request with these tensors, raw."""
    inputs = []
    for name, (datatype, rows) in values.items():
        shape = [len(rows), len(rows[0])] if isinstance(rows[0], list) else [len(rows)]
        inputs.append(tensor(name, datatype, shape))
    return request(*inputs, raws=[raw(*one) for one in values.values()], **others)


def test_each_member_is_a_tensor_with_a_row_for_each_item() -> None:
    """Lists of one length are rows of elements; names of choices are what JSON has for them."""
    model = loaded(Echoes)
    assert answered(call(model, "oip", sent(EVERYTHING))) == {
        name: values for name, (_, values) in EVERYTHING.items()
    }
    described = {one["name"]: (one["datatype"], one["shape"]) for one in model.card["tensors"]["inputs"]}
    assert described["count"] == ("INT64", [-1])
    assert described["numbers"] == ("INT64", [-1, -1])
    assert {name: datatype for name, (datatype, _) in described.items()} == {
        name: datatype for name, (datatype, _) in EVERYTHING.items()
    }


def test_an_empty_list_is_a_row_without_elements() -> None:
    """And comes back so."""
    values = {**EVERYTHING, "texts": ("BYTES", [[], []]), "numbers": ("INT64", [[], []])}
    answer = answered(call(loaded(Echoes), "oip", sent(values)))
    assert (answer["texts"], answer["numbers"]) == ([[], []], [[], []])


@pytest.mark.parametrize(
    ("name", "values", "detail"),
    [
        ("text", ("BYTES", [b"a", b"\xff"]), "text is not UTF-8"),
        ("texts", ("BYTES", [[b"\xff"], [b"a"]]), "texts is not UTF-8"),
        ("colour", ("BYTES", [b"red", b"green"]), "colour: Input should be 'red' or 'blue'"),
        ("share", ("FP32", [0.5, float("nan")]), "share: Input should be a finite number"),
        ("numbers", ("INT64", [1, 2]), "numbers has the shape [2]; accepted: [-1, -1], -1 for any"),
    ],
)
def test_a_value_that_the_schema_does_not_allow_is_refused(
    name: str, values: tuple[str, list[Any]], detail: str
) -> None:
    """By the name of its tensor."""
    error = refusal(loaded(Echoes), "oip", sent({**EVERYTHING, name: values}))
    assert isinstance(error, InvalidInput)
    assert error.detail.startswith(detail)
    assert error.field == name


@pytest.mark.security(
    endpoint="oip",
    attack="10,001 items in a call, where 10,000 are accepted",
    outcome="Refused before they are looked at",
)
def test_the_items_of_a_request_are_as_many_as_one_call_may_take() -> None:
    """They are refused before they are looked at."""
    error = refusal(loaded(Echoes), "oip", request(tensor("count", "INT64", [10_001]), raws=[b""]))
    assert error.detail == "count has 10001 items; accepted: 10000 at most"


def test_items_whose_outputs_are_too_large_together_are_not_all_computed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Outputs are held until all are there."""
    answers: list[EchoOutput] = []
    predict = Echo.predict

    def counted(model: Echo, inputs: Sequence[EchoInput]) -> list[EchoOutput]:
        answers.extend(made := predict(model, inputs))
        return made

    monkeypatch.setattr(Echo, "predict", counted)
    asked = sent({"text": ("BYTES", [b"a"] * 100), "repeat": ("INT64", [1000] * 100)})
    error = refusal(loaded(Echo, max_answer_bytes=9000), "oip", asked)
    assert type(error) is AnswerTooLarge
    assert error.detail.startswith("The answer has at least 10000 bytes; the limit is 9000")
    assert len(answers) < 25  # of two batches, and what was begun of the third


# --- what has a default, and what is no tensor ---


class Choosy(BaseModel):
    needed: int
    text: str = "unsaid"
    perhaps: int | None = None
    point: Point | None = None


class Told(BaseModel):
    text: str
    perhaps: int | None
    point: Point | None


class Tells(Model):
    Input = Choosy
    Output = Told

    def predict(self, inputs: list[Any]) -> list[Any]:
        return [Told(text=one.text, perhaps=one.perhaps, point=one.point) for one in inputs]


def test_a_member_with_a_default_may_be_left_out() -> None:
    """One that no tensor can hold always is; None in an output is told in `json` alone."""
    model = loaded(Tells)
    assert [(one["name"], one["required"]) for one in model.card["tensors"]["inputs"]] == [
        ("needed", True),
        ("text", False),
        ("perhaps", False),
    ]
    answer = answered(call(model, "oip", sent({"needed": ("INT64", [1])})))
    assert answer.pop("text") == [b"unsaid"]
    assert {name: [*map(json.loads, one)] for name, one in answer.items()} == {
        "json": [{"text": "unsaid", "perhaps": None, "point": None}]
    }
    given = answered(call(model, "oip", sent({"needed": ("INT64", [1]), "perhaps": ("INT64", [5])})))
    assert json.loads(given["json"][0])["perhaps"] == 5


class Optional(BaseModel):
    text: str = "unsaid"


class AllOptional(Model):
    Input = Optional
    Output = Optional

    def predict(self, inputs: list[Any]) -> list[Any]:
        return inputs


def test_a_request_without_tensors_is_one_item_of_defaults() -> None:
    """Where all have one."""
    assert answered(call(loaded(AllOptional), "oip", request())) == {"text": [b"unsaid"]}


class Nested(BaseModel):
    points: list[Point]
    level: Level = Level.LOW


class Mapped(BaseModel):
    total: float
    shares: dict[str, float]


class Adds(Model):
    Input = Nested
    Output = Mapped

    def predict(self, inputs: list[Any]) -> list[Any]:
        return [Mapped(total=sum(p.x for p in one.points), shares={"a": 1}) for one in inputs]


def test_an_input_with_an_object_in_it_is_json() -> None:
    """By the input's schema, an element for each item; an output has its other tensors beside it."""
    model = loaded(Adds)
    assert [one["name"] for one in model.card["tensors"]["inputs"]] == ["json"]
    inputs = [b'{"points": [{"x": 1}, {"x": 0.5}]}', b'{"points": []}']
    answer = answered(call(model, "oip", sent({"json": ("BYTES", inputs)})))
    assert answer["total"] == [1.5, 0]
    assert json.loads(answer["json"][0]) == {"total": 1.5, "shares": {"a": 1}}


@pytest.mark.parametrize(
    ("content", "error", "field"),
    [
        (b"{", MalformedRequest, None),
        (b"{}", InvalidInput, "json.1"),
        (b'{"points": [{"x": "a"}]}', InvalidInput, "json.1"),
    ],
)
def test_json_that_does_not_fit_is_refused_with_its_place(
    content: bytes, error: type[Exception], field: str | None
) -> None:
    """Its item is named."""
    refused = refusal(loaded(Adds), "oip", sent({"json": ("BYTES", [b'{"points": []}', content])}))
    assert (type(refused), refused.field) == (error, field)


# --- several items ---


class Picture(BaseModel):
    image: bytes


class Vector(BaseModel):
    numbers: list[float] = Field(description="As many as the picture has bytes.")


class Measures(Model):
    Input = Picture
    Output = Vector
    max_batch = 8

    def predict(self, inputs: list[Any]) -> list[Any]:
        if any(one.image == b"broken" for one in inputs):
            raise BrokenImage("the image is broken")
        return [Vector(numbers=[3e38 * byte for byte in one.image]) for one in inputs]


@pytest.fixture(scope="module")
def measures() -> LoadedModel:
    """It, loaded."""
    return loaded(Measures)


def images(*contents: bytes) -> bytes:
    """A request with these pictures."""
    return sent({"image": ("BYTES", [*contents])})


def test_a_failure_of_one_item_names_its_place(measures: LoadedModel) -> None:
    """Its request fails as a whole."""
    error = refusal(measures, "oip", images(b"\0", b"broken"))
    assert (type(error), error.field) == (BrokenImage, "image.1")


def test_rows_of_different_lengths_are_asked_for_one_by_one(measures: LoadedModel) -> None:
    """No tensor holds them."""
    assert answered(call(measures, "oip", images(b"\0\0")))["numbers"] == [[0, 0]]
    error = refusal(measures, "oip", images(b"\0", b"\0\0"))
    assert "different lengths" in error.detail
    assert (type(error), error.field) == (InvalidInput, "numbers")


def test_a_number_too_large_for_the_datatype_is_the_models_failure(measures: LoadedModel) -> None:
    """As it is in a message of the model's own."""
    assert type(refusal(measures, "oip", images(b"\2"))) is ModelFailed
