"""Rules of TorchServe's inference service in a worker, whatever its models are."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest

from inference_server.catalogue.entries import ModelSettings, State
from protos.torchserve import message_class, service_name
from tests.support.models import Served, card, lines, play, version
from utils.channel import MIB
from utils.errors import InvalidInput, ModelFailed, QueueFull, WorkerCrashed

SERVICE = f"/{service_name('inference')}"
PREDICT, STREAM, SEQUENCE, PING = (
    f"{SERVICE}/{method}" for method in ("Predictions", "StreamPredictions", "StreamPredictions2", "Ping")
)
INTERNAL_SERVER = "org.pytorch.serve.http.InternalServerException"


def request(name: str = "echo", content: bytes = b"a", **values: str) -> bytes:
    """A serialized PredictionsRequest."""
    kind = message_class("inference", "PredictionsRequest")
    made: bytes = kind(model_name=name, input={"data": content}, **values).SerializeToString()
    return made


def response(raw: bytes) -> Any:  # noqa: ANN401 - a class made at run time
    """A PredictionResponse."""
    return message_class("inference", "PredictionResponse").FromString(raw)


async def refusal(call: Any) -> tuple[grpc.StatusCode, str]:  # noqa: ANN401
    """Code and text of a call that fails."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return caught.value.code(), caught.value.details() or ""


def called(served: Served, method: str, message: bytes) -> Any:  # noqa: ANN401
    """A call at TorchServe's address."""
    return served.unary(method, message, channel=served.torchserve)


def test_a_model_gets_a_request_as_it_came() -> None:
    """In its operation for TorchServe's messages; its answer is the prediction."""

    async def scene(served: Served) -> None:
        sent = request(model_version="1.0", sequence_id="s")
        answer = response(await called(served, PREDICT, sent))
        assert (answer.prediction, answer.HasField("sequence_id"), answer.HasField("status")) == (
            sent,
            False,
            False,
        )
        [(work, _)] = served.models.works
        assert (work.model, work.operation, work.payload) == ("echo/1.0", "torchserve", sent)

    play(scene, version("echo"))


def test_the_services_are_each_at_their_own_address() -> None:
    """So that each can be secured on its own."""

    async def scene(served: Served) -> None:
        for call in (served.unary(PREDICT, request()), called(served, "/Models/List", b"")):
            assert (await refusal(call))[0] is grpc.StatusCode.UNIMPLEMENTED

    play(scene, version("echo"))


def test_bytes_that_are_no_message_are_a_callers_fault() -> None:
    """By each method that takes some."""

    async def scene(served: Served) -> None:
        code, text = await refusal(called(served, PREDICT, b"\xff"))
        assert code is grpc.StatusCode.INVALID_ARGUMENT
        assert text.endswith("\norg.pytorch.serve.http.BadRequestException")

    play(scene, version("echo"))


@pytest.mark.parametrize(
    ("error", "code", "text"),
    [
        (ModelFailed("it failed"), grpc.StatusCode.UNAVAILABLE, f"Prediction failed\n{INTERNAL_SERVER}"),
        (WorkerCrashed("it crashed"), grpc.StatusCode.INTERNAL, f"Worker died.\n{INTERNAL_SERVER}"),
        (
            InvalidInput("the text is bad", field="text"),
            grpc.StatusCode.INVALID_ARGUMENT,
            "the text is bad\norg.pytorch.serve.http.BadRequestException",
        ),
        (
            QueueFull("the queue is full", retry_after=2),
            grpc.StatusCode.RESOURCE_EXHAUSTED,
            "the queue is full\norg.pytorch.serve.http.ServiceUnavailableException",
        ),
    ],
)
def test_an_error_is_told_as_by_torchserve(error: Exception, code: grpc.StatusCode, text: str) -> None:
    """With the same in the details of the status, beside Facet's own reason; gRPC does not try again."""

    async def scene(served: Served) -> None:
        served.models.error = error
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await called(served, PREDICT, request())
        assert (caught.value.code(), caught.value.details()) == (code, text)
        trailing = dict(caught.value.trailing_metadata() or ())
        details = trailing["grpc-status-details-bin"]
        assert isinstance(details, bytes)
        assert text.encode() in details
        if isinstance(error, ModelFailed):
            assert trailing["grpc-retry-pushback-ms"] == "-1"

    play(scene, version("echo"))


@pytest.mark.security(
    endpoint="torchserve",
    attack="A fault of a worker's own",
    outcome="INTERNAL with nothing of the exception",
)
def test_a_fault_of_ours_tells_nothing_of_itself(caplog: pytest.LogCaptureFixture) -> None:
    """The log has it, with the status that was sent."""

    async def scene(served: Served) -> None:
        served.models.error = ZeroDivisionError("a secret")
        code, text = await refusal(called(served, PREDICT, request()))
        assert code is grpc.StatusCode.INTERNAL
        assert "secret" not in text

    with caplog.at_level(logging.INFO):
        play(scene, version("echo"))
    [line] = lines(caplog)
    assert (line["status"], line["reason"], line["model"]) == ("INTERNAL", "INTERNAL", "echo")


@pytest.mark.security(
    endpoint="torchserve",
    attack="A request over the limit",
    outcome="RESOURCE_EXHAUSTED",
)
def test_a_request_may_be_as_large_as_by_other_methods() -> None:
    """And no larger."""

    async def scene(served: Served) -> None:
        code, text = await refusal(called(served, PREDICT, request(content=bytes(2 * MIB))))
        assert code is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert "FACET_MAX_REQUEST_BYTES" in text

    play(scene, version("echo"), max_request_bytes=2 * MIB)


