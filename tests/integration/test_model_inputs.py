"""Rules of what models refuse: the same error of the same field by every endpoint, through real processes."""

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import grpc
import numpy as np
import pytest

from inference_server.catalogue import commands
from protos.articles import Contract, message_class
from tests.support import gateway_process, model_store, onnx_models
from tests.support.model_backend import Backend, model_backend, wait_for_state
from tests.support.model_endpoints import (
    ENDPOINTS,
    OF_FORMS,
    OF_JSON,
    OF_MESSAGES,
    Input,
    Served,
    TypedMethods,
    item_error,
)
from tests.support.model_package import ODD_ENTRY_POINTS, ODD_MODELS, installed
from tests.support.pictures import ASTRONAUT, backdrop, encoded, portrait
from tests.support.processes import PATIENCE
from utils.channel import error_of
from utils.errors import (
    AnswerTooLarge,
    BrokenImage,
    FacetError,
    ImageEmpty,
    InvalidBase64,
    InvalidInput,
    MalformedRequest,
    MessageTooLarge,
    ModelFailed,
    ModelNotFound,
    ModelNotReady,
    OptionOutOfRange,
    UnsupportedImageFormat,
)

LIMIT = 2**20

EXACTING_MODELS = '''
"""Models whose schemas have every kind of member."""

from enum import Enum

from facet_serving import Model
from pydantic import BaseModel, Field


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


class Point(BaseModel):
    x: float
    y: float


class Exacting(Model):
    name = "exacting"
    max_batch = 4

    class Input(BaseModel):
        number: float
        count: int = Field(ge=0, le=1000)
        colour: Colour = Colour.RED
        content: bytes = b""

    class Output(BaseModel):
        count: int

    def predict(self, inputs):
        return [self.Output(count=one.count) for one in inputs]


class Nested(Model):
    name = "nested"

    class Input(BaseModel):
        points: list[Point]
        named: dict[str, Point] = {}

    class Output(BaseModel):
        count: int

    def predict(self, inputs):
        return [self.Output(count=len(one.points)) for one in inputs]
'''
EXACTING_ENTRY_POINTS = {"exacting": "exacting_models:Exacting", "nested": "exacting_models:Nested"}


@pytest.fixture(scope="module")
def backend(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Backend]:
    """One that hosts every kind, one model without processes, and one that cannot be loaded."""
    folder = tmp_path_factory.mktemp("backend")
    for add in (model_store.add_classifier, model_store.add_expression):
        add(folder / "store")
    onnx_models.linear(model_store.add_version(folder / "store", "linear/1.0", 'kind = "onnx"\n'))
    python = 'kind = "python"\nclass = "exacting_models:Exacting"\n'
    model_store.add_version(folder / "store", "exacting-python/1.0", python)
    site = tmp_path_factory.mktemp("site")
    installed(site, "odd_models", ODD_MODELS, ODD_ENTRY_POINTS)
    package = installed(site, "exacting_models", EXACTING_MODELS, EXACTING_ENTRY_POINTS)
    names = "face_detection,echo,classifier,expression,linear,exacting,exacting-python,nested"
    models = f"{names},idle=upper,failed=load-raises"
    limit = {"FACET_MAX_REQUEST_BYTES": str(LIMIT)}
    with model_backend(folder, FACET_MODELS=models, **limit, **package) as running:
        running.manage(commands.Scale("idle", "", 0, 0))
        wait_for_state(running, "failed/", "failed")
        yield running


@pytest.fixture(scope="module")
def served(backend: Backend) -> Iterator[Served]:
    """It, and a gateway before it whose limits are larger."""
    with gateway_process.gateway(backend.address) as gateway:
        yield Served(backend.address, "{}:{}".format(*gateway.address))


@pytest.fixture(params=ENDPOINTS)
def endpoint(request: pytest.FixtureRequest) -> str:
    """Each by its name."""
    name: str = request.param
    return name


@dataclass(frozen=True)
class Bad:
    """An input that is refused, and how."""

    name: str
    members: dict[str, Any] = field(default_factory=dict)
    error: type[FacetError] = InvalidInput
    field: str | None = None
    by: tuple[str, ...] = (*ENDPOINTS,)
    text: bytes | None = None
    message: bytes | None = None

    def refused(self, served: Served, endpoint: str) -> FacetError:
        """The error that an endpoint answers."""
        given = Input(self.name, self.members, text=self.text, message=self.message)
        with pytest.raises(self.error) as caught:
            ENDPOINTS[endpoint](served, given)
        assert type(caught.value) is self.error
        return caught.value


GOOD = {"number": 1.5, "count": 3}
MESSAGES, JSON, FORMS = (*OF_MESSAGES,), (*OF_JSON,), (*OF_FORMS,)
PORTRAIT = {"image": ASTRONAUT.read_bytes()}
TRUNCATED = ASTRONAUT.read_bytes()[:20_000]

