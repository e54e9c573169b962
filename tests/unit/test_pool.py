"""Rules of the pool of workers."""

import os
import time
from typing import cast

from inference_server.dispatch.stats import SharedStats
from inference_server.supervision.liveness import LivenessMonitor
from inference_server.supervision.pool import Pool
from inference_server.supervision.worker_process import State, WorkerProcess

KEY = bytes(range(32))


class Ended:
    """A worker that was killed with a request in flight."""

    slot, pid, state, blame_request = 0, 1, State.READY, True

    def poll(self) -> int:
        return -9

    def close(self) -> None:
        pass


def test_what_a_worker_said_before_its_end_counts_before_its_end() -> None:
    """A suspect that it cleared may be what it then died of, and is a suspect again."""
    stats = SharedStats(os.memfd_create("stats"), 1)
    liveness = LivenessMonitor(stats, hang_seconds=5)
    liveness.acquire_slot(0)
    stats.poison.record_death(KEY, time.monotonic())
    stats.rows[0].in_flight = [KEY]

    def spawn(_slot: int, _generation: int, _release: int) -> WorkerProcess:
        raise AssertionError("nobody is started")

    pool = Pool(spawn, slots=1, liveness=liveness, patience=1)
    pool.workers.append(cast(WorkerProcess, Ended()))
    assert [status for _, status in pool.reap(lambda _: liveness.clear_suspect(KEY))] == [-9]
    assert stats.poison.deaths(KEY) == 1
