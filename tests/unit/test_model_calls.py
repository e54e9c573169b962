"""Rules of calls to models, over each method by which they are called."""

import asyncio
import base64
import logging
import math
from collections.abc import AsyncIterator, Awaitable
from typing import Any, cast

import grpc
import orjson
import pytest

from inference_server.api.face_model import FaceModel
from inference_server.api.interceptor import discard_notes
from inference_server.catalogue.entries import State
from inference_server.models.encoding import unpack_context
from inference_server.models.face_messages import decode_json, face_card
from protos import infer_pb2, models_pb2
from tests.support.models import BAD, FAULT, SERVICE, Served, lines, message_class, play, version
from tests.support.pictures import ASTRONAUT
from utils.channel import MIB, PREDICT, error_of
from utils.errors import (
    FacetError,
    ImageTooLarge,
    InternalError,
    InvalidBase64,
    InvalidInput,
    InvalidRequest,
    MalformedRequest,
    MessageTooLarge,
    ModelNotFound,
    ModelNotReady,
    OptionOutOfRange,
    UnsupportedImageFormat,
)

LIST, DESCRIBE, CALL = (f"/Models/{method}" for method in ("List", "Describe", "Predict"))
CLASSIFY, PIPELINE = "/InferenceServer/inference", "/Pipeline/run_pipeline"


def typed(name: str) -> str:
    """The path of a model's own method."""
    return f"/{SERVICE}/{name}_predict"


def request(name: str = "echo", **values: Any) -> models_pb2.PredictRequest:  # noqa: ANN401
    """A request by the model's name."""
    return models_pb2.PredictRequest(name=name, **values)


