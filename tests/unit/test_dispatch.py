"""Rules of dispatch, with real sockets and threads and no gRPC: several workers in one process."""

import asyncio
import contextlib
import errno
import gc
import os
import resource
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from inference_server.dispatch.admission import Load
from inference_server.dispatch.consumer import Checkpoint, Consumer, Outcome
from inference_server.dispatch.envelope import Abandoned, Envelope, Work, checksum_of
from inference_server.dispatch.front import Front
from inference_server.dispatch.page import Page
from inference_server.dispatch.shared import PACKET, LayoutMismatch, Shared
from inference_server.dispatch.stock import LARGEST_PICTURE, MOST
from inference_server.dispatch.suspects import FORGET_SECONDS, Suspects
from tests.support.processes import PATIENCE, wait_until
from utils.errors import DeadlineExceeded, FacetError, InternalError, QueueFull, WorkerCrashed

ONE = Load(1, 10, 1.0)


def work(picture: bytes, seconds: float = 60.0) -> Work:
    """Work on a picture that is wanted for so long."""
    now = time.monotonic()
    return Work(b"context", picture, 1.0, now, now + seconds)


def shout(given: Work, _checkpoint: Checkpoint) -> bytes:
    """A detector whose answer shows what it was given."""
    return given.context + b" " + given.picture.upper()


class Machine:
    """Slots with fronts and consumers on what they share."""

    def __init__(self, slots: int) -> None:
        self.shared = Shared.create(slots)
        self.deaths: list[int] = []
        self.innocent: list[bytes] = []
        self.consumers: list[Consumer] = []
        for slot in range(slots):
            self.shared.page.rows[slot].enlist(100 + slot, time.monotonic())
            self.shared.page.rows[slot].consuming = True

    def front(self, slot: int, queue_seconds: float = 60.0) -> Front:
        return Front(
            self.shared,
            slot,
            self.shared.page.rows[slot].generation,
            queue_seconds=queue_seconds,
            on_innocent=self.innocent.append,
        )

    def consume(
        self,
        slot: int,
        compute: Callable[[Work, Checkpoint], bytes] = shout,
        suspects: Suspects | None = None,
    ) -> Consumer:
        consumer = Consumer(
            self.shared,
            slot,
            self.shared.page.rows[slot].generation,
            compute=lambda given, checkpoint: Outcome(compute(given, checkpoint), complete=True),
            suspects=suspects or Suspects(),
            refuse=lambda error: f"refused: {error.reason}".encode(),
            on_death=lambda: self.deaths.append(slot),
        )
        self.consumers.append(consumer)
        consumer.start()
        return consumer

    def take(self) -> tuple[Envelope, int, bytes]:
        """Receive the next request as a consumer does; envelope, front, packet."""
        packet, (descriptor,), _, _ = socket.recv_fds(self.shared.take, PACKET.size, 1)
        return Envelope(descriptor), PACKET.unpack(packet)[0], packet

    def die(self, slot: int, front: Front, deaths: int = 1) -> None:
        """Do what the supervisor does when the worker in a slot has died."""
        row = self.shared.page.rows[slot]
        generation, checksum = row.generation, row.checksum
        row.clear()
        front.worker_died(slot, generation, checksum, deaths if checksum else 0)


@pytest.fixture
def machine() -> Iterator[Machine]:
    """Three slots; everything closed afterwards."""
    made = Machine(3)
    yield made
    for consumer in made.consumers:
        consumer.stop()
    made.shared.close()


def test_a_request_is_answered_by_whichever_consumer_is_idle(machine: Machine) -> None:
    """While one is held by a long request, the other does all that come, from any front."""
    release = threading.Event()

    def slow(given: Work, checkpoint: Checkpoint) -> bytes:
        if given.picture == b"long":
            assert release.wait(PATIENCE)
        return shout(given, checkpoint)

    async def scenario() -> None:
        fronts = [machine.front(0), machine.front(1)]
        machine.consume(0, slow)
        machine.consume(1, slow)
        long = asyncio.create_task(fronts[0].submit(work(b"long"), ONE))
        for i in range(20):
            assert await fronts[i % 2].submit(work(b"short"), ONE) == b"context SHORT"
        assert not long.done()
        release.set()
        assert await long == b"context LONG"
        for front in fronts:
            front.close()

    asyncio.run(scenario())


