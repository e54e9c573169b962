"""Rules of the consumer: what its thread computes, drops, gives up and puts back."""

import asyncio
import contextlib
import gc
import os
import resource
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from inference_server.dispatch.consumer import Checkpoint
from inference_server.dispatch.request_buffer import Abandoned
from inference_server.dispatch.work import Work
from tests.support.dispatch import Clock, Machine, key_of, shout, work
from tests.support.processes import PATIENCE, wait_until
from utils.errors import DeadlineExceeded, FacetError


def test_a_request_is_answered_by_whichever_consumer_is_idle(machine: Machine) -> None:
    """While one is held by a long request, the other does all that come, from any dispatcher."""
    release = threading.Event()

    def slow(given: Work, checkpoint: Checkpoint) -> bytes:
        if given.payload == b"long":
            assert release.wait(PATIENCE)
        return shout(given, checkpoint)

    async def scenario() -> None:
        dispatchers = [machine.dispatcher(0), machine.dispatcher(1)]
        machine.consume(0, slow)
        machine.consume(1, slow)
        long = asyncio.create_task(dispatchers[0].submit(work(b"long")))
        for i in range(20):
            assert await dispatchers[i % 2].submit(work(b"short")) == b"context SHORT"
        assert not long.done()
        release.set()
        assert await long == b"context LONG"
        for dispatcher in dispatchers:
            dispatcher.close()

    asyncio.run(scenario())


def test_requests_are_taken_in_the_order_of_their_arrival(machine: Machine) -> None:
    """Whichever dispatcher they came from."""

    async def scenario() -> None:
        dispatchers = [machine.dispatcher(0), machine.dispatcher(1)]
        pictures = [f"{i}".encode() for i in range(50)]
        tasks = []
        for i, picture in enumerate(pictures):
            tasks.append(asyncio.create_task(dispatchers[i % 2].submit(work(picture))))
            await asyncio.sleep(0)
        machine.consume(2)
        await asyncio.gather(*tasks)
        assert machine.computed == pictures
        for dispatcher in dispatchers:
            dispatcher.close()

    asyncio.run(scenario())


def test_a_request_cancelled_while_it_is_computed_is_given_up_between_two_steps(machine: Machine) -> None:
    """The checkpoint raises in the consumer thread, which is then free for another."""
    started, stopped = threading.Event(), threading.Event()

    def endless(given: Work, checkpoint: Checkpoint) -> bytes:
        if given.payload != b"endless":
            return b"done"
        started.set()
        try:
            give_up = time.monotonic() + PATIENCE
            while time.monotonic() < give_up:
                time.sleep(0.001)  # Python's lock is free meanwhile, as it is in an engine
                checkpoint()
        except Abandoned:
            stopped.set()
            raise
        raise AssertionError("never given up")

    async def scenario() -> None:
        dispatcher = machine.dispatcher(0)
        machine.consume(1, endless)
        task = asyncio.create_task(dispatcher.submit(work(b"endless")))
        await asyncio.to_thread(started.wait, PATIENCE)
        task.cancel()
        assert await asyncio.to_thread(stopped.wait, PATIENCE)
        assert await dispatcher.submit(work(b"next")) == b"done"
        dispatcher.close()

    asyncio.run(scenario())


def test_a_request_whose_time_runs_out_while_it_is_computed_is_given_up(
    machine: Machine, clock: Clock
) -> None:
    """By the checkpoint, with the error that its caller is told."""

    def late(_given: Work, checkpoint: Checkpoint) -> bytes:
        clock.ahead += 61
        try:
            checkpoint()
        except FacetError as error:
            return error.reason.encode()
        raise AssertionError("never given up")

    async def scenario() -> None:
        dispatcher = machine.dispatcher(0)
        machine.consume(1, late)
        assert await dispatcher.submit(work(b"x")) == DeadlineExceeded.reason.encode()
        dispatcher.close()

    asyncio.run(scenario())


def test_a_request_that_waited_too_long_is_answered_without_being_computed(
    machine: Machine, clock: Clock
) -> None:
    """Its consumer knows how long such a picture takes it, and others wait that can still be done in time."""
    machine.shared.stats.rows[1].rate = 10.0

    def slow(given: Work, checkpoint: Checkpoint) -> bytes:
        clock.ahead += 10.0  # as its rate says
        return shout(given, checkpoint)

    async def scenario() -> None:
        dispatcher = machine.dispatcher(0)
        requests = ((b"x", 60.0), (b"y", 15.0), (b"z", 60.0))
        tasks = [
            asyncio.create_task(dispatcher.submit(work(name, seconds=seconds))) for name, seconds in requests
        ]
        await asyncio.sleep(0)
        machine.consume(1, slow)
        answers = [await task for task in tasks]
        assert answers == [b"context X", b"refused: DEADLINE_EXCEEDED", b"context Z"]
        dispatcher.close()

    asyncio.run(scenario())


