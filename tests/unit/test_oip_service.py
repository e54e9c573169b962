"""Rules of the Open Inference Protocol's service, as a worker serves it."""

import asyncio
import base64
import json
import logging
import math
import socket
import time
from collections.abc import AsyncIterator, Iterable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from inference_server.catalogue.entries import State
from protos import models_pb2
from protos.oip import message_class
from tests.support.control_socket import Control, control_socket
from tests.support.models import BAD, FAULT, Served, lines, play, version
from tests.support.open_inference import SERVICE, answered, raw, request, tensor
from tests.support.pictures import ASTRONAUT
from utils.channel import MIB, error_of
from utils.errors import (
    BackendUnavailable,
    FacetError,
    ImageEmpty,
    InvalidInput,
    MalformedRequest,
    ModelApiDisabled,
    ModelExists,
    ModelNotFound,
    ModelNotReady,
    OptionOutOfRange,
    TooManyChanges,
    UnsupportedImageFormat,
)

INFER, STREAM = f"/{SERVICE}/ModelInfer", f"/{SERVICE}/ModelStreamInfer"


async def ask(served: Served, method: str, **fields: Any) -> Any:  # noqa: ANN401
    """What a method answers to a request with these fields."""
    taken, given = f"{method}Request", f"{method}Response"
    content = await served.unary(f"/{SERVICE}/{method}", message_class(taken)(**fields))
    return message_class(given).FromString(content)


async def refusal(call: Any) -> FacetError:  # noqa: ANN401
    """What a call is refused with."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return error_of(caught.value)


def with_timeout(microseconds: object) -> bytes:
    """A request with this parameter."""
    made = message_class("ModelInferRequest")(model_name="echo")
    field = {int: "int64_param", str: "string_param", float: "double_param"}[type(microseconds)]
    setattr(made.parameters["timeout"], field, microseconds)
    content: bytes = made.SerializeToString()
    return content


def test_a_request_reaches_the_model_as_it_came() -> None:
    """Whoever hosts the model reads the rest."""
    sent = request(tensor("text", "BYTES", [1]), raws=[raw("BYTES", [b"a"])], model_name="echo", id="7")

    async def scene(served: Served) -> None:
        assert await served.unary(INFER, sent, x_request_id="id-1") == sent
        [(work, longest_wait)] = served.models.works
        assert (work.model, work.operation, work.payload) == ("echo/1.0", "oip", sent)
        assert longest_wait == math.inf

    play(scene, version("echo"))


@pytest.mark.parametrize(
    ("asked", "found"),
    [("", "2"), ("1", "1.0"), ("1.0", "1.0"), ("2", "2"), ("2.0", "2.0"), ("3.1", "3.1")],
)
def test_a_whole_number_is_also_the_version_that_ends_with_0(asked: str, found: str) -> None:
    """Where there is none of exactly that name."""
    versions = [version("echo", number, queue) for queue, number in enumerate(["2", "1.0", "2.0", "3.1"], 1)]

    async def scene(served: Served) -> None:
        await served.unary(INFER, request(model_name="echo", model_version=asked))
        assert served.models.works[0][0].model == f"echo/{found}"
        assert (await ask(served, "ModelReady", name="echo", version=asked)).ready

    play(scene, *versions)


@pytest.mark.parametrize("method", ["ModelInfer", "ModelMetadata", "ModelConfig"])
@pytest.mark.parametrize(
    ("name", "number", "detail"),
    [
        ("none", "", "Request for unknown model: 'none' is not found"),
        ("", "", "Request for unknown model: '' is not found"),
        ("echo", "3", "Request for unknown model: 'echo' has no version 3"),
    ],
)
def test_an_unknown_model_is_told_in_the_words_that_clients_look_for(
    method: str, name: str, number: str, detail: str
) -> None:
    """ModelReady says no instead."""

    async def scene(served: Served) -> None:
        prefix = "model_" if method == "ModelInfer" else ""
        fields = {f"{prefix}name": name, f"{prefix}version": number}
        error = await refusal(ask(served, method, **fields))
        assert (type(error), error.detail) == (ModelNotFound, detail)
        assert not (await ask(served, "ModelReady", name=name, version=number)).ready

    play(scene, version("echo"))


def test_a_model_that_does_not_serve_is_not_ready() -> None:
    """Its tensors are known from when it was loaded; of one that never was nothing is."""
    versions = [version("echo", state=State.IDLE), version("new", queue=2, state=State.LOADING, card=None)]

    async def scene(served: Served) -> None:
        for name in ("echo", "new"):
            assert not (await ask(served, "ModelReady", name=name)).ready
            assert type(await refusal(served.unary(INFER, request(model_name=name)))) is ModelNotReady
        assert (await ask(served, "ModelMetadata", name="echo")).inputs
        assert type(await refusal(ask(served, "ModelMetadata", name="new"))) is ModelNotReady

    play(scene, *versions)


def test_the_tensors_are_told_in_both_forms() -> None:
    """Triton's configuration has them without the dimension of the batch."""

    async def scene(served: Served) -> None:
        metadata = await ask(served, "ModelMetadata", name="echo")
        assert (metadata.name, metadata.versions, metadata.platform) == ("echo", ["1", "2"], "echo")
        [text], [length] = metadata.inputs, metadata.outputs
        assert (text.name, text.datatype, text.shape) == ("text", "BYTES", [-1, 3])
        assert (length.name, length.datatype, length.shape) == ("length", "INT64", [-1])
        config = (await ask(served, "ModelConfig", name="echo")).config
        [text], [length] = config.input, config.output
        assert (text.name, text.data_type, text.dims, text.optional) == ("text", 13, [3], True)
        assert (length.name, length.data_type, length.dims) == ("length", 9, [])
        assert (config.max_batch_size, config.backend) == (4, "echo")
        faces = (await ask(served, "ModelConfig", name="face_detection")).config
        assert (faces.max_batch_size, faces.input[0].dims) == (0, [-1])

    play(scene, version("echo"), version("echo", "2.0", 2), version("face_detection", queue=0))


