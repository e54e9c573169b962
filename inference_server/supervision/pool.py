"""The workers that there are: started in a free slot, sent messages, retired, reaped. It decides nothing."""

import logging
import time
from collections.abc import Callable, Iterator

from inference_server.supervision.control import Drain, Stop, WorkerDied
from inference_server.supervision.liveness import Death, LivenessMonitor
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
        liveness: Gives out slots, and takes them back from the dead.
        patience: Seconds that a retired worker has to end.
    """

    def __init__(self, spawn: Spawn, *, slots: int, liveness: LivenessMonitor, patience: float) -> None:
        self.slots = slots
        self.workers: list[WorkerProcess] = []
        self._spawn = spawn
        self._liveness = liveness
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
        generation = self._liveness.acquire_slot(slot)
        try:
            worker = self._spawn(slot, generation, release)
        except OSError:
            self._liveness.release_slot(slot)
            raise
        self.workers.append(worker)
        return worker

    def retire(self, worker: WorkerProcess) -> None:
        """Tell one to finish what it has and end."""
        worker.retire(Stop(), self._patience)

    def drain(self) -> None:
        """Tell all of them that the whole backend goes away."""
        for worker in self.workers:
            worker.retire(Drain(), self._patience)

    def kill(self) -> None:
        """End all of them now."""
        for worker in self.workers:
            worker.kill()

    def kill_overdue(self) -> float:
        """Kill those whose patience is over; gives the seconds until the next one's is."""
        now = time.monotonic()
        for worker in self.workers:
            if worker.stop_by <= now and not worker.killed:
                worker.kill()
                logger.warning("worker killed: its grace is over", extra=fields(worker=worker.pid))
        return min(
            (worker.stop_by - now for worker in self.workers if not worker.killed), default=float("inf")
        )

    def reap(self, receive: Callable[[WorkerProcess], None]) -> Iterator[tuple[WorkerProcess, int]]:
        """Those that have ended since the last time, with their exit statuses; all others are told.

        Args:
            receive: Takes what a worker said before it ended.
        """
        for worker in list(self.workers):
            status = worker.poll()
            if status is not None:
                self.workers.remove(worker)
                receive(worker)  # first: a suspect that it cleared may be what it then died of
                self._report(self._liveness.release_slot(worker.slot, blame_request=worker.blame_request))
                yield worker, status
                worker.close()

    def _report(self, death: Death) -> None:
        """Every dispatcher requeues what the dead worker had, or may have had, in flight."""
        message = WorkerDied(death.slot, death.generation, queue=0)
        for worker in self.workers:
            if not worker.send(message) and worker.state is not State.STOPPING:
                event = type(message).__name__
                logger.warning("worker does not listen", extra=fields(worker=worker.pid, event=event))
        for key, deaths in death.deaths.items():
            logger.warning("request in flight at a crash", extra=fields(key=key.hex(), deaths=deaths))