async def refusal(call: Any) -> FacetError:  # noqa: ANN401
    """What a call is refused with."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return error_of(caught.value)


async def predicted(served: Served, sent: models_pb2.PredictRequest) -> models_pb2.PredictReply:
    """What a request by name is answered with."""
    return models_pb2.PredictReply.FromString(await served.unary(CALL, sent))


def test_a_models_own_method_passes_messages_as_they_are() -> None:
    """To the queue of its version, under the names that came with the call."""
    echo = version("my-echo", queue=7)

    async def scene(served: Served) -> None:
        sent = message_class(echo, "my_echo_input")(text="ä").SerializeToString()
        trace = f"00-{'1' * 32}-{'2' * 16}-01"
        answer = await served.unary(typed("my_echo"), sent, x_request_id="id-1", traceparent=trace)
        assert message_class(echo, "my_echo_output").FromString(answer).text == "ä"
        [(work, _)] = served.models.works
        assert (work.model, work.operation, work.queue, work.payload) == ("my-echo/1.0", "typed", 7, sent)
        assert unpack_context(work.context) == ("id-1", trace, b"")

    play(scene, echo)


def test_a_call_has_the_patience_that_its_caller_names() -> None:
    """And that of one who names none is bounded by the setting."""

    async def scene(served: Served) -> None:
        await served.unary(typed("echo"), b"")
        await served.unary(typed("echo"), b"", x_timeout_source="default")
        assert [wait for _, wait in served.models.works] == [math.inf, 2.0]

    play(scene, version("echo"))


@pytest.mark.parametrize(
    ("sent", "operation", "payload", "parameters", "answered"),
    [
        ({"message": b"\n\x01a"}, "typed", b"\n\x01a", b"", "message"),
        ({"message": b""}, "typed", b"", b"", "message"),
        ({"json": b'{"text": 1}'}, "json", b'{"text": 1}', b"", "json"),
        (
            {"body": models_pb2.Body(content_type="multipart/form-data; boundary=x", content=b"--x--")},
            "multipart",
            b"--x--",
            b"multipart/form-data; boundary=x",
            "json",
        ),
        (
            {"encoded": models_pb2.Encoded(operation="typed", content=b"\n\x01a", parameters=b"x")},
            "typed",
            b"\n\x01a",
            b"x",
            "encoded",
        ),
    ],
)
def test_a_model_is_called_by_name_in_each_of_its_encodings(
    sent: dict[str, Any], operation: str, payload: bytes, parameters: bytes, answered: str
) -> None:
    """And answers in the same one, but forms in JSON; the reply names the version."""

    async def scene(served: Served) -> None:
        reply = await predicted(served, request(**sent))
        assert (reply.name, reply.version, reply.WhichOneof("output")) == ("echo", "1.0", answered)
        assert getattr(reply, answered) == payload
        [(work, _)] = served.models.works
        assert (work.operation, work.payload) == (operation, payload)
        assert unpack_context(work.context)[2] == parameters

    play(scene, version("echo"))


@pytest.mark.parametrize(
    ("sent", "field"),
    [
        ({}, "input"),
        ({"body": models_pb2.Body(content_type="x" * 1025)}, "body.content_type"),
        ({"encoded": models_pb2.Encoded(parameters=b"x" * 1025)}, "encoded.parameters"),
    ],
)
def test_a_request_without_a_readable_input_is_malformed(sent: dict[str, Any], field: str) -> None:
    """It says which member is at fault."""

    async def scene(served: Served) -> None:
        error = await refusal(served.unary(CALL, request(**sent)))
        assert (type(error), error.field) == (MalformedRequest, field)

    play(scene, version("echo"))


@pytest.mark.parametrize(
    ("method", "name", "operation", "advice"),
    [
        (CLASSIFY, "classifier", "classify", "facet models register classifier"),
        (PIPELINE, "expression", "pipeline", "facet models fetch expression"),
    ],
)
def test_a_published_contract_is_answered_by_the_model_that_a_setting_names(
    method: str, name: str, operation: str, advice: str
) -> None:
    """Where there is none the caller is told how one gets there."""

    async def scene(served: Served) -> None:
        error = await refusal(served.unary(method, b"picture"))
        assert isinstance(error, ModelNotFound)
        assert advice in error.detail
        served.models.publish(version(name))
        assert await served.unary(method, b"picture") == b"picture"
        [(work, _)] = served.models.works
        assert (work.model, work.operation) == (f"{name}/1.0", operation)

    play(scene)


def test_an_operation_that_a_model_has_not_is_refused() -> None:
    """With those that it has."""
    echo = version("classifier")
    echo = version("classifier", card={**(echo.card or {}), "operations": ["typed", "json"]})

    async def scene(served: Served) -> None:
        error = await refusal(served.unary(CLASSIFY, b""))
        assert (type(error), error.field) == (InvalidInput, "operation")
        assert "'classify'; it can by typed, json" in error.detail
        assert not served.models.works

    play(scene, echo)


@pytest.mark.parametrize("method", [typed("nothing"), f"{typed('nothing')}_stream"])
def test_a_method_of_no_model_says_that_there_is_none(method: str) -> None:
    """So that its caller knows that the service is there."""

    async def nothing() -> AsyncIterator[bytes]:
        yield b""

    async def scene(served: Served) -> None:
        streams = method.endswith("stream")
        answer = anext(aiter(served.stream(method, nothing()))) if streams else served.unary(method, b"")
        error = await refusal(answer)
        assert isinstance(error, ModelNotFound)
        assert "nothing" in error.detail

    play(scene, version("echo"))


@pytest.mark.parametrize("method", ["echo", "get_model", "predict", "echo_predict_", "_"])
def test_what_is_no_models_method_is_unknown(method: str) -> None:
    """To gRPC, as methods of other services are."""

    async def scene(served: Served) -> None:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await served.unary(f"/{SERVICE}/{method}", b"")
        assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED

    play(scene, version("echo"))


def test_methods_come_and_go_with_their_models() -> None:
    """On one connection, and by the very same path."""

    async def scene(served: Served) -> None:
        for _ in range(3):
            served.models.publish(version("echo"))
            assert await served.unary(typed("echo"), b"a") == b"a"
            served.models.publish()
            assert isinstance(await refusal(served.unary(typed("echo"), b"a")), ModelNotFound)

    play(scene)


def test_a_call_may_name_a_version() -> None:
    """In metadata, or in the request; else the default one answers."""
    versions = (version("echo", "1.0", 1), version("echo", "2.0", 2))

    async def scene(served: Served) -> None:
        await served.unary(typed("echo"), b"")
        await served.unary(typed("echo"), b"", x_model_version="2.0")
        assert (await predicted(served, request(json=b""))).version == "1.0"
        assert (await predicted(served, request(json=b"", version="2.0"))).version == "2.0"
        assert [work.queue for work, _ in served.models.works] == [1, 2, 1, 2]
        for call in (
            served.unary(typed("echo"), b"", x_model_version="3.0"),
            served.unary(CALL, request(json=b"", version="3.0")),
        ):
            assert isinstance(await refusal(call), ModelNotFound)

    play(scene, *versions)


def test_canary_weights_choose_by_the_calls_id() -> None:
    """The same id gets the same version, by whichever method."""
    versions = (version("echo", "1.0", 1), version("echo", "2.0", 2))

    async def scene(served: Served) -> None:
        served.models.publish(*versions, canary={"echo": {"2.0": 50}})
        for number in range(40):
            await served.unary(typed("echo"), b"", x_request_id=f"id-{number}")
            await served.unary(CALL, request(json=b""), x_request_id=f"id-{number}")
        queues = [work.queue for work, _ in served.models.works]
        assert queues[::2] == queues[1::2]
        assert {1, 2} == set(queues)

    play(scene, *versions)


@pytest.mark.parametrize("state", [State.LOADING, State.IDLE, State.FAILED])
def test_a_model_that_is_not_ready_is_not_called(state: State) -> None:
    """By no method."""

    async def scene(served: Served) -> None:
        for call in (served.unary(typed("echo"), b""), served.unary(CALL, request(json=b""))):
            assert isinstance(await refusal(call), ModelNotReady)
        assert not served.models.works

    play(scene, version("echo", state=state))


def test_what_a_model_answers_to_a_wrong_input_reaches_its_caller(caplog: pytest.LogCaptureFixture) -> None:
    """As a model's own words; a fault of ours has none. Each call has one line, which names the version."""

    async def scene(served: Served) -> None:
        error = await refusal(served.unary(typed("echo"), BAD))
        assert (type(error), error.detail, error.field) == (InvalidInput, "text is bad", "text")
        assert isinstance(await refusal(served.unary(CALL, request(message=FAULT))), InternalError)
        await served.unary(typed("echo"), b"abc")

    with caplog.at_level(logging.INFO):
        play(scene, version("echo"))
    logged = lines(caplog)
    assert [line.get("reason") for line in logged] == ["INVALID_INPUT", "INTERNAL", None]
    assert all(line["model"] == "echo" and line["version"] == "1.0" for line in logged)
    assert {"bytes": 3, "compute_ms": 1.5}.items() <= logged[-1].items()


