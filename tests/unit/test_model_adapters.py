"""Classes that were written for other servers are served as they are."""

import abc
import base64
import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from pydantic import BaseModel

from protos.torchserve import message_class
from tests.support import pictures
from tests.support.loaded_models import ask, call, loaded, of_class, refusal, request
from utils.errors import (
    BrokenImage,
    ImageEmpty,
    InvalidInput,
    InvalidModel,
    ModelFailed,
    UnsupportedImageFormat,
)

JSON = "json"


# --- a class that describes itself: qualified_name, schemas, predict(data) ---


class Schema:
    """As the package `schema` has it: a dict of names and types."""

    def __init__(self, schema: object) -> None:
        self.schema = schema


class Or:
    """As the package `schema` has it: one of several values."""

    def __init__(self, *args: object) -> None:
        self.args = args


class DescribedBase(abc.ABC):
    """The base class that such models are derived from in their own packages."""

    @property
    @abc.abstractmethod
    def qualified_name(self) -> str: ...

    @abc.abstractmethod
    def predict(self, data: Any) -> Any: ...  # noqa: ANN401


class Flower(DescribedBase):
    """With schemas of the package `schema`: data and answers are dicts."""

    qualified_name = "flower_model"
    display_name = "Flowers"
    description = "Which flower it is."
    major_version = 3
    minor_version = 1
    input_schema = Schema({"length": float, "petals": [int], "place": {"country": str}})
    output_schema = Schema({"species": Or("rose", "lily"), "number": int})

    def __init__(self) -> None:
        self._long = 1.5

    def predict(self, data: Any) -> Any:  # noqa: ANN401
        assert type(data) is dict
        species = "rose" if data["length"] > self._long else "lily"
        return {"species": species, "number": sum(data["petals"]) + len(data["place"]["country"])}


class Measure(BaseModel):
    length: float


class Species(BaseModel):
    species: str


class TypedFlower(DescribedBase):
    """With pydantic schemas: data is an object; all of it by properties, as abstract ones are."""

    @property
    def qualified_name(self) -> str:
        return "typed_flower"

    @property
    def input_schema(self) -> type[BaseModel]:
        return Measure

    @property
    def output_schema(self) -> type[BaseModel]:
        return Species

    def predict(self, data: Measure) -> Species:
        if data.length < 0:
            raise ValueError("shorter than nothing")
        return Species(species=f"of {data.length}")


def test_a_class_that_describes_itself_is_served_with_dicts() -> None:
    """Its schema, names and version are those of the class."""
    model = loaded(Flower, "flowers")
    sent = {"length": 2, "petals": [1, 2], "place": {"country": "it"}}
    assert ask(model, request(JSON, sent)) == [{"species": "rose", "number": 5}]
    told = {name: model.card[name] for name in ("name", "version", "display_name", "description")}
    assert told == {
        "name": "flowers",
        "version": "3.1",
        "display_name": "Flowers",
        "description": "Which flower it is.",
    }
    assert refusal(model, JSON, sent | {"place": {}}).field == "place.country"


def test_a_class_that_describes_itself_is_served_with_objects() -> None:
    """Without a version of its own it is 1.0; what it raises is a failure."""
    model = loaded(TypedFlower)
    assert model.key == "model/1.0"
    good, bad = ask(model, request(JSON, {"length": 2}), request(JSON, {"length": -1}))
    assert good == {"species": "of 2.0"}
    assert type(bad) is ModelFailed
    assert call(model, "typed", b"\x0d\x00\x00\x00\x40") == b"\x0a\x06of 2.0"


class NoSchema(TypedFlower):
    input_schema = 1.5  # type: ignore[assignment] # as an author may


class OddKeys(TypedFlower):
    output_schema = Schema({1: float})  # type: ignore[assignment] # as an author may


@pytest.mark.parametrize(("found", "field"), [(NoSchema, "input_schema"), (OddKeys, "output_schema")])
def test_a_schema_that_cannot_be_served_is_named(found: type, field: str) -> None:
    """Neither a pydantic class nor a Schema of a dict."""
    with pytest.raises(InvalidModel) as caught:
        loaded(found)
    assert caught.value.field == field


# --- a class with process_sample(image) ---


class Result(BaseModel):
    label: str = ""
    width: int = 0


class Response(BaseModel):
    response: list[Result] = []


class ProcessorBase(abc.ABC):
    """The base class of the expression pipeline."""

    @abc.abstractmethod
    def process_sample(self, image: Image.Image) -> Response: ...


class MockProcessor(ProcessorBase):
    """Resizes, and has one result; says nothing of what it returns, as the base class does."""

    def process_sample(self, image):  # type: ignore[no-untyped-def] # noqa: ANN001, ANN201
        small = image.resize((128, 128))
        return Response(response=[Result(label=f"{image.mode} {small.size[0]}", width=image.size[0])])


def test_a_class_with_process_sample_gets_a_decoded_picture() -> None:
    """Of Pillow, in RGB; its answer is of the class that the base class names."""
    model = loaded(MockProcessor)
    png = pictures.png(pictures.portrait())
    body = b'--B\r\nContent-Disposition: form-data; name="image"\r\n\r\n' + png + b"\r\n--B--\r\n"
    answer = json.loads(call(model, "multipart", body, b"multipart/form-data; boundary=B"))
    assert answer == {"response": [{"label": "RGB 128", "width": pictures.portrait().shape[1]}]}