def test_a_request_that_waited_too_long_alone_is_not_computed_either(machine: Machine, clock: Clock) -> None:
    """It could have been done when it came."""
    machine.shared.stats.rows[1].rate = 10.0

    async def scenario() -> None:
        dispatcher = machine.dispatcher(0)
        late = asyncio.create_task(dispatcher.submit(work(b"x", seconds=15.0)))
        await asyncio.sleep(0)
        clock.ahead += 10.0  # nobody takes it
        machine.consume(1)
        assert await late == b"refused: DEADLINE_EXCEEDED"
        dispatcher.close()

    asyncio.run(scenario())


def test_what_a_bad_hour_has_taught_is_unlearned(machine: Machine) -> None:
    """A machine that has done nothing for a while tries one picture, and believes what it sees."""
    for row in machine.shared.stats.rows:
        row.rate = 1000.0
        row.show_progress(time.monotonic() + PATIENCE)

    async def scenario() -> None:
        dispatcher = machine.dispatcher(0)
        machine.consume(1)
        with pytest.raises(DeadlineExceeded):
            await dispatcher.submit(work(b"x"))
        for row in machine.shared.stats.rows:
            row.show_progress(time.monotonic() - PATIENCE)
        for _ in range(3):
            assert await dispatcher.submit(work(b"x")) == b"context X"
        dispatcher.close()

    asyncio.run(scenario())


def test_a_worker_that_was_slow_lately_refuses_nothing_that_others_could_do(machine: Machine) -> None:
    """It would take one request after another, and refuse them all."""
    machine.shared.stats.rows[0].rate, machine.shared.stats.rows[1].rate = 0.1, 20.0

    async def scenario() -> None:
        dispatcher = machine.dispatcher(0)
        tasks = [asyncio.create_task(dispatcher.submit(work(b"x", seconds=30.0))) for _ in range(3)]
        await asyncio.sleep(0)
        machine.shared.stats.rows[1].rate = 1000.0
        machine.consume(1)
        assert [await task for task in tasks] == [b"context X"] * 3
        dispatcher.close()

    asyncio.run(scenario())


def test_a_request_that_was_posted_twice_is_computed_once(machine: Machine) -> None:
    """The claim of a living worker makes the second copy worthless."""

    async def scenario() -> None:
        dispatcher = machine.dispatcher(0)
        tasks = [asyncio.create_task(dispatcher.submit(work(b"%d" % i))) for i in range(20)]
        await asyncio.sleep(0)
        machine.die(2, dispatcher)
        machine.consume(0)
        machine.consume(1)
        await asyncio.gather(*tasks)
        # All copies are out of the queue once one more request has been through it.
        await dispatcher.submit(work(b"last"))
        dispatcher.close()

    asyncio.run(scenario())
    assert sorted(machine.computed) == sorted([b"%d" % i for i in range(20)] + [b"last"])


def test_a_copy_of_what_a_living_worker_has_in_flight_is_not_computed(machine: Machine) -> None:
    """However long it takes: who receives the copy drops it, and is free for the next request."""
    taken, release = threading.Event(), threading.Event()

    def slow(given: Work, _checkpoint: Checkpoint) -> bytes:
        if given.payload == b"long":
            taken.set()
            assert release.wait(PATIENCE)
        return b"done"

    async def scenario() -> None:
        dispatcher = machine.dispatcher(0)
        long = asyncio.create_task(dispatcher.submit(work(b"long")))
        await asyncio.sleep(0)
        machine.die(2, dispatcher)  # of which nobody knows whether it had received it
        machine.consume(0, slow)
        assert await asyncio.to_thread(taken.wait, PATIENCE)
        machine.consume(1, slow)
        try:
            assert await asyncio.wait_for(dispatcher.submit(work(b"next")), PATIENCE) == b"done"
        finally:
            release.set()
        assert await long == b"done"
        dispatcher.close()

    asyncio.run(scenario())
    assert machine.computed == [b"long", b"next"]


def test_a_request_of_a_dead_dispatcher_is_not_computed(machine: Machine) -> None:
    """Nobody could receive the answer, not even the next one in its slot."""

    async def scenario() -> None:
        dead = machine.dispatcher(0)
        task = asyncio.create_task(dead.submit(work(b"orphan")))
        await asyncio.sleep(0)
        dead.close()
        machine.shared.stats.rows[0].assign(500, time.monotonic())
        successor = machine.dispatcher(0)
        machine.consume(1)
        assert await successor.submit(work(b"mine")) == b"context MINE"
        assert machine.computed == [b"mine"]
        machine.shared.stats.rows[0].add_waiting(0, 1, len(b"orphan"), 1.0)  # as before its end
        task.cancel()
        successor.close()

    asyncio.run(scenario())


