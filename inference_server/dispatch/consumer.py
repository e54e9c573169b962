"""The consuming end: a thread of a worker, which takes the oldest request of a queue whenever it is idle."""

import logging
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from inference_server.dispatch.admission import MARGIN_SECONDS, averaged
from inference_server.dispatch.envelope import Abandoned, Envelope, Head
from inference_server.dispatch.page import Row
from inference_server.dispatch.poison import PoisonGuard
from inference_server.dispatch.shared import PACKET, Shared
from inference_server.dispatch.work import Work
from utils.errors import MORE_TIME_HELPS, DeadlineExceeded, FacetError, WorkerCrashed
from utils.logs import fields

logger = logging.getLogger(__name__)

_PUT_BACK_SECONDS = 0.004
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
Refuse = Callable[[FacetError], bytes]
"""The answer that tells a caller of an error."""


class LostDescriptor(Exception):
    """A request arrived without its envelope: this process has no descriptor left."""


class Consumer:
    """The thread that computes.

    Args:
        shared: What all workers share.
        slot: This worker's.
        generation: This worker's.
        compute: Computes an answer, on this thread.
        refuse: Makes an answer of an error.
        on_suspect_cleared: Called on this thread with the key of a suspect that was computed after all.
        on_death: Called on this thread when it ends by a fault.
        queue: The number of the queue that it takes from.
    """

    def __init__(
        self,
        shared: Shared,
        slot: int,
        generation: int,
        *,
        compute: Compute,
        refuse: Refuse,
        on_suspect_cleared: Callable[[bytes], object],
        on_death: Callable[[], None],
        queue: int = 0,
    ) -> None:
        self._shared = shared
        self._slot = slot
        self._generation = generation
        self._row = shared.page.rows[slot]
        self._compute = compute
        self._refuse = refuse
        self._guard = PoisonGuard(shared.page, slot)
        self._on_suspect_cleared = on_suspect_cleared
        self._on_death = on_death
        self._queue = queue
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="consumer", daemon=True)

    def start(self) -> None:
        """Begin to take requests."""
        self._thread.start()

    def stop(self) -> None:
        """Finish what is in hand, and take no more."""
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
        """Wait a moment for a request, and see to it."""
        try:
            packet, descriptors, flags, _ = socket.recv_fds(self._shared.takes[self._queue], PACKET.size, 1)
        except BlockingIOError:  # the socket's time limit
            return
        if flags & socket.MSG_CTRUNC or not descriptors:
            raise LostDescriptor
        envelope = Envelope(descriptors[0])
        self._see_to(envelope, packet)
        # Not in a `finally`: what a dying thread had in hand is what it may have died of.
        self._row.key = None
        self._row.busy = False
        envelope.close()

    def _see_to(self, envelope: Envelope, packet: bytes) -> None:
        """Answer a request, or leave it to others, unless nobody wants it."""
        front, generation, number = PACKET.unpack(packet)
        try:
            while self._is_wanted(head := envelope.head(), front, generation):
                envelope.claim(self._slot, self._generation)
                if self._answer(envelope, head):
                    # From its answer on the envelope is the front's, which may fill it again at once.
                    self._notify(front, packet)
                    return
                # Who stops leaves it to the front, which posts again what nobody has claimed.
                if self._put_back(envelope, packet) or self._stopping:
                    return
        except Abandoned:
            logger.info("abandoned", extra=fields(front=front, number=number))

    def _is_wanted(self, head: Head, front: int, generation: int) -> bool:
        """Whether its front lives, and nobody has answered it or is about to."""
        page = self._shared.page
        if not page.is_alive(front, generation) or head.cancelled or head.answered:
            return False
        return head.claimed_by is None or not page.is_alive(*head.claimed_by)

    def _answer(self, envelope: Envelope, head: Head) -> bool:
        """Put an answer in; False where too many others have the same payload in hand."""
        self._row.show_progress(time.monotonic())  # before it is busy: it had no need to for long
        self._row.busy = True
        work = envelope.open(head)
        if self._is_late(work):
            late = DeadlineExceeded(
                f"The request waited too long to be answered before its deadline. {MORE_TIME_HELPS}"
            )
            envelope.reply(self._slot, self._refuse(late))
            return True
        progress = _Progress(self._row, envelope, work.deadline)
        key = work.key()
        try:
            if not self._guard.enter(key):
                return False
        except WorkerCrashed as error:
            envelope.reply(self._slot, self._refuse(error))
            return True
        started = time.monotonic()
        self._row.show_progress(started, work.grace)
        outcome = self._compute(work, progress.checkpoint)
        ended = time.monotonic()
        self._row.show_progress(ended)
        if outcome.complete:
            self._row.rate = averaged(self._row.rate, ended - started, work.cost)
        if not progress.interrupted:
            self._row.handled += 1
            if self._guard.note_computed(key):
                self._on_suspect_cleared(key)
        envelope.reply(self._slot, outcome.answer)
        return True

    def _is_late(self, work: Work) -> bool:
        """Whether its answer would come too late, as far as can be foretold."""
        page = self._shared.page
        left = work.deadline - time.monotonic() - MARGIN_SECONDS
        # As fast as the fastest: one that was slow lately must not refuse what others would do.
        needed = work.cost * min(filter(None, page.rates(self._queue)), default=0.0)
        # An idle machine has accepted it against its own prediction, to try that: see admission.
        on_trial = needed > work.deadline - work.received and page.waiting(self._queue)[0] == 1
        return left < 0 or (needed > left and not on_trial)

    def _put_back(self, envelope: Envelope, packet: bytes) -> bool:
        """Leave a request to others, behind those that wait already; False where there is no room.

        Then it must be tried for anew: where all workers have put back the same one, nobody else
        makes room.
        """
        # If this worker is killed between the two, all that nobody has claimed is posted again. Not the
        # other way round: once it is sent, another may have claimed it.
        envelope.put_back()
        sent = self._shared.send(packet, envelope.descriptor, self._queue)
        # It may be the only one that waits; and no two workers shall look at the same moments for ever.
        time.sleep(_PUT_BACK_SECONDS + _STAGGER_SECONDS * (self._slot % 8))
        return sent

    def _notify(self, front: int, packet: bytes) -> None:
        try:
            self._shared.notify[front].send(packet, socket.MSG_DONTWAIT)
        except BlockingIOError:  # its front does not read; it looks by itself when it does
            logger.warning("notice found no room", extra=fields(front=front))


class _Progress:
    """The checkpoint of one computation."""

    def __init__(self, row: Row, envelope: Envelope, deadline: float) -> None:
        self.interrupted = False
        self._row = row
        self._envelope = envelope
        self._deadline = deadline
        self._look_at = 0.0

    def checkpoint(self) -> None:
        """Show progress, and raise where there is no point in going on."""
        now = time.monotonic()
        self._row.show_progress(now)
        if now >= self._look_at:
            self._look_at = now + _LOOK_SECONDS
            if self._envelope.is_cancelled():
                raise Abandoned
        if now > self._deadline:
            self.interrupted = True
            raise DeadlineExceeded(f"The request's time ran out while it was computed. {MORE_TIME_HELPS}")