def test_statistics_are_of_one_version_or_of_all_or_of_all_models() -> None:
    """In the order of the list; of a model that there is not there are none."""
    versions = [version("echo"), version("echo", "2.0", 2), version("face_detection", queue=0)]

    async def scene(served: Served) -> None:
        async def told(**asked: str) -> list[tuple[str, str]]:
            statistics = (await ask(served, "ModelStatistics", **asked)).model_stats
            return [(one.name, one.version) for one in statistics]

        of_echo = [("echo", "1"), ("echo", "2")]
        assert await told() == [*of_echo, ("face_detection", "1")]
        assert await told(name="echo") == of_echo
        assert await told(name="echo", version="2") == of_echo[1:]
        for asked in ({"name": "none"}, {"name": "echo", "version": "3"}):
            assert type(await refusal(ask(served, "ModelStatistics", **asked))) is ModelNotFound

    play(scene, *versions)


def test_the_server_says_that_it_lives_and_when_it_serves() -> None:
    """Ready is what its health says."""

    async def scene(served: Served) -> None:
        assert (await ask(served, "ServerLive")).live
        assert (await ask(served, "ServerReady")).ready
        await served.servicer.tell(serving=False)
        assert not (await ask(served, "ServerReady")).ready
        metadata = await ask(served, "ServerMetadata")
        assert metadata.name == "facet"
        assert metadata.extensions == [
            "binary_tensor_data",
            "classification",
            "model_configuration",
            "parameters",
            "statistics",
        ]

    play(scene, version("echo"))


def test_the_index_lists_every_version_in_its_state() -> None:
    """Or those that are ready."""
    states = {"1.0": State.READY, "2.0": State.LOADING, "3.0": State.IDLE, "4.0": State.FAILED}
    versions = [
        version("echo", number, queue, state=state, failure="no file" if state is State.FAILED else "")
        for queue, (number, state) in enumerate(states.items(), 1)
    ]

    async def scene(served: Served) -> None:
        listed = (await ask(served, "RepositoryIndex")).models
        assert [(one.version, one.state, one.reason) for one in listed] == [
            ("1", "READY", ""),
            ("2", "LOADING", ""),
            ("3", "UNAVAILABLE", "unloaded"),
            ("4", "UNAVAILABLE", "no file"),
        ]
        ready = (await ask(served, "RepositoryIndex", ready=True)).models
        assert [(one.name, one.version) for one in ready] == [("echo", "1")]

    play(scene, *versions)


@pytest.mark.parametrize("method", ["RepositoryModelLoad", "RepositoryModelUnload"])
def test_models_are_not_changed_unless_the_operator_allows_it(method: str) -> None:
    """The setting is named."""

    async def scene(served: Served) -> None:
        error = await refusal(ask(served, method, model_name="echo"))
        assert type(error) is ModelApiDisabled
        assert "FACET_MODEL_API" in error.detail

    play(scene, version("echo"))


