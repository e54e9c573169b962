"""The encodings in which a model is called: the bytes of unmodified stubs, JSON and forms."""

import base64
import json
import tempfile
from collections.abc import Callable
from enum import Enum
from functools import cache
from pathlib import Path
from typing import Annotated, Any

import pytest
from google.protobuf import message_factory
from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet
from google.protobuf.descriptor_pool import DescriptorPool
from grpc_tools import protoc
from pydantic import BaseModel, Field

from facet_serving import Double, InvalidInput, Model
from inference_server.models.contract import LoadedModel
from inference_server.models.encoding import unpack_answer
from inference_server.models.proto_text import render
from tests.support.gateway_forms import form
from tests.support.loaded_models import call, handled, loaded, refusal, request
from tests.support.published_clients import CLASSIFIER, PIPELINE
from utils.errors import (
    FacetError,
    ImageEmpty,
    MalformedRequest,
    ModelFailed,
)

PACKAGE = "model_grpc_service."


@cache
def compiled(text: str) -> Callable[[str], Any]:
    """The classes of a .proto file's messages, as protoc makes them for its clients, by name."""
    with tempfile.TemporaryDirectory() as folder:
        (source := Path(folder) / "client.proto").write_text(text)
        made = Path(folder) / "client.binpb"
        assert protoc.main(["protoc", f"-I{folder}", f"--descriptor_set_out={made}", str(source)]) == 0
        [file] = FileDescriptorSet.FromString(made.read_bytes()).file
    pool = DescriptorPool()
    pool.Add(file)
    return lambda name: message_factory.GetMessageClass(pool.FindMessageTypeByName(name))


# --- typed, JSON and forms ---


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


class Point(BaseModel):
    x: float
    y: Annotated[float, Double] = 0.5


class Everything(BaseModel):
    count: int
    share: float = 0.0
    flag: bool = False
    text: str = "unsaid"
    content: bytes = b""
    colour: Colour = Colour.RED
    point: Point | None = None
    points: list[Point] = []
    numbers: list[int] = []
    contents: list[bytes] = []
    weights: dict[str, float] = {}


class Echoes(Model):
    """Gives back what it was given."""

    Input = Everything
    Output = Everything

    def predict(self, inputs: list[Any]) -> list[Any]:
        return inputs


@pytest.fixture(scope="module")
def echoes() -> LoadedModel:
    """Loaded."""
    return loaded(Echoes, "my-echo")


def client(model: LoadedModel) -> Callable[[str], Any]:
    """The classes of a client that was compiled from what `facet models protos` writes."""
    return compiled(render(FileDescriptorProto.FromString(base64.b64decode(model.card["descriptor"]))))


VALUES = {
    "count": 7,
    "share": 0.25,
    "flag": True,
    "text": "è",
    "content": b"\x00\xff",
    "point": {"x": 1.5, "y": 1e300},
    "points": [{"x": 1.0, "y": 2.0}, {"x": 0.0, "y": 0.0}],
    "numbers": [0, -1, 2**62],
    "contents": [b"", b"a"],
    "weights": {"a": 0.5},
}


def test_a_compiled_stub_gets_back_what_it_sends(echoes: LoadedModel) -> None:
    """By its own messages: nested, repeated, maps, bytes, doubles."""
    messages = client(echoes)
    sent = messages(f"{PACKAGE}my_echo_input")(**VALUES)
    answer = messages(f"{PACKAGE}my_echo_output").FromString(call(echoes, "typed", sent.SerializeToString()))
    got = {field.name: value for field, value in answer.ListFields()}
    expected = {field.name: value for field, value in sent.ListFields()}
    assert got.pop("colour") == 1  # the default, of which the request said nothing
    assert {name: str(value) for name, value in got.items()} == {n: str(v) for n, v in expected.items()}


def test_an_empty_message_is_one_of_zeros_and_defaults(echoes: LoadedModel) -> None:
    """A required number of proto3 that is not there is 0; one with a default has the default."""
    messages = client(echoes)
    answer = messages(f"{PACKAGE}my_echo_output").FromString(call(echoes, "typed", b""))
    assert (answer.count, answer.text, answer.HasField("point")) == (0, "unsaid", False)