BAD = {
    "not a number": Bad(
        "exacting", GOOD | {"number": math.nan}, field="number", text=b'{"number": NaN, "count": 1}'
    ),
    "infinite": Bad(
        "exacting", GOOD | {"number": -math.inf}, field="number", text=b'{"number": -1e999, "count": 1}'
    ),
    "too large": Bad("exacting", GOOD | {"count": 1001}, field="count"),
    "too large for 64 bits": Bad("exacting", GOOD | {"count": 2**63}, field="count", by=JSON + FORMS),
    "no value of the enum": Bad("exacting", GOOD | {"colour": 99}, field="colour"),
    "no name of the enum": Bad("exacting", GOOD | {"colour": "green"}, field="colour", by=JSON + FORMS),
    "another type": Bad("exacting", GOOD | {"number": "much"}, field="number", by=JSON + FORMS),
    "a member is missing": Bad("exacting", {"number": 1}, field="count", by=JSON + FORMS),
    "a part that is no member": Bad("exacting", GOOD | {"size": 1}, field="size", by=FORMS),
    "no base64": Bad("exacting", GOOD | {"content": "?"}, field="content", by=JSON),
    "of a list": Bad(
        "nested", {"points": [{"x": 1, "y": 2}, {"x": 1, "y": "b"}]}, field="points.1.y", by=JSON
    ),
    "of a map": Bad("nested", {"points": [], "named": {"a": {"x": 1}}}, field="named.a.y", by=JSON),
    "deep and not a number": Bad(
        "nested", {"points": [{"x": 1, "y": math.nan}]}, field="points.0.y", by=MESSAGES
    ),
    "no form for it": Bad("nested", {"points": 1}, field="operation", by=FORMS),
    "no object": Bad("exacting", error=MalformedRequest, text=b"[1]", by=JSON),
    "no JSON": Bad("exacting", error=MalformedRequest, text=b'{"number": ', by=JSON),
    "a member twice": Bad(
        "exacting",
        error=MalformedRequest,
        field="count",
        text=b'{"count": 1, "number": 1, "count": 2}',
        by=JSON,
    ),
    "a member of a list twice": Bad(
        "nested",
        error=MalformedRequest,
        field="points.1.x",
        text=b'{"points": [{"x": 1, "y": 2}, {"x": 1, "y": 2, "\\u0078": 1}]}',
        by=JSON,
    ),
    "faces, a member twice": Bad(
        "face_detection", error=MalformedRequest, field="image", text=b'{"image": "", "image": ""}', by=JSON
    ),
    "nothing": Bad("exacting", error=MalformedRequest, text=b"", by=JSON),
    "no message": Bad("exacting", error=MalformedRequest, message=b"\xff\xff", by=MESSAGES),
    "a picture as text": Bad("echo", error=MalformedRequest, message=b"\n\x02\xff\xd8", by=MESSAGES),
    "faces, no object": Bad("face_detection", error=MalformedRequest, text=b"[1]", by=JSON),
    "faces, no JSON": Bad("face_detection", error=MalformedRequest, text=b'{"image": ', by=JSON),
    "faces, no text": Bad("face_detection", {"image": 1}, field="image", by=JSON),
    "faces, no base64": Bad("face_detection", {"image": "?"}, InvalidBase64, "image", by=JSON),
    "faces, an option": Bad(
        "face_detection",
        {"image": b"text", "options": {"min_face_size": 1}},
        OptionOutOfRange,
        "options.min_face_size",
        by=MESSAGES + JSON,
    ),
    "no message of faces": Bad("face_detection", error=MalformedRequest, message=b"\xff\xff", by=MESSAGES),
    "echo": Bad("echo", {"text": "a", "repeat": 0}, field="repeat"),
    "python": Bad("exacting-python", GOOD | {"count": -1}, field="count"),
    "onnx": Bad("linear", {"x": [1.0, 2.0]}, field="x"),
    "the model fails": Bad("echo", {"fail": True}, ModelFailed),
    "classifier, no picture": Bad("classifier", {"image": b"text"}, UnsupportedImageFormat, "image"),
    "classifier, empty": Bad("classifier", {"image": b""}, ImageEmpty, "image"),
    "classifier, truncated": Bad("classifier", {"image": TRUNCATED}, BrokenImage, "image"),
    "expression, no picture": Bad("expression", {"image": b"text"}, UnsupportedImageFormat, "image"),
    "expression, truncated": Bad("expression", {"image": TRUNCATED}, BrokenImage, "image"),
    "faces, no picture": Bad(
        "face_detection", {"image": b"text"}, UnsupportedImageFormat, "image", by=MESSAGES + JSON
    ),
    "faces, truncated": Bad("face_detection", {"image": TRUNCATED}, BrokenImage, "image", by=MESSAGES + JSON),
    "faces, a form": Bad("face_detection", {"image": b"text"}, field="operation", by=FORMS),
    "too many bytes": Bad("echo", {"text": "a" * LIMIT}, MessageTooLarge),
    "too many bytes of an answer": Bad("echo", {"text": "a" * 2**19, "repeat": 21}, AnswerTooLarge),
}


