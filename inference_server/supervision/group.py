"""A group of interchangeable processes: the workers are one, the model workers of each model version another.

It replaces those that crash, hang, reach a limit or run old code. The supervisor's loop calls its steps.
"""

import logging
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial

from inference_server.supervision.control import (
    BootFailed,
    Drain,
    FromSupervisor,
    Ready,
    RetirementRequested,
    Stop,
    SuspectCleared,
)
from inference_server.supervision.liveness import Death, LivenessMonitor
from inference_server.supervision.recycler import Recycler
from inference_server.supervision.starter import NoFreeSlot, Spawn, Starter
from inference_server.supervision.worker_process import State, WorkerProcess, describe_exit
from utils import logs

logger = logging.getLogger(__name__)

_KILL_MARGIN_SECONDS = 1.0  # to close sockets, for a process that has used its whole patience


class Group:
    """Interchangeable processes.

    Attributes:
        processes: All that live, those that were told to stop included.
        last_start: When a process was started last, or was to be, of the monotonic clock.

    Args:
        name: Of the model version, for log lines; None for the workers.
        spawn: Starts a process.
        slots: Those that its processes, and their replacements, may have; other groups may have the same.
        liveness: The group's own, with its limits.
        wanted: How many processes there shall be.
        patience: Seconds that a process that was told to stop has to end.
        queue: The number of the queue from which its processes take requests; None where they take none.
        named: The field of log lines that has the name.
        is_urgent: Whether somebody waits for its first process; an attribute until that is started.
        on_ready: Called with each process that is ready, and what it said.
        on_cannot_start: Called with the reason when a process cannot be started, be others ready or not.
            The group tries again, with growing delays. May be set later.
    """

    def __init__(
        self,
        name: str | None,
        spawn: Spawn,
        slots: range,
        liveness: LivenessMonitor,
        *,
        wanted: int,
        patience: float,
        queue: int | None = 0,
        named: str = "model",
        is_urgent: bool = False,
        on_ready: Callable[[WorkerProcess, Ready], None] = lambda _process, _ready: None,
        on_cannot_start: Callable[[BootFailed], None] = lambda _error: None,
    ) -> None:
        self.processes: list[WorkerProcess] = []
        self.name, self.wanted, self.slots, self.queue = name or "workers", wanted, slots, queue
        self.last_start, self.is_urgent = -math.inf, is_urgent
        self.on_cannot_start, self._on_ready = on_cannot_start, on_ready
        self._fields = partial(logs.fields, **{named: name})
        self._starter = Starter(spawn, slots, liveness)
        self._liveness, self._patience = liveness, patience + _KILL_MARGIN_SECONDS
        self._recycler = Recycler(self._fields)
        self._lacks_slot = self._retired = self._going_away = False

    @property
    def ready_count(self) -> int:
        """How many serve and shall go on."""
        return len(self._ready())

    @property
    def is_empty(self) -> bool:
        """Whether no process lives."""
        return not self.processes

    @property
    def lacks_process(self) -> bool:
        """Whether another process is to be started now."""
        staying = [process for process in self.processes if process.state is not State.STOPPING]
        lacking = len(staying) < self.wanted + any(map(self._is_due, staying))
        return lacking and not self._retired and not self._starter.wait()

    def scale(self, wanted: int) -> None:
        """Have so many processes from now on; 0 is allowed."""
        logger.info("scale", extra=self._fields(workers=wanted, before=self.wanted))
        self.wanted = wanted

    def reload(self, release: int) -> None:
        """Replace all processes by some of this release, each told to stop when another is ready."""
        self._starter.reload(release)

    def retire(self, message: Drain | Stop = Stop()) -> None:  # noqa: B008 - it has no state
        """Tell all processes to finish what they have and end, and start no other. Once is enough."""
        if not self._retired:
            self._retired = True
            self._retire(self.processes, message)

    def kill(self) -> None:
        """End all processes now, and start no other."""
        self._retired = True
        for process in self.processes:
            process.kill()

    def stop_replacing(self) -> None:
        """Start others for those that end, but for none that only shall: the whole backend goes away."""
        self._going_away = True

    def broadcast(self, message: FromSupervisor) -> None:
        """Tell all processes something."""
        for process in self.processes:
            process.send(message)

    def next_due(self) -> float:
        """Seconds until something is to be done that no message and no death announces."""
        ends = [process.stop_by - time.monotonic() for process in self.processes if not process.killed]
        return min([self._starter.wait() or math.inf, *ends])

    def exchange_messages(self) -> None:
        """Take in what processes say, and send what they could not take yet."""
        for process in self.processes:
            self._receive(process)
            process.flush()

    def reap(self) -> Iterator[Death]:
        """Part with the processes that have ended since the last time; gives what they had in flight."""
        for process in list(self.processes):
            if (status := process.poll()) is None:
                continue
            self.processes.remove(process)
            self._receive(process)  # first: a suspect that it cleared may be what it then died of
            death = self._liveness.release_slot(process.slot, blame_request=process.blame_request)
            yield death
            for key, deaths in death.deaths.items():
                logger.warning(
                    "request in flight at a crash", extra=self._fields(key=key.hex(), deaths=deaths)
                )
            self._ended(process, status)
            process.close()

    def check_liveness(self) -> None:
        """Kill those that hang or have not stopped in time; have those replaced that have reached a limit."""
        self._liveness.look()
        self._recycler.kill_overdue(self.processes, self._liveness)
        if not (self._retired or self._going_away or any(map(self._is_due, self.processes))):
            self._recycler.recycle_one(self._ready(), self._liveness)

    def start(self) -> bool:
        """Start a process; False where that cannot be done now."""
        self.last_start, self.is_urgent = time.monotonic(), False
        try:
            self.processes.append(self._starter.start())
            self._lacks_slot = False
            return True
        except NoFreeSlot as error:
            if not self._lacks_slot:  # reported once, until there is one
                self._lacks_slot = True
                self.on_cannot_start(BootFailed(str(error), permanent=False))
        except OSError as error:
            logger.exception("a worker cannot be started", extra=self._fields())
            self._could_not_boot(BootFailed(str(error), permanent=False), started=time.monotonic())
        return False

    def stop_surplus(self) -> None:
        """Tell those to stop that are ready and not wanted; the first are those that are to be replaced."""
        ready = sorted(self._ready(), key=lambda process: (not self._is_due(process), process.started))
        surplus = 0 if self._retired else max(len(ready) - self.wanted, 0)
        self._retire(ready[:surplus])

    def _retire(self, processes: list[WorkerProcess], message: Drain | Stop = Stop()) -> None:  # noqa: B008
        for process in processes:
            process.retire(message, self._patience)

    def _ready(self) -> list[WorkerProcess]:
        return [process for process in self.processes if process.state is State.READY]

    def _is_due(self, process: WorkerProcess) -> bool:
        """Whether it shall be replaced, by one that is ready before it is told to stop."""
        return not self._going_away and (process.retirement_requested or self._starter.is_stale(process))

    def _receive(self, process: WorkerProcess) -> None:
        while (message := process.receive()) is not None:
            match message:
                case Ready():
                    self._became_ready(process, message)
                case BootFailed() as error:
                    process.boot_failed(error)
                case RetirementRequested():
                    logger.info("worker retirement requested", extra=self._fields(worker=process.pid))
                    process.request_retirement()
                case SuspectCleared(key):
                    self._liveness.clear_suspect(key)

    def _became_ready(self, process: WorkerProcess, ready: Ready) -> None:
        process.became_ready()
        self._starter.became_ready()
        seconds = round(time.monotonic() - process.started, 3)
        place = {"worker": process.pid, "slot": process.slot, "release": process.release}
        logger.info("worker ready", extra=self._fields(**place, seconds=seconds))
        self._recycler.check_baseline(process)
        if process.state is State.READY:  # and was not told to stop before it could say so
            self._on_ready(process, ready)

    def _ended(self, process: WorkerProcess, status: int) -> None:
        self._liveness.count_exit(self.queue, process.exit_cause)
        if process.state is State.STOPPING:
            logger.info("worker ended", extra=self._fields(worker=process.pid, how=describe_exit(status)))
            return
        error = process.boot_error or BootFailed(describe_exit(status), permanent=False)
        told = self._fields(worker=process.pid, slot=process.slot, how=error.reason)
        logger.error("worker crashed", extra=told)
        self._starter.crashed(process.started)
        # What code of before a reload cannot do says nothing of the new one.
        if process.state is State.STARTING and not self._starter.is_stale(process):
            self._could_not_boot(error, started=process.started)

    def _could_not_boot(self, error: BootFailed, *, started: float) -> None:
        """Report it, and abandon a reload whose code cannot boot while the old processes serve."""
        permanent = self._starter.boot_failed(started) or error.permanent
        if not self._retired:
            self.on_cannot_start(replace(error, permanent=permanent))  # which may undo an exchange
        if permanent and any(map(self._starter.is_stale, self._ready())):
            logger.error("reload abandoned", extra=self._fields(how=error.reason))
            self._starter.abandon_reload(self.processes)
