"""Rules of a group of processes."""

import os
import time
from typing import cast

from inference_server.dispatch.families import ExitCause
from inference_server.dispatch.stats import SharedStats
from inference_server.supervision.control import FromWorker, SuspectCleared
from inference_server.supervision.group import Group
from inference_server.supervision.liveness import LivenessMonitor
from inference_server.supervision.worker_process import State, WorkerProcess

KEY = bytes(range(32))


class Ended:
    """A worker that was killed with a request in flight, and had said something before."""

    slot, pid, state, blame_request = 0, 1, State.READY, True
    boot_error, started, exit_cause = None, 0.0, ExitCause.CRASHED

    def __init__(self) -> None:
        self.said: list[FromWorker] = [SuspectCleared(KEY)]

    def receive(self) -> FromWorker | None:
        return self.said.pop() if self.said else None

    def poll(self) -> int:
        return -9

    def close(self) -> None:
        pass


def test_what_a_worker_said_before_its_end_counts_before_its_end() -> None:
    """A suspect that it cleared may be what it then died of, and is a suspect again."""
    stats = SharedStats(os.memfd_create("stats"), 1)
    liveness = LivenessMonitor(stats, hang_seconds=5)
    generation = liveness.acquire_slot(0)
    stats.poison.record_death(KEY, time.monotonic())
    stats.rows[0].in_flight = [KEY]

    def spawn(_slot: int, _generation: int, _release: int) -> WorkerProcess:
        raise AssertionError("nobody is started")

    group = Group(None, spawn, range(1), liveness, wanted=1, patience=1)
    group.processes.append(cast(WorkerProcess, Ended()))
    assert [(death.slot, death.generation) for death in group.reap()] == [(0, generation)]
    assert stats.poison.deaths(KEY) == 1
    assert group.is_empty