def test_requests_are_taken_in_the_order_of_their_arrival(machine: Machine) -> None:
    """Whichever front they came from."""
    seen: list[bytes] = []

    def remember(given: Work, _checkpoint: Checkpoint) -> bytes:
        seen.append(given.picture)
        return b""

    async def scenario() -> None:
        fronts = [machine.front(0), machine.front(1)]
        pictures = [f"{i}".encode() for i in range(50)]
        tasks = []
        for i, picture in enumerate(pictures):
            tasks.append(asyncio.create_task(fronts[i % 2].submit(work(picture), ONE)))
            await asyncio.sleep(0)
        machine.consume(2, remember)
        await asyncio.gather(*tasks)
        assert seen == pictures
        for front in fronts:
            front.close()

    asyncio.run(scenario())


def test_more_requests_than_the_kernel_queue_holds_wait_in_order_at_their_front(machine: Machine) -> None:
    """A full queue is no error."""

    async def scenario() -> None:
        front = machine.front(0)
        tasks = [asyncio.create_task(front.submit(work(b"%d" % i), ONE)) for i in range(900)]
        await asyncio.sleep(0.05)
        machine.consume(1)
        assert await asyncio.gather(*tasks) == [b"context %d" % i for i in range(900)]
        front.close()

    asyncio.run(scenario())


def test_a_cancelled_request_is_never_computed_and_frees_its_place(machine: Machine) -> None:
    """It may still lie in the queue; whoever takes it sees that nobody wants it."""
    seen: list[bytes] = []

    def remember(given: Work, _checkpoint: Checkpoint) -> bytes:
        seen.append(given.picture)
        return b"done"

    async def scenario() -> None:
        front = machine.front(0)
        gone = asyncio.create_task(front.submit(work(b"gone"), ONE))
        await asyncio.sleep(0)
        assert machine.shared.page.rows[0].waiting == (1, 10, 1.0)
        gone.cancel()
        with pytest.raises(asyncio.CancelledError):
            await gone
        assert machine.shared.page.rows[0].waiting == (0, 0, 0.0)
        machine.consume(1, remember)
        assert await front.submit(work(b"here"), ONE) == b"done"
        assert seen == [b"here"]
        front.close()

    asyncio.run(scenario())


def test_a_cancelled_request_gives_its_memory_back_at_once(machine: Machine) -> None:
    """Though its envelope lies in the queue until a detector is idle."""

    async def scenario() -> None:
        front = machine.front(0)
        task = asyncio.create_task(front.submit(work(bytes(1024**2)), ONE))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        envelope, _, _ = machine.take()
        assert envelope.is_cancelled()
        assert os.fstat(envelope.descriptor).st_blocks * 512 <= 4096
        envelope.close()
        front.close()

    asyncio.run(scenario())