@pytest.mark.security(
    endpoint="models",
    attack="An input of one byte over the limit, by three methods",
    outcome="RESOURCE_EXHAUSTED; the model does not see it",
)
@pytest.mark.parametrize("excess", [0, 1])
def test_an_input_is_taken_up_to_the_limit_and_refused_beyond(excess: int) -> None:
    """By every method, and whatever else the message takes; larger images have their own limit and error."""
    limit = 2 * MIB
    payload = bytes(limit + excess)

    async def scene(served: Served) -> None:
        calls = [
            served.unary(typed("classifier"), payload),
            served.unary(CLASSIFY, payload),
            served.unary(CALL, request("classifier", json=payload)),
        ]
        if not excess:
            for call in calls:
                await call
            return
        for call in calls:
            error = await refusal(call)
            assert isinstance(error, MessageTooLarge)
            assert f"{limit + 1} bytes; the limit is {limit}" in error.detail
        assert not served.models.works

    play(scene, version("classifier"), max_request_bytes=limit)


@pytest.mark.parametrize("limits", [(MIB, 4 * MIB), (4 * MIB, MIB)])
def test_pictures_and_inputs_have_each_their_own_limit(limits: tuple[int, int]) -> None:
    """Whichever is the larger one, which is the transport's."""
    largest_image, largest_input = limits
    payload = bytes(2 * MIB)

    async def scene(served: Served) -> None:
        picture = await refusal(served.unary(PREDICT, infer_pb2.Image(raw_data=payload)))
        assert isinstance(picture, ImageTooLarge if largest_image < len(payload) else UnsupportedImageFormat)
        call = served.unary(typed("echo"), payload)
        if largest_input < len(payload):
            assert isinstance(await refusal(call), MessageTooLarge)
        else:
            assert await call == payload

    play(scene, version("echo"), max_image_bytes=largest_image, max_request_bytes=largest_input)


def test_models_are_listed_and_described() -> None:
    """All versions in any state, by what their cards say; of one that was never loaded little is known."""
    versions = (version("b", "2.0"), version("b", "10.0"), version("a", state=State.LOADING, card=None))

    async def scene(served: Served) -> None:
        listed = models_pb2.ListReply.FromString(await served.unary(LIST, models_pb2.ListRequest()))
        assert [(one.name, one.version, one.state, one.default) for one in listed.models] == [
            ("a", "1.0", "loading", True),
            ("b", "2.0", "ready", True),
            ("b", "10.0", "ready", False),
        ]
        assert {one.generation for one in listed.models} == {listed.generation} == {1}
        assert not listed.models[0].descriptor
        asked = models_pb2.DescribeRequest(name="b")
        described = models_pb2.ModelDescription.FromString(await served.unary(DESCRIBE, asked))
        assert described == listed.models[1]
        assert (described.kind, described.max_batch, described.display_name) == ("echo", 4, "B")
        assert described.input_schema == b'{"title":"b_input"}'
        for name, number in (("b", "3.0"), ("c", "")):
            asked = models_pb2.DescribeRequest(name=name, version=number)
            assert isinstance(await refusal(served.unary(DESCRIBE, asked)), ModelNotFound)

    play(scene, *versions)


