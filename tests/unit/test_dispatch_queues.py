"""Rules of several queues: what is sent to one is done by its consumers alone, and concerns no other."""

import asyncio
import hashlib
import threading
from collections.abc import Iterator
from dataclasses import replace

import pytest

from inference_server.dispatch.admission import MAX_WAITING
from inference_server.dispatch.consumer import Checkpoint
from inference_server.dispatch.request_buffer import RequestBuffer
from inference_server.dispatch.work import Work
from tests.support.dispatch import Machine, key_of, shout, work
from tests.support.processes import PATIENCE, wait_until
from utils.errors import QueueFull


@pytest.fixture
def machine() -> Iterator[Machine]:
    """One worker, which takes from queue 0, and four model workers for two more queues."""
    made = Machine(1, queues=3, model_slots=4)
    yield made
    made.close()


def test_work_arrives_as_it_was_sent() -> None:
    """Every member of it, whatever its bytes."""
    sent = Work("größe", "detect", b"\0context", b"payload", 2.5, 3.0, 4.0, grace=0.5, queue=2)
    buffer = RequestBuffer.create(sent)
    assert buffer.read(buffer.head()) == sent
    buffer.close()


@pytest.mark.parametrize("cost", [0.0, -1.0, float("inf"), float("nan")])
def test_work_has_a_cost_that_something_can_be_learned_from(cost: float) -> None:
    """A consumer divides by it."""
    with pytest.raises(ValueError, match="greater than 0"):
        replace(work(b"x"), cost=cost)


def test_the_same_payload_for_another_model_is_other_work() -> None:
    """What kills one model may be harmless to another; no two pairs have the same key."""
    same = work(b"x")
    assert replace(same, context=b"other", operation="other", cost=9.0, queue=2).key() == same.key()
    pairs = [("model", b"x"), ("other", b"x"), ("mode", b"lx"), ("modelx", b""), ("model", b"")]
    assert len({replace(same, model=model, payload=payload).key() for model, payload in pairs}) == 5
    assert same.key() == key_of(b"x") == hashlib.sha256(b"5:modelx").digest()


def test_a_consumer_takes_from_its_queue_alone(machine: Machine) -> None:
    """Though it is idle, and others wait elsewhere."""
    seen: list[tuple[int, bytes]] = []

    def note(given: Work, checkpoint: Checkpoint) -> bytes:
        seen.append((given.queue, given.payload))
        return shout(given, checkpoint)

    async def scenario() -> None:
        dispatcher = machine.dispatcher(0)
        waits = asyncio.create_task(dispatcher.submit(work(b"waits", queue=0)))
        await asyncio.sleep(0)
        machine.consume(1, note, queue=1)
        for _ in range(5):
            assert await dispatcher.submit(work(b"done", queue=1)) == b"context DONE"
        assert not waits.done()
        assert set(seen) == {(1, b"done")}
        machine.consume(0, note)
        assert await waits == b"context WAITS"
        dispatcher.close()

    asyncio.run(scenario())


def test_a_queue_whose_consumer_is_slow_delays_and_refuses_no_other(machine: Machine) -> None:
    """What is predicted for one says nothing of another."""
    taken, release = threading.Event(), threading.Event()

    def slow(_given: Work, _checkpoint: Checkpoint) -> bytes:
        taken.set()
        assert release.wait(PATIENCE)
        return b"slow"

    async def scenario() -> None:
        dispatcher = machine.dispatcher(0)
        machine.shared.stats.rows[1].rate = 1000.0
        machine.consume(0, queue=0)
        machine.consume(1, slow, queue=1)
        first = asyncio.create_task(dispatcher.submit(work(b"a", seconds=5000, queue=1)))
        assert await asyncio.to_thread(taken.wait, PATIENCE)
        with pytest.raises(QueueFull):
            await dispatcher.submit(work(b"b", queue=1), longest_wait=2.0)
        assert await dispatcher.submit(work(b"c", seconds=30), longest_wait=0.0) == b"context C"
        release.set()
        assert await first == b"slow"
        dispatcher.close()

    asyncio.run(scenario())


