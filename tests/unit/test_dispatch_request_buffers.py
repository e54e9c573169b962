"""Rules of buffers: their memory is used again, or given back."""

import asyncio
import contextlib
import errno
import os
from pathlib import Path

import pytest

from inference_server.dispatch.request_buffer import LARGEST_SPARE, MOST_SPARE, Abandoned, RequestBuffer
from tests.support.dispatch import Machine, work
from tests.support.processes import wait_until


def buffers_made(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The descriptors of all buffers that are made from now on."""
    made: list[int] = []
    create = os.memfd_create

    def remember(*arguments: object) -> int:
        made.append(create(*arguments))  # type: ignore[arg-type]
        return made[-1]

    monkeypatch.setattr(os, "memfd_create", remember)
    return made


def open_buffers() -> int:
    """How many buffers this process has open."""
    found = 0
    for descriptor in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):
            found += "facet-request" in str(descriptor.readlink())
    return found


@pytest.mark.security(
    endpoint="models",
    attack="Memory that another's request was in, used again for a shorter one",
    outcome="Each answer is that to its own request",
)
def test_the_memory_of_an_answered_request_serves_the_next(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever lay there before: each answer is to its own request."""
    made = buffers_made(monkeypatch)

    async def scenario() -> None:
        dispatcher = machine.dispatcher(0)
        for slot in range(3):
            machine.consume(slot)
        for length in (1000, 1, 300_000, 30, 0, 5000):
            picture = f"{length}".encode() + b"x" * length
            assert await dispatcher.submit(work(picture)) == b"context " + picture.upper()
        dispatcher.close()

    asyncio.run(scenario())
    assert len(made) == 2  # the next is sealed before the one before it is put away


def test_the_memory_of_a_large_picture_is_given_back(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is kept is little, however many came at once."""
    made = buffers_made(monkeypatch)
    before = open_buffers()

    async def scenario() -> None:
        dispatcher = machine.dispatcher(0)
        machine.consume(0)
        large = b"x" * (LARGEST_SPARE + 1)
        for picture in (large, large, b"small"):
            await dispatcher.submit(work(picture))
        assert len(made) == 3
        await asyncio.gather(*(dispatcher.submit(work(b"x" * 100_000)) for _ in range(20)))
        await asyncio.sleep(0)
        wait_until(lambda: open_buffers() == before + MOST_SPARE, "the consumer to close its ends")
        dispatcher.close()

    asyncio.run(scenario())
    assert open_buffers() == before


@pytest.mark.parametrize("twice", [False, True])
def test_what_may_be_in_the_queue_again_is_not_used_again(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, *, twice: bool
) -> None:
    """A consumer that takes the other copy must not find another request in it."""
    made = buffers_made(monkeypatch)

    async def scenario() -> None:
        dispatcher = machine.dispatcher(0)
        first = asyncio.create_task(dispatcher.submit(work(b"first")))
        await asyncio.sleep(0)
        if twice:
            machine.die(2, dispatcher)
        machine.consume(0)
        assert await first == b"context FIRST"
        assert await dispatcher.submit(work(b"second")) == b"context SECOND"
        dispatcher.close()

    asyncio.run(scenario())
    assert len(made) == 1 + twice


def test_a_buffer_that_was_discarded_while_it_was_taken_is_abandoned() -> None:
    """Its dispatcher truncates it when its caller has gone; half a request must not be computed."""
    buffer = RequestBuffer.create(work(b"picture"))
    other = RequestBuffer(os.dup(buffer.descriptor))
    buffer.discard()
    with pytest.raises(Abandoned):
        other.read(other.head())
    other.close()


def test_a_buffer_for_which_there_is_no_room_leaves_no_descriptor(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """And its caller is told to come back."""

    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "no space")

    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - the listing's own descriptor counts alike
    monkeypatch.setattr(os, "pwritev", full)
    with pytest.raises(OSError, match="no space"):
        RequestBuffer.create(work(b"picture"))
    assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208