@pytest.mark.parametrize("payload", [b"\xff", b"\x08", b"\x22\x05ab"])
def test_bytes_that_are_no_message_are_malformed(echoes: LoadedModel, payload: bytes) -> None:
    """Which message was expected is told."""
    error = refusal(echoes, "typed", payload)
    assert type(error) is MalformedRequest
    assert "my_echo_input" in error.detail


def test_json_goes_in_and_out_with_bytes_as_base64(echoes: LoadedModel) -> None:
    """In the standard alphabet; zeros and defaults are written, too."""
    sent = {"count": 0, "content": "+/8=", "colour": "blue", "weights": {"a": 0}, "points": [{"x": 1}]}
    answer = json.loads(call(echoes, "json", sent))
    assert answer == {
        "count": 0,
        "share": 0.0,
        "flag": False,
        "text": "unsaid",
        "content": "+/8=",
        "colour": "blue",
        "point": None,
        "points": [{"x": 1.0, "y": 0.5}],
        "numbers": [],
        "contents": [],
        "weights": {"a": 0.0},
    }


@pytest.mark.parametrize(
    ("sent", "field"),
    [
        ({"count": 2**63}, "count"),
        ({"count": -(2**63) - 1}, "count"),
        ({"count": "seven"}, "count"),
        ({"count": 1, "points": [{"x": 1}, {"x": "far"}]}, "points.1.x"),
        ({"count": 1, "content": "no base64!"}, "content"),
        ({"count": 1, "colour": "green"}, "colour"),
        (b'{"count": 1, "share": NaN}', "share"),
        ({}, "count"),
    ],
)
def test_a_member_at_fault_is_named_by_its_path(
    echoes: LoadedModel, sent: dict[str, Any] | bytes, field: str
) -> None:
    """In JSON as nested as it is."""
    error = refusal(echoes, "json", sent)
    assert (type(error), error.field) == (InvalidInput, field)


@pytest.mark.parametrize("sent", [b"", b"{", b"[]", b"1", b'"text"', b"\xff"])
def test_what_is_no_json_object_is_malformed(echoes: LoadedModel, sent: bytes) -> None:
    """No member of it can be named."""
    error = refusal(echoes, "json", sent)
    assert (type(error), error.field) == (MalformedRequest, None)


class Flat(BaseModel):
    picture: bytes
    count: int = 1
    share: float = 0.5
    colour: Colour = Colour.RED
    notes: list[str] = []


class Forms(Echoes):
    Input = Flat  # type: ignore[assignment] # another model's
    Output = Flat  # type: ignore[assignment]


def posted(model: LoadedModel, *parts: tuple[str, bytes]) -> dict[str, Any]:
    """What a form is answered with."""
    body, kind = form(*parts)
    answer: dict[str, Any] = json.loads(call(model, "multipart", body, kind.encode()))
    return answer


def test_a_form_has_a_part_for_each_member() -> None:
    """Bytes as they are, numbers and choices as text, a list's items in parts of one name."""
    parts = [("picture", b"\x00\r\n--\xff"), ("count", b"7"), ("share", b"0.25"), ("colour", b"blue")]
    assert posted(loaded(Forms), *parts, ("notes", b"a"), ("notes", "ü".encode())) == {
        "picture": base64.b64encode(b"\x00\r\n--\xff").decode(),
        "count": 7,
        "share": 0.25,
        "colour": "blue",
        "notes": ["a", "ü"],
    }
    assert posted(loaded(Forms), ("picture", b""))["notes"] == []


def test_a_file_is_a_part_as_others_are() -> None:
    """Whatever it is called, and whatever type it says it has."""
    head = 'form-data; name="picture"; filename="../a.png"\r\nContent-Type: text/x'
    body, kind = form(("picture", b"a"))
    body = body.replace(b'form-data; name="picture"', head.encode())
    assert json.loads(call(loaded(Forms), "multipart", body, kind.encode()))["picture"] == "YQ=="


@pytest.mark.parametrize(
    ("parts", "field"),
    [
        ([("picture", b"a"), ("size", b"1")], "size"),
        ([("picture", b"a"), ("picture", b"b")], "picture"),
        ([("picture", b"a"), ("notes", b"\xff")], "notes"),
        ([("picture", b"a"), ("count", b"many")], "count"),
        ([("count", b"1")], "picture"),
    ],
)
def test_a_part_at_fault_is_named(parts: list[tuple[str, bytes]], field: str) -> None:
    """An unknown one, one too many, no UTF-8, no number, one that is missing."""
    body, kind = form(*parts)
    error = refusal(loaded(Forms), "multipart", body, kind.encode())
    assert (type(error), error.field) == (InvalidInput, field)


