"""Starts the processes of a group: where there is a free slot, and when earlier ones let it."""

import time
from collections.abc import Callable, Iterable
from weakref import WeakSet

from inference_server.supervision.backoff import Backoff, BootFailures
from inference_server.supervision.liveness import LivenessMonitor, Times
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
        self._before: tuple[Spawn, Times] | None = None
        self._replaced: WeakSet[WorkerProcess] = WeakSet()

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

    def exchange(self, spawn: Spawn, times: Times, processes: Iterable[WorkerProcess]) -> None:
        """Start processes by this from now on, of which nothing is known, in the place of those that live."""
        if self._before is None:
            self._before = self._spawn, self._liveness.times
        self._spawn, self._liveness.times = spawn, times
        self._replaced.update(processes)
        self._backoff = Backoff()
        self._boot_failures.reset()

    def keep_exchange(self) -> None:
        """Forget by what processes were started before."""
        self._before = None

    def undo_exchange(self, processes: Iterable[WorkerProcess]) -> list[WorkerProcess]:
        """Start processes as before an exchange that was not kept; gives those that were started since."""
        if self._before is None:
            return []
        self._spawn, self._liveness.times = self._before
        self._before = None
        newer = [process for process in processes if process not in self._replaced]
        self._replaced.clear()
        return newer

    def is_replaced(self, process: WorkerProcess) -> bool:
        """Whether a process was started before the last exchange."""
        return process in self._replaced

    def is_stale(self, process: WorkerProcess) -> bool:
        """Whether a process was started before the last reload or the last exchange."""
        return process.release < self._release or process in self._replaced

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
        self._replaced.clear()
        for process in processes:
            process.adopt_release(self._release)
