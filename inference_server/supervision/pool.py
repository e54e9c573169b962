"""The workers that there are: started in a free slot, told things, retired, reaped. It decides nothing."""

import logging
import time
from collections.abc import Callable, Iterator
from typing import Any

from inference_server.supervision.recycling import Limits
from inference_server.supervision.watch import Death, Watch
from inference_server.supervision.worker_process import State, WorkerProcess
from utils.logs import fields

logger = logging.getLogger(__name__)

Spawn = Callable[[int, int, int], WorkerProcess]
"""Starts a worker, given its slot, its generation and its release."""

_KILL_MARGIN_SECONDS = 1.0
"""What a worker that used its whole grace may need to close its sockets."""


class Pool:
    """All living workers.

    Args:
        spawn: Starts a worker.
        slots: How many there may be at once, replacements beside those they replace included.
        watch: Gives out slots, and takes them back from the dead.
        limits: What a worker may reach before it is replaced.
        patience: Seconds that a retired worker has to end.
    """

    def __init__(self, spawn: Spawn, *, slots: int, watch: Watch, limits: Limits, patience: float) -> None:
        self.slots = slots
        self.workers: list[WorkerProcess] = []
        self._spawn = spawn
        self._watch = watch
        self._limits = limits
        self._patience = patience + _KILL_MARGIN_SECONDS

    def has_room(self) -> bool:
        """Whether there is a free slot."""
        return len(self.workers) < self.slots

    def ready(self) -> list[WorkerProcess]:
        """Those that serve and shall go on."""
        return [worker for worker in self.workers if worker.state is State.READY]

    def staying(self) -> list[WorkerProcess]:
        """Those that serve or will, and were not told to stop."""
        return [worker for worker in self.workers if worker.state is not State.STOPPING]

    def start(self, release: int) -> WorkerProcess:
        """Start a worker in a free slot.

        Raises:
            OSError: The system has no room for another process, or the program is gone.
        """
        taken = {worker.slot for worker in self.workers}
        slot = next(slot for slot in range(self.slots) if slot not in taken)
        generation = self._watch.enlist(slot)
        try:
            worker = self._spawn(slot, generation, release)
        except OSError:
            self._watch.dismiss(slot)
            raise
        worker.limits = self._limits.jittered()
        self.workers.append(worker)
        self._brief(worker)
        return worker

    def retire(self, worker: WorkerProcess, event: str = "stop") -> None:
        """Tell a worker to finish what it has and end; one that is still starting has nothing to finish."""
        if worker.state is State.STARTING:
            worker.kill()
        else:
            worker.tell(event)
        if worker.state is not State.STOPPING:
            worker.state = State.STOPPING
            worker.stop_by = time.monotonic() + self._patience

    def kill(self) -> None:
        """End all of them now."""
        for worker in self.workers:
            worker.kill()

    def enforce(self) -> float:
        """Kill those whose patience is over; gives the seconds until the next one's is."""
        now = time.monotonic()
        for worker in self.workers:
            if worker.stop_by <= now and not worker.killed:
                worker.kill()
                logger.warning("worker killed: its grace is over", extra=fields(worker=worker.pid))
        return min(
            (worker.stop_by - now for worker in self.workers if not worker.killed), default=float("inf")
        )

    def reap(self) -> Iterator[tuple[WorkerProcess, int]]:
        """Those that have ended since the last time, with their exit statuses; all others are told."""
        for worker in list(self.workers):
            status = worker.poll()
            if status is not None:
                self.workers.remove(worker)
                self._report(self._watch.dismiss(worker.slot, blame=worker.at_fault))
                yield worker, status
                worker.close()

    def tell(self, event: str, **values: Any) -> None:  # noqa: ANN401 - anything JSON can say
        """Tell all of them something."""
        for worker in self.workers:
            if not worker.tell(event, **values) and worker.state is not State.STOPPING:
                logger.warning("worker does not listen", extra=fields(worker=worker.pid, event=event))

    def _brief(self, worker: WorkerProcess) -> None:
        """Tell a new worker what the others know, before it takes anything in hand."""
        for checksum, deaths in self._watch.suspects().items():
            worker.tell("suspect", checksum=checksum.hex(), deaths=deaths)
        worker.tell("heard", count=self._watch.deaths)

    def _report(self, death: Death) -> None:
        """Every front posts again what the dead worker had, or may have had, in hand."""
        checksum = "" if death.checksum is None else death.checksum.hex()
        self.tell(
            "died",
            slot=death.slot,
            generation=death.generation,
            checksum=checksum,
            deaths=death.deaths,
            count=self._watch.deaths,
        )
        if death.checksum is not None:
            logger.warning("picture in hand at a death", extra=fields(checksum=checksum, deaths=death.deaths))