@pytest.mark.security(
    endpoint="models",
    attack="Forms that cannot be taken apart, or with 1,001 parts",
    outcome="`MALFORMED_REQUEST`",
)
@pytest.mark.parametrize("body", [b"", b"--B\r\nno head", form(*[("notes", b"")] * 1001)[0]])
def test_a_form_that_cannot_be_taken_apart_is_malformed(body: bytes) -> None:
    """Or one with too many parts."""
    error = refusal(loaded(Forms), "multipart", body, b"multipart/form-data; boundary=B")
    assert (type(error), error.field) == (MalformedRequest, None)


@pytest.mark.parametrize(
    "kind",
    [
        b"multipart/form-data",
        b"multipart/mixed; boundary=B",
        b"",
        b"multipart/form-data; boundary=\xe9",
        b"multipart/form-data; boundary*=UTF-8''%C3%A9",
    ],
)
def test_a_form_needs_a_content_type_with_a_boundary(kind: bytes) -> None:
    """In ASCII."""
    body, _ = form(("picture", b"a"))
    error = refusal(loaded(Forms), "multipart", body, kind)
    assert (type(error), error.field) == (MalformedRequest, "Content-Type")


# --- the published contracts ---


class Picture(BaseModel):
    image: bytes
    top: int = 1


class Class(BaseModel):
    class_id: int
    score: float = 0.0


class Classifies(Model):
    """The class of a picture is its length; it refuses and fails where the picture says so."""

    max_batch = 8
    Input = Picture
    Output = Class
    batches: list[int]

    def load(self, folder: object, options: object) -> None:  # noqa: ARG002
        Classifies.batches = []

    def predict(self, inputs: list[Any]) -> list[Any]:
        self.batches.append(len(inputs))
        return [Class(class_id=_class(one.image)) for one in inputs]


def _class(image: bytes) -> int:
    if image == b"empty":
        raise ImageEmpty("the image is empty", field="image")
    if image == b"dark":
        raise InvalidInput("it is too dark")
    if image == b"fault":
        raise RuntimeError
    return -1 if image == b"negative" else len(image)


def classified(*images: bytes) -> list[int]:
    """What a stub reads that was made of the published contract."""
    messages = compiled(CLASSIFIER)
    sent = messages("InferenceRequest")(image=images).SerializeToString()
    answer = call(loaded(Classifies), "classify", sent)
    return list(messages("InferenceReply").FromString(answer).pred)


def test_a_batch_of_pictures_is_answered_with_a_class_each_in_order() -> None:
    """Computed at once, as far as the model takes them; class 0 is one, too."""
    assert classified(b"abc", b"", b"a", b"ab") == [3, 0, 1, 2]
    assert Classifies.batches == [4]
    assert classified(*[b"a"] * 9) == [1] * 9
    assert Classifies.batches == [8, 1]


def test_an_empty_batch_has_an_empty_answer() -> None:
    """And the model is not called."""
    assert classified() == []
    assert Classifies.batches == []


@pytest.mark.parametrize(
    ("bad", "expected"),
    [
        (b"empty", ImageEmpty),
        (b"dark", InvalidInput),
        (b"fault", ModelFailed),
    ],
)
def test_an_error_names_the_picture_of_a_batch(bad: bytes, expected: type[FacetError]) -> None:
    """By its place; another batch that waited beside it is answered."""
    messages = compiled(CLASSIFIER)
    sent = [messages("InferenceRequest")(image=images) for images in ([b"a", b"ab", bad, bad], [b"abc"])]
    model = loaded(Classifies)
    refused, answered = handled(model, *(request("classify", one.SerializeToString()) for one in sent))
    with pytest.raises(expected) as caught:
        unpack_answer(refused.answer)
    assert caught.value.field == "image.2"
    reply = messages("InferenceReply").FromString(unpack_answer(answered.answer)[0])
    assert list(reply.pred) == [3]


def test_a_class_that_the_contract_cannot_say_is_a_failure() -> None:
    """Its numbers are not negative."""
    sent = compiled(CLASSIFIER)("InferenceRequest")(image=[b"negative"]).SerializeToString()
    assert type(refusal(loaded(Classifies), "classify", sent)) is ModelFailed


