"""The dispatcher of a request: the event loop of the worker that received it, until it has the answer."""

import asyncio
import errno
import logging
import math
import socket
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from inference_server.dispatch.admission import Load, QueueLoad
from inference_server.dispatch.families import PAYLOAD_BYTES, RECEIVED, REQUEUED
from inference_server.dispatch.request_buffer import BufferPool, RequestBuffer
from inference_server.dispatch.shared import PACKET, Membership
from inference_server.dispatch.work import Work
from utils.errors import DeadlineExceeded, InternalError, QueueFull, WorkerCrashed
from utils.logs import fields

logger = logging.getLogger(__name__)

_RESEND_SECONDS = 0.005
_SWEEP_SECONDS = 0.5
# This machine has no more to give to requests.
_EXHAUSTED = {errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOSPC}
_LATE_SECONDS = 1.0

_PAYLOAD_BYTES, _REQUEUED = RECEIVED.place(PAYLOAD_BYTES), RECEIVED.place(REQUEUED)


@dataclass(eq=False, slots=True)
class _Pending:
    """A request whose caller has no answer yet.

    Attributes:
        queue: The one it goes to.
        size: Of its payload, in bytes, which is in the buffer alone.
        deadline: When its answer is no longer wanted.
        posts: How many copies of its datagram were put into the queue. The one copy of an answered request
            is with the consumer that has answered, which has done with it.
    """

    number: int
    queue: int
    buffer: RequestBuffer
    size: int
    deadline: float
    future: "asyncio.Future[bytes]" = field(repr=False)
    posts: int = 0
    answered: bool = False

    def key(self) -> bytes:
        """What its work is known by."""
        return self.buffer.read(self.buffer.head()).key()


