"""The consuming end of a model worker: a thread that computes together what waits together."""

import logging
import math
import select
import time
from collections.abc import Callable, Sequence

from inference_server.dispatch.admission import MARGIN_SECONDS
from inference_server.dispatch.consumer import Checkpoint, Consumer, EncodeError, Outcome, Received
from inference_server.dispatch.request_buffer import Abandoned
from inference_server.dispatch.row import MOST_IN_FLIGHT
from inference_server.dispatch.shared import Membership
from inference_server.dispatch.work import Work
from utils.logs import fields

logger = logging.getLogger(__name__)

ComputeBatch = Callable[[Sequence[Work], Checkpoint], Sequence[Outcome]]
"""Computes an answer to each work, in their order. Failures that a caller is told are answers, too. It may
raise only for several works, which are then computed one by one, or what the checkpoint has raised, which it
does for one work alone."""


class _Batch:
    """Requests that are begun, and are to be computed together."""

    def __init__(self) -> None:
        self.items: list[tuple[Received, Work]] = []
        self._cost = 0.0
        self._deadline = math.inf

    def __len__(self) -> int:
        return len(self.items)

    def add(self, request: Received, work: Work) -> None:
        self.items.append((request, work))
        self._cost += work.cost
        self._deadline = min(self._deadline, work.deadline)

    def slack(self, rate: float) -> float:
        """Seconds until another request, which costs as much as the last, would make one of these late."""
        _, last = self.items[-1]
        return self._deadline - time.monotonic() - MARGIN_SECONDS - (self._cost + last.cost) * rate


class BatchConsumer(Consumer):
    """The thread that computes, as many requests at once as wait, up to a limit.

    A lone request never waits for others. Only directly after a batch of several, without an idle moment
    between them, the next may wait a little for those whose callers have just been answered.

    Args:
        membership: This worker's.
        compute_batch: Computes answers, on this thread. Between two checkpoints it must not take longer than
            the time after which this worker counts as hung.
        max_batch: Requests in one batch: 1 to MOST_IN_FLIGHT.
        max_batch_delay: Seconds that a batch waits for others, after a batch of several.
        encode_error: As Consumer has it, and so are on_suspect_cleared, on_death and queue.

    Raises:
        ValueError: The size of a batch is out of its range.
    """

    def __init__(
        self,
        membership: Membership,
        *,
        compute_batch: ComputeBatch,
        max_batch: int,
        max_batch_delay: float,
        encode_error: EncodeError,
        on_suspect_cleared: Callable[[bytes], object],
        on_death: Callable[[], None],
        queue: int,
    ) -> None:
        if not 1 <= max_batch <= MOST_IN_FLIGHT:
            raise ValueError(f"a batch is of 1 to {MOST_IN_FLIGHT} requests, not {max_batch}")
        super().__init__(
            membership,
            compute=lambda work, checkpoint: _only(compute_batch([work], checkpoint)),
            encode_error=encode_error,
            on_suspect_cleared=on_suspect_cleared,
            on_death=on_death,
            queue=queue,
        )
        self._compute_batch = compute_batch
        self._max_batch = max_batch
        self._max_delay = max_batch_delay
        self._delay = 0.0  # of the next batch
        self._arrivals = select.poll()
        self._arrivals.register(membership.shared.queue_receivers[queue], select.POLLIN)

    def _take(self) -> None:
        """Wait a moment for a request, and process it with those that wait behind it."""
        batch = self._collect()
        self._delay = self._max_delay if len(batch) > 1 else 0.0
        if len(batch) == 1:
            self._process(*batch.items[0])
        elif batch:
            self._process_batch(batch)
        self._put_down(request for request, _ in batch.items)

    # --- collecting ---

    def _collect(self) -> _Batch:
        """Begin what waits; empty where nothing does that anybody wants."""
        batch, rate = _Batch(), self._fastest_rate()
        request = self._receive(wait=True)
        wait_until = time.monotonic() + self._delay
        while request is not None:
            work = self._begin_or_give_up(request)
            if work is None:
                request.buffer.close()
            else:
                batch.add(request, work)
            request = self._next(batch, rate, wait_until) if batch else self._receive(wait=False)
        return batch

    def _begin_or_give_up(self, request: Received) -> Work | None:
        try:
            return self._begin(request)
        except Abandoned:
            self._give_up(request)
            return None

    def _next(self, batch: _Batch, rate: float, wait_until: float) -> Received | None:
        """Another request for a batch; None where it is full, or begins."""
        slack = batch.slack(rate)
        if len(batch) == self._max_batch or slack <= 0:
            return None
        wait_until = min(wait_until, time.monotonic() + slack)
        request = self._receive(wait=False)
        # Who is woken may find that another consumer was faster.
        while request is None and (seconds := wait_until - time.monotonic()) > 0:
            self._arrivals.poll(seconds * 1000)
            request = self._receive(wait=False)
        return request

    # --- computing ---

    def _process_batch(self, batch: _Batch) -> None:
        """Answer all, together as far as none of them is a suspect, and each alone where that fails."""
        keyed = [(request, work, work.key()) for request, work in batch.items]
        entered = self._guard.enter_together([key for _, _, key in keyed])
        together = [item for item in keyed if item[2] in entered]
        alone = [item for item in keyed if item[2] not in entered]
        if together and not self._compute_together(together):
            alone = keyed
        for request, _, _ in alone:
            # It has waited again, and may be late now, or unwanted.
            request.buffer.unclaim()
            self._process(request)

    def _compute_together(self, items: Sequence[tuple[Received, Work, bytes]]) -> bool:
        """Answer requests, given with works and keys, by one computation; False where that has failed."""
        works = [work for _, work, _ in items]
        started = time.monotonic()
        self._row.show_progress(started, max(work.grace for work in works))
        try:
            done = list(zip(items, self._compute_batch(works, self._show_progress), strict=True))
        except Exception:
            logger.exception("batch failed", extra=fields(requests=len(items)))
            return False
        self._learn(started, sum(work.cost for (_, work, _), outcome in done if outcome.complete))
        self._counters.computed(len(done))
        for (request, _, key), outcome in done:
            self._note_computed(key)
            self._reply(request, outcome.answer)
        return True

    def _show_progress(self) -> None:
        self._row.show_progress(time.monotonic())


def _only(outcomes: Sequence[Outcome]) -> Outcome:
    (outcome,) = outcomes
    return outcome
