"""The encoding of TorchServe's clients: bytes by keys to inputs, and outputs to bytes."""

import json
from enum import Enum
from typing import Any, Literal

import pytest
from pydantic import BaseModel, Field

from facet_serving import Model
from inference_server.models.face_messages import decode_keys, encode_document
from protos import infer_pb2
from protos.torchserve import message_class
from tests.support.gateway_forms import form
from tests.support.loaded_models import call, loaded, refusal
from utils.errors import FacetError, InvalidInput, MalformedRequest

FORM = b"application/x-www-form-urlencoded"


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


class Inner(BaseModel):
    content: bytes


class File(BaseModel):
    image: bytes
    size: int = 1


class Named(BaseModel):
    data: bytes


class Several(BaseModel):
    first: bytes
    second: bytes
    text: str = ""
    numbers: list[float] = []
    inner: Inner | None = None
    colour: Colour = Colour.RED
    mode: Literal["fast", "slow"] = "fast"
    aliased: int = Field(0, alias="other")


class Plain(BaseModel):
    text: str
    share: float = 0.5


class Said(BaseModel):
    said: str


class Echoes(Model):
    """Says what it was given."""

    Input: type[BaseModel] = File
    Output = Said

    def predict(self, inputs: list[Any]) -> list[Any]:
        return [Said(said=repr(one)) for one in inputs]


class OfFile(Echoes):
    Input = File


class OfNamed(Echoes):
    Input = Named


class OfSeveral(Echoes):
    Input = Several


class OfPlain(Echoes):
    Input = Plain


def message(values: dict[str, bytes]) -> bytes:
    """A serialized PredictionsRequest."""
    made: bytes = message_class("inference", "PredictionsRequest")(input=values).SerializeToString()
    return made


def said(model: type[Model], values: dict[str, bytes]) -> str:
    """What a model says that it was given."""
    return call(loaded(model), "torchserve", message(values)).decode()


@pytest.mark.parametrize("key", ["data", "body", "image"])
def test_a_file_comes_under_data_or_body_or_its_own_name(key: str) -> None:
    """As it is; what else the model takes comes beside it."""
    assert said(OfFile, {key: b"\xff\0"}) == repr(File(image=b"\xff\0"))
    assert said(OfFile, {key: b"\xff\0", "size": b"7"}) == repr(File(image=b"\xff\0", size=7))


@pytest.mark.parametrize("key", ["data", "body"])
def test_a_member_that_is_called_as_a_key_is_that_member(key: str) -> None:
    """As with the handlers of TorchServe that are served here."""
    assert said(OfNamed, {key: b"a"}) == repr(Named(data=b"a"))


def test_each_member_has_a_key() -> None:
    """Bytes as they are, texts in UTF-8, all else as JSON, in which bytes are base64."""
    values = {
        "first": b"\xff",
        "second": b"",
        "text": "ä".encode(),
        "numbers": b"[1, 2.5]",
        "inner": b'{"content": "/w=="}',
        "colour": b"blue",
        "mode": b"slow",
        "aliased": b"3",
    }
    expected = Several(
        first=b"\xff",
        second=b"",
        text="ä",
        numbers=[1, 2.5],
        inner=Inner(content=b"\xff"),
        colour=Colour.BLUE,
        mode="slow",
        other=3,
    )
    assert said(OfSeveral, values) == repr(expected)


@pytest.mark.parametrize("key", ["data", "body"])
def test_all_of_an_input_without_bytes_may_be_one_json_object(key: str) -> None:
    """Its members may have keys of their own, too."""
    expected = repr(Plain(text="a", share=0.25))
    assert said(OfPlain, {key: b'{"text": "a", "share": 0.25}'}) == expected
    assert said(OfPlain, {"text": b"a", "share": b"0.25"}) == expected


@pytest.mark.parametrize(
    ("model", "values", "error", "field"),
    [
        (OfFile, {}, InvalidInput, "image"),
        (OfFile, {"picture": b"a"}, InvalidInput, "image"),
        (OfFile, {"data": b"a", "sise": b"1"}, InvalidInput, "sise"),
        (OfFile, {"data": b"a", "body": b"a"}, InvalidInput, "body"),
        (OfFile, {"data": b"a", "image": b"a"}, InvalidInput, "data"),
        (OfFile, {"data": b"a", "size": b"one"}, InvalidInput, "size"),
        (OfFile, {"data": b"a", "size": b'"one"'}, InvalidInput, "size"),
        (OfSeveral, {"data": b"a"}, InvalidInput, "data"),
        (OfSeveral, {"first": b"a"}, InvalidInput, "second"),
        (OfSeveral, {"first": b"", "second": b"", "text": b"\xff"}, InvalidInput, "text"),
        (OfSeveral, {"first": b"", "second": b"", "colour": b"green"}, InvalidInput, "colour"),
        (OfSeveral, {"first": b"", "second": b"", "numbers": b"[NaN]"}, InvalidInput, "numbers"),
        (OfPlain, {"data": b"[1]"}, MalformedRequest, None),
        (OfPlain, {"data": b'{"txt": "a"}'}, InvalidInput, "text"),
        (OfPlain, {"data": b"{}", "text": b"a"}, InvalidInput, "data"),
    ],
)
def test_what_does_not_fit_is_named(
    model: type[Model], values: dict[str, bytes], error: type[FacetError], field: str | None
) -> None:
    """By its key, or by the member that is not there."""
    refused = refusal(loaded(model), "torchserve", message(values))
    assert (type(refused), refused.field) == (error, field)


def test_bytes_that_are_no_message_are_a_callers_fault() -> None:
    """By TorchServe's protocol, too."""
    assert type(refusal(loaded(OfFile), "torchserve", b"\xff")) is MalformedRequest


