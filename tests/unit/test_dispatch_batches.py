"""Rules of batches: what is computed together, what alone, what not at all, and who waits for whom."""

import asyncio
import os
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace

import pytest

from inference_server.dispatch.consumer import Outcome
from inference_server.dispatch.dispatcher import Dispatcher
from inference_server.dispatch.row import MOST_IN_FLIGHT
from inference_server.dispatch.work import Work
from tests.support.dispatch import Clock, Machine, key_of, shout_all, work
from tests.support.processes import PATIENCE, wait_until

FOR_EVER = 3600.0


@pytest.fixture
def machine() -> Iterator[Machine]:
    """Two workers, in slots 0 and 1, and three model workers of queue 1, in slots 2 to 4."""
    made = Machine(2, queues=2, model_slots=3)
    yield made
    made.close()


async def send(
    dispatcher: Dispatcher, *payloads: bytes, seconds: float = 60.0
) -> "list[asyncio.Task[bytes]]":
    """Put work into the queue, in this order."""
    sent = [
        asyncio.create_task(dispatcher.submit(work(payload, seconds=seconds, queue=1)))
        for payload in payloads
    ]
    await asyncio.sleep(0)
    return sent


async def answers(*tasks: "asyncio.Task[bytes]") -> list[bytes]:
    """What they are answered, in the end."""
    return await asyncio.wait_for(asyncio.gather(*tasks), PATIENCE)


def test_what_waits_is_computed_together_up_to_the_limit(machine: Machine) -> None:
    """In the order of its arrival, whichever dispatcher it came from; each is told its own answer."""

    async def scenario() -> None:
        dispatchers = [machine.dispatcher(0), machine.dispatcher(1)]
        tasks = [task for i in range(10) for task in await send(dispatchers[i % 2], b"a%d" % i)]
        machine.consume_batches(2, max_batch=4)
        assert await answers(*tasks) == [b"context A%d" % i for i in range(10)]
        for dispatcher in dispatchers:
            dispatcher.close()

    asyncio.run(scenario())
    payloads = [b"a%d" % i for i in range(10)]
    assert machine.batches == [payloads[:4], payloads[4:8], payloads[8:]]


@pytest.mark.parametrize("size", [0, MOST_IN_FLIGHT + 1])
def test_a_batch_is_as_large_as_what_can_be_in_flight(machine: Machine, size: int) -> None:
    """A larger one could not be blamed."""
    with pytest.raises(ValueError, match="1 to 64"):
        machine.consume_batches(2, max_batch=size)


def test_a_lone_request_waits_for_no_other(machine: Machine) -> None:
    """Nor does the next, however long a batch may be waited for."""

    async def scenario() -> None:
        dispatcher = machine.dispatcher(0)
        machine.consume_batches(2, max_batch_delay=FOR_EVER)
        for _ in range(5):
            assert await answers(*await send(dispatcher, b"x")) == [b"context X"]
        dispatcher.close()

    asyncio.run(scenario())
    assert machine.batches == [[b"x"]] * 5


def test_after_a_batch_of_several_the_next_waits_for_others(machine: Machine) -> None:
    """Those whose callers were answered just now are about to ask again."""

    async def scenario() -> None:
        dispatcher = machine.dispatcher(0)
        tasks = await send(dispatcher, b"a", b"b")
        machine.consume_batches(2, max_batch=2, max_batch_delay=FOR_EVER)
        await answers(*tasks)
        row = machine.shared.stats.rows[2]
        await asyncio.to_thread(wait_until, lambda: not row.busy, "the first batch is over")
        tasks = await send(dispatcher, b"c")
        await asyncio.to_thread(wait_until, lambda: row.busy, "it has taken the next request")
        assert len(machine.batches) == 1
        tasks += await send(dispatcher, b"d")
        await answers(*tasks)
        dispatcher.close()

    asyncio.run(scenario())
    assert machine.batches == [[b"a", b"b"], [b"c", b"d"]]


def test_a_batch_waits_no_longer_than_its_delay(machine: Machine) -> None:
    """Then it begins with what has come."""

    async def scenario() -> None:
        dispatcher = machine.dispatcher(0)
        tasks = await send(dispatcher, b"a", b"b")
        machine.consume_batches(2, max_batch_delay=0.05)
        await answers(*tasks)
        assert await answers(*await send(dispatcher, b"c")) == [b"context C"]
        dispatcher.close()

    asyncio.run(scenario())