@pytest.mark.security(
    endpoint="oip",
    attack="A model to be loaded from its caller's own configuration or files, or without a name",
    outcome="INVALID_ARGUMENT",
)
@pytest.mark.parametrize(
    "fields",
    [{}, *({"model_name": "echo", "parameters": {name: {}}} for name in ("config", "file:1/model.onnx"))],
)
def test_a_model_is_loaded_by_its_name_alone(fields: dict[str, Any]) -> None:
    """What it is made of does not come over the wire."""

    async def scene(served: Served) -> None:
        message = message_class("RepositoryModelLoadRequest")(model_name=fields.get("model_name", ""))
        for name in fields.get("parameters", {}):
            message.parameters[name].string_param = "{}"
        error = await refusal(served.unary(f"/{SERVICE}/RepositoryModelLoad", message))
        assert type(error) is InvalidInput

    play(scene, version("echo"), model_api=True)


def test_the_service_can_be_switched_off() -> None:
    """Then there is no such method, and reflection tells of none."""

    async def scene(served: Served) -> None:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await ask(served, "ServerLive")
        assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED

    play(scene, version("echo"), oip=False)


@pytest.mark.parametrize("method", ["TraceSetting", "SystemSharedMemoryStatus", "LogSettings"])
def test_extensions_that_are_not_listed_are_not_implemented(method: str) -> None:
    """As clients expect it."""

    async def scene(served: Served) -> None:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await served.unary(f"/{SERVICE}/{method}", b"")
        assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED

    play(scene, version("echo"))


def test_bytes_that_are_no_request_are_malformed() -> None:
    """By both methods; a stream goes on."""

    async def scene(served: Served) -> None:
        assert type(await refusal(served.unary(INFER, b"\xff"))) is MalformedRequest
        bad, good = await streamed(served, [b"\xff", request(model_name="echo", id="2")])
        assert "no message of protobuf" in bad.error_message
        assert good.infer_response.id == "2"

    play(scene, version("echo"))


# --- times ---


def test_the_timeout_of_a_request_is_a_deadline_of_its_caller() -> None:
    """In microseconds; the earlier one of it and the call's counts."""

    async def scene(served: Served) -> None:
        for microseconds, seconds in ((5_000_000, 5), (10**12, 60), (0, 60)):
            started = time.monotonic()
            await served.unary(INFER, with_timeout(microseconds), x_timeout_source="default")
            work, longest_wait = served.models.works[-1]
            assert work.deadline - started == pytest.approx(seconds, abs=2)
            assert (longest_wait == math.inf) is (microseconds != 0)

    play(scene, version("echo"))


@pytest.mark.parametrize("timeout", [-1, "1000", 1.5])
def test_a_timeout_is_a_whole_number(timeout: object) -> None:
    """Of microseconds."""

    async def scene(served: Served) -> None:
        error = await refusal(served.unary(INFER, with_timeout(timeout)))
        assert (type(error), error.field) == (InvalidInput, "timeout")

    play(scene, version("echo"))


# --- streams ---


async def streamed(served: Served, messages: Iterable[bytes], **metadata: str) -> list[Any]:
    """What a stream of requests is answered with."""

    async def each() -> AsyncIterator[bytes]:
        for message in messages:
            yield message

    answer = message_class("ModelStreamInferResponse")
    answers = served.stream(STREAM, each(), **metadata)  # type: ignore[arg-type] # none is called channel
    return [answer.FromString(one) async for one in answers]