def test_an_input_has_no_more_keys_than_are_looked_at() -> None:
    """Each takes many times the memory of its bytes."""
    refused = refusal(loaded(OfFile), "torchserve", message({f"{number}": b"" for number in range(20_000)}))
    assert type(refused) is MalformedRequest


@pytest.mark.parametrize("content_type", [b"", b"image/png", b"application/json"])
def test_the_body_of_a_request_is_the_file(content_type: bytes) -> None:
    """Whatever it is said to be."""
    answer = call(loaded(OfFile), "torchserve_http", b"{}", content_type)
    assert answer.decode() == repr(File(image=b"{}"))


def test_the_body_of_a_request_is_the_input_of_a_model_without_bytes() -> None:
    """As a JSON object."""
    answer = call(loaded(OfPlain), "torchserve_http", b'{"text": "a"}', b"application/json")
    assert answer.decode() == repr(Plain(text="a"))


def test_a_form_has_a_key_for_each_part() -> None:
    """Of either type."""
    content, content_type = form(("data", b"\xff"), ("size", b"2"))
    answer = call(loaded(OfFile), "torchserve_http", content, content_type.encode())
    assert answer.decode() == repr(File(image=b"\xff", size=2))
    answer = call(loaded(OfPlain), "torchserve_http", b"text=a+%C3%A4&share=1", FORM)
    assert answer.decode() == repr(Plain(text="a ä", share=1))


@pytest.mark.parametrize(
    ("content", "content_type"),
    [form(("data", b"a"), ("data", b"b")), (b"data=a&data=b", FORM.decode())],
)
def test_a_key_comes_once(content: bytes, content_type: str) -> None:
    """Two values for one thing are nobody's to choose from."""
    refused = refusal(loaded(OfFile), "torchserve_http", content, content_type.encode())
    assert (type(refused), refused.field) == (InvalidInput, "data")


@pytest.mark.parametrize(
    ("content", "content_type"),
    [(b"nothing", b"multipart/form-data"), (b"&".join([b"a=1"] * 1001), FORM)],
)
def test_a_form_that_cannot_be_taken_apart_is_refused(content: bytes, content_type: bytes) -> None:
    """As over Facet's own HTTP."""
    assert type(refusal(loaded(OfFile), "torchserve_http", content, content_type)) is MalformedRequest


# --- answers ---


class Content(BaseModel):
    content: bytes


class Maybe(BaseModel):
    text: str | None


class Numbers(BaseModel):
    numbers: list[float]


class Class(BaseModel):
    class_id: int
    score: float


class Label(BaseModel):
    label: str
    class_id: int
    score: float


class Labels(Class):
    classes: list[Label]


class Box(BaseModel):
    left: float
    name: str


class Nothing(BaseModel):
    pass


BEST = [Label(label="crane", class_id=1, score=0.5), Label(label="jay", class_id=2, score=0.25)]
ANSWERS: list[tuple[BaseModel, bytes]] = [
    (Said(said="ä"), "ä".encode()),
    (Content(content=b"\xff"), b"\xff"),
    (Maybe(text=None), b"null"),
    (Maybe(text="a"), b"a"),
    (Numbers(numbers=[1, 2.5]), b"[\n  1.0,\n  2.5\n]"),
    (Class(class_id=8, score=0.5), b"8"),
    (
        Labels(class_id=1, score=0.5, classes=[*BEST, Label(label="crane", class_id=3, score=0.1)]),
        b'{\n  "crane": 0.5,\n  "jay": 0.25\n}',
    ),
    (Box(left=1.5, name="a"), b'{\n  "left": 1.5,\n  "name": "a"\n}'),
    (Nothing(), b"{}"),
]


@pytest.mark.parametrize(("output", "expected"), ANSWERS)
def test_an_answer_is_what_a_handler_of_torchserve_would_return(
    output: BaseModel, expected: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bytes and text as they are, of classes the best or a map, of one member its value, else an object.

    Of two classes with the same label the better one counts.
    """
    monkeypatch.setattr(Echoes, "Output", type(output))
    monkeypatch.setattr(Echoes, "predict", lambda _, inputs: [output] * len(inputs))
    assert call(loaded(Echoes), "torchserve", message({"data": b"a"})) == expected


# --- faces ---


def test_face_detection_takes_its_picture_and_its_options_by_keys() -> None:
    """The options as JSON."""
    made = decode_keys({"body": b"\xff", "options": b'{"min_face_size": 40, "max_faces": 2}'})
    assert made.raw_data == b"\xff"
    assert (made.options.min_face_size, made.options.max_faces) == (40, 2)


def test_options_that_are_given_twice_are_refused() -> None:
    """As by any endpoint."""
    with pytest.raises(MalformedRequest):
        decode_keys({"data": b"a", "options": b'{"max_faces": 1, "max_faces": 2}'})


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({}, "image"),
        ({"data": b"a", "option": b"{}"}, "option"),
        ({"data": b"a", "options": b"{"}, "options"),
        ({"data": b"a", "options": b'{"min_face": 1}'}, "options"),
        ({"data": b"a", "options": b"[1]"}, "options"),
    ],
)
def test_what_face_detection_does_not_take_is_named(values: dict[str, bytes], field: str) -> None:
    """As of any model."""
    with pytest.raises(InvalidInput) as caught:
        decode_keys(values)
    assert caught.value.field == field


def test_faces_are_written_as_over_http() -> None:
    """With an indent."""
    document = encode_document(infer_pb2.InferResults().SerializeToString())
    assert document.startswith(b'{\n  "message": "",\n  "image_id": ""')
    assert json.loads(document)["results"] == []
