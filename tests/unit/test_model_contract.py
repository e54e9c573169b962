"""What a model's process makes of requests: each is answered on its own, whatever the model does."""

import base64
import json
import logging
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from enum import Enum
from pathlib import Path
from typing import Any, Self

import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from pydantic import BaseModel, field_serializer, field_validator, model_validator

from facet_serving import InvalidInput, Model
from inference_server.catalogue.entries import Source
from inference_server.catalogue.names import identifier
from inference_server.dispatch.work import Work
from inference_server.models.encoding import unpack_answer
from inference_server.models.kinds.echo import Echo
from inference_server.models.lock import ENUM_VALUE, FILE_NAME, Entry, Lock
from inference_server.models.schema import Schema
from tests.support.loaded_models import ask, call, loaded, of_class, refusal, request
from utils.errors import (
    AnswerTooLarge,
    BrokenImage,
    DeadlineExceeded,
    InvalidModel,
    MalformedRequest,
    ModelFailed,
    ModelLoadFailed,
    ModelNotReady,
)

JSON = "json"


class Numbered(BaseModel):
    number: int


class Halved(BaseModel):
    half: float


def _refuse(_: int) -> None:
    raise InvalidInput("the number is odd", field="number")


def _break_picture(_: int) -> None:
    raise BrokenImage("the picture is cut off")


def _leave(_: int) -> None:
    sys.exit("no more")


def _fail(number: int) -> None:
    raise RuntimeError(f"no half of {number}")


ODD: dict[str, Callable[[int], object]] = {
    "refuse": _refuse,
    "break_picture": _break_picture,
    "exit": _leave,
    "fail": _fail,
    "wrong_type": lambda _: {"half": "much"},
    "missing": lambda _: {},
    "none": lambda _: None,
    "nan": lambda _: Halved.model_construct(half=float("nan")),
    "infinite": lambda _: {"half": float("inf")},
    "changed": lambda _: Halved.model_construct(half="much"),
}
"""What the model below can do with odd numbers."""


class Halves(Model):
    """Halves even numbers; what it does with odd ones is the class's `odd`."""

    name = "halves"
    description = "Half of a number."
    max_batch = 4
    Input = Numbered
    Output = Halved
    odd = staticmethod(_fail)
    batches: list[list[int]]

    def load(self, folder: object, options: object) -> None:  # noqa: ARG002
        self.batches = Halves.batches = []

    def predict(self, inputs: list[Any]) -> list[Any]:
        self.batches.append([one.number for one in inputs])
        return [self.odd(one.number) if one.number % 2 else {"half": one.number / 2} for one in inputs]


def numbers(*values: object) -> list[Work]:
    """A request for each number, in JSON, under an id that has the number."""
    return [request(JSON, {"number": value}, request_id=f"id-{value}") for value in values]


def test_what_waits_together_is_computed_together() -> None:
    """In batches of what the model takes, each answer to its own request."""
    answers = ask(loaded(Halves), *numbers(2, 4, 6, 8, 10, 12))
    assert [answer["half"] for answer in answers] == [1, 2, 3, 4, 5, 6]
    assert Halves.batches == [[2, 4, 6, 8], [10, 12]]


def test_the_operators_batch_goes_before_the_models_own() -> None:
    """Also where it is larger."""
    model = loaded(Halves, max_batch=2)
    ask(model, *numbers(2, 4, 6))
    assert Halves.batches == [[2, 4], [6]]
    assert (model.max_batch, model.card["max_batch"]) == (2, 2)
    assert loaded(Halves, max_batch=9).max_batch == 9


def test_no_request_is_no_batch() -> None:
    """And no call of the model."""
    assert loaded(Halves).handle([]) == []
    assert Halves.batches == []


