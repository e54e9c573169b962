"""Starts the processes of a group: where there is a free slot, and when earlier ones let it."""

import time
from collections.abc import Callable

from inference_server.supervision.backoff import Backoff, BootFailures
from inference_server.supervision.liveness import LivenessMonitor
from inference_server.supervision.worker_process import WorkerProcess

Spawn = Callable[[int, int, int], WorkerProcess]
"""Starts a process, given its slot, its generation and its release; may raise OSError."""


class NoFreeSlot(Exception):
    """Every slot has a process; one is free when that has ended."""


class Starter:
    """Starts processes, and keeps count of those that crashed or could not boot.

    Args:
        spawn: Starts a process.
        slots: The part of the shared rows that is for these processes.
        liveness: Gives out slots.
    """

    def __init__(self, spawn: Spawn, slots: range, liveness: LivenessMonitor) -> None:
        self._spawn = spawn
        self._slots = slots
        self._liveness = liveness
        self._release = 0
        self._backoff = Backoff()
        self._boot_failures = BootFailures()

    def wait(self) -> float:
        """Seconds until a process may be started; 0 where it may be now."""
        return self._backoff.wait(time.monotonic())

    def start(self) -> WorkerProcess:
        """Start a process of the present release in a free slot.

        Raises:
            NoFreeSlot: There is none.
            OSError: The system has no room for another process, or the program is gone.
        """
        slot = self._liveness.free_slot(self._slots)
        if slot is None:
            raise NoFreeSlot("all slots are taken")
        generation = self._liveness.acquire_slot(slot)
        try:
            return self._spawn(slot, generation, self._release)
        except OSError:
            self._liveness.release_slot(slot)
            self.crashed(time.monotonic())
            raise

    def reload(self, release: int) -> None:
        """Start processes of this release from now on, of which nothing is known."""
        self._release = release
        self._boot_failures.reset()

    def is_stale(self, process: WorkerProcess) -> bool:
        """Whether a process runs code of before the last reload."""
        return process.release < self._release

    def crashed(self, started: float) -> None:
        """Delay the next start, if need be, for a crash of a process that was started then."""
        self._backoff.crashed(time.monotonic(), started=started)

    def boot_failed(self, started: float) -> bool:
        """Count a process that was started then and was never ready; gives whether there were too many."""
        return self._boot_failures.record(time.monotonic(), started=started)

    def became_ready(self) -> None:
        """Forget failures to boot: a process of this release has become ready."""
        self._boot_failures.reset()

    def abandon_reload(self, processes: list[WorkerProcess]) -> None:
        """Count these processes among those of the present release, whose own code cannot boot."""
        self._boot_failures.reset()
        for process in processes:
            process.adopt_release(self._release)
