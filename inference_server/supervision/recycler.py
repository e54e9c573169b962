"""Has the processes of a group replaced that have reached a limit."""

import logging
from collections.abc import Callable, Iterable

from inference_server.supervision.liveness import LivenessMonitor
from inference_server.supervision.worker_process import WorkerProcess

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

    def recycle_one(self, processes: Iterable[WorkerProcess], liveness: LivenessMonitor) -> None:
        """Have the first of these processes replaced that has reached a limit, if one has."""
        for process in processes:
            reached = process.limit_reached(liveness.handled(process.slot))
            if reached is not None:
                logger.info("worker recycled", extra=self._fields(worker=process.pid, after=reached))
                process.request_retirement()
                return