def test_a_queue_that_is_full_holds_up_and_refuses_no_other(machine: Machine) -> None:
    """Neither in the kernel nor at its dispatcher; those that wait there are sent when there is room."""

    async def scenario() -> None:
        dispatcher = machine.dispatcher(0)
        many = [asyncio.create_task(dispatcher.submit(work(b"%d" % i, queue=1))) for i in range(MAX_WAITING)]
        await asyncio.sleep(0)
        assert dispatcher._unsent[1]
        with pytest.raises(QueueFull):
            await dispatcher.submit(work(b"x", queue=1))
        machine.consume(1, queue=2)
        machine.consume(0, queue=0)
        for queue in (0, 2):
            assert await dispatcher.submit(work(b"y", queue=queue)) == b"context Y"
        assert not any(task.done() for task in many)
        machine.consume(3, queue=1)
        assert await asyncio.gather(*many) == [b"context %d" % i for i in range(MAX_WAITING)]
        assert machine.shared.stats.waiting(1) == (0, 0, 0.0)
        dispatcher.close()

    asyncio.run(scenario())


def test_a_consumer_learns_the_rate_of_its_own_queue(machine: Machine) -> None:
    """One that takes long makes no other queue's requests seem long."""

    async def scenario() -> None:
        dispatcher = machine.dispatcher(0)
        machine.consume(1, queue=1)
        await dispatcher.submit(work(b"x", queue=1))
        dispatcher.close()

    asyncio.run(scenario())
    stats = machine.shared.stats
    assert [rate > 0 for rate in stats.rates(1)] == [True]
    assert not any(stats.rates(0))


def test_a_consumer_that_has_stopped_counts_for_no_queue(machine: Machine) -> None:
    """Nor does what it learned."""
    stats = machine.shared.stats
    machine.consume(1, queue=1)
    wait_until(lambda: len(stats.rates(1)) == 1, "it takes requests")
    machine.consumers[0].stop()
    assert stats.rates(1) == []


@pytest.mark.parametrize("claimed", [False, True])
def test_what_a_dead_consumer_had_is_posted_again_and_nothing_of_other_queues(
    machine: Machine, *, claimed: bool
) -> None:
    """It takes from one queue alone; a copy of anything else would be work for nothing."""

    async def scenario() -> None:
        dispatcher = machine.dispatcher(0)
        tasks = [
            asyncio.create_task(dispatcher.submit(work(b"%d" % queue, queue=queue))) for queue in range(3)
        ]
        await asyncio.sleep(0)
        for queue in range(3):
            buffer, _, _ = machine.take(queue)
            if claimed:
                buffer.claim(3, machine.shared.stats.rows[3].generation)
            buffer.close()
        machine.die(3, dispatcher, queue=1)
        assert [machine.shared.receive(queue, wait=False) for queue in (0, 2)] == [None, None]
        machine.consume(1, queue=1)
        assert await asyncio.wait_for(tasks[1], PATIENCE) == b"context 1"
        for task in (tasks[0], tasks[2]):
            task.cancel()
        await asyncio.wait(tasks)
        dispatcher.close()

    asyncio.run(scenario())


def test_what_is_put_back_goes_to_the_queue_it_came_from(machine: Machine) -> None:
    """Where too many have the same work in flight."""
    rows = machine.shared.stats.rows
    for row in rows[2:4]:
        row.consuming, row.in_flight = 1, [key_of(b"x")]

    async def scenario() -> None:
        dispatcher = machine.dispatcher(0)
        machine.consume(1, queue=1)
        task = asyncio.create_task(dispatcher.submit(work(b"x", queue=1)))
        await asyncio.sleep(0)
        assert await dispatcher.submit(work(b"y", queue=1)) == b"context Y"
        rows[2].in_flight = []
        assert await asyncio.wait_for(task, PATIENCE) == b"context X"
        assert machine.shared.receive(0, wait=False) is None
        dispatcher.close()

    asyncio.run(scenario())
