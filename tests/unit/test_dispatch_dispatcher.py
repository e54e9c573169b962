"""Rules of the dispatcher: what it accepts, sends again, and takes for an answer."""

import asyncio
import errno
import os
import time
from collections.abc import Callable

import pytest

from inference_server.dispatch import dispatcher as dispatcher_module
from inference_server.dispatch.admission import Load
from inference_server.dispatch.shared import PACKET
from tests.support.dispatch import Clock, Machine, key_of, work
from tests.support.processes import PATIENCE
from utils.errors import DeadlineExceeded, InternalError, QueueFull, WorkerCrashed


def test_more_requests_than_the_kernel_queue_holds_wait_in_order_at_their_dispatcher(
    machine: Machine,
) -> None:
    """A full queue is no error."""

    async def scenario() -> None:
        dispatcher = machine.dispatcher(0)
        tasks = [asyncio.create_task(dispatcher.submit(work(b"%d" % i))) for i in range(900)]
        await asyncio.sleep(0)
        assert any(dispatcher._unsent)
        machine.consume(1)
        assert await asyncio.gather(*tasks) == [b"context %d" % i for i in range(900)]
        dispatcher.close()

    asyncio.run(scenario())


def test_a_cancelled_request_is_never_computed_and_frees_its_place(machine: Machine) -> None:
    """It may still lie in the queue; the consumer that takes it sees that nobody wants it."""

    async def scenario() -> None:
        dispatcher = machine.dispatcher(0)
        gone = asyncio.create_task(dispatcher.submit(work(b"gone")))
        await asyncio.sleep(0)
        assert machine.shared.stats.waiting(0) == (1, 4, 1.0)
        gone.cancel()
        with pytest.raises(asyncio.CancelledError):
            await gone
        assert machine.shared.stats.waiting(0) == (0, 0, 0.0)
        machine.consume(1)
        assert await dispatcher.submit(work(b"here")) == b"context HERE"
        assert machine.computed == [b"here"]
        dispatcher.close()

    asyncio.run(scenario())


def test_a_cancelled_request_gives_its_memory_back_at_once(machine: Machine) -> None:
    """Though its buffer lies in the queue until a detector is idle."""

    async def scenario() -> None:
        dispatcher = machine.dispatcher(0)
        task = asyncio.create_task(dispatcher.submit(work(bytes(1024**2))))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        buffer, _, _ = machine.take()
        assert buffer.is_cancelled()
        assert os.fstat(buffer.descriptor).st_blocks * 512 <= 4096
        buffer.close()
        dispatcher.close()

    asyncio.run(scenario())


def test_a_full_machine_refuses_at_once(machine: Machine) -> None:
    """By what all dispatchers have accepted, not only this one."""
    for row in machine.shared.stats.rows:
        row.add_waiting(0, 10, 100, 10.0)
        row.rate = 1.0

    async def scenario() -> None:
        dispatcher = machine.dispatcher(0)
        with pytest.raises(QueueFull):
            await dispatcher.submit(work(b"x"), longest_wait=2.0)
        with pytest.raises(QueueFull):
            dispatcher.admit(Load(1, 10), time.monotonic() + 60, longest_wait=2.0)
        dispatcher.close()

    asyncio.run(scenario())


def test_what_a_dead_worker_had_claimed_is_requeued(machine: Machine) -> None:
    """And answered by another."""

    async def scenario() -> None:
        dispatcher = machine.dispatcher(0)
        task = asyncio.create_task(dispatcher.submit(work(b"x")))
        await asyncio.sleep(0)
        buffer, _, _ = machine.take()
        buffer.claim(2, machine.shared.stats.rows[2].generation)
        buffer.close()
        machine.consume(1)
        machine.die(2, dispatcher)
        assert await asyncio.wait_for(task, PATIENCE) == b"context X"
        dispatcher.close()

    asyncio.run(scenario())


def test_what_a_dead_worker_had_received_and_not_claimed_is_requeued(machine: Machine) -> None:
    """Between the two there is no trace of who has it."""

    async def scenario() -> None:
        dispatcher = machine.dispatcher(0)
        task = asyncio.create_task(dispatcher.submit(work(b"x")))
        await asyncio.sleep(0)
        machine.take()[0].close()
        machine.consume(1)
        machine.die(2, dispatcher)
        assert await asyncio.wait_for(task, PATIENCE) == b"context X"
        dispatcher.close()

    asyncio.run(scenario())


def test_two_answers_to_one_request_do_not_mix(machine: Machine) -> None:
    """Each answers in a region of its own; the dispatcher takes what is complete, once."""

    async def scenario() -> None:
        dispatcher = machine.dispatcher(0)
        task = asyncio.create_task(dispatcher.submit(work(b"x")))
        await asyncio.sleep(0)
        buffer, _, packet = machine.take()
        buffer.reply(1, b"a" * 100_000)
        buffer.reply(2, b"b" * 10)
        machine.shared.completion_senders[0].send(packet)
        machine.shared.completion_senders[0].send(packet)
        assert await task in {b"a" * 100_000, b"b" * 10}
        buffer.close()
        dispatcher.close()

    asyncio.run(scenario())