@pytest.mark.parametrize(
    ("content", "expected"),
    [("", ImageEmpty), ("YQ==", UnsupportedImageFormat), ("iVBORw0KGgo=", BrokenImage)],
)
def test_a_picture_that_cannot_be_decoded_is_refused_as_by_face_detection(
    content: str, expected: type[Exception]
) -> None:
    """By the same errors, and its neighbours are answered."""
    with_picture = json.dumps({"image": _base64(pictures.png(pictures.portrait()))}).encode()
    bad, good = ask(loaded(MockProcessor), request(JSON, {"image": content}), request(JSON, with_picture))
    assert type(bad) is expected
    assert good["response"][0]["label"] == "RGB 128"


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode()


class Unannotated:
    def process_sample(self, image):  # type: ignore[no-untyped-def] # noqa: ANN001, ANN201
        return image


def test_a_process_sample_must_say_what_it_returns() -> None:
    """There is no other schema of its answers."""
    with pytest.raises(InvalidModel) as caught:
        loaded(Unannotated)
    assert "Unannotated does not say which pydantic class it returns" in caught.value.detail


# --- a handler: initialize(context) and handle(data, context) ---


class HandlerBase:
    """The base class of handlers: preprocess, inference, postprocess."""

    def __init__(self) -> None:
        self.initialized = False
        self.manifest: Any = None

    def initialize(self, context: Any) -> None:  # noqa: ANN401
        properties = context.system_properties
        self.model_dir = properties.get("model_dir")
        self.manifest = context.manifest
        self.scale = context.model_yaml_config.get("scale", 1)
        self.initialized = True

    def handle(self, data: Any, context: Any) -> Any:  # noqa: ANN401
        assert self.initialized
        self.context = context
        return self.postprocess([len(self.preprocess(row)) for row in data])

    def preprocess(self, row: Any) -> bytes:  # noqa: ANN401
        found: bytes = row.get("data") or row.get("body")
        return found

    def postprocess(self, found: list[int]) -> list[Any]:
        return found


class DigitHandler(HandlerBase):
    """Of the length of its input it says what others say of a picture."""

    def postprocess(self, found: list[int]) -> list[Any]:
        if 5 in found:
            self.context.set_response_status(400, "five is no picture")
        if 6 in found:
            self.context.set_response_status(500, "six is my fault")
        answers = [8 * self.scale, b"\x00\xff", "a text", {"class": 1, "score": 0.5}]
        return [answers[size - 1] if size < 5 else "" for size in found]


@pytest.mark.parametrize(
    ("size", "expected"),
    [(1, b"8"), (2, b"\x00\xff"), (3, b"a text"), (4, b'{\n  "class": 1,\n  "score": 0.5\n}')],
)
def test_a_handlers_answers_are_bytes(size: int, expected: bytes) -> None:
    """Bytes and text as they are, all else as JSON."""
    payload = b"\x0a" + bytes([size]) + b"a" * size
    assert call(loaded(DigitHandler), "typed", payload) == b"\x0a" + bytes([len(expected)]) + expected


@pytest.mark.parametrize("key", ["data", "body"])
@pytest.mark.parametrize(
    ("size", "expected"),
    [(1, b"8"), (2, b"\x00\xff"), (3, b"a text"), (4, b'{\n  "class": 1,\n  "score": 0.5\n}')],
)
def test_torchserves_clients_get_what_a_handler_has_returned(size: int, expected: bytes, key: str) -> None:
    """As TorchServe would have sent it."""
    sent = message_class("inference", "PredictionsRequest")(input={key: b"a" * size})
    assert call(loaded(DigitHandler), "torchserve", sent.SerializeToString()) == expected


def data(size: int) -> Any:  # noqa: ANN401
    """A request with so many bytes."""
    return request(JSON, {"data": _base64(b"a" * size)})


def test_a_handlers_status_is_that_of_the_input_that_caused_it(caplog: pytest.LogCaptureFixture) -> None:
    """400 is the caller's fault, and told in its words; 500 the model's, and logged."""
    first, refused, failed, last = ask(loaded(DigitHandler, max_batch=4), *map(data, (3, 5, 6, 3)))
    assert first == last == {"prediction": _base64(b"a text")}
    assert (type(refused), refused.detail) == (InvalidInput, "five is no picture")
    assert type(failed) is ModelFailed
    assert "six is my fault" in caplog.text


def test_a_handler_is_told_of_its_folder_and_options(tmp_path: Path) -> None:
    """As the store has them, when it is initialized."""
    source = of_class(DigitHandler, scale=2)
    model = loaded(type(source)(source.kind, tmp_path, source.options), "digits")
    assert ask(model, data(1)) == [{"prediction": _base64(b"16")}]
    handler: Any = model._model
    assert handler._handler.model_dir == str(tmp_path)
    assert handler._handler.manifest["model"]["modelName"] == "DigitHandler"


def test_a_handler_gets_what_waits_at_once() -> None:
    """A list to a list."""
    model = loaded(Counting, max_batch=3)
    assert ask(model, *map(data, (1, 1, 1))) == [{"prediction": _base64(b"3")}] * 3


class Counting(HandlerBase):
    def handle(self, data: Any, context: Any) -> Any:  # noqa: ANN401
        assert context.system_properties["batch_size"] == len(data)
        return [len(data)] * len(data)


# --- what is none of them ---


class Nothing:
    def predict(self, inputs: Any) -> Any:  # noqa: ANN401
        return inputs


def test_a_class_that_is_no_model_is_refused_with_what_is_one() -> None:
    """All forms are named."""
    with pytest.raises(InvalidModel) as caught:
        loaded(Nothing)
    detail = caught.value.detail
    assert "Nothing is no model" in detail
    for word in ("facet_serving.Model", "qualified_name", "process_sample", "initialize and handle"):
        assert word in detail
