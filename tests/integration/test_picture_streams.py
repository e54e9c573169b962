"""Rules of streams of pictures against a real backend, whatever happens to its workers."""

import asyncio
import contextlib
import os
import queue
import signal
from collections.abc import Callable, Iterator
from typing import Any

import grpc
import pytest

from protos import infer_pb2 as pb
from protos import infer_pb2_grpc
from tests.support.facet import inference as backend
from tests.support.pictures import ASTRONAUT, group_photo, png
from tests.support.processes import PATIENCE, Process, wait_until
from utils.async_service_client import AsyncServiceClient
from utils.channel import error_of
from utils.domain import DetectOptions, DetectRequest
from utils.errors import BackendUnavailable
from utils.service_client import ServiceClient

PORTRAIT = ASTRONAUT.read_bytes()
MANY = 50


@pytest.fixture(scope="module")
def served() -> Iterator[tuple[Process, str]]:
    """A backend of two workers that the tests of this module share, and its address."""
    with backend() as (process, address):
        yield process, address


def portraits() -> Iterator[bytes]:
    """Many, each another picture by a byte behind its end: none is in flight at the deaths of two workers."""
    return (PORTRAIT + bytes([number]) for number in range(MANY))


def replace(process: Process, worker: int) -> None:
    """Kill a worker, and wait until another one serves."""
    ready = len(process.logged("worker ready"))
    os.kill(worker, signal.SIGKILL)
    wait_until(lambda: len(process.logged("worker ready")) > ready, "another worker serves")


def kill_each(process: Process) -> None:
    """Kill one worker after the other, so that one of them had the stream."""
    for worker in process.children():
        replace(process, worker)


def reload(process: Process) -> None:
    """Have all workers replaced."""
    before = set(process.children())
    process.send(signal.SIGHUP)
    wait_until(lambda: not before & set(process.children()), "all workers are others")


def test_the_faces_are_those_of_single_calls(served: tuple[Process, str]) -> None:
    """With options, with many faces and with none, by either client."""
    requests: list[DetectRequest | bytes] = [
        PORTRAIT,
        DetectRequest(png(group_photo()), DetectOptions(min_face_size=40), "group", {"a": "b"}),
        DetectRequest(PORTRAIT, DetectOptions(min_face_size=500)),
    ]

    async def awaited(target: str) -> dict[int, Any]:
        async with AsyncServiceClient(target, timeout=PATIENCE) as client:
            return {number: outcome async for number, outcome in client.detect_many(requests)}

    def compared(detection: Any) -> tuple[Any, ...]:  # noqa: ANN401
        return detection.faces, detection.image, detection.model, detection.image_id, detection.metadata

    with ServiceClient(served[1], timeout=PATIENCE) as client:
        expected = [compared(client.detect(request)) for request in requests]
        for outcomes in (dict(client.detect_many(requests)), asyncio.run(awaited(served[1]))):
            assert [compared(outcomes[number]) for number in range(3)] == expected
    assert [bool(faces) for faces, *_ in expected] == [True, True, False]


@pytest.mark.parametrize("disturb", [kill_each, reload])
def test_no_picture_is_lost_where_workers_go_amid_a_stream(
    served: tuple[Process, str], disturb: Callable[[Process], None]
) -> None:
    """Whichever of them has the stream; each picture has one outcome, with its faces."""
    process, address = served
    with ServiceClient(address, timeout=2 * PATIENCE) as client:
        faces = client.detect(PORTRAIT).faces
        outcomes = []
        for outcome in client.detect_many(portraits()):
            outcomes.append(outcome)
            if len(outcomes) == 10:
                disturb(process)
    assert sorted(number for number, _ in outcomes) == list(range(MANY))
    assert {getattr(outcome, "faces", outcome) for _, outcome in outcomes} == {faces}


@contextlib.contextmanager
def idle_stream(address: str) -> Iterator[Any]:
    """A call whose first picture is answered, and which then sends nothing."""
    requests: queue.SimpleQueue[pb.PredictStreamRequest | None] = queue.SimpleQueue()
    with grpc.insecure_channel(address) as channel:
        call = infer_pb2_grpc.InferenceStub(channel).PredictStream(iter(requests.get, None))
        requests.put(pb.PredictStreamRequest(number=7, image=pb.Image(raw_data=PORTRAIT)))
        assert next(call).number == 7
        yield call
        requests.put(None)


def test_a_stream_that_sends_nothing_holds_up_no_drain() -> None:
    """It ends at once, by what its caller knows that another worker is to be asked."""
    with (
        backend(FACET_GRACE_SECONDS="600", FACET_MAX_TIMEOUT_SECONDS="600") as (process, address),
        idle_stream(address) as call,
    ):
        process.send(signal.SIGTERM)
        with pytest.raises(grpc.RpcError) as caught:
            next(call)
        assert isinstance(error_of(caught.value), BackendUnavailable)
        assert "This worker" in error_of(caught.value).detail
        assert process.wait() == 0


def test_a_stream_that_sends_nothing_holds_up_no_reload(served: tuple[Process, str]) -> None:
    """Its worker ends, and another one answers."""
    process, address = served
    with idle_stream(address):
        reload(process)
    with ServiceClient(address, timeout=PATIENCE) as client:
        assert len(client.detect(PORTRAIT).faces) == 1