@pytest.mark.parametrize(
    ("number", "expected"),
    [("3", (3, 0)), ("1.10", (1, 10)), ("2.1rc1", (2, 1)), ("99999999999.1", (2**31 - 1, 1))],
)
def test_get_models_tells_loaded_models_by_their_default_versions(
    number: str, expected: tuple[int, int]
) -> None:
    """With numbers of the version as far as it has some."""
    versions = (version("my-echo", number), version("my-echo", "0.1"), version("new", card=None))

    async def scene(served: Served) -> None:
        raw = await served.unary(f"/{SERVICE}/get_models", b"")
        [model] = message_class(versions[0], "model_collection").FromString(raw).models
        assert (model.major_version, model.minor_version) == expected
        assert (model.qualified_name, model.display_name) == ("my-echo", "My-Echo")
        assert (model.input_type, model.output_type) == ("my_echo_input", "my_echo_output")
        assert model.predict_operation == "my_echo_predict"

    play(scene, *versions)


def test_face_detection_as_a_model_gives_nothing_beside_the_faces() -> None:
    """Its schemas have none of it, and a field that they do not have is passed over, as always."""
    faces = version("face_detection", queue=0, card=face_card("face_detection"))
    wanted = infer_pb2.Wanted(quality=True, crops=infer_pb2.Crops(), annotated=infer_pb2.Annotated())

    async def scene(served: Served) -> None:
        given = infer_pb2.Image(raw_data=ASTRONAUT.read_bytes(), wanted=wanted)
        answer = infer_pb2.InferResults.FromString(
            await served.unary(typed("face_detection"), given.SerializeToString())
        )
        assert len(answer.results) == 1
        assert not answer.HasField("annotated")
        assert not answer.results[0].HasField("quality")
        fields = message_class(faces, "face_detection_output").DESCRIPTOR.fields_by_name
        assert {*fields} == {"results", "image", "model", "timings"}
        as_json = orjson.dumps({"image": base64.b64encode(ASTRONAUT.read_bytes()).decode()})
        reply = await predicted(served, request("face_detection", json=as_json))
        values = orjson.loads(reply.json)
        assert {*values["timings"]} == {"queue_ms", "decode_ms", "detect_ms", "total_ms"}
        assert {*values["results"][0]} == {"box", "landmarks", "confidence"}

    play(scene, faces)
    card = orjson.dumps([face_card("face_detection")[of] for of in ("input_schema", "output_schema")])
    assert not [
        name for name in ("wanted", "quality", "crop", "annotated", "extras_ms") if name in card.decode()
    ]


def test_face_detection_is_called_like_any_model() -> None:
    """By its own method, by name, and in JSON, as `/Inference/Predict` answers."""
    image = ASTRONAUT.read_bytes()
    faces = version("face_detection", queue=0, card=face_card("face_detection"))

    async def scene(served: Served) -> None:
        expected = infer_pb2.InferResults.FromString(
            await served.unary(PREDICT, infer_pb2.Image(raw_data=image))
        )
        options = {"min_face_size": 40.0, "max_faces": 3}
        given = message_class(faces, "face_detection_input")(image=image, options=options)
        answer = await served.unary(typed("face_detection"), given)
        made = message_class(faces, "face_detection_output").FromString(answer)
        assert made.results[0].confidence == expected.results[0].confidence
        reply = await predicted(served, request("face_detection", message=given.SerializeToString()))
        assert infer_pb2.InferResults.FromString(reply.message).results == expected.results
        as_json = orjson.dumps({"image": base64.b64encode(image).decode(), "options": options})
        reply = await predicted(served, request("face_detection", json=as_json))
        values = orjson.loads(reply.json)
        assert values.keys() == {"results", "image", "model", "timings"}
        assert values["results"][0]["confidence"] == expected.results[0].confidence
        assert values["image"] == {"width": 512, "height": 512, "exif_orientation": 1}
        sent = {work.operation for work, _ in served.models.works}
        assert (sent, {work.payload for work, _ in served.models.works}) == ({"detect"}, {image})
        contexts = [unpack_context(work.context)[2] for work, _ in served.models.works[1:]]
        asked = infer_pb2.Image(options=infer_pb2.DetectOptions(**options))  # type: ignore[arg-type]
        assert {infer_pb2.Image.FromString(each).SerializeToString() for each in contexts} == {
            asked.SerializeToString()
        }

    play(scene, faces)