def test_who_comes_to_an_idle_consumer_waits_for_no_other(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever was computed before it had nothing to do."""
    receive, idle = machine.shared.receive, threading.Event()

    def note(queue: int, *, wait: bool) -> tuple[bytes, int] | None:
        received = receive(queue, wait=wait)
        if wait and received is None and machine.batches:
            idle.set()
        return received

    monkeypatch.setattr(machine.shared, "receive", note)

    async def scenario() -> None:
        dispatcher = machine.dispatcher(0)
        tasks = await send(dispatcher, b"a", b"b")
        machine.consume_batches(2, max_batch_delay=FOR_EVER)
        await answers(*tasks)
        assert await asyncio.to_thread(idle.wait, PATIENCE)
        assert await answers(*await send(dispatcher, b"c")) == [b"context C"]
        dispatcher.close()

    asyncio.run(scenario())


def test_no_request_is_made_late_by_those_it_is_computed_with(machine: Machine) -> None:
    """The next ones are left to the next batch where one of this would be answered after its deadline."""
    machine.shared.stats.rows[2].rate = 10.0

    async def scenario() -> None:
        dispatcher = machine.dispatcher(0)
        tasks = await send(dispatcher, b"a", seconds=300)
        tasks += await send(dispatcher, b"b", seconds=35)
        tasks += await send(dispatcher, b"c", b"d", b"e", seconds=300)
        machine.consume_batches(2)
        await answers(*tasks)
        dispatcher.close()

    asyncio.run(scenario())
    assert machine.batches == [[b"a", b"b", b"c"], [b"d", b"e"]]


def test_what_nobody_wants_or_is_too_late_is_no_part_of_a_batch(machine: Machine, clock: Clock) -> None:
    """Nor does it take another's place: past its deadline, cancelled, or in flight elsewhere."""

    async def scenario() -> None:
        dispatcher = machine.dispatcher(0)
        late = await send(dispatcher, b"late", seconds=5)
        gone, elsewhere, *wanted = await send(dispatcher, b"gone", b"elsewhere", b"a", b"b")
        taken = [machine.take(1) for _ in range(5)]
        taken[2][0].claim(3, machine.shared.stats.rows[3].generation)
        for buffer, _, packet in taken:
            assert machine.shared.send(packet, buffer.descriptor, 1)
            buffer.close()
        gone.cancel()
        await asyncio.wait([gone])
        clock.ahead += 10
        machine.consume_batches(2, max_batch=2)
        assert await answers(*late, *wanted) == [b"refused: DEADLINE_EXCEEDED", b"context A", b"context B"]
        elsewhere.cancel()
        await asyncio.wait([elsewhere])
        dispatcher.close()

    asyncio.run(scenario())
    assert machine.batches == [[b"a", b"b"]]


def test_a_request_whose_buffer_is_gone_is_no_part_of_a_batch(machine: Machine) -> None:
    """Its caller left between two looks at it."""

    async def scenario() -> None:
        dispatcher = machine.dispatcher(0)
        gone, *wanted = await send(dispatcher, b"gone", b"a", b"b")
        buffer, _, packet = machine.take(1)
        os.ftruncate(buffer.descriptor, 100)  # as its dispatcher does
        assert machine.shared.send(packet, buffer.descriptor, 1)
        buffer.close()
        machine.consume_batches(2)
        assert await answers(*wanted) == [b"context A", b"context B"]
        gone.cancel()
        await asyncio.wait([gone])
        dispatcher.close()

    asyncio.run(scenario())
    assert machine.batches == [[b"a", b"b"]]


def test_seconds_are_learned_for_what_was_computed_whole(machine: Machine, clock: Clock) -> None:
    """Those of the batch, for a unit of all that it has cost; errors come sooner, and cost nothing."""

    def slow(given: Sequence[Work]) -> list[Outcome]:
        clock.ahead += 600
        return [Outcome(b"", complete=done.payload != b"bad") for done in given]

    async def scenario() -> None:
        dispatcher = machine.dispatcher(0)
        tasks = await send(dispatcher, b"a", b"bad", b"b", seconds=FOR_EVER)
        machine.consume_batches(2, slow)
        await answers(*tasks)
        dispatcher.close()

    asyncio.run(scenario())
    row = machine.shared.stats.rows[2]
    assert row.rate == pytest.approx(300, rel=0.1)
    assert row.handled == 3


def test_while_a_batch_is_computed_all_of_it_is_in_flight(machine: Machine) -> None:
    """With its progress due after the longest grace; then nothing is."""
    row, computing, release = machine.shared.stats.rows[2], threading.Event(), threading.Event()

    def held(given: Sequence[Work]) -> list[Outcome]:
        computing.set()
        assert release.wait(PATIENCE)
        return shout_all(given)

    async def scenario() -> None:
        dispatcher = machine.dispatcher(0)
        patient = replace(work(b"b", queue=1), grace=FOR_EVER)
        tasks = [*await send(dispatcher, b"a"), asyncio.create_task(dispatcher.submit(patient))]
        await asyncio.sleep(0)
        machine.consume_batches(2, held)
        assert await asyncio.to_thread(computing.wait, PATIENCE)
        assert row.busy
        assert row.in_flight == [key_of(b"a"), key_of(b"b")]
        assert row.progress_due > time.monotonic() + PATIENCE
        release.set()
        await answers(*tasks)
        await asyncio.to_thread(wait_until, lambda: not row.busy, "idle")
        assert row.in_flight == []
        assert row.progress_due <= time.monotonic()
        dispatcher.close()

    asyncio.run(scenario())


def test_who_stops_finishes_its_batch_and_takes_no_more(machine: Machine) -> None:
    """The rest is left to others."""
    computing, release = threading.Event(), threading.Event()

    def held(given: Sequence[Work]) -> list[Outcome]:
        computing.set()
        assert release.wait(PATIENCE)
        return shout_all(given)

    async def scenario() -> None:
        dispatcher = machine.dispatcher(0)
        tasks = await send(dispatcher, b"a", b"b", b"c")
        machine.consume_batches(2, held, max_batch=2)
        assert await asyncio.to_thread(computing.wait, PATIENCE)
        stopping = asyncio.create_task(asyncio.to_thread(machine.consumers[0].stop))
        await asyncio.to_thread(wait_until, lambda: machine.consumers[0]._stopping, "it was told")
        release.set()
        await stopping
        assert await answers(*tasks[:2]) == [b"context A", b"context B"]
        machine.consume_batches(3)
        assert await answers(tasks[2]) == [b"context C"]
        dispatcher.close()

    asyncio.run(scenario())
    assert machine.batches == [[b"a", b"b"], [b"c"]]


# --- what fails ---


@pytest.mark.parametrize("answers_given", [None, 0, 2])
def test_a_batch_that_fails_is_computed_one_by_one(
    machine: Machine, answers_given: int | None, caplog: pytest.LogCaptureFixture
) -> None:
    """So one that does not let a batch be computed fails nobody else; nor does one answer too few."""

    def fragile(given: Sequence[Work]) -> list[Outcome]:
        if len(given) > 1 and answers_given is None:
            raise RuntimeError("a fault")
        return shout_all(given)[: answers_given if len(given) > 1 else None]

    async def scenario() -> None:
        dispatcher = machine.dispatcher(0)
        tasks = await send(dispatcher, b"a", b"b", b"c")
        machine.consume_batches(2, fragile)
        assert await answers(*tasks) == [b"context A", b"context B", b"context C"]
        dispatcher.close()

    asyncio.run(scenario())
    assert machine.batches == [[b"a", b"b", b"c"], [b"a"], [b"b"], [b"c"]]
    assert caplog.messages == ["batch failed"]


def test_what_is_computed_again_alone_must_still_be_wanted_and_in_time(
    machine: Machine, clock: Clock
) -> None:
    """Deadlines are looked at again."""

    def fragile(given: Sequence[Work]) -> list[Outcome]:
        if len(given) > 1:
            clock.ahead += 100
            raise RuntimeError("a fault")
        return shout_all(given)

    async def scenario() -> None:
        dispatcher = machine.dispatcher(0)
        tasks = await send(dispatcher, b"a", seconds=50) + await send(dispatcher, b"b", seconds=500)
        machine.consume_batches(2, fragile)
        assert await answers(*tasks) == [b"refused: DEADLINE_EXCEEDED", b"context B"]
        dispatcher.close()

    asyncio.run(scenario())
    assert machine.batches == [[b"a", b"b"], [b"b"]]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_fault_over_a_lone_request_ends_the_worker_and_is_blamed_on_it_alone(machine: Machine) -> None:
    """Not on those that it was in a batch with."""

    def broken(given: Sequence[Work]) -> list[Outcome]:
        if b"bad" in [work.payload for work in given]:
            raise RuntimeError("a fault")
        return shout_all(given)

    async def scenario() -> None:
        dispatcher = machine.dispatcher(0)
        tasks = await send(dispatcher, b"a", b"bad", b"b")
        machine.consume_batches(2, broken)
        await asyncio.to_thread(wait_until, lambda: machine.deaths == [2], "the end was told")
        assert machine.shared.stats.rows[2].in_flight == [key_of(b"bad")]
        machine.die(2, dispatcher, queue=1)
        machine.consume_batches(3)
        assert await answers(*tasks) == [b"context A", b"context BAD", b"context B"]
        dispatcher.close()

    asyncio.run(scenario())
    assert machine.cleared == [key_of(b"bad")]


# --- what kills ---


def test_after_a_death_each_of_a_batch_is_computed_alone(machine: Machine) -> None:
    """Nobody knows which of them has killed; those that come meanwhile go on together."""

    async def scenario() -> None:
        dispatcher = machine.dispatcher(0)
        tasks = await send(dispatcher, b"a", b"b")
        generation = machine.shared.stats.rows[3].generation
        for _ in tasks:
            buffer, _, _ = machine.take(1)
            buffer.claim(3, generation)
            buffer.close()
        machine.shared.stats.rows[3].in_flight = [key_of(b"a"), key_of(b"b")]
        machine.die(3, dispatcher, queue=1)
        tasks += await send(dispatcher, b"c", b"d")
        machine.consume_batches(2)
        assert await answers(*tasks) == [b"context A", b"context B", b"context C", b"context D"]
        dispatcher.close()

    asyncio.run(scenario())
    assert machine.batches == [[b"c", b"d"], [b"a"], [b"b"]]
    assert machine.cleared == [key_of(b"a"), key_of(b"b")]


def test_a_poison_that_lies_in_the_queue_is_refused_and_its_batch_computed(machine: Machine) -> None:
    """Copies that were sent before anybody knew."""

    async def scenario() -> None:
        dispatcher = machine.dispatcher(0)
        tasks = await send(dispatcher, b"a", b"poison", b"b")
        machine.blame(b"poison", deaths=2)
        machine.consume_batches(2)
        assert await answers(*tasks) == [b"context A", b"refused: WORKER_CRASHED", b"context B"]
        dispatcher.close()

    asyncio.run(scenario())
    assert machine.batches == [[b"a", b"b"]]


def test_of_a_batch_only_what_too_many_have_in_flight_is_put_back(machine: Machine) -> None:
    """Until one of them has finished."""
    rows = machine.shared.stats.rows
    for row in rows[3:]:
        row.consuming, row.in_flight = 1, [key_of(b"y"), key_of(b"x")]

    async def scenario() -> None:
        dispatcher = machine.dispatcher(0)
        tasks = await send(dispatcher, b"a", b"x", b"b")
        machine.consume_batches(2)
        assert await answers(tasks[0], tasks[2]) == [b"context A", b"context B"]
        assert not tasks[1].done()
        rows[4].in_flight = []
        assert await answers(tasks[1]) == [b"context X"]
        dispatcher.close()

    asyncio.run(scenario())
    assert machine.batches == [[b"a", b"b"], [b"x"]]


def test_the_same_payload_may_be_several_times_in_a_batch(machine: Machine) -> None:
    """It is in flight once, and each is answered."""

    async def scenario() -> None:
        dispatcher = machine.dispatcher(0)
        tasks = await send(dispatcher, b"a", b"a", b"a")
        machine.consume_batches(2)
        assert await answers(*tasks) == [b"context A"] * 3
        dispatcher.close()

    asyncio.run(scenario())
    assert machine.batches == [[b"a"] * 3]