def test_a_stream_answers_in_order_and_tells_errors_in_their_places(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """With the id of the request that failed; it ends well, and its one line counts them."""
    caplog.set_level(logging.INFO)
    names = ["echo"] * 10 + ["none"] + ["echo"] * 10

    async def scene(served: Served) -> None:
        sent = [request(model_name=name, id=str(number)) for number, name in enumerate(names)]
        answers = await streamed(served, sent)
        assert [one.infer_response.id for one in answers] == [*map(str, range(len(names)))]
        errors = {number: one.error_message for number, one in enumerate(answers) if one.error_message}
        assert errors == {10: "Request for unknown model: 'none' is not found"}
        assert answers[0].infer_response.parameters["triton_final_response"].bool_param

    play(scene, version("echo"))
    [line] = [record for record in caplog.records if record.getMessage() == "request"]
    fields = line.__dict__["facet_fields"]
    assert (fields["items"], fields["failed"], fields["status"]) == (21, 1, "OK")


def test_a_stream_ends_with_the_first_error_where_its_caller_wants_that() -> None:
    """As the status of the call; what came before is answered."""

    async def each() -> AsyncIterator[bytes]:
        for name in ("echo", "none", "echo"):
            yield request(model_name=name)

    async def scene(served: Served) -> None:
        method: Any = served.channel.stream_stream(STREAM)
        call = method(each(), timeout=60, metadata=(("triton_grpc_error", "true"),))
        assert await call.read()
        error = await refusal(call.read())
        assert (type(error), error.detail) == (
            ModelNotFound,
            "Request for unknown model: 'none' is not found",
        )

    play(scene, version("echo"))


def test_a_fault_of_ours_is_told_as_no_more_than_that_within_a_stream(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The log has it."""
    sent = [request(model_name="echo", id=one.decode()) for one in (FAULT, BAD)]

    async def scene(served: Served) -> None:
        fault, bad = await streamed(served, sent)
        assert fault.error_message.startswith("The service failed on this request.")
        assert bad.error_message == "text is bad"

    play(scene, version("echo"))
    assert any(record.getMessage() == "call failed" for record in caplog.records)


def test_a_caller_who_leaves_a_stream_cancels_what_is_under_way() -> None:
    """Of nobody else."""

    async def scene(served: Served) -> None:
        served.models.gate.clear()

        async def each() -> AsyncIterator[bytes]:
            yield request(model_name="echo")
            await asyncio.Event().wait()

        call = served.stream(STREAM, each())
        reading = asyncio.create_task(call.read())
        await served.models.until(lambda: bool(served.models.works))
        call.cancel()
        await served.models.until(lambda: bool(served.models.cancelled))
        await asyncio.gather(reading, return_exceptions=True)

    play(scene, version("echo"))


# --- face detection ---

FACES = version("face_detection", queue=0)


def pictures(*contents: bytes, **options: float) -> bytes:
    """A request for the faces in these pictures."""
    made = message_class("ModelInferRequest").FromString(
        request(
            tensor("image", "BYTES", [len(contents)]),
            raws=[raw("BYTES", [*contents])],
            model_name="face_detection",
        )
    )
    for name, value in options.items():
        made.parameters[name].double_param = value
    content: bytes = made.SerializeToString()
    return content


def test_face_detection_takes_pictures_and_gives_the_faces_of_all() -> None:
    """`num_faces` says how many are whose."""
    portrait = ASTRONAUT.read_bytes()

    async def scene(served: Served) -> None:
        answer = await served.unary(INFER, pictures(*[portrait] * 10))
        found = answered(answer)
        assert found["num_faces"] == [1] * 10
        lengths = {name: len(values) for name, values in found.items()}
        assert lengths == {"num_faces": 10, "boxes": 10, "landmarks": 10, "confidences": 10}
        message = message_class("ModelInferResponse").FromString(answer)
        shapes = {one.name: (one.datatype, [*one.shape]) for one in message.outputs}
        assert shapes == {
            "num_faces": ("INT32", [10]),
            "boxes": ("FP32", [10, 4]),
            "landmarks": ("FP32", [10, 5, 2]),
            "confidences": ("FP32", [10]),
        }
        assert (message.model_name, message.model_version) == ("face_detection", "1")
        none = answered(await served.unary(INFER, pictures()))
        assert none == {"num_faces": [], "boxes": [], "landmarks": [], "confidences": []}

    play(scene, FACES)


def test_a_picture_that_cannot_be_read_is_named_by_its_place() -> None:
    """The others are no answer then."""

    async def scene(served: Served) -> None:
        portrait = ASTRONAUT.read_bytes()
        for bad, kind in ((b"", ImageEmpty), (b"text", UnsupportedImageFormat)):
            error = await refusal(served.unary(INFER, pictures(portrait, bad)))
            assert (type(error), error.field) == (kind, "image.1")

    play(scene, FACES)


def test_the_options_of_a_detection_are_parameters_of_the_request() -> None:
    """Each in its range."""

    async def scene(served: Served) -> None:
        portrait = ASTRONAUT.read_bytes()
        await served.unary(INFER, pictures(portrait, min_face_size=40))
        error = await refusal(served.unary(INFER, pictures(portrait, min_face_size=4)))
        assert type(error) is OptionOutOfRange
        error = await refusal(served.unary(INFER, pictures(portrait, max_faces=1.5)))
        assert (type(error), error.field) == (InvalidInput, "max_faces")

    play(scene, FACES)


def test_the_timeout_of_a_request_is_that_of_each_of_its_pictures() -> None:
    """As a deadline."""
    made = message_class("ModelInferRequest").FromString(pictures(*[ASTRONAUT.read_bytes()] * 2))
    made.parameters["timeout"].int64_param = 7_000_000

    async def scene(served: Served) -> None:
        started = time.monotonic()
        await served.unary(INFER, made)
        deadlines = [work.deadline - started for work, _ in served.models.works]
        assert deadlines == pytest.approx([7, 7], abs=2)

    play(scene, FACES)


def test_the_log_names_the_model_of_a_request_that_there_is_not(caplog: pytest.LogCaptureFixture) -> None:
    """As by all other methods."""

    async def scene(served: Served) -> None:
        await refusal(served.unary(INFER, request(model_name="none", model_version="3")))

    with caplog.at_level(logging.INFO):
        play(scene, version("echo"))
    [line] = lines(caplog)
    assert (line["model"], line["version"], line["status"]) == ("none", "3", "NOT_FOUND")


# --- the repository ---


@pytest.fixture
def control(tmp_path: Path) -> Iterator[Control]:
    """The control socket of a backend."""
    with control_socket(tmp_path) as made:
        yield made


@pytest.mark.parametrize("state", [State.LOADING, State.IDLE, State.FAILED])
def test_a_load_of_what_is_registered_and_not_served_is_no_success(control: Control, state: State) -> None:
    """Whichever lower versions are served."""
    versions = [version("echo"), version("echo", "2.0", 2, state=state, failure="no file")]
    there = ModelExists("it is there")
    control.answers = [there, {}, {}, there, {}]  # each version that is there is reloaded

    async def scene(served: Served) -> None:
        error = await refusal(ask(served, "RepositoryModelLoad", model_name="echo"))
        assert type(error) is ModelNotReady
        assert error.detail == f"failed to load 'echo': it is registered already, and {state.value}: no file"
        served.models.publish(*versions[:1])
        assert (await ask(served, "RepositoryModelLoad", model_name="echo")).isLoaded

    play(scene, *versions, model_api=True, state_dir=control.folder)


@pytest.mark.security(
    endpoint="oip",
    attack="Five loads at once",
    outcome="The fifth is refused, also when a caller has left; a picture is answered meanwhile",
)
def test_changes_that_are_waited_for_hold_up_nothing_else(tmp_path: Path) -> None:
    """And are limited in number, also where their callers have left."""
    silent = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    silent.bind(str(tmp_path / "control.sock"))
    silent.listen()
    faces = {"image": base64.b64encode(ASTRONAUT.read_bytes()).decode()}
    call = models_pb2.PredictRequest(name="face_detection", json=json.dumps(faces).encode())

    async def scene(served: Served) -> None:
        loads = [asyncio.ensure_future(ask(served, "RepositoryModelLoad", model_name="a")) for _ in range(5)]
        [refused], waiting = await asyncio.wait(loads, timeout=30, return_when=asyncio.FIRST_COMPLETED)
        assert type(await refusal(refused)) is TooManyChanges
        waiting.pop().cancel()
        assert type(await refusal(ask(served, "RepositoryModelLoad", model_name="a"))) is TooManyChanges
        assert await served.unary("/Models/Predict", call)
        silent.close()
        for load in waiting:
            assert type(await refusal(load)) is BackendUnavailable

    play(scene, FACES, model_api=True, state_dir=tmp_path)


def test_the_log_has_of_one_picture_what_it_has_by_other_methods(caplog: pytest.LogCaptureFixture) -> None:
    """Of several each has its own, and the call has how many there are."""
    portrait = ASTRONAUT.read_bytes()

    async def scene(served: Served) -> None:
        for count in (1, 2):
            await served.unary(INFER, pictures(*[portrait] * count))

    with caplog.at_level(logging.INFO):
        play(scene, FACES)
    one, two = lines(caplog)
    assert (one["items"], one["faces"], two["items"]) == (1, 1, 2)
    assert "faces" not in two


@pytest.mark.security(
    endpoint="oip",
    attack="Parameters of 2 MiB",
    outcome="INVALID_ARGUMENT; the model does not see them",
)
def test_parameters_are_limited_before_a_request_is_routed() -> None:
    """Parsed they would take more memory than any of what the worker knows of."""
    made = message_class("ModelInferRequest")(model_name="echo")
    made.parameters["a"].string_param = "a" * 2 * MIB

    async def scene(served: Served) -> None:
        assert type(await refusal(served.unary(INFER, made))) is MalformedRequest
        assert not served.models.works

    play(scene, version("echo"))


def test_the_timeout_of_a_request_ends_for_all_of_its_pictures_together() -> None:
    """However many are before them."""
    made = message_class("ModelInferRequest").FromString(pictures(*[ASTRONAUT.read_bytes()] * 20))
    made.parameters["timeout"].int64_param = 30_000_000

    async def scene(served: Served) -> None:
        await served.unary(INFER, made)
        deadlines = [work.deadline for work, _ in served.models.works]
        received = [work.received for work, _ in served.models.works]
        assert max(deadlines) - min(deadlines) < (max(received) - min(received)) / 2

    play(scene, FACES)