def test_a_suspect_whose_time_ran_out_is_not_cleared(machine: Machine, clock: Clock) -> None:
    """It has not shown that it can be computed."""

    def late(_given: Work, checkpoint: Checkpoint) -> bytes:
        clock.ahead += 61
        with contextlib.suppress(FacetError):
            checkpoint()
        return b"late"

    async def scenario() -> None:
        dispatcher = machine.dispatcher(0)
        machine.blame(b"x", deaths=1)
        machine.consume(1, late)
        assert await dispatcher.submit(work(b"x")) == b"late"
        assert machine.cleared == []
        dispatcher.close()

    asyncio.run(scenario())


def test_progress_is_due_only_after_the_grace_of_a_computation(machine: Machine) -> None:
    """Decoding has no steps: who looks must not take it for a hang. From the first step on it is as ever."""
    due: list[float] = []
    row = machine.shared.stats.rows[1]

    def decode(_given: Work, checkpoint: Checkpoint) -> bytes:
        for _ in range(2):
            due.append(row.progress_due - time.monotonic())
            assert row.last_progress <= time.monotonic()
            checkpoint()
        return b""

    async def scenario() -> None:
        dispatcher = machine.dispatcher(0)
        machine.consume(1, decode)
        await dispatcher.submit(replace(work(b"x"), grace=2 * PATIENCE))
        dispatcher.close()

    asyncio.run(scenario())
    assert due[0] > PATIENCE
    assert due[1] < PATIENCE


def test_the_page_shows_what_a_detector_has_in_flight(machine: Machine) -> None:
    """Its payload's key and its progress while it computes; nothing when it is idle."""
    row = machine.shared.stats.rows[1]
    release = threading.Event()

    def slow(_given: Work, checkpoint: Checkpoint) -> bytes:
        checkpoint()
        assert release.wait(PATIENCE)
        return b"done"

    async def scenario() -> None:
        dispatcher = machine.dispatcher(0)
        machine.consume(1, slow)
        task = asyncio.create_task(dispatcher.submit(work(b"x")))
        await asyncio.sleep(0)
        await asyncio.to_thread(wait_until, lambda: bool(row.in_flight), "a picture in flight")
        assert row.busy
        assert row.in_flight == [key_of(b"x")]
        assert time.monotonic() - row.last_progress < PATIENCE
        release.set()
        await task
        await asyncio.to_thread(wait_until, lambda: not row.busy, "idle")
        assert row.in_flight == []
        assert row.handled == 1
        dispatcher.close()

    asyncio.run(scenario())


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_the_end_of_the_detector_thread_is_the_end_of_the_worker(machine: Machine) -> None:
    """A fault that is nobody's answer: the process must not live on without a detector."""

    def broken(_given: Work, _checkpoint: Checkpoint) -> bytes:
        raise RuntimeError("a fault")

    async def scenario() -> None:
        dispatcher = machine.dispatcher(0)
        machine.consume(1, broken)
        task = asyncio.create_task(dispatcher.submit(work(b"x")))
        await asyncio.sleep(0)
        await asyncio.to_thread(wait_until, lambda: machine.deaths == [1], "the end was told")
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        dispatcher.close()

    asyncio.run(scenario())


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_worker_without_a_descriptor_left_ends_and_loses_no_request(machine: Machine) -> None:
    """The kernel gives it the request without its buffer; those who live get it again."""

    async def scenario() -> None:
        dispatcher = machine.dispatcher(0)
        task = asyncio.create_task(dispatcher.submit(work(b"x")))
        await asyncio.sleep(0)
        with no_descriptor_left():
            machine.consume(1)
            await asyncio.to_thread(wait_until, lambda: machine.deaths == [1], "the end was told")
        machine.die(1, dispatcher)
        machine.consume(2)
        assert await task == b"context X"
        dispatcher.close()

    asyncio.run(scenario())


@contextlib.contextmanager
def no_descriptor_left() -> Iterator[None]:
    """Use up what this process may open."""
    gc.collect()  # what others have forgotten must not be closed meanwhile
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    taken = [os.dup(0)]
    resource.setrlimit(resource.RLIMIT_NOFILE, (taken[0] + 1, hard))
    try:
        with contextlib.suppress(OSError):
            while True:
                taken.append(os.dup(0))
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        for descriptor in taken:
            os.close(descriptor)