class Limited(Classifies):
    """Its schema has a limit for pictures."""

    class Input(BaseModel):
        """One of a few bytes."""

        image: bytes = Field(max_length=3)


def test_a_picture_that_the_schema_refuses_is_named_by_its_place() -> None:
    """Before the model sees any."""
    sent = compiled(CLASSIFIER)("InferenceRequest")(image=[b"a", b"long"]).SerializeToString()
    error = refusal(loaded(Limited), "classify", sent)
    assert (type(error), error.field) == (InvalidInput, "image.1")
    assert Classifies.batches == []


class Box(BaseModel):
    x1: float = 0.0
    y1: float = 0.0
    x2: float = 0.0
    y2: float = 0.0


class Expression(BaseModel):
    neutral: float = 0.0
    anger: float = 0.0
    disgust: float = 0.0
    fear: float = 0.0
    happiness: float = 0.0
    sadness: float = 0.0
    surprise: float = 0.0


class Face(BaseModel):
    bbox: Box = Box()
    expression: Expression = Expression()
    confidence: Annotated[float, Double] = 1.0


class Faces(BaseModel):
    response: list[Face]


class FindsExpressions(Model):
    """As many faces as the picture has bytes."""

    Input = Picture
    Output = Faces

    def predict(self, inputs: list[Any]) -> list[Any]:
        face = Face(bbox=Box(x1=1, y2=0.5), expression=Expression(fear=0.25, surprise=0.75))
        return [Faces(response=[face] * len(one.image)) for one in inputs]


@pytest.mark.parametrize("image", [b"", b"ab"])
def test_a_stub_of_the_pipeline_reads_its_faces(image: bytes) -> None:
    """None, too; what a face has besides is left out."""
    messages = compiled(PIPELINE)
    sent = messages("Request")(image=image).SerializeToString()
    answer = messages("Response").FromString(call(loaded(FindsExpressions), "pipeline", sent))
    face = {"bbox": {"x1": 1, "y2": 0.5}, "expression": {"fear": 0.25, "surprise": 0.75}}
    assert answer == messages("Response")(response=[face] * len(image))


@pytest.mark.parametrize(
    ("model", "operation"), [(Classifies, "classify"), (FindsExpressions, "pipeline")], ids=str
)
def test_what_is_no_message_of_a_contract_is_malformed(model: type, operation: str) -> None:
    """As for typed methods."""
    assert type(refusal(loaded(model), operation, b"\xff")) is MalformedRequest


# --- what fits ---


class TwoPictures(BaseModel):
    image: bytes
    mask: bytes = b""


class NeedsSize(BaseModel):
    image: bytes
    size: int


class Scored(BaseModel):
    class_id: int | None = None


class PlainFace(BaseModel):
    bbox: Box


class PlainFaces(BaseModel):
    response: list[PlainFace]


class CalmFace(PlainFace):
    expression: Box


class CalmFaces(BaseModel):
    response: list[CalmFace]


@pytest.mark.parametrize(
    ("given", "made", "fitting"),
    [
        (Everything, Everything, []),
        (Flat, Class, ["multipart", "classify"]),
        (Picture, Class, ["multipart", "classify"]),
        (Picture, Faces, ["multipart", "pipeline"]),
        (Picture, PlainFaces, ["multipart"]),
        (Picture, CalmFaces, ["multipart"]),
        (Class, Faces, ["multipart"]),
        (Picture, Scored, ["multipart"]),
        (Picture, Flat, ["multipart"]),
        (TwoPictures, Class, ["multipart"]),
        (NeedsSize, Class, ["multipart"]),
        (Class, Class, ["multipart"]),
    ],
)
def test_a_card_lists_the_operations_that_fit_and_no_others(
    given: type[BaseModel], made: type[BaseModel], fitting: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """All are called by their own messages and by JSON; the rest is for who has the members for it."""
    monkeypatch.setattr(Echoes, "Input", given)
    monkeypatch.setattr(Echoes, "Output", made)
    always = ["torchserve", "torchserve_http", "oip", "oip_http"]
    listed = [name for name in loaded(Echoes).card["operations"] if name not in always]
    assert listed == ["typed", "json", *fitting]