@pytest.mark.parametrize("odd", ODD)
def test_one_bad_item_fails_alone(odd: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the model does with it; the others in its batch are answered."""
    monkeypatch.setattr(Halves, "odd", staticmethod(ODD[odd]))
    first, bad, last = ask(loaded(Halves), *numbers(2, 3, 4))
    assert (first, last) == ({"half": 1}, {"half": 2})
    expected = {"refuse": InvalidInput, "break_picture": BrokenImage}
    assert type(bad) is expected.get(odd, ModelFailed)


@pytest.mark.security(
    endpoint="models",
    attack="Inputs at which a model raises, ends, or gives no valid answer",
    outcome="`MODEL_FAILED` without the model's own text, which is in the log",
)
@pytest.mark.parametrize("odd", [name for name in ODD if name not in {"refuse", "break_picture"}])
def test_a_failure_is_logged_with_model_and_request_and_not_told(
    odd: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Its caller reads that the model has failed, and the author why in the log."""
    monkeypatch.setattr(Halves, "odd", staticmethod(ODD[odd]))
    _, bad = ask(loaded(Halves), *numbers(2, 3))
    assert bad.detail == "The model failed on this input. The log has the details."
    [line] = [record for record in caplog.records if record.getMessage() == "model failed"]
    logged: dict[str, Any] = line.__dict__["facet_fields"]
    assert line.levelno == logging.ERROR
    assert (logged["model"], logged["request_id"]) == ("model/1.0", "id-3")
    assert line.exc_info or "Halved is not valid" in logged["reason"]


@pytest.mark.parametrize("odd", ["refuse", "break_picture"])
def test_what_is_wrong_with_an_input_is_told_and_is_no_failure(
    odd: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """In the model's own words, with the member that it names; nothing is logged."""
    monkeypatch.setattr(Halves, "odd", staticmethod(ODD[odd]))
    [_, bad] = ask(loaded(Halves), *numbers(2, 3))
    told = {"refuse": ("the number is odd", "number"), "break_picture": ("the picture is cut off", None)}
    assert (bad.detail, bad.field) == told[odd]
    assert not caplog.records


class Miscounts(Halves):
    def predict(self, inputs: list[Any]) -> list[Any]:
        made = super().predict([one for one in inputs if one.number])
        return [*made, *made] if made and inputs[-1].number == 8 else made


@pytest.mark.security(
    endpoint="models",
    attack="A model that gives more or fewer answers than its batch has inputs",
    outcome="The input that causes it fails; the others have their own answers",
)
@pytest.mark.parametrize("bad", [0, 8])
def test_a_wrong_count_of_outputs_fails_the_input_that_causes_it(
    bad: int, caplog: pytest.LogCaptureFixture
) -> None:
    """Too few or too many for a batch: nobody is given another's answer."""
    answers = ask(loaded(Miscounts), *numbers(2, 4, bad))
    assert answers[:2] == [{"half": 1}, {"half": 2}]
    assert type(answers[2]) is ModelFailed
    assert [record.getMessage() for record in caplog.records] == ["batch failed", "model failed"]


class Streams(Halves):
    """Gives an iterator instead of a list; has names and options."""

    display_name = "Streams of halves"
    version = "2.10"

    def predict(self, inputs: list[Any]) -> Iterator[Any]:  # type: ignore[override] # as an author may
        return (each for each in super().predict(inputs))


def test_predict_may_give_any_iterable() -> None:
    """What comes out of it is what counts."""
    assert ask(loaded(Streams), *numbers(2, 4)) == [{"half": 1}, {"half": 2}]


def test_a_card_tells_what_the_class_says() -> None:
    """As JSON can have it: others read it in other processes."""
    card = json.loads(json.dumps(loaded(Streams, "my-halves").card))
    assert {
        "name": "my-halves",
        "version": "2.10",
        "display_name": "Streams of halves",
        "description": "Half of a number.",
        "kind": "python",
        "max_batch": 4,
        "identifier": "my_halves",
        "input_type": "my_halves_input",
        "output_type": "my_halves_output",
    }.items() <= card.items()
    assert card["input_schema"]["properties"]["number"]["type"] == "integer"
    plain = loaded(Halves).card
    assert (plain["display_name"], plain["version"]) == ("model", "1.0")


def test_a_version_that_is_named_goes_before_the_models_own() -> None:
    """As a folder in the store names it."""
    assert loaded(Streams, number="7").key == "model/7"
    with pytest.raises(InvalidModel):
        loaded(NoVersion)


class NoVersion(Halves):
    version = "new"


@pytest.mark.security(
    endpoint="models",
    attack="Inputs that the schema does not allow, beside others",
    outcome="They never reach the model; the others are answered",
)
@pytest.mark.parametrize(
    ("payload", "expected", "field"),
    [
        (b'{"number": "x"}', InvalidInput, "number"),
        (b"{}", InvalidInput, "number"),
        (b"{", MalformedRequest, None),
    ],
)
def test_what_the_schema_refuses_never_reaches_the_model(
    payload: bytes, expected: type[Exception], field: str | None
) -> None:
    """Its neighbours do."""
    bad, good = ask(loaded(Halves), request(JSON, payload), *numbers(2))
    assert (type(bad), bad.field, good) == (expected, field, {"half": 1})
    assert Halves.batches == [[2]]


@pytest.mark.parametrize("operation", [JSON, "typed"])
def test_an_answer_that_is_too_large_for_its_caller_is_no_fault_of_the_input(
    operation: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Of a batch, it alone is refused; its size and the limit are told, and the log names the model."""
    size = len(call(loaded(Echo), JSON, {"text": "ab"}))
    model = loaded(Echo, max_answer_bytes=size)
    large = request(operation, b'{"text": "abc"}' if operation == JSON else b"\n\x0c" + b"a" * 12)
    first, error, last = ask(model, request(JSON, {"text": "a"}), large, request(JSON, {"text": "ab"}))
    assert (first, last) == ({"text": "a"}, {"text": "ab"})
    assert type(error) is AnswerTooLarge
    told = (f"{size + 1} bytes; the limit is {size}", "FACET_MAX_REQUEST_BYTES", "FACET_MAX_IMAGE_BYTES")
    assert all(words in error.detail for words in told)
    [record] = [one for one in caplog.records if one.message == "answer too large"]
    about = {"model": "model/1.0", "request_id": "id-1", "bytes": size + 1}
    assert about.items() <= record.__dict__["facet_fields"].items()


def test_an_operation_that_the_model_does_not_have_is_refused_with_those_that_it_has() -> None:
    """Its neighbours are answered."""
    bad, good = ask(loaded(Halves), request("classify", b""), *numbers(2))
    assert (type(bad), bad.field) == (InvalidInput, "operation")
    listed = "typed, json, multipart, torchserve, torchserve_http, oip, oip_http"
    assert f"'classify'; it can by {listed}." in bad.detail
    assert good == {"half": 1}


def test_an_answer_tells_how_long_its_batches_took() -> None:
    """For the log line of its request."""
    [first, _] = loaded(Halves).handle(numbers(2, 4))
    _, told = unpack_answer(first.answer)
    assert told.keys() == {"queue_ms", "predict_ms", "batch"}
    assert told["batch"] == 2
    assert told["predict_ms"] >= 0


class _TouchyInput(Numbered):
    @field_validator("number")
    @classmethod
    def checked(cls, number: int) -> int:
        return _touch(number, 1)


class _TouchyOutput(Numbered):
    @field_validator("number")
    @classmethod
    def checked(cls, number: int) -> int:
        return _touch(number, 2)

    @field_serializer("number")
    def written(self, number: int) -> int:
        return _touch(number, 3)


class Touchy(Model):
    """Its author's own checks raise what pydantic does not expect."""

    Input = _TouchyInput
    Output = _TouchyOutput

    def predict(self, inputs: list[Any]) -> list[Any]:
        return [{"number": one.number} for one in inputs]


def _touch(number: int, bad: int) -> int:
    if number == bad:
        raise ZeroDivisionError
    if number == -bad:
        sys.exit("no more")
    return number


@pytest.mark.parametrize("number", [1, -1, 2, -2, 3, -3])
def test_whatever_an_authors_validators_raise_is_that_items_failure(number: int) -> None:
    """Of an input, of an output, or when that is written."""
    before, bad, after = ask(loaded(Touchy, max_batch=3), *numbers(7, number, 8))
    assert (before, after) == ({"number": 7}, {"number": 8})
    assert type(bad) is ModelFailed


class _Rewritten(Halved):
    @model_validator(mode="after")
    def rewritten(self) -> Self:
        self.half = "much"  # type: ignore[assignment] # as an author may
        return self


class Rewritten(Model):
    """Its outputs change themselves into what they may not be."""

    Input = Numbered
    Output = _Rewritten

    def predict(self, inputs: list[Any]) -> list[Any]:
        return [{"half": one.number} for one in inputs]


def test_an_output_that_cannot_be_written_is_a_failure() -> None:
    """Whatever the reason."""
    assert type(refusal(loaded(Rewritten), "typed", b"")) is ModelFailed


class Large(Model):
    """Its outputs are valid, but their numbers do not fit into a message's fields."""

    Input = Numbered
    Output = Halved

    def predict(self, inputs: list[Any]) -> list[Any]:
        return [{"half": 10.0**one.number} for one in inputs]


def test_a_number_that_does_not_fit_its_message_is_a_failure() -> None:
    """In JSON it fits."""
    model = loaded(Large)
    assert json.loads(call(model, JSON, {"number": 300})) == {"half": 1e300}
    assert type(refusal(model, "typed", b"\x08\xac\x02")) is ModelFailed


class Unloadable(Halves):
    def load(self, folder: object, options: object) -> None:  # noqa: ARG002
        raise OSError(2, "not there", "/srv/secret/weights.bin")


class LeavesOnLoad(Halves):
    def load(self, folder: object, options: object) -> None:  # noqa: ARG002
        sys.exit("no licence in /srv/secret/licence")


class Unschooled(Model):
    pass


class Greedy(Halves):
    max_batch = 65


@pytest.mark.parametrize(
    ("found", "expected", "field", "told"),
    [
        (Unloadable, ModelLoadFailed, None, "FileNotFoundError: [Errno 2] not there: 'weights.bin'"),
        (LeavesOnLoad, ModelLoadFailed, None, "SystemExit: no licence in licence"),
        (Unschooled, InvalidModel, "Input", "Unschooled.Input is no pydantic class"),
        (Greedy, InvalidModel, "max_batch", "max_batch is 65; accepted: 1 to 64"),
    ],
)
def test_a_model_that_cannot_be_loaded_says_why_without_folders(
    found: type, expected: type[Exception], field: str | None, told: str
) -> None:
    """Whatever it raises."""
    with pytest.raises(expected) as caught:
        loaded(found)
    error: Any = caught.value
    assert (error.detail, error.field) == (told, field)


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


class Pixel_input(BaseModel):  # noqa: N801 - as the message of the inputs could be called
    a_colour: Colour


class _Pixels(BaseModel):
    pixels: list[Pixel_input]
    by_name: dict[str, Pixel_input]
    r_input: int


class Paints(Model):
    Input = _Pixels
    Output = _Pixels

    def predict(self, inputs: list[Any]) -> list[Any]:
        return inputs


@pytest.mark.parametrize("name", ["r", "r-s", "b", "9"])
def test_a_model_keeps_its_numbers_under_another_name(name: str, tmp_path: Path) -> None:
    """Whatever types its messages have: the lock that is shipped with it knows one name alone."""
    known = Lock()
    Schema("r", _Pixels, _Pixels, known)
    numbers = {message: dict(members) for message, members in known.entries.items()}
    numbers["r_input"]["pixels"] = Entry(77, numbers["r_input"]["pixels"].type)
    numbers["r_Colour"]["r_Colour_RED"] = Entry(78, ENUM_VALUE)
    (tmp_path / FILE_NAME).write_text(Lock(numbers).to_json())
    source = of_class(Paints)
    stored = Source(source.kind, tmp_path / "1.0", source.options)
    descriptor = FileDescriptorProto.FromString(base64.b64decode(loaded(stored, name).card["descriptor"]))
    [given] = [one for one in descriptor.message_type if one.name == f"{identifier(name)}_input"]
    assert [field.number for field in given.field] == [77, 2, 3]
    assert [value.number for value in descriptor.enum_type[0].value] == [0, 78, 2]
    assert not given.reserved_name


def test_face_detection_is_hosted_by_no_model_process() -> None:
    """The workers have it."""
    with pytest.raises(InvalidModel) as caught:
        loaded(Source("face_detection"))
    assert caught.value.field == "kind"


def test_the_built_in_echo_does_what_its_input_says() -> None:
    """For trying out how models are called and fail."""
    long = {"text": "ab" * 2**20, "repeat": 1000}
    sent: list[dict[str, Any]] = [{"text": "a", "repeat": 3}, {"fail": True}, long, {"repeat": 0}]
    answers = ask(loaded(Source("echo")), *(request(JSON, one) for one in sent))
    assert answers[0] == {"text": "aaa"}
    assert [type(one) for one in answers[1:]] == [ModelFailed, InvalidInput, InvalidInput]
    assert [one.field for one in answers[1:]] == [None, "repeat", "repeat"]


def test_a_request_for_another_version_is_not_answered(caplog: pytest.LogCaptureFixture) -> None:
    """It may have waited in a queue whose number this model has been given since."""
    [outcome] = loaded(Halves).handle([replace(request("json", {"number": 2}), model="gone/1.0")])
    with pytest.raises(ModelNotReady, match=r"gone/1\.0"):
        unpack_answer(outcome.answer)
    assert not caplog.records


@pytest.mark.security(
    endpoint="models",
    attack="A model whose name or description is no text",
    outcome="It cannot be loaded",
)
@pytest.mark.parametrize("name", ["description", "display_name"])
def test_what_is_told_of_a_model_must_be_a_text(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Or the list of all models could not be told."""
    monkeypatch.setattr(Halves, name, ("A text and a comma.",))
    with pytest.raises(InvalidModel, match="accepted: a text") as caught:
        loaded(Halves)
    assert caught.value.field == name


class InPairs(Halves):
    max_batch = 2


def test_a_request_of_many_inputs_passes_a_checkpoint_before_each_computation() -> None:
    """So that it counts as hung by what one of them takes, and ends when it has no more time."""
    steps: list[None] = []

    def checkpoint() -> None:
        steps.append(None)
        if len(steps) > 3:
            raise DeadlineExceeded("It is late.")

    model = loaded(InPairs)
    meant = [replace(one, model=model.key) for one in numbers(2, 4, 6, 8)]
    assert [one.complete for one in model.handle(meant[:3], checkpoint)] == [True] * 3
    assert len(steps) == 2
    for outcome in model.handle(meant, checkpoint):
        with pytest.raises(DeadlineExceeded, match="late"):
            unpack_answer(outcome.answer)
