"""Rules of the asyncio client, and of several backends behind one client."""

import asyncio
import threading

import grpc
import pytest
from google.protobuf.message import Message

from tests.support.fake_backend import echo, failing, fake_backend
from tests.support.processes import PATIENCE
from utils.async_service_client import AsyncServiceClient
from utils.domain import DetectOptions, DetectRequest
from utils.errors import BackendUnavailable, DeadlineExceeded, QueueFull
from utils.service_client import ServiceClient


def test_a_call_carries_what_the_blocking_client_carries() -> None:
    """Picture, options, id, metadata and request id; and many calls may be under way at once."""
    request = DetectRequest(b"picture", DetectOptions(min_face_size=40), "me.jpg", {"a": "b"})

    async def scenario(target: str) -> None:
        async with AsyncServiceClient(target) as client:
            detection = await client.detect(request, timeout=7, request_id="id-1")
            assert (detection.image.width, detection.image_id) == (7, "me.jpg")
            answers = await asyncio.gather(*(client.detect(bytes(n)) for n in range(20)))
            assert [answer.image.width for answer in answers] == list(range(20))

    with fake_backend() as backend:
        asyncio.run(scenario(backend.target))
    assert backend.calls[0].metadata["x-request-id"] == "id-1"
    assert [call.metadata.get("x-timeout-source") for call in backend.calls[:2]] == [None, "default"]


def test_an_error_is_raised_as_the_blocking_client_raises_it() -> None:
    """With its delay, and after one call."""

    async def scenario(target: str) -> None:
        async with AsyncServiceClient(target) as client:
            with pytest.raises(QueueFull) as caught:
                await client.detect(b"x")
            assert caught.value.retry_after == 1.5

    with fake_backend(failing(QueueFull("full", retry_after=1.5))) as backend:
        asyncio.run(scenario(backend.target))
    assert len(backend.calls) == 1


def test_a_large_picture_is_sent_again() -> None:
    """By the same policy and the same buffer."""

    async def scenario(target: str) -> None:
        async with AsyncServiceClient(target) as client:
            assert (await client.detect(bytes(1024**2), timeout=20)).image.width == 1024**2

    with fake_backend(failing(grpc.StatusCode.UNAVAILABLE, times=2)) as backend:
        asyncio.run(scenario(backend.target))
    assert len(backend.calls) == 3


def test_a_cancelled_task_cancels_its_call_and_a_deadline_ends_one() -> None:
    """Whatever the server does."""
    started, ended = threading.Event(), threading.Semaphore(0)

    def late(message: Message, context: grpc.ServicerContext) -> Message:
        gone = threading.Event()
        context.add_callback(gone.set)
        started.set()
        gone.wait(PATIENCE)
        ended.release()
        return echo(message, context)

    async def scenario(target: str) -> None:
        async with AsyncServiceClient(target, timeout=60) as client:
            task = asyncio.create_task(client.detect(b"x"))
            await asyncio.to_thread(started.wait, PATIENCE)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert await asyncio.to_thread(ended.acquire, timeout=PATIENCE)
            with pytest.raises(DeadlineExceeded):
                await client.detect(b"x", timeout=0.1)

    with fake_backend(late) as backend:
        asyncio.run(scenario(backend.target))


def test_readiness_is_that_of_the_blocking_client() -> None:
    """SERVING is ready, nobody there is not."""

    async def scenario(target: str, *, ready: bool) -> None:
        async with AsyncServiceClient(target) as client:
            if ready:
                await client.check_ready(timeout=5)
            else:
                with pytest.raises(BackendUnavailable):
                    await client.check_ready(timeout=5)

    with fake_backend() as backend:
        asyncio.run(scenario(backend.target, ready=True))
    asyncio.run(scenario(backend.target, ready=False))


def test_calls_take_turns_over_several_backends_and_one_that_dies_costs_none() -> None:
    """A list of addresses, or a name with several."""
    with fake_backend() as first, fake_backend() as second:
        target = f"ipv4:{first.target},{second.target}"
        with ServiceClient(target, timeout=20) as client:
            for _ in range(40):
                client.detect(b"x")
            assert first.calls
            assert second.calls
            before = len(first.calls)
            second.answer = failing(grpc.StatusCode.UNAVAILABLE)
            for _ in range(20):
                assert client.detect(b"x").image.width == 1
            assert len(first.calls) == before + 20
