"""Classes as models have them, which together have all types that a message can have."""

import json
from enum import Enum, IntEnum
from itertools import count
from typing import Annotated, Any, Literal

from pydantic import BaseModel, create_model

from facet_serving import Double
from inference_server.models.schema import Schema


class Colour(Enum):
    RED = "red"
    DARK_BLUE = 3


class Level(IntEnum):
    LOW = 10
    HIGH = 20


class Point(BaseModel):
    x: float
    y: float = 0.0


class Tree(BaseModel):
    name: str
    children: list["Tree"] = []
    parent: "Tree | None" = None


Size = Literal["s", "m-l", "2 x"]
Exact = Annotated[float, Double]


class Everything(BaseModel):
    flag: bool
    number: int
    ratio: float
    exact: Exact
    text: str
    data: bytes
    colour: Colour
    size: Size
    point: Point
    tree: Tree
    numbers: list[int]
    exacts: tuple[Exact, ...]
    datas: list[bytes]
    colours: list[Colour]
    points: list[Point]
    by_text: dict[str, int]
    by_number: dict[int, float]
    colours_by_text: dict[str, Colour]
    points_by_number: dict[int, Point]
    maybe_text: str | None
    maybe_point: Point | None = None
    maybe_level: Level = Level.LOW


VALUES: dict[str, Any] = {
    "flag": True,
    "number": -(2**63),
    "ratio": 0.5,
    "exact": 0.1,
    "text": "Grüße",
    "data": b"\x00\xff",
    "colour": Colour.DARK_BLUE,
    "size": "m-l",
    "point": {"x": 1.5, "y": -2.0},
    "tree": {"name": "a", "children": [{"name": "b", "children": [{"name": "c"}]}], "parent": {"name": "d"}},
    "numbers": [1, 0, 2**63 - 1],
    "exacts": [0.1, 1e300],
    "datas": [b"", b"\xfe"],
    "colours": [Colour.RED, Colour.DARK_BLUE, Colour.RED],
    "points": [{"x": 0.0}, {"x": 3.0, "y": 4.0}],
    "by_text": {"": 1, "b": 0},
    "by_number": {-1: 0.25},
    "colours_by_text": {"wall": Colour.RED},
    "points_by_number": {0: {"x": 1.0}},
    "maybe_text": "",
    "maybe_point": {"x": 0.0},
    "maybe_level": Level.HIGH,
}
IN_PROTOBUF = VALUES | {
    "colour": 2,
    "size": 2,
    "colours": [1, 2, 1],
    "colours_by_text": {"wall": 1},
    "points_by_number": {},  # which no constructor takes
    "maybe_level": 2,
}

_names = count()


def schema_of(model_input: type[BaseModel], model_output: type[BaseModel] | None = None) -> Schema:
    """The schema of a model that no other test has; with one class, it is input and output."""
    return Schema(f"model-{next(_names)}", model_input, model_output or model_input)


def one(annotation: object, default: object = ...) -> type[Any]:
    """A class with a single field, `member`."""
    made: type[Any] = create_model("One", member=(annotation, default))  # type: ignore[arg-type] # made by tests
    return made


def card(schema: Schema, number: str = "1.0") -> dict[str, Any]:
    """What a version of a model says of its messages."""
    said: dict[str, Any] = json.loads(json.dumps(schema.card()))
    return {"version": number, **said}