def test_an_answer_for_the_predecessor_in_a_slot_is_dropped(machine: Machine) -> None:
    """Its numbers begin again, so only the generation tells them apart."""

    async def scenario() -> None:
        dispatcher = machine.dispatcher(0)
        task = asyncio.create_task(dispatcher.submit(work(b"x")))
        await asyncio.sleep(0)
        machine.shared.completion_senders[0].send(PACKET.pack(0, 99, 1))
        machine.consume(1)
        assert await task == b"context X"
        dispatcher.close()

    asyncio.run(scenario())


def test_a_completion_that_found_no_room_delays_an_answer_and_does_not_lose_it(machine: Machine) -> None:
    """The dispatcher looks by itself now and then."""

    async def scenario() -> None:
        dispatcher = machine.dispatcher(0)
        task = asyncio.create_task(dispatcher.submit(work(b"x")))
        await asyncio.sleep(0)
        buffer, _, _ = machine.take()
        buffer.reply(1, b"found")
        assert await asyncio.wait_for(task, PATIENCE) == b"found"
        buffer.close()
        dispatcher.close()

    asyncio.run(scenario())


def test_a_picture_in_flight_at_two_deaths_is_not_tried_again(machine: Machine) -> None:
    """The request that was in flight is refused, and so is the same picture from anybody."""

    async def scenario() -> None:
        dispatcher = machine.dispatcher(0)
        task = asyncio.create_task(dispatcher.submit(work(b"poison")))
        await asyncio.sleep(0)
        for slot in (1, 2):
            buffer, _, _ = machine.take()
            row = machine.shared.stats.rows[slot]
            buffer.claim(slot, row.generation)
            row.in_flight = [key_of(b"poison")]
            buffer.close()
            machine.die(slot, dispatcher)
        with pytest.raises(WorkerCrashed):
            await task
        with pytest.raises(WorkerCrashed):
            await dispatcher.submit(work(b"poison"))
        machine.shared.stats.rows[1].assign(500, time.monotonic())
        machine.consume(1)
        assert await dispatcher.submit(work(b"other")) == b"context OTHER"
        dispatcher.close()

    asyncio.run(scenario())


def test_that_a_suspect_was_computed_after_all_is_told_to_the_supervisor(machine: Machine) -> None:
    """Which alone clears it; of other payloads it is told nothing."""

    async def scenario() -> None:
        dispatcher = machine.dispatcher(0)
        machine.blame(b"x", deaths=1)
        machine.consume(1)
        assert await dispatcher.submit(work(b"x")) == b"context X"
        assert await dispatcher.submit(work(b"y")) == b"context Y"
        assert machine.cleared == [key_of(b"x")]
        dispatcher.close()

    asyncio.run(scenario())


def test_a_full_memory_is_a_full_queue(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not a fault of ours, and nothing stays behind."""

    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "no space")

    async def scenario() -> None:
        dispatcher = machine.dispatcher(0)
        monkeypatch.setattr(os, "pwritev", full)
        with pytest.raises(QueueFull):
            await dispatcher.submit(work(b"x"))
        monkeypatch.undo()
        assert machine.shared.stats.waiting(0) == (0, 0, 0.0)
        machine.consume(1)
        assert await dispatcher.submit(work(b"x")) == b"context X"
        dispatcher.close()

    asyncio.run(scenario())


def test_a_request_that_cannot_be_sent_does_not_stop_those_behind_it(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It gets an error of its own."""

    async def scenario() -> None:
        dispatcher = machine.dispatcher(0)
        send = dispatcher._send
        monkeypatch.setattr(dispatcher, "_send", broken_once(send))
        machine.consume(1)
        with pytest.raises(InternalError):
            await dispatcher.submit(work(b"x"))
        assert await dispatcher.submit(work(b"y")) == b"context Y"
        dispatcher.close()

    asyncio.run(scenario())


def broken_once(send: Callable[..., bool]) -> Callable[..., bool]:
    """A way to send that fails the first time as no known trouble does."""
    left = [1]

    def broken(*arguments: object) -> bool:
        if left[0]:
            left[0] = 0
            raise OSError(errno.EIO, "odd")
        return send(*arguments)

    return broken


def test_a_request_that_nobody_takes_ends_after_its_deadline(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where no caller's own clock would end it."""
    clock = Clock()
    monkeypatch.setattr(dispatcher_module, "time", clock)

    async def scenario() -> None:
        dispatcher = machine.dispatcher(0)
        task = asyncio.create_task(dispatcher.submit(work(b"x")))
        await asyncio.sleep(0)
        clock.ahead += 62
        with pytest.raises(DeadlineExceeded):
            await task
        assert dispatcher.idle
        dispatcher.close()

    asyncio.run(scenario())
