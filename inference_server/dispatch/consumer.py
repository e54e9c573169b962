"""The consuming end: a thread of a worker, which takes the oldest request of a queue whenever it is idle."""

import logging
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from inference_server.dispatch.admission import MARGIN_SECONDS, ewma
from inference_server.dispatch.poison import PoisonGuard
from inference_server.dispatch.request_buffer import Abandoned, Head, RequestBuffer
from inference_server.dispatch.shared import PACKET, Membership
from inference_server.dispatch.stats import WorkerStats
from inference_server.dispatch.work import Work
from utils.errors import MORE_TIME_HELPS, DeadlineExceeded, FacetError, WorkerCrashed
from utils.logs import fields

logger = logging.getLogger(__name__)

_REQUEUE_SECONDS = 0.004
_STAGGER_SECONDS = 0.0005
_LOOK_SECONDS = 0.002
"""Between two looks of a computation whether anybody still wants it: many checkpoints come sooner."""

Checkpoint = Callable[[], None]
"""Called between two steps of a computation; raises where there is no point in going on."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """An answer, and whether it was computed whole: errors come sooner, and teach nothing about time."""

    answer: bytes
    complete: bool


Compute = Callable[[Work, Checkpoint], Outcome]
"""Computes an answer. Failures that the caller is told are answers, too."""
EncodeError = Callable[[FacetError], bytes]
"""The answer that tells a caller of an error."""


class LostDescriptor(Exception):
    """A request arrived without its buffer: this process has no descriptor left."""


class Consumer:
    """The thread that computes.

    Args:
        membership: This worker's.
        compute: Computes an answer, on this thread.
        encode_error: Makes an answer of an error.
        on_suspect_cleared: Called on this thread with the key of a suspect that was computed after all.
        on_death: Called on this thread when it ends by a fault.
        queue: The number of the queue that it takes from.
    """

    def __init__(
        self,
        membership: Membership,
        *,
        compute: Compute,
        encode_error: EncodeError,
        on_suspect_cleared: Callable[[bytes], object],
        on_death: Callable[[], None],
        queue: int = 0,
    ) -> None:
        shared, slot, _ = self._shared, self._slot, self._generation = membership
        self._row = shared.stats.rows[slot]
        self._compute = compute
        self._encode_error = encode_error
        self._guard = PoisonGuard(shared.stats, slot)
        self._on_suspect_cleared = on_suspect_cleared
        self._on_death = on_death
        self._queue = queue
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="consumer", daemon=True)

    def start(self) -> None:
        """Begin to take requests."""
        self._thread.start()

    def stop(self) -> None:
        """Finish what is in flight, and take no more."""
        self._stopping = True
        self._thread.join()

    def _run(self) -> None:
        try:
            self._row.consuming = self._queue
            while not self._stopping:
                self._take()
            self._row.consuming = None
        except BaseException:
            # A worker whose consumer is gone would answer health checks and nothing else.
            logger.exception("the consumer died")
            self._on_death()
            raise

    def _take(self) -> None:
        """Wait a moment for a request, and process it."""
        try:
            packet, descriptors, flags, _ = socket.recv_fds(
                self._shared.queue_receivers[self._queue], PACKET.size, 1
            )
        except BlockingIOError:  # the socket's time limit
            return
        if flags & socket.MSG_CTRUNC or not descriptors:
            raise LostDescriptor
        buffer = RequestBuffer(descriptors[0])
        self._process(buffer, packet)
        # Not in a `finally`: what a dying thread had in flight is what it may have died of.
        self._row.key = None
        self._row.busy = False
        buffer.close()

    def _process(self, buffer: RequestBuffer, packet: bytes) -> None:
        """Answer a request, or leave it to others, unless nobody wants it."""
        dispatcher, generation, number = PACKET.unpack(packet)
        try:
            while self._is_wanted(head := buffer.head(), dispatcher, generation):
                buffer.claim(self._slot, self._generation)
                if self._answer(buffer, head):
                    # From its answer on the buffer is the dispatcher's, which may fill it again at once.
                    self._notify(dispatcher, packet)
                    return
                # Who stops leaves it to the dispatcher, which requeues what nobody has claimed.
                if self._requeue(buffer, packet) or self._stopping:
                    return
        except Abandoned:
            logger.info("abandoned", extra=fields(dispatcher=dispatcher, number=number))

    def _is_wanted(self, head: Head, dispatcher: int, generation: int) -> bool:
        """Whether its dispatcher lives, and nobody has answered it or is about to."""
        stats = self._shared.stats
        if not stats.is_alive(dispatcher, generation) or head.cancelled or head.answered:
            return False
        return head.claimed_by is None or not stats.is_alive(*head.claimed_by)

    def _answer(self, buffer: RequestBuffer, head: Head) -> bool:
        """Put an answer in; False where too many others have the same payload in flight."""
        self._row.show_progress(time.monotonic())  # before it is busy: it had no need to for long
        self._row.busy = True
        work = buffer.read(head)
        if self._is_late(work):
            late = DeadlineExceeded(
                f"The request waited too long to be answered before its deadline. {MORE_TIME_HELPS}"
            )
            buffer.reply(self._slot, self._encode_error(late))
            return True
        progress = _Progress(self._row, buffer, work.deadline)
        key = work.key()
        try:
            if not self._guard.enter(key):
                return False
        except WorkerCrashed as error:
            buffer.reply(self._slot, self._encode_error(error))
            return True
        started = time.monotonic()
        self._row.show_progress(started, work.grace)
        outcome = self._compute(work, progress.checkpoint)
        ended = time.monotonic()
        self._row.show_progress(ended)
        if outcome.complete:
            self._row.rate = ewma(self._row.rate, ended - started, work.cost)
        if not progress.interrupted:
            self._row.handled += 1
            if self._guard.note_computed(key):
                self._on_suspect_cleared(key)
        buffer.reply(self._slot, outcome.answer)
        return True

    def _is_late(self, work: Work) -> bool:
        """Whether its answer would come too late, as far as can be foretold."""
        stats = self._shared.stats
        left = work.deadline - time.monotonic() - MARGIN_SECONDS
        # As fast as the fastest: one that was slow lately must not refuse what others would do.
        needed = work.cost * min(filter(None, stats.rates(self._queue)), default=0.0)
        # An idle machine has accepted it against its own prediction, to try that: see admission.
        on_trial = needed > work.deadline - work.received and stats.waiting(self._queue)[0] == 1
        return left < 0 or (needed > left and not on_trial)

    def _requeue(self, buffer: RequestBuffer, packet: bytes) -> bool:
        """Leave a request to others, behind those that wait already; False where there is no room.

        Then it must be tried for anew: where all workers have put back the same one, nobody else
        makes room.
        """
        # If this worker is killed between the two, all that nobody has claimed is requeued. Not the
        # other way round: once it is sent, another may have claimed it.
        buffer.unclaim()
        sent = self._shared.send(packet, buffer.descriptor, self._queue)
        # It may be the only one that waits; and no two workers shall look at the same moments for ever.
        time.sleep(_REQUEUE_SECONDS + _STAGGER_SECONDS * (self._slot % 8))
        return sent

    def _notify(self, dispatcher: int, packet: bytes) -> None:
        try:
            self._shared.completion_senders[dispatcher].send(packet, socket.MSG_DONTWAIT)
        except BlockingIOError:  # its dispatcher does not read; it looks by itself when it does
            logger.warning("completion not delivered", extra=fields(dispatcher=dispatcher))


class _Progress:
    """The checkpoint of one computation."""

    def __init__(self, row: WorkerStats, buffer: RequestBuffer, deadline: float) -> None:
        self.interrupted = False
        self._row = row
        self._buffer = buffer
        self._deadline = deadline
        self._look_at = 0.0

    def checkpoint(self) -> None:
        """Show progress, and raise where there is no point in going on."""
        now = time.monotonic()
        self._row.show_progress(now)
        if now >= self._look_at:
            self._look_at = now + _LOOK_SECONDS
            if self._buffer.is_cancelled():
                raise Abandoned
        if now > self._deadline:
            self.interrupted = True
            raise DeadlineExceeded(f"The request's time ran out while it was computed. {MORE_TIME_HELPS}")