def test_a_poison_that_lies_in_the_queue_is_not_computed(machine: Machine) -> None:
    """Copies that were sent before anybody knew are refused by the consumer that takes them."""

    async def scenario() -> None:
        dispatcher = machine.dispatcher(0)
        tasks = [asyncio.create_task(dispatcher.submit(work(p))) for p in (b"poison", b"other")]
        await asyncio.sleep(0)
        machine.blame(b"poison", deaths=2)
        machine.consume(1)
        assert await asyncio.gather(*tasks) == [b"refused: WORKER_CRASHED", b"context OTHER"]
        dispatcher.close()

    asyncio.run(scenario())
    assert machine.computed == [b"other"]


def test_a_request_whose_picture_too_many_have_in_flight_is_put_back_behind_the_others(
    machine: Machine,
) -> None:
    """And is computed when one of them has finished; nothing waits for it."""
    rows = machine.shared.stats.rows
    rows[0].in_flight = rows[2].in_flight = [key_of(b"x")]

    async def scenario() -> None:
        dispatcher = machine.dispatcher(0)
        machine.consume(1)
        many = asyncio.create_task(dispatcher.submit(work(b"x")))
        await asyncio.sleep(0)
        assert await dispatcher.submit(work(b"y")) == b"context Y"
        assert not many.done()
        rows[2].in_flight = []
        assert await many == b"context X"
        dispatcher.close()

    asyncio.run(scenario())


def test_a_request_that_was_put_back_and_waited_too_long_is_not_computed(
    machine: Machine, clock: Clock
) -> None:
    """Its time is looked at each time that it is taken."""
    rows = machine.shared.stats.rows
    rows[0].in_flight = rows[2].in_flight = [key_of(b"x")]

    async def scenario() -> None:
        dispatcher = machine.dispatcher(0)
        machine.consume(1)
        task = asyncio.create_task(dispatcher.submit(work(b"x")))
        await asyncio.sleep(0)
        assert await dispatcher.submit(work(b"y")) == b"context Y"
        clock.ahead += 61
        assert await task == b"refused: DEADLINE_EXCEEDED"
        dispatcher.close()

    asyncio.run(scenario())


def no_room(asked: threading.Event) -> Callable[[bytes, int, int], bool]:
    """A queue that is full, and says when somebody has noticed."""

    def send(_packet: bytes, _descriptor: int, _queue: int) -> bool:
        asked.set()
        return False

    return send


def test_a_request_that_finds_no_room_to_be_put_back_is_tried_again(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where all workers hold what they would put back, nobody else makes room."""
    rows = machine.shared.stats.rows
    rows[0].in_flight = rows[2].in_flight = [key_of(b"x")]
    full = threading.Event()

    async def scenario() -> None:
        dispatcher = machine.dispatcher(0)
        task = asyncio.create_task(dispatcher.submit(work(b"x")))
        await asyncio.sleep(0)
        monkeypatch.setattr(machine.shared, "send", no_room(full))
        machine.consume(1)
        assert await asyncio.to_thread(full.wait, PATIENCE)
        rows[2].in_flight = []
        assert await asyncio.wait_for(task, PATIENCE) == b"context X"
        dispatcher.close()

    asyncio.run(scenario())


def test_a_worker_that_stops_claims_nothing_that_it_could_not_put_back(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So its dispatcher posts it again when the worker has ended."""
    rows = machine.shared.stats.rows
    rows[0].in_flight = rows[2].in_flight = [key_of(b"x")]
    full = threading.Event()

    async def scenario() -> None:
        dispatcher = machine.dispatcher(0)
        send = machine.shared.send
        task = asyncio.create_task(dispatcher.submit(work(b"x")))
        await asyncio.sleep(0)
        monkeypatch.setattr(machine.shared, "send", no_room(full))
        machine.consume(1)
        assert await asyncio.to_thread(full.wait, PATIENCE)
        await asyncio.to_thread(machine.consumers[0].stop)
        monkeypatch.setattr(machine.shared, "send", send)
        rows[2].in_flight = []
        machine.die(1, dispatcher)
        machine.consume(2)
        assert await asyncio.wait_for(task, PATIENCE) == b"context X"
        dispatcher.close()

    asyncio.run(scenario())


def test_a_suspect_is_tried_by_one_worker_at_a_time(machine: Machine) -> None:
    """So that a picture that kills does not take several of them along."""
    machine.blame(b"x", deaths=1)
    elsewhere = machine.shared.stats.rows[2]
    elsewhere.in_flight = [key_of(b"x")]

    async def scenario() -> None:
        dispatcher = machine.dispatcher(0)
        machine.consume(1)
        task = asyncio.create_task(dispatcher.submit(work(b"x")))
        await asyncio.sleep(0)
        assert await dispatcher.submit(work(b"y")) == b"context Y"
        assert not task.done()
        elsewhere.in_flight = []
        assert await task == b"context X"
        dispatcher.close()

    asyncio.run(scenario())
