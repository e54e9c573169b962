"""Rules of a worker's gRPC server: what it does with calls that are not as they should be."""

import contextlib
import re
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2

from protos import infer_pb2 as pb
from tests.support.facet import inference as backend
from tests.support.http2 import UnfinishedMessages, flood, unfinished_messages
from tests.support.pictures import ASTRONAUT
from tests.support.processes import Process, wait_until
from utils.channel import MIB, PREDICT, error_of
from utils.errors import (
    DeadlineExceeded,
    FacetError,
    ImageTooLarge,
    MalformedRequest,
    ModelNotFound,
    TooManyUnfinishedMessages,
)
from utils.metadata import REQUEST_ID
from utils.service_client import ServiceClient

NO_MESSAGE = b"\xff\xff"
HEALTH = "/grpc.health.v1.Health"
REFLECTION = "/grpc.reflection.{}.ServerReflection/ServerReflectionInfo"
MODELS = "/Models/Predict"
TYPED = "/model_grpc_service.ModelgRPCService"
UNARY = (PREDICT, f"{HEALTH}/Check", f"{HEALTH}/List", MODELS, "/Models/List", f"{TYPED}/get_models")
MOST_GROWTH = 256e6


@pytest.fixture(scope="module")
def served() -> Iterator[tuple[Process, str]]:
    """A backend of one worker that gives a message 8 s, and its address."""
    settings = {"FACET_WORKERS": "1", "FACET_TIMEOUT_SECONDS": "8", "FACET_MAX_TIMEOUT_SECONDS": "8"}
    with backend(**settings) as (process, address):
        yield process, address
        assert not [line for line in process.lines if '"level": "error"' in line]


@pytest.fixture
def channel(served: tuple[Process, str]) -> Iterator[grpc.Channel]:
    """A channel to it, that sends nothing twice."""
    with grpc.insecure_channel(served[1], options=[("grpc.enable_retries", 0)]) as made:
        yield made


def failure(call: Any) -> FacetError:  # noqa: ANN401 - of any kind
    """What a call that answers with a stream is refused with."""
    with pytest.raises(grpc.RpcError) as caught:
        list(call)
    return error_of(caught.value)


def send(
    channel: grpc.Channel,
    method: str,
    messages: Iterator[bytes],
    timeout: float | None = 30,
    request_id: str = "",
) -> Any:  # noqa: ANN401
    """A call with any number of messages."""
    streamed: Any = channel.stream_stream(method)
    return streamed(messages, timeout=timeout, metadata=[(REQUEST_ID, request_id)])


def never() -> Iterator[bytes]:
    """Messages that do not come."""
    threading.Event().wait()
    yield b""