def envelopes_made(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The descriptors of all envelopes that are made from now on."""
    made: list[int] = []
    create = os.memfd_create

    def remember(*arguments: object) -> int:
        made.append(create(*arguments))  # type: ignore[arg-type]
        return made[-1]

    monkeypatch.setattr(os, "memfd_create", remember)
    return made


def test_the_memory_of_an_answered_request_serves_the_next(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever lay there before: each answer is to its own request."""
    made = envelopes_made(monkeypatch)

    async def scenario() -> None:
        front = machine.front(0)
        for slot in range(3):
            machine.consume(slot)
        for length in (1000, 1, 300_000, 30, 0, 5000):
            picture = f"{length}".encode() + b"x" * length
            assert await front.submit(work(picture), ONE) == b"context " + picture.upper()
        front.close()

    asyncio.run(scenario())
    assert len(made) == 2  # the next is sealed before the one before it is put away


def test_the_memory_of_a_large_picture_is_given_back(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is kept is little, however many came at once."""
    made = envelopes_made(monkeypatch)
    before = open_envelopes()

    async def scenario() -> None:
        front = machine.front(0)
        machine.consume(0)
        large = b"x" * (LARGEST_PICTURE + 1)
        for picture in (large, large, b"small"):
            await front.submit(work(picture), ONE)
        assert len(made) == 3
        await asyncio.gather(*(front.submit(work(b"x" * 100_000), ONE) for _ in range(20)))
        await asyncio.sleep(0)
        wait_until(lambda: open_envelopes() == before + MOST, "the consumer to close its ends")
        front.close()

    asyncio.run(scenario())
    assert open_envelopes() == before


def open_envelopes() -> int:
    """How many envelopes this process has open."""
    found = 0
    for descriptor in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):
            found += "facet-request" in str(descriptor.readlink())
    return found


@pytest.mark.parametrize("twice", [False, True])
def test_what_may_be_in_the_queue_again_is_not_used_again(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, *, twice: bool
) -> None:
    """A consumer that takes the other copy must not find another request in it."""
    made = envelopes_made(monkeypatch)

    async def scenario() -> None:
        front = machine.front(0)
        first = asyncio.create_task(front.submit(work(b"first"), ONE))
        await asyncio.sleep(0)
        if twice:
            machine.die(2, front)
        machine.consume(0)
        assert await first == b"context FIRST"
        assert await front.submit(work(b"second"), ONE) == b"context SECOND"
        front.close()

    asyncio.run(scenario())
    assert len(made) == 1 + twice


def test_a_request_cancelled_while_it_is_computed_is_given_up_between_two_steps(machine: Machine) -> None:
    """The checkpoint raises in the detector thread, which is then free for another."""
    started, stopped = threading.Event(), threading.Event()

    def endless(given: Work, checkpoint: Checkpoint) -> bytes:
        if given.picture != b"endless":
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
        front = machine.front(0)
        machine.consume(1, endless)
        task = asyncio.create_task(front.submit(work(b"endless"), ONE))
        await asyncio.to_thread(started.wait, PATIENCE)
        task.cancel()
        assert await asyncio.to_thread(stopped.wait, PATIENCE)
        assert await front.submit(work(b"next"), ONE) == b"done"
        front.close()

    asyncio.run(scenario())


def test_a_request_whose_time_runs_out_while_it_is_computed_is_given_up(machine: Machine) -> None:
    """By the checkpoint, with the error that its caller is told."""

    def endless(_given: Work, checkpoint: Checkpoint) -> bytes:
        try:
            give_up = time.monotonic() + PATIENCE
            while time.monotonic() < give_up:
                time.sleep(0.001)  # Python's lock is free meanwhile, as it is in an engine
                checkpoint()
        except FacetError as error:
            return error.reason.encode()
        raise AssertionError("never given up")

    async def scenario() -> None:
        front = machine.front(0)
        machine.consume(1, endless)
        assert await front.submit(work(b"x", seconds=0.1), ONE) == DeadlineExceeded.reason.encode()
        front.close()

    asyncio.run(scenario())


def test_a_request_that_waited_too_long_is_answered_without_being_computed(machine: Machine) -> None:
    """Its consumer knows how long such a picture takes it, and others wait that can still be done in time."""
    machine.shared.page.rows[1].rate = 0.3

    def slow(given: Work, checkpoint: Checkpoint) -> bytes:
        time.sleep(0.3)  # as its rate says
        return shout(given, checkpoint)

    async def scenario() -> None:
        front = machine.front(0)
        requests = ((b"x", 30.0), (b"y", 0.5), (b"z", 30.0))
        tasks = [
            asyncio.create_task(front.submit(work(name, seconds=seconds), ONE)) for name, seconds in requests
        ]
        await asyncio.sleep(0)
        machine.consume(1, slow)
        answers = [await task for task in tasks]
        assert answers == [b"context X", b"refused: DEADLINE_EXCEEDED", b"context Z"]
        front.close()

    asyncio.run(scenario())


def test_a_request_that_waited_too_long_alone_is_not_computed_either(machine: Machine) -> None:
    """It could have been done when it came."""
    machine.shared.page.rows[1].rate = 0.4

    async def scenario() -> None:
        front = machine.front(0)
        late = asyncio.create_task(front.submit(work(b"x", seconds=0.5), ONE))
        await asyncio.sleep(0.2)  # nobody takes it
        machine.consume(1)
        assert await late == b"refused: DEADLINE_EXCEEDED"
        front.close()

    asyncio.run(scenario())


def test_what_a_bad_hour_has_taught_is_unlearned(machine: Machine) -> None:
    """A machine that has done nothing for a while tries one picture, and believes what it sees."""
    for row in machine.shared.page.rows:
        row.rate = 1000.0

    async def scenario() -> None:
        front = machine.front(0)
        machine.consume(1)
        with pytest.raises(DeadlineExceeded):
            await front.submit(work(b"x"), ONE)
        for row in machine.shared.page.rows:
            row.stamp -= 2.0
        for _ in range(3):
            assert await front.submit(work(b"x"), ONE) == b"context X"
        front.close()

    asyncio.run(scenario())


def test_a_worker_that_was_slow_lately_refuses_nothing_that_others_could_do(machine: Machine) -> None:
    """It would take one request after another, and refuse them all."""
    machine.shared.page.rows[0].rate, machine.shared.page.rows[1].rate = 0.1, 20.0

    async def scenario() -> None:
        front = machine.front(0)
        tasks = [asyncio.create_task(front.submit(work(b"x", seconds=30.0), ONE)) for _ in range(3)]
        await asyncio.sleep(0)
        machine.shared.page.rows[1].rate = 1000.0
        machine.consume(1)
        assert [await task for task in tasks] == [b"context X"] * 3
        front.close()

    asyncio.run(scenario())


def test_a_full_machine_refuses_at_once(machine: Machine) -> None:
    """By what all fronts have accepted, not only this one."""
    for row in machine.shared.page.rows:
        row.waiting = (10, 100, 10.0)
        row.rate = 1.0

    async def scenario() -> None:
        front = machine.front(0, queue_seconds=2.0)
        with pytest.raises(QueueFull):
            await front.submit(work(b"x"), ONE)
        front.close()

    asyncio.run(scenario())


def test_what_a_dead_worker_had_claimed_is_posted_again(machine: Machine) -> None:
    """And answered by another."""

    async def scenario() -> None:
        front = machine.front(0)
        task = asyncio.create_task(front.submit(work(b"x"), ONE))
        await asyncio.sleep(0)
        envelope, _, _ = machine.take()
        envelope.claim(2, machine.shared.page.rows[2].generation)
        envelope.close()
        machine.consume(1)
        machine.die(2, front)
        assert await asyncio.wait_for(task, PATIENCE) == b"context X"
        front.close()

    asyncio.run(scenario())


def test_what_a_dead_worker_had_received_and_not_claimed_is_posted_again(machine: Machine) -> None:
    """Between the two there is no trace of who has it."""

    async def scenario() -> None:
        front = machine.front(0)
        task = asyncio.create_task(front.submit(work(b"x"), ONE))
        await asyncio.sleep(0)
        machine.take()[0].close()
        machine.consume(1)
        machine.die(2, front)
        assert await asyncio.wait_for(task, PATIENCE) == b"context X"
        front.close()

    asyncio.run(scenario())


def test_a_request_that_was_posted_twice_is_computed_once(machine: Machine) -> None:
    """The claim of a living worker makes the second copy worthless."""
    seen: list[bytes] = []

    def remember(given: Work, _checkpoint: Checkpoint) -> bytes:
        seen.append(given.picture)
        return b"done"

    async def scenario() -> None:
        front = machine.front(0)
        tasks = [asyncio.create_task(front.submit(work(b"%d" % i), ONE)) for i in range(20)]
        await asyncio.sleep(0)
        machine.die(2, front)
        machine.consume(0, remember)
        machine.consume(1, remember)
        assert await asyncio.gather(*tasks) == [b"done"] * 20
        # All copies are out of the queue once one more request has been through it.
        assert await front.submit(work(b"last"), ONE) == b"done"
        front.close()

    asyncio.run(scenario())
    assert sorted(seen) == sorted([b"%d" % i for i in range(20)] + [b"last"])


def test_a_copy_of_what_a_living_worker_has_in_hand_is_not_computed(machine: Machine) -> None:
    """However long it takes: who receives the copy drops it, and is free for the next request."""
    seen: list[bytes] = []
    taken, release = threading.Event(), threading.Event()

    def slow(given: Work, _checkpoint: Checkpoint) -> bytes:
        seen.append(given.picture)
        if given.picture == b"long":
            taken.set()
            assert release.wait(PATIENCE)
        return b"done"

    async def scenario() -> None:
        front = machine.front(0)
        long = asyncio.create_task(front.submit(work(b"long"), ONE))
        await asyncio.sleep(0)
        machine.die(2, front)  # of which nobody knows whether it had received it
        machine.consume(0, slow)
        assert await asyncio.to_thread(taken.wait, PATIENCE)
        machine.consume(1, slow)
        try:
            assert await asyncio.wait_for(front.submit(work(b"next"), ONE), PATIENCE) == b"done"
        finally:
            release.set()
        assert await long == b"done"
        front.close()

    asyncio.run(scenario())
    assert seen == [b"long", b"next"]


def test_two_answers_to_one_request_do_not_mix(machine: Machine) -> None:
    """Each answers in a region of its own; the front takes what is complete, once."""

    async def scenario() -> None:
        front = machine.front(0)
        task = asyncio.create_task(front.submit(work(b"x"), ONE))
        await asyncio.sleep(0)
        envelope, _, packet = machine.take()
        envelope.reply(1, b"a" * 100_000, computed=True)
        envelope.reply(2, b"b" * 10, computed=True)
        machine.shared.notify[0].send(packet)
        machine.shared.notify[0].send(packet)
        assert await task in {b"a" * 100_000, b"b" * 10}
        envelope.close()
        front.close()

    asyncio.run(scenario())


def test_a_request_of_a_dead_front_is_not_computed(machine: Machine) -> None:
    """Nobody could receive the answer, not even the next one in its slot."""
    seen: list[bytes] = []

    def remember(given: Work, _checkpoint: Checkpoint) -> bytes:
        seen.append(given.picture)
        return b"done"

    async def scenario() -> None:
        dead = machine.front(0)
        task = asyncio.create_task(dead.submit(work(b"orphan"), ONE))
        await asyncio.sleep(0)
        dead.close()
        machine.shared.page.rows[0].enlist(500, time.monotonic())
        successor = machine.front(0)
        machine.consume(1, remember)
        assert await successor.submit(work(b"mine"), ONE) == b"done"
        assert seen == [b"mine"]
        task.cancel()
        successor.close()

    asyncio.run(scenario())


def test_an_answer_for_the_predecessor_in_a_slot_is_dropped(machine: Machine) -> None:
    """Its numbers begin again, so only the generation tells them apart."""

    async def scenario() -> None:
        front = machine.front(0)
        task = asyncio.create_task(front.submit(work(b"x"), ONE))
        await asyncio.sleep(0)
        machine.shared.notify[0].send(PACKET.pack(0, 99, 1))
        machine.consume(1)
        assert await task == b"context X"
        front.close()

    asyncio.run(scenario())


def test_a_notice_that_found_no_room_delays_an_answer_and_does_not_lose_it(machine: Machine) -> None:
    """The front looks by itself now and then."""

    async def scenario() -> None:
        front = machine.front(0)
        task = asyncio.create_task(front.submit(work(b"x"), ONE))
        await asyncio.sleep(0)
        envelope, _, _ = machine.take()
        envelope.reply(1, b"found", computed=True)
        assert await asyncio.wait_for(task, PATIENCE) == b"found"
        envelope.close()
        front.close()

    asyncio.run(scenario())


def test_a_picture_in_hand_at_two_deaths_is_not_tried_again(machine: Machine) -> None:
    """The request that was in hand is refused, and so is the same picture from anybody."""

    async def scenario() -> None:
        front = machine.front(0)
        task = asyncio.create_task(front.submit(work(b"poison"), ONE))
        await asyncio.sleep(0)
        for slot, deaths in ((1, 1), (2, 2)):
            envelope, _, _ = machine.take()
            row = machine.shared.page.rows[slot]
            envelope.claim(slot, row.generation)
            row.checksum = checksum_of(b"poison")
            envelope.close()
            machine.die(slot, front, deaths)
        with pytest.raises(WorkerCrashed):
            await task
        with pytest.raises(WorkerCrashed):
            await front.submit(work(b"poison"), ONE)
        machine.shared.page.rows[1].enlist(500, time.monotonic())
        machine.consume(1)
        assert await front.submit(work(b"other"), ONE) == b"context OTHER"
        front.close()

    asyncio.run(scenario())


def test_a_suspect_that_is_computed_after_all_is_acquitted(machine: Machine) -> None:
    """And the supervisor is told, so that it tells the others."""

    async def scenario() -> None:
        front = machine.front(0)
        front.suspects.know(checksum_of(b"x"), 1, time.monotonic())
        machine.consume(1)
        assert await front.submit(work(b"x"), ONE) == b"context X"
        assert machine.innocent == [checksum_of(b"x")]
        assert not front.suspects.any(time.monotonic())
        front.close()

    asyncio.run(scenario())


def test_a_suspect_whose_time_ran_out_is_not_acquitted(machine: Machine) -> None:
    """It has not shown that it can be computed."""

    def endless(_given: Work, checkpoint: Checkpoint) -> bytes:
        with contextlib.suppress(FacetError):
            while True:
                time.sleep(0.001)
                checkpoint()
        return b"late"

    async def scenario() -> None:
        front = machine.front(0)
        front.suspects.know(checksum_of(b"x"), 1, time.monotonic())
        machine.consume(1, endless)
        assert await front.submit(work(b"x", seconds=0.1), ONE) == b"late"
        assert machine.innocent == []
        front.close()

    asyncio.run(scenario())


def test_a_detector_that_may_show_no_progress_for_a_while_has_made_it_in_advance(machine: Machine) -> None:
    """Decoding has no steps: who looks must not take it for a hang. From the first step on it is as ever."""
    stamps: list[float] = []

    def decode(_given: Work, checkpoint: Checkpoint) -> bytes:
        for _ in range(2):
            stamps.append(machine.shared.page.rows[1].stamp - time.monotonic())
            checkpoint()
        return b""

    async def scenario() -> None:
        front = machine.front(0)
        machine.consume(1, decode)
        await front.submit(replace(work(b"x"), unseen=2 * PATIENCE), ONE)
        front.close()

    asyncio.run(scenario())
    assert stamps[0] > PATIENCE
    assert stamps[1] < PATIENCE


def test_the_page_shows_what_a_detector_has_in_hand(machine: Machine) -> None:
    """Its picture's checksum and its progress while it computes; nothing when it is idle."""
    row = machine.shared.page.rows[1]
    release = threading.Event()

    def slow(_given: Work, checkpoint: Checkpoint) -> bytes:
        checkpoint()
        assert release.wait(PATIENCE)
        return b"done"

    async def scenario() -> None:
        front = machine.front(0)
        machine.consume(1, slow)
        task = asyncio.create_task(front.submit(work(b"x"), ONE))
        await asyncio.sleep(0)
        await asyncio.to_thread(wait_until, lambda: row.checksum is not None, "a picture in hand")
        assert row.busy
        assert row.checksum == checksum_of(b"x")
        assert time.monotonic() - row.stamp < PATIENCE
        release.set()
        await task
        await asyncio.to_thread(wait_until, lambda: not row.busy, "idle")
        assert row.checksum is None
        assert row.handled == 1
        front.close()

    asyncio.run(scenario())


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_the_end_of_the_detector_thread_is_the_end_of_the_worker(machine: Machine) -> None:
    """A fault that is nobody's answer: the process must not live on without a detector."""

    def broken(_given: Work, _checkpoint: Checkpoint) -> bytes:
        raise RuntimeError("a fault")

    async def scenario() -> None:
        front = machine.front(0)
        machine.consume(1, broken)
        task = asyncio.create_task(front.submit(work(b"x"), ONE))
        await asyncio.sleep(0)
        await asyncio.to_thread(wait_until, lambda: machine.deaths == [1], "the end was told")
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        front.close()

    asyncio.run(scenario())


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_worker_without_a_descriptor_left_ends_and_loses_no_request(machine: Machine) -> None:
    """The kernel gives it the request without its envelope; those who live get it again."""

    async def scenario() -> None:
        front = machine.front(0)
        task = asyncio.create_task(front.submit(work(b"x"), ONE))
        await asyncio.sleep(0)
        with no_descriptor_left():
            machine.consume(1)
            await asyncio.to_thread(wait_until, lambda: machine.deaths == [1], "the end was told")
        machine.die(1, front)
        machine.consume(2)
        assert await task == b"context X"
        front.close()

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


def test_what_is_shared_is_found_again_by_its_descriptors() -> None:
    """As a worker finds it after it was executed."""
    made = Shared.create(3)
    copies = ",".join(str(os.dup(d)) for d in made.descriptors)
    layout = made.described().partition(":")[0]
    found = Shared.inherited(f"{layout}:{copies}")
    made.page.rows[2].enlist(7, 1.0)
    assert found.page.rows[2].generation == 7
    assert len(found.notify) == len(found.notices) == 3
    made.notify[1].send(b"hello")
    assert found.notices[1].recv(10) == b"hello"
    assert os.get_blocking(found.take.fileno())
    made.close()
    found.close()


def test_what_another_release_shares_is_refused() -> None:
    """A worker that would not understand the memory says so, instead of reading it wrong."""
    with pytest.raises(LayoutMismatch, match="restart"):
        Shared.inherited("0:1,2,3")


def test_an_envelope_that_was_discarded_while_it_was_taken_is_abandoned() -> None:
    """Its front truncates it when its caller has gone; half a request must not be computed."""
    envelope = Envelope.seal(work(b"picture"))
    other = Envelope(os.dup(envelope.descriptor))
    envelope.discard()
    with pytest.raises(Abandoned):
        other.open(other.head())
    other.close()


def test_an_envelope_for_which_there_is_no_room_leaves_no_descriptor(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """And its caller is told to come back."""

    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "no space")

    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - the listing's own descriptor counts alike
    monkeypatch.setattr(os, "pwritev", full)
    with pytest.raises(OSError, match="no space"):
        Envelope.seal(work(b"picture"))
    assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208


def test_a_full_memory_is_a_full_queue(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not a fault of ours, and nothing stays behind."""

    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "no space")

    async def scenario() -> None:
        front = machine.front(0)
        monkeypatch.setattr(os, "pwritev", full)
        with pytest.raises(QueueFull):
            await front.submit(work(b"x"), ONE)
        monkeypatch.undo()
        assert machine.shared.page.rows[0].waiting == (0, 0, 0.0)
        machine.consume(1)
        assert await front.submit(work(b"x"), ONE) == b"context X"
        front.close()

    asyncio.run(scenario())


def test_a_request_that_cannot_be_sent_does_not_stop_those_behind_it(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It gets an error of its own."""

    async def scenario() -> None:
        front = machine.front(0)
        send = front._send
        monkeypatch.setattr(front, "_send", broken_once(send))
        machine.consume(1)
        with pytest.raises(InternalError):
            await front.submit(work(b"x"), ONE)
        assert await front.submit(work(b"y"), ONE) == b"context Y"
        front.close()

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


def test_a_request_that_nobody_takes_ends_after_its_deadline(machine: Machine) -> None:
    """Also where no caller's own clock would end it."""

    async def scenario() -> None:
        front = machine.front(0)
        with pytest.raises(DeadlineExceeded):
            await front.submit(work(b"x", seconds=0.05), ONE)
        assert front.idle
        front.close()

    asyncio.run(scenario())


def test_a_poison_that_lies_in_the_queue_is_not_computed(machine: Machine) -> None:
    """Copies that were posted before anybody knew are refused by whoever takes them."""
    suspects = Suspects()
    seen: list[bytes] = []

    def remember(given: Work, _checkpoint: Checkpoint) -> bytes:
        seen.append(given.picture)
        return b"done"

    async def scenario() -> None:
        front = machine.front(0)
        tasks = [asyncio.create_task(front.submit(work(p), ONE)) for p in (b"poison", b"other")]
        await asyncio.sleep(0)
        suspects.know(checksum_of(b"poison"), 2, time.monotonic())
        machine.consume(1, remember, suspects)
        assert await asyncio.gather(*tasks) == [b"refused: WORKER_CRASHED", b"done"]
        front.close()

    asyncio.run(scenario())
    assert seen == [b"other"]


def test_a_request_whose_picture_too_many_have_in_hand_is_put_back_behind_the_others(
    machine: Machine,
) -> None:
    """And is computed when one of them has finished; nothing waits for it."""
    rows = machine.shared.page.rows
    rows[0].checksum = rows[2].checksum = checksum_of(b"x")

    async def scenario() -> None:
        front = machine.front(0)
        machine.consume(1)
        many = asyncio.create_task(front.submit(work(b"x"), ONE))
        await asyncio.sleep(0)
        assert await front.submit(work(b"y"), ONE) == b"context Y"
        assert not many.done()
        rows[2].checksum = None
        assert await many == b"context X"
        front.close()

    asyncio.run(scenario())


def test_a_request_that_was_put_back_and_waited_too_long_is_not_computed(machine: Machine) -> None:
    """Its time is looked at each time that it is taken."""
    rows = machine.shared.page.rows
    rows[0].checksum = rows[2].checksum = checksum_of(b"x")

    async def scenario() -> None:
        front = machine.front(0)
        machine.consume(1)
        assert await front.submit(work(b"x", seconds=0.2), ONE) == b"refused: DEADLINE_EXCEEDED"
        front.close()

    asyncio.run(scenario())


def test_a_suspect_is_tried_by_one_worker_at_a_time(machine: Machine) -> None:
    """So that a picture that kills does not take several of them along."""
    suspects = Suspects()
    suspects.know(checksum_of(b"x"), 1, time.monotonic())
    elsewhere = machine.shared.page.rows[2]
    elsewhere.checksum = checksum_of(b"x")

    async def scenario() -> None:
        front = machine.front(0)
        machine.consume(1, suspects=suspects)
        task = asyncio.create_task(front.submit(work(b"x"), ONE))
        await asyncio.sleep(0.2)
        assert not task.done()
        elsewhere.checksum = None
        assert await task == b"context X"
        front.close()

    asyncio.run(scenario())


def test_suspects_are_forgotten_after_ten_minutes() -> None:
    """A picture that was poison is tried again, and two more deaths are needed."""
    suspects = Suspects()
    assert suspects.blame(b"x", 0.0) == 1
    assert not suspects.is_poison(b"x", 0.0)
    assert suspects.blame(b"x", 1.0) == 2
    assert suspects.is_poison(b"x", FORGET_SECONDS)
    assert not suspects.is_poison(b"x", FORGET_SECONDS + 1.1)
    assert suspects.blame(b"x", FORGET_SECONDS + 2) == 1


def test_a_thousand_suspects_are_enough() -> None:
    """The oldest make room, so that nobody fills the memory with pictures that kill."""
    suspects = Suspects()
    for i in range(1100):
        suspects.blame(b"%d" % i, 0.0)
    assert len(suspects.known(0.0)) == 1000
    assert suspects.deaths(b"0", 0.0) == 0
    assert suspects.deaths(b"1099", 0.0) == 1


def test_a_row_is_its_owners_alone() -> None:
    """Writing one leaves its neighbours as they were."""
    page = Page(os.memfd_create("page"), 3)
    row = page.rows[1]
    row.enlist(2**63, 1.5)
    row.waiting, row.rate, row.busy, row.checksum = (1, 2, 3.5), 0.25, True, b"\xff" * 32
    assert (row.generation, row.beat, row.waiting, row.rate) == (2**63, 1.5, (1, 2, 3.5), 0.25)
    page.deaths = 2**63
    assert row.holds(b"\xff" * 32)
    assert not row.holds(b"\xff" * 31 + b"\xfe")
    for neighbour in (page.rows[0], page.rows[2]):
        assert (neighbour.generation, neighbour.waiting, neighbour.checksum) == (0, (0, 0, 0.0), None)
    row.clear()
    assert page.deaths == 2**63
    assert row.checksum is None
    assert (row.generation, row.beat) == (0, 0.0)