def test_a_call_has_the_time_that_its_caller_gives_it() -> None:
    """When it is over, the call is."""

    async def scene(served: Served) -> None:
        served.models.gate.clear()
        call = served.unary(PREDICT, request(), channel=served.torchserve, seconds=0.3)
        assert (await refusal(call))[0] is grpc.StatusCode.DEADLINE_EXCEEDED
        await served.models.until(lambda: bool(served.models.cancelled))

    play(scene, version("echo"))


def test_a_stream_that_its_caller_leaves_computes_no_further() -> None:
    """What was under way is given up."""

    async def scene(served: Served) -> None:
        served.models.gate.clear()

        async def requests() -> AsyncIterator[bytes]:
            yield request(sequence_id="a")

        call = served.stream(SEQUENCE, requests(), channel=served.torchserve)
        reading = asyncio.ensure_future(anext(aiter(call)))
        await served.models.until(lambda: len(served.models.works) == 1)
        call.cancel()
        await served.models.until(lambda: len(served.models.cancelled) == 1)
        await asyncio.gather(reading, return_exceptions=True)

    play(scene, version("echo"))


def test_a_sequence_has_one_line_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    """Which counts what was answered, and what failed."""

    async def scene(served: Served) -> None:
        async def requests() -> AsyncIterator[bytes]:
            for name in ("echo", "x", "echo"):
                yield request(name, sequence_id="a")

        answers = [
            response(raw) async for raw in served.stream(SEQUENCE, requests(), channel=served.torchserve)
        ]
        assert [answer.status.code for answer in answers] == [0, 13, 0]
        assert {answer.sequence_id for answer in answers} == {"a"}
        [detail] = answers[1].status.details
        assert b"org.pytorch.serve.archive.model.ModelNotFoundException" in detail.value

    with caplog.at_level(logging.INFO):
        play(scene, version("echo"))
    [line] = lines(caplog)
    assert (line["status"], line["items"], line["failed"]) == ("OK", 3, 1)
    assert "compute_ms" not in line  # which is of one item


@pytest.mark.parametrize(
    ("least", "there", "healthy"), [(1, 1, True), (2, 1, False), (1, 0, False), (0, 0, True)]
)
def test_ping_looks_at_the_processes_of_default_versions(least: int, there: int, *, healthy: bool) -> None:
    """Each must have as many as it is to have at least."""
    echo = version("echo", settings=ModelSettings(min_workers=least, max_workers=2))
    other = version("echo", "2.0", queue=2, state=State.FAILED)

    async def scene(served: Served) -> None:
        served.models.processes = {1: there, 2: 0}
        raw = await called(served, PING, b"")
        health = message_class("inference", "TorchServeHealthResponse").FromString(raw).health
        assert json.loads(health) == {"status": "Healthy" if healthy else "Unhealthy"}

    play(scene, echo, other)


def test_ping_is_unhealthy_while_the_first_version_of_a_model_loads() -> None:
    """Which is to become the default one."""

    async def scene(served: Served) -> None:
        served.models.publish(version("echo", state=State.LOADING, card=None), defaults={})
        raw = await called(served, PING, b"")
        assert b"Unhealthy" in raw

    play(scene)


@pytest.mark.security(
    endpoint="torchserve",
    attack="An input of 20,000 keys over gRPC",
    outcome="INVALID_ARGUMENT; the model does not see it",
)
def test_a_request_has_no_more_fields_than_are_looked_at() -> None:
    """An input of many keys would take the time of all other calls, and many times its memory."""
    keys = {f"{number}": b"" for number in range(20_000)}
    crowded = message_class("inference", "PredictionsRequest")(model_name="echo", input=keys)

    async def scene(served: Served) -> None:
        code, text = await refusal(called(served, PREDICT, crowded.SerializeToString()))
        assert code is grpc.StatusCode.INVALID_ARGUMENT
        assert "10000 fields" in text
        assert not served.models.works

    play(scene, version("echo"))


@pytest.mark.security(
    endpoint="torchserve",
    attack="A name of a model of 100,000 characters",
    outcome="Less than 1,000 of them are told and logged",
)
def test_a_name_of_any_length_is_told_and_logged_in_part(caplog: pytest.LogCaptureFixture) -> None:
    """All of it would not fit the status of a call."""
    name = "n" * 100_000

    async def scene(served: Served) -> None:
        code, text = await refusal(called(served, PREDICT, request(name)))
        assert code is grpc.StatusCode.INTERNAL
        assert text.startswith("Model not found: nnn")
        assert len(text) < 1000

    with caplog.at_level(logging.INFO):
        play(scene, version("echo"))
    [line] = lines(caplog)
    assert len(line["model"]) < 1000


def test_a_model_that_has_no_such_encoding_is_told_as_a_wrong_input() -> None:
    """With the encodings that it has; it is not as if there were no such method."""
    old = version("echo", card={**card("echo"), "operations": ["typed", "json"]})

    async def scene(served: Served) -> None:
        code, text = await refusal(called(served, PREDICT, request()))
        assert code is grpc.StatusCode.INVALID_ARGUMENT
        assert text.startswith("The model echo cannot be called by 'torchserve'; it can by typed, json.\n")

    play(scene, old)