@pytest.mark.parametrize(
    ("case", "endpoint"), [(case, endpoint) for case, bad in BAD.items() for endpoint in bad.by]
)
def test_what_is_wrong_with_an_input_is_the_same_by_every_endpoint(
    served: Served, case: str, endpoint: str
) -> None:
    """The reason, and the path of the member at fault."""
    error = BAD[case].refused(served, endpoint)
    assert error.field == BAD[case].field
    assert not re.search(r"/\w+/|Traceback", error.detail)


@pytest.mark.parametrize(
    ("name", "version", "error"),
    [
        ("no-such-model", "", ModelNotFound),
        ("echo", "9.9", ModelNotFound),
        ("face_detection", "2.0", ModelNotFound),
        ("idle", "", ModelNotReady),
        ("failed", "", ModelNotReady),
    ],
)
def test_a_model_that_cannot_answer_says_why(
    served: Served, name: str, version: str, error: type[FacetError], endpoint: str
) -> None:
    """No such model or version; none of its processes runs, or it could not be loaded."""
    with pytest.raises(error):
        ENDPOINTS[endpoint](served, Input(name, {}, version))


@pytest.mark.parametrize(
    "bad", ["too large", "no message", "the model fails", "classifier, no picture", "faces, no picture"]
)
def test_a_bad_input_of_a_stream_is_answered_in_its_place(served: Served, bad: str) -> None:
    """And all the others, behind it, too."""
    case = BAD[bad]
    goods: dict[str, dict[str, Any]] = {"exacting": GOOD, "echo": {"text": "a"}}
    good = goods.get(case.name, PORTRAIT)
    with grpc.insecure_channel(served.grpc) as channel:
        methods = TypedMethods(channel, case.name)
        messages = [methods.message(good)] * 10
        messages[4] = methods.message(case.members) if case.message is None else case.message
        items = methods.stream(messages)
        assert [item.index for item in items] == [*range(10)]
        assert [item.index for item in items if item.HasField("error")] == [4]
        error = item_error(items[4].error)
        assert (type(error), error.field) == (case.error, case.field)
        outputs = [methods.members(item.output) for item in items if item.index != 4]
    for output in outputs:
        output.pop("timings", None)
    assert outputs == [outputs[0]] * 9


def called(served: Served, contract: Contract, method: str, message: bytes, reply: str) -> Any:  # noqa: ANN401
    """What a method of a published contract answers."""
    with grpc.insecure_channel(served.grpc) as channel:
        call: Any = channel.unary_unary(method)
        try:
            return message_class(contract, reply).FromString(call(message, timeout=PATIENCE))
        except grpc.RpcError as error:
            raise error_of(error) from error


def classes(served: Served, *pictures: bytes, raw: bytes | None = None) -> list[int]:
    """What InferenceServer/inference answers."""
    request: Any = message_class("classifier", "InferenceRequest")
    message = request(image=pictures).SerializeToString() if raw is None else raw
    reply = called(served, "classifier", "/InferenceServer/inference", message, "InferenceReply")
    return [*reply.pred]


def faces(served: Served, picture: bytes, raw: bytes | None = None) -> list[Any]:
    """What Pipeline/run_pipeline answers."""
    request: Any = message_class("pipeline", "Request")
    message = request(image=picture).SerializeToString() if raw is None else raw
    return [*called(served, "pipeline", "/Pipeline/run_pipeline", message, "Response").response]


@pytest.mark.parametrize(
    ("picture", "error"), [(b"text", UnsupportedImageFormat), (TRUNCATED, BrokenImage), (b"", ImageEmpty)]
)
def test_a_batch_with_a_bad_picture_is_refused_by_its_place(
    served: Served, picture: bytes, error: type[FacetError]
) -> None:
    """As a whole, for its reply has no place for an error."""
    good = encoded(portrait(), "JPEG")
    with pytest.raises(error) as caught:
        classes(served, good, good, picture, good)
    assert caught.value.field == "image.2"
    with pytest.raises(error) as caught:
        faces(served, picture)
    assert caught.value.field == "image"


def test_published_contracts_answer_nothing_with_nothing(served: Served) -> None:
    """A batch without pictures, a picture without a face."""
    assert classes(served) == []
    assert faces(served, encoded(np.asarray(backdrop(200, 200)), "JPEG")) == []


def test_published_contracts_refuse_what_is_no_message_of_theirs(served: Served) -> None:
    """And what is over the limit."""
    for call in (classes, faces):
        with pytest.raises(MalformedRequest):
            call(served, b"", raw=b"\xff\xff")
        with pytest.raises(MessageTooLarge):
            call(served, bytes(LIMIT + 1))
