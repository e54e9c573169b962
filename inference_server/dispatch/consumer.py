"""The consuming end: a thread of a worker, which takes the oldest request of a queue whenever it is idle."""

import logging
import socket
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import NamedTuple

from inference_server.dispatch.admission import MARGIN_SECONDS, ewma
from inference_server.dispatch.consumer_counters import ConsumerCounters
from inference_server.dispatch.poison import PoisonGuard
from inference_server.dispatch.progress import Progress
from inference_server.dispatch.request_buffer import Abandoned, Head, RequestBuffer
from inference_server.dispatch.shared import PACKET, Membership
from inference_server.dispatch.work import Work
from utils.errors import MORE_TIME_HELPS, DeadlineExceeded, FacetError, WorkerCrashed
from utils.logs import fields

logger = logging.getLogger(__name__)

_REQUEUE_SECONDS = 0.004
_STAGGER_SECONDS = 0.0005

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


class Received(NamedTuple):
    """A request as it came out of a queue: its buffer, its datagram, and what that says."""

    buffer: RequestBuffer
    packet: bytes
    dispatcher: int
    generation: int
    number: int


class Consumer:
    """The thread that computes, one request at a time.

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
        self._counters = ConsumerCounters(membership, queue)
        self._compute = compute
        self._encode_error = encode_error
        self._guard = PoisonGuard(shared.stats, slot, queue)
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
        request = self._receive(wait=True)
        if request is not None:
            self._process(request)
            self._put_down([request])

    def _receive(self, *, wait: bool) -> Received | None:
        """The oldest request of the queue, None where there is none."""
        received = self._shared.receive(self._queue, wait=wait)
        if received is None:
            return None
        packet, descriptor = received
        return Received(RequestBuffer(descriptor), packet, *PACKET.unpack(packet))

    def _put_down(self, requests: Iterable[Received]) -> None:
        """Have nothing in flight any more."""
        # Not in a `finally`: what a dying thread had in flight is what it may have died of.
        self._guard.leave()
        self._row.busy = False
        self._counters.end(time.monotonic())
        for request in requests:
            request.buffer.close()

    def _process(self, request: Received, work: Work | None = None) -> None:
        """Answer a request, which may be begun, or leave it to others, unless nobody wants it."""
        try:
            work = work or self._begin(request)
            while work is not None:
                # Who stops leaves it to the dispatcher, which requeues what nobody has claimed.
                if self._compute_alone(request, work) or self._requeue(request) or self._stopping:
                    return
                work = self._begin(request)
        except Abandoned:
            self._give_up(request)

    def _begin(self, request: Received) -> Work | None:
        """Claim a request, and take out what is to be done; None where nobody wants it, or it is too late.

        Raises:
            Abandoned: Nobody wants it since a moment ago.
        """
        head = request.buffer.head()
        if not self._is_wanted(head, request):
            return None
        request.buffer.claim(self._slot, self._generation)
        now = time.monotonic()
        self._row.show_progress(now)  # before it is busy: it had no need to for long
        self._row.busy = True
        self._counters.begin(now)
        work = request.buffer.read(head)
        if self._is_late(work):
            late = DeadlineExceeded(
                f"The request waited too long to be answered before its deadline. {MORE_TIME_HELPS}"
            )
            self._reply(request, self._encode_error(late))
            return None
        return work

    def _is_wanted(self, head: Head, request: Received) -> bool:
        """Whether its dispatcher lives, and nobody has answered it or is about to."""
        stats = self._shared.stats
        if not stats.is_alive(request.dispatcher, request.generation) or head.cancelled or head.answered:
            return False
        return head.claimed_by is None or not stats.is_alive(*head.claimed_by)

    def _compute_alone(self, request: Received, work: Work) -> bool:
        """Answer a request; False where too many others have the same payload in flight."""
        progress = Progress(self._row, request.buffer, work.deadline)
        key = work.key()
        try:
            if not self._guard.enter(key):
                return False
        except WorkerCrashed as error:
            self._reply(request, self._encode_error(error))
            return True
        started = time.monotonic()
        self._row.show_progress(started, work.grace)
        outcome = self._compute(work, progress.checkpoint)
        self._learn(started, work.cost if outcome.complete else 0.0)
        self._counters.computed(1)
        if not progress.interrupted:
            self._note_computed(key)
        self._reply(request, outcome.answer)
        return True

    def _learn(self, started: float, cost: float) -> None:
        """Learn from a computation that has just ended; what was not computed whole costs nothing."""
        ended = time.monotonic()
        self._row.show_progress(ended)
        if cost:
            self._row.rate = ewma(self._row.rate, ended - started, cost)

    def _note_computed(self, key: bytes) -> None:
        self._row.handled += 1
        if self._guard.note_computed(key):
            self._on_suspect_cleared(key)

    def _is_late(self, work: Work) -> bool:
        """Whether its answer would come too late, as far as can be foretold."""
        stats = self._shared.stats
        left = work.deadline - time.monotonic() - MARGIN_SECONDS
        needed = work.cost * self._fastest_rate()
        # An idle machine has accepted it against its own prediction, to try that: see admission.
        on_trial = needed > work.deadline - work.received and stats.waiting(self._queue)[0] == 1
        return left < 0 or (needed > left and not on_trial)

    def _fastest_rate(self) -> float:
        """Seconds that a unit of cost takes the fastest; 0 before anything is learned."""
        # One that was slow lately must not refuse what others would do.
        return min(filter(None, self._shared.stats.rates(self._queue)), default=0.0)

    def _requeue(self, request: Received) -> bool:
        """Leave a request to others, behind those that wait already; False where there is no room.

        Then it must be tried for anew: where all workers have put back the same one, nobody else
        makes room.
        """
        # If this worker is killed between the two, all that nobody has claimed is requeued. Not the
        # other way round: once it is sent, another may have claimed it.
        request.buffer.unclaim()
        sent = self._shared.send(request.packet, request.buffer.descriptor, self._queue)
        # It may be the only one that waits; and no two workers shall look at the same moments for ever.
        time.sleep(_REQUEUE_SECONDS + _STAGGER_SECONDS * (self._slot % 8))
        return sent

    def _reply(self, request: Received, answer: bytes) -> None:
        """Answer a request. From then on the buffer is its dispatcher's, which may fill it again at once."""
        request.buffer.reply(self._slot, answer)
        self._counters.answered(request.dispatcher)
        try:
            self._shared.completion_senders[request.dispatcher].send(request.packet, socket.MSG_DONTWAIT)
        except BlockingIOError:  # its dispatcher does not read; it looks by itself when it does
            logger.warning("completion not delivered", extra=fields(dispatcher=request.dispatcher))

    def _give_up(self, request: Received) -> None:
        self._counters.abandoned()
        logger.info("abandoned", extra=fields(dispatcher=request.dispatcher, number=request.number))