class Dispatcher:
    """Sends requests to whichever consumer of their queue is idle, and waits for their answers.

    Everything happens on the event loop that built it.

    Args:
        membership: This worker's.
    """

    def __init__(self, membership: Membership) -> None:
        shared, slot, _ = self._shared, self._slot, self._generation = membership
        self._row = shared.stats.rows[slot]
        self._counters = shared.stats.counters.receiver(slot)
        self._poison = shared.stats.poison
        self._loop = asyncio.get_running_loop()
        self._pending: dict[int, _Pending] = {}
        # By queue: a full one holds up no other.
        self._unsent: list[deque[_Pending]] = [deque() for _ in shared.queue_senders]
        self._buffers = BufferPool()
        self._number = 0
        self._loop.add_reader(shared.completion_receivers[slot], self._read_completions)
        self._sweeper = self._loop.call_later(_SWEEP_SECONDS, self._sweep)

    def admit(self, load: Load, deadline: float, longest_wait: float = math.inf, queue: int = 0) -> None:
        """Refuse a request for which there is no room or no time, as QueueLoad.admit does."""
        QueueLoad.snapshot(self._shared.stats, queue).admit(load, deadline - time.monotonic(), longest_wait)

    async def submit(self, work: Work, longest_wait: float = math.inf) -> bytes:
        """Have work done by whichever consumer of its queue is idle first; gives its answer.

        Raises:
            QueueFull, DeadlineExceeded: It is not admitted.
            WorkerCrashed: Workers died with this payload in flight.
        """
        self._refuse_poison(work.key)
        queue, load = work.queue, Load(1, len(work.payload), work.cost)
        self.admit(load, work.deadline, longest_wait, queue)
        self._number += 1
        future = self._loop.create_future()
        pending = _Pending(self._number, queue, self._create_buffer(work), load.size, work.deadline, future)
        del work
        self._pending[pending.number] = pending
        self._row.add_waiting(queue, 1, load.size, load.cost)
        self._counters.of(queue)[_PAYLOAD_BYTES] += load.size
        try:
            self._post(pending)
            return await pending.future
        except asyncio.CancelledError:
            pending.buffer.cancel()
            raise
        finally:
            del self._pending[pending.number]
            self._row.add_waiting(queue, -1, -load.size, -load.cost)
            self._loop.call_soon(self._release_buffer, pending)  # the answer need not wait for it

    @property
    def idle(self) -> bool:
        """Whether every request that was accepted here has been answered."""
        return not self._pending

    def worker_died(self, slot: int, generation: int, queue: int) -> None:
        """Requeue what a dead worker, which took from this queue, had in flight, or may have had.

        Between receiving a request and claiming it, a worker has it without a trace: so all that is not
        claimed by a living worker is requeued. Most of it is still in the queue; a claim makes the
        second copy worthless.
        """
        dead = (slot, generation)
        sent_there = [pending for pending in self._pending.values() if pending.queue == queue]
        claims = [(pending, pending.buffer.head().claimed_by) for pending in sent_there]
        again = [(pending, claim) for pending, claim in claims if claim in {None, dead}]
        for pending, claim in again:
            self._requeue(pending, was_in_flight=claim == dead)
        if again:
            self._counters.of(queue)[_REQUEUED] += len(again)
            logger.warning("requeued", extra=fields(requests=len(again), slot=slot))

    def close(self) -> None:
        """Stop listening for answers; nothing may be pending any more."""
        self._sweeper.cancel()
        self._loop.remove_reader(self._shared.completion_receivers[self._slot])
        self._buffers.close()

    # --- poison ---

    def _refuse_poison(self, key: Callable[[], bytes]) -> None:
        if not self._poison.empty:
            self._poison.refuse(key())

    def _requeue(self, pending: _Pending, *, was_in_flight: bool) -> None:
        try:
            if was_in_flight:
                self._refuse_poison(pending.key)
        except WorkerCrashed as error:
            if not pending.future.done():
                pending.future.set_exception(error)
        else:
            self._post(pending)

    # --- sending ---

    def _post(self, pending: _Pending) -> None:
        """Send a request's datagram, behind those that found no room."""
        unsent = self._unsent[pending.queue]
        if pending in unsent:
            return
        unsent.append(pending)
        if len(unsent) == 1:
            self._send_all(unsent)

    def _send_all(self, unsent: deque[_Pending]) -> None:
        while unsent:
            pending = unsent[0]
            try:
                wanted = pending.number in self._pending and not pending.future.done()
                if wanted and not self._send(pending):
                    self._loop.call_later(_RESEND_SECONDS, self._send_all, unsent)
                    return
            except OSError:
                # This one cannot be sent; those behind it must not wait for it.
                logger.exception("request not sent")
                pending.future.set_exception(InternalError())
            unsent.popleft()

    def _send(self, pending: _Pending) -> bool:
        packet = PACKET.pack(self._slot, self._generation, pending.number)
        sent = self._shared.send(packet, pending.buffer.descriptor, pending.queue)
        pending.posts += sent
        return sent

    # --- receiving ---

    def _read_completions(self) -> None:
        while True:
            try:
                packet = self._shared.completion_receivers[self._slot].recv(PACKET.size, socket.MSG_DONTWAIT)
            except BlockingIOError:
                return
            _, generation, number = PACKET.unpack(packet)
            pending = self._pending.get(number)
            # A completion may be meant for the one that had this slot before, or be the second for a request.
            if generation == self._generation and pending is not None:
                self._deliver(pending)

    def _deliver(self, pending: _Pending) -> None:
        answer = pending.buffer.answer()
        if answer is not None and not pending.future.done():
            pending.answered = True
            pending.future.set_result(answer)

    def _sweep(self) -> None:
        """Find answers whose completion was not delivered, and give up what nobody has answered in time."""
        # First, so that no fault below is the end of it.
        self._sweeper = self._loop.call_later(_SWEEP_SECONDS, self._sweep)
        late = time.monotonic() - _LATE_SECONDS
        for pending in list(self._pending.values()):
            self._deliver(pending)
            # A consumer answers what is late; this is for the day when there is none.
            if pending.deadline < late and not pending.future.done():
                pending.buffer.cancel()
                message = "The request's time ran out, and nobody has answered."
                pending.future.set_exception(DeadlineExceeded(message))

    # --- buffers ---

    def _create_buffer(self, work: Work) -> RequestBuffer:
        try:
            return self._buffers.acquire(work)
        except OSError as error:
            if error.errno not in _EXHAUSTED:
                raise
            logger.exception("no room for a request")
            message = "The machine has no room for another request."
            raise QueueFull(message, retry_after=_LATE_SECONDS) from error

    def _release_buffer(self, pending: _Pending) -> None:
        alone = pending.answered and pending.posts == 1
        self._buffers.release(pending.buffer, pending.size, alone=alone)
