"""Has the processes of a group replaced that have reached a limit, and kills those that hang."""

import logging
import time
from collections.abc import Callable, Iterable

from inference_server.dispatch.families import ExitCause
from inference_server.supervision.control import BootFailed
from inference_server.supervision.liveness import LivenessMonitor
from inference_server.supervision.worker_process import State, WorkerProcess

logger = logging.getLogger(__name__)


class Recycler:
    """Looks at the limits of a group's processes.

    Args:
        log_fields: Makes the fields of a log line about the group.
    """

    def __init__(self, log_fields: Callable[..., dict[str, object]]) -> None:
        self._fields = log_fields
        self._warned_of_memory = False

    def check_baseline(self, process: WorkerProcess) -> None:
        """Lift a limit of memory that a process exceeds when it is new, which is reported once."""
        limit, memory = process.limits.memory_bytes, process.check_baseline_memory()
        if memory and not self._warned_of_memory:
            self._warned_of_memory = True
            logger.warning("memory limit has no effect", extra=self._fields(limit=limit, memory=memory))

    def kill_overdue(self, processes: Iterable[WorkerProcess], liveness: LivenessMonitor) -> None:
        """Kill those of these processes that hang, or have not stopped in time."""
        now = time.monotonic()
        for process in [process for process in processes if not process.killed]:
            starting = process.state is State.STARTING
            hang = liveness.boot_report(process.started) if starting else liveness.hang_report(process.slot)
            # Killed first: writing the line may take long, and the process may be well again after it.
            if hang is not None:
                process.kill(ExitCause.HUNG, blame_request=hang.blame_request)
                if starting:
                    process.boot_failed(BootFailed(hang.reason, permanent=False))
                logger.error("worker hung", extra=self._fields(worker=process.pid, how=hang.reason))
            elif process.stop_by <= now:
                process.kill(ExitCause.GRACE_OVER)
                logger.warning("worker killed: grace period exceeded", extra=self._fields(worker=process.pid))

    def recycle_one(self, processes: Iterable[WorkerProcess], liveness: LivenessMonitor) -> None:
        """Have the first of these processes replaced that has reached a limit, if one has."""
        for process in processes:
            reached = process.limit_reached(liveness.handled(process.slot))
            if reached is not None:
                logger.info("worker recycled", extra=self._fields(worker=process.pid, after=reached))
                process.request_retirement(limit_reached=True)
                return