def memory(pid: int) -> int:
    """Bytes of a process in RAM."""
    found = re.search(r"^VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    assert found is not None
    return int(found[1]) * 1024


@pytest.mark.security(
    endpoint="grpc",
    attack="Bytes that are no message, to methods of pictures, models, health and reflection",
    outcome="INVALID_ARGUMENT, and no error in the log",
)
@pytest.mark.parametrize("method", [*UNARY, f"{HEALTH}/Watch", *map(REFLECTION.format, ("v1", "v1alpha"))])
def test_bytes_that_are_no_message_are_the_callers_fault(channel: grpc.Channel, method: str) -> None:
    """Of every service, and no line of level ERROR says otherwise."""
    assert isinstance(failure(send(channel, method, iter([NO_MESSAGE]))), MalformedRequest)


@pytest.mark.security(
    endpoint="grpc",
    attack="No message or two where one belongs",
    outcome="INVALID_ARGUMENT",
)
@pytest.mark.parametrize("method", UNARY)
@pytest.mark.parametrize("count", [0, 2])
def test_a_call_that_needs_one_message_is_refused_with_none_and_with_two(
    channel: grpc.Channel, method: str, count: int
) -> None:
    """At once, and not when its time is over."""
    assert isinstance(failure(send(channel, method, iter([b""] * count))), MalformedRequest)


@pytest.mark.security(
    endpoint="grpc",
    attack="A message of 34 MiB",
    outcome="RESOURCE_EXHAUSTED",
)
@pytest.mark.parametrize("method", [PREDICT, MODELS])
def test_a_message_over_the_limit_is_refused(channel: grpc.Channel, method: str) -> None:
    """By the transport, which says so."""
    with pytest.raises(grpc.RpcError) as caught:
        list(send(channel, method, iter([bytes(34 * MIB)])))
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


@pytest.mark.parametrize("method", ["nothing_predict", "nothing_predict_stream"])
def test_a_method_of_no_model_says_that_there_is_no_such_model(channel: grpc.Channel, method: str) -> None:
    """Of any worker, before there is one."""
    assert isinstance(failure(send(channel, f"{TYPED}/{method}", iter([b""]))), ModelNotFound)


def test_a_picture_over_its_limit_is_refused_as_one(channel: grpc.Channel) -> None:
    """Though a model's input may be as long."""
    message = pb.Image(raw_data=bytes(12 * MIB)).SerializeToString()
    assert isinstance(failure(send(channel, PREDICT, iter([message]))), ImageTooLarge)


def test_the_health_of_all_services_can_be_listed(channel: grpc.Channel) -> None:
    """The server's, the service's and each model's, as Check tells them."""
    listed = health_pb2_grpc.HealthStub(channel).List(health_pb2.HealthListRequest(), timeout=10)
    serving = health_pb2.HealthCheckResponse.SERVING
    assert {name: answer.status for name, answer in listed.statuses.items()} == {
        "": serving,
        "Inference": serving,
        "models/face_detection": serving,
    }


@pytest.mark.parametrize("version", ["v1", "v1alpha"])
@pytest.mark.parametrize(
    "symbol",
    [
        "Inference",
        "Inference.Predict",
        "Inference.PredictStream",
        "Image",
        "grpc.health.v1.Health.Check",
        "grpc.reflection",
        "Models.Predict",
        "model_grpc_service.ModelgRPCService.get_models",
        "inference.GRPCInferenceService.ModelInfer",
    ],
)
def test_reflection_knows_services_methods_and_messages(
    channel: grpc.Channel, version: str, symbol: str
) -> None:
    """By both names of its protocol, itself included."""
    if symbol == "grpc.reflection":
        symbol = f"grpc.reflection.{version}.ServerReflection"
    asked = reflection_pb2.ServerReflectionRequest(file_containing_symbol=symbol).SerializeToString()
    [raw] = send(channel, REFLECTION.format(version), iter([asked]))
    answer = reflection_pb2.ServerReflectionResponse.FromString(raw)
    assert answer.file_descriptor_response.file_descriptor_proto, answer


def test_reflection_lists_every_service(channel: grpc.Channel) -> None:
    """Itself by both names."""
    asked = reflection_pb2.ServerReflectionRequest(list_services="").SerializeToString()
    [raw] = send(channel, REFLECTION.format("v1"), iter([asked]))
    listed = reflection_pb2.ServerReflectionResponse.FromString(raw).list_services_response.service
    reflections = {f"grpc.reflection.{version}.ServerReflection" for version in ("v1", "v1alpha")}
    ours = {"Inference", "Models", "InferenceServer", "Pipeline", "model_grpc_service.ModelgRPCService"}
    others = {"inference.GRPCInferenceService", "grpc.health.v1.Health"}
    assert {each.name for each in listed} == {*ours, *others, *reflections}


@pytest.mark.security(
    endpoint="grpc",
    attack="Metadata of 16,500 bytes",
    outcome="Refused, 20 times of 20",
)
@pytest.mark.parametrize(("size", "accepted"), [(9_000, True), (15_000, True), (16_500, False)])
def test_metadata_is_accepted_up_to_16_kib_and_never_beyond(
    channel: grpc.Channel, size: int, accepted: bool
) -> None:
    """Twenty times of twenty."""
    stub: Any = health_pb2_grpc.HealthStub(channel)
    for _ in range(20):
        call = stub.Check.future(health_pb2.HealthCheckRequest(), timeout=10, metadata=[("x", "y" * size)])
        assert (call.code() is grpc.StatusCode.OK) == accepted, call.details()


@pytest.mark.security(
    endpoint="grpc",
    attack="A message that never comes, of a call without a deadline",
    outcome="DEADLINE_EXCEEDED after `FACET_MAX_TIMEOUT_SECONDS`",
)
def test_an_unfinished_message_is_ended_after_the_longest_time(channel: grpc.Channel) -> None:
    """That a request may ask for; also where its call has no deadline."""
    assert isinstance(failure(send(channel, PREDICT, never(), None)), DeadlineExceeded)


@pytest.mark.security(
    endpoint="grpc",
    attack="A message that never comes, of a call with a deadline",
    outcome="The worker ends the call then, and has a line in its log",
)
def test_an_unfinished_message_is_ended_at_its_deadline(
    served: tuple[Process, str], channel: grpc.Channel
) -> None:
    """By the worker, too, which says so long before the longest time is over."""
    failure(send(channel, PREDICT, never(), 1.0, "unfinished"))
    line = served[0].wait_for("request", request_id="unfinished")
    assert line["reason"] == "DEADLINE_EXCEEDED"
    assert line["elapsed_ms"] < 8_000


@pytest.mark.security(
    endpoint="grpc",
    attack="30 connections with calls of pictures, of models or of reflection that send nothing",
    outcome="100 of 100 health checks are answered",
)
@pytest.mark.parametrize("method", [PREDICT, MODELS, REFLECTION.format("v1")])
def test_unfinished_messages_do_not_hold_up_health(served: tuple[Process, str], method: str) -> None:
    """Of pictures, and of streams of reflection that are open and send nothing, each on its connection."""
    calls = []
    with contextlib.ExitStack() as stack:
        for _ in range(30):
            options = [("grpc.use_local_subchannel_pool", 1)]
            slow = stack.enter_context(grpc.insecure_channel(served[1], options=options))
            grpc.channel_ready_future(slow).result(timeout=30)
            calls.append(send(slow, method, never()))
        other = stack.enter_context(grpc.insecure_channel(served[1], options=[("grpc.enable_retries", 0)]))
        for _ in range(100):  # some of them when all those calls have arrived
            health_pb2_grpc.HealthStub(other).Check(health_pb2.HealthCheckRequest(), timeout=10)


@pytest.mark.security(
    endpoint="grpc",
    attack="30 calls on one connection whose messages never come",
    outcome=("Some are refused with a delay after which to try again, the others end by their deadline"),
)
def test_who_sends_too_many_messages_at_once_is_told_to_come_again(channel: grpc.Channel) -> None:
    """While those that have a place keep it, for they are of the same connection."""
    calls = [send(channel, PREDICT, never()) for _ in range(30)]
    reasons = [failure(call) for call in calls]
    refused = [error for error in reasons if isinstance(error, TooManyUnfinishedMessages)]
    assert 0 < len(refused) < len(calls)
    assert all(error.retry_after for error in refused)
    assert all(isinstance(error, DeadlineExceeded) for error in reasons if error not in refused)


def sends_no_more(connections: list[UnfinishedMessages]) -> bool:
    """Whether only those are left that have a place."""
    return sum(connection.unfinished for connection in connections) < 24


@pytest.mark.security(
    endpoint="grpc",
    attack="200 messages of 10 MiB on five connections, all but the last byte of each",
    outcome=(
        "The worker grows by less than 256 MB, of which three quarters are given back; others are "
        "answered meanwhile"
    ),
)
def test_unfinished_messages_take_little_memory_and_hold_up_nobody(served: tuple[Process, str]) -> None:
    """Of 200 messages of 10 MB few are received at a time; what they took is given back in the end."""
    process, address = served
    [worker] = process.children()
    with ServiceClient(address, timeout=30) as client:
        client.detect(ASTRONAUT.read_bytes())
        before = memory(worker)
        with unfinished_messages(address, connections=5, streams=40, size=10 * MIB) as connections:
            while not sends_no_more(connections):
                assert len(client.detect(ASTRONAUT.read_bytes()).faces) == 1
                assert memory(worker) < before + MOST_GROWTH
        wait_until(lambda: memory(worker) < before + MOST_GROWTH / 4, "memory is given back")
    assert process.children() == [worker]


def test_a_caller_that_leaves_amid_its_message_is_no_fault(served: tuple[Process, str]) -> None:
    """The log says that it went away."""
    process, address = served
    with unfinished_messages(address, connections=1, streams=1, size=len(pb.Image().SerializeToString()) + 9):
        pass
    process.wait_for("request", reason="CANCELLED")


@pytest.mark.security(
    endpoint="grpc",
    attack=(
        "20,000 pings, settings, or calls that are given up at once (HTTP/2 rapid reset), on one connection"
    ),
    outcome="Others are answered meanwhile, and the worker lives",
)
@pytest.mark.parametrize("kind", ["ping", "settings", "reset"])
def test_a_flood_of_frames_holds_up_nobody(served: tuple[Process, str], kind: str) -> None:
    """Whether or not its connection is ended."""
    process, address = served
    [worker] = process.children()
    with (
        ThreadPoolExecutor(1) as thread,
        grpc.insecure_channel(address, [("grpc.use_local_subchannel_pool", 1)]) as other,
    ):
        health = health_pb2_grpc.HealthStub(other)
        flooding, answered = thread.submit(flood, address, kind, 20_000), 0
        while not flooding.done() or answered < 10:
            health.Check(health_pb2.HealthCheckRequest(), timeout=10)
            answered += 1
    assert flooding.result() > 0
    assert process.children() == [worker]