@pytest.mark.parametrize("text", ["-_-_", "+/+/", " +/\n+/ ", "AA", "AA==", "AAA"])
def test_an_image_in_json_is_base64_as_it_is_over_http(text: str) -> None:
    """Of either alphabet, with or without padding."""
    given = orjson.dumps({"image": text})
    assert decode_json(given).raw_data == base64.b64decode(text.strip() + "==", altchars=b"-_")


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        ({"json": b"{"}, MalformedRequest),
        ({"json": b"[]"}, MalformedRequest),
        ({"json": b'{"image": 1}'}, InvalidInput),
        ({"json": b'{"image": "", "size": 1}'}, InvalidInput),
        ({"json": b'{"image": "", "options": {"min_face": 1}}'}, InvalidInput),
        ({"json": b'{"image": "", "options": [1]}'}, InvalidInput),
        ({"json": b'{"image": "iVBO!"}'}, InvalidBase64),
        ({"json": b'{"image": "YQ==", "options": {"min_face_size": 1}}'}, OptionOutOfRange),
        ({"json": b'{"image": "YQ=="}'}, UnsupportedImageFormat),
        ({"message": b"\xff"}, MalformedRequest),
        ({"body": models_pb2.Body(content=b"x")}, InvalidInput),
    ],
)
def test_what_face_detection_cannot_read_is_the_callers_fault(
    sent: dict[str, Any], expected: type[FacetError]
) -> None:
    """In each encoding."""

    async def scene(served: Served) -> None:
        error = await refusal(served.unary(CALL, request("face_detection", **sent)))
        assert type(error) is expected

    play(scene, version("face_detection", queue=0, card=None))


def test_a_call_whose_caller_leaves_is_cancelled() -> None:
    """Its work, too."""

    async def scene(served: Served) -> None:
        served.models.gate.clear()
        call = served.unary(typed("echo"), b"a")
        waiting = asyncio.ensure_future(call)
        await served.models.until(lambda: len(served.models.works) == 1)
        call.cancel()
        await served.models.until(lambda: served.models.cancelled == [b"a"])
        await asyncio.gather(waiting, return_exceptions=True)

    play(scene, version("echo"))


async def turns_of_loop_during(call: Awaitable[object]) -> int:
    """How often the event loop comes round while a call is under way."""
    discard_notes()
    under_way = asyncio.ensure_future(call)
    turns = 0
    await asyncio.sleep(0)  # in which it begins
    while not under_way.done():
        await asyncio.sleep(0)
        turns += 1
    await under_way
    return turns


@pytest.mark.parametrize(
    ("operation", "parameters"),
    [
        ("json", b""),
        ("torchserve", b""),
        ("torchserve_http", b"multipart/form-data"),
        ("oip", b""),
        ("oip_http", b""),
    ],
)
def test_the_event_loop_goes_on_while_a_large_input_of_face_detection_is_read(
    operation: str, parameters: bytes
) -> None:
    """It takes up to seconds, in which all other calls of the worker would wait."""
    model = FaceModel(cast(Any, None))

    async def refused() -> None:
        with pytest.raises(InvalidRequest):
            await model.call(operation, b"\xff" * MIB, None, parameters, "faces/1")

    assert asyncio.run(turns_of_loop_during(refused()))


class Crowd:
    """Finds many faces in any picture."""

    async def predict(self, _message: infer_pb2.Image, _context: object) -> bytes:
        """Results of a thousand faces."""
        face = infer_pb2.Result(confidence=0.5)
        timings = infer_pb2.Timings(total_ms=1)
        return infer_pb2.InferResults(results=[face] * 1000, timings=timings).SerializeToString()


@pytest.mark.parametrize(
    ("operation", "payload"),
    [
        ("json", b'{"image": "YQ=="}'),
        ("torchserve_http", b"a"),
        ("oip_http", b'{"inputs": [{"name": "image", "datatype": "BYTES", "shape": [1], "data": ["a"]}]}'),
    ],
)
def test_the_event_loop_goes_on_while_an_answer_of_many_faces_is_made(operation: str, payload: bytes) -> None:
    """As long as that takes."""
    call = FaceModel(Crowd()).call(operation, payload, None, b"", "faces/1")
    assert asyncio.run(turns_of_loop_during(call))
