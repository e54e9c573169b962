"""One worker or model worker, as the supervisor sees it: a child process, its state, and the line to it."""

import enum
import json
import logging
import math
import os
import signal
import subprocess
import time
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

from inference_server.dispatch.families import ExitCause
from inference_server.supervision.control import (
    BootFailed,
    Drain,
    FromSupervisor,
    FromWorker,
    Stop,
    control_pair,
)
from inference_server.supervision.processes import has_ended, signals_held_back
from inference_server.supervision.recycling import Limits, resident_bytes
from utils.logs import current_level, fields

logger = logging.getLogger(__name__)

# A worker has one CPU. The libraries under NumPy would start a thread for each CPU of the machine, and
# read this when they are loaded, which is before any line of the worker's.
_ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


class State(enum.Enum):
    """What a worker is doing."""

    STARTING = "starting"
    READY = "ready"
    STOPPING = "stopping"


class WorkerProcess:
    """A worker that was started just now. Its methods alone change it.

    Attributes:
        state: What it is doing, by what it said.
        retirement_requested: It shall be replaced, whatever code it runs.
        boot_error: Why it could not boot, if it said so.
        control_closed: It has closed its end of the connection, so it has ended or is about to.
        killed: It was killed here, and has not ended yet.
        exit_cause: Why it has ended, if it ends now.
        card: What it has written of what it serves, where it writes that, once it is ready.
        blame_request: If it ends, its request may be the reason; not where we end it for another one.
        stop_by: When it is killed, of the monotonic clock, if it has not ended; set when it is retired.

    Args:
        command: The program and its arguments. `--control-fd`, `--parent`, `--slot`, `--generation` and
            `--log-level` are added. It is started with signals held back: see `leave_signals_to_supervisor`.
        slot: The worker's place in what all workers share; no other living worker has it.
        generation: Its number among all workers there were.
        release: Counts the reloads: the code that this worker runs.
        limits: What it may reach before it is replaced.
        inherit: Descriptors that it keeps open.
        own_session: Start it as the leader of a session, and so of a process group, which is killed when it
            ends: what it forks does not outlive it.
        nice: Added to the niceness of this process.
        card_fd: The one of `inherit` into which it writes its card, as JSON; closed here when it has ended.
    """

    def __init__(
        self,
        command: Sequence[str],
        slot: int,
        generation: int,
        release: int,
        *,
        limits: Limits = Limits(),
        inherit: Sequence[int] = (),
        own_session: bool = False,
        nice: int = 0,
        card_fd: int | None = None,
    ) -> None:
        self.slot = slot
        self.release = release
        self.state = State.STARTING
        self.started = time.monotonic()
        self._started_at = time.time()
        self.retirement_requested = False
        self.boot_error: BootFailed | None = None
        self.control_closed = False
        self.killed = False
        self.exit_cause = ExitCause.BOOT
        self._limit_reached = False
        self.blame_request = True
        self.stop_by = math.inf
        self.limits = limits
        self.card: Mapping[str, Any] | None = None
        self._card_fd = card_fd
        self._own_session = own_session
        self._unsent: deque[FromSupervisor] = deque()
        self.control, theirs = control_pair()
        arguments: list[object] = ["--control-fd", theirs.fileno(), "--parent", os.getpid()]
        arguments += ["--slot", slot, "--generation", generation, "--log-level", current_level()]
        with signals_held_back():
            self._process = subprocess.Popen(
                [*command, *map(str, arguments)],
                stdin=subprocess.DEVNULL,
                env={**os.environ, **_ONE_THREAD},
                pass_fds=[theirs.fileno(), *inherit],
                start_new_session=own_session,
            )
        theirs.close()
        if nice:  # before it has a second thread
            os.setpriority(os.PRIO_PROCESS, self.pid, os.getpriority(os.PRIO_PROCESS, 0) + nice)

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def describe(self) -> dict[str, Any]:
        """What operators are told of it; `started` in seconds since 1970, memory in RAM."""
        return {
            "pid": self.pid,
            "slot": self.slot,
            "state": self.state.value,
            "started": self._started_at,
            "memory_bytes": resident_bytes(self.pid),
        }

    # --- the connection ---

    def receive(self) -> FromWorker | None:
        """Its next message, None where there is none, or will be none: see `control_closed`."""
        try:
            return self.control.receive()
        except EOFError:
            self.control_closed = True
            return None

    def send(self, message: FromSupervisor) -> bool:
        """Send it a message, after those before; False while it does not listen.

        What it could not take yet is kept for `flush`. One that does not listen for long is hung.
        """
        self._unsent.append(message)
        sent = self.flush()
        if not sent and self.state is not State.STOPPING:
            event = type(message).__name__
            logger.warning("control message delayed", extra=fields(worker=self.pid, event=event))
        return sent

    def flush(self) -> bool:
        """Send what it could not take yet; gives whether it has everything now."""
        while self._unsent:
            if not self.control.send(self._unsent[0]):
                return False
            self._unsent.popleft()
        return True

    # --- transitions ---

    def became_ready(self) -> None:
        """It said that it serves; one that was told to stop meanwhile is still stopping."""
        if self.state is State.STARTING:
            self.state, self.exit_cause = State.READY, ExitCause.CRASHED
        if self._card_fd is not None:
            self.card = json.loads(os.pread(self._card_fd, os.fstat(self._card_fd).st_size, 0))

    def boot_failed(self, error: BootFailed) -> None:
        """It said that it cannot boot."""
        self.boot_error = error

    def request_retirement(self, *, limit_reached: bool = False) -> None:
        """Have it replaced: somebody asked it to end, or it has reached a limit."""
        self.retirement_requested = True
        self._limit_reached = limit_reached

    def adopt_release(self, release: int) -> None:
        """Count it among the workers of this release, whose own code cannot boot."""
        self.release = release

    def limit_reached(self, handled: int) -> str | None:
        """Which limit it has reached after so many requests, in words; None where it has reached none."""
        return self.limits.reached(self.pid, handled, time.monotonic() - self.started)

    def check_baseline_memory(self) -> int:
        """Lift a limit of memory that it exceeds when it is new, as others would; gives its bytes, or 0."""
        memory = self.limits.too_large(self.pid)
        if memory:
            self.limits = self.limits.without_memory()
        return memory

    def retire(self, message: Drain | Stop, patience: float) -> None:
        """Tell it to finish and end within so many seconds; one that starts has nothing to finish."""
        if self.state is State.STARTING:
            self.kill()
        else:
            self.send(message)
        if self.state is not State.STOPPING:
            self.state = State.STOPPING
            if not self.killed:
                self.exit_cause = ExitCause.RECYCLED if self._limit_reached else ExitCause.TOLD
            self.stop_by = time.monotonic() + patience

    def kill(self, cause: ExitCause = ExitCause.TOLD, *, blame_request: bool = False) -> None:
        """End it now; `blame_request` where what it had in flight may be the reason."""
        self.killed, self.exit_cause = True, cause
        self.blame_request = blame_request
        if self._own_session:
            self._kill_process_group()
        else:
            self._process.kill()

    def poll(self) -> int | None:
        """Its exit status as `subprocess` counts it, None while it lives."""
        if self._own_session and has_ended(self.pid):
            self._kill_process_group()
        return self._process.poll()

    def close(self) -> None:
        """Release what belongs to a worker that has ended."""
        self.control.close()
        if self._card_fd is not None:
            os.close(self._card_fd)

    def _kill_process_group(self) -> None:
        """Kill the group that it leads, unless it has been reaped: then its number may be another group's."""
        if self._process.returncode is None:
            os.killpg(self.pid, signal.SIGKILL)


def describe_exit(status: int) -> str:
    """An exit status in words: `killed by SIGKILL`, `exited with 3`."""
    if status >= 0:
        return f"exited with {status}"
    try:
        return f"killed by {signal.Signals(-status).name}"
    except ValueError:  # a real-time signal has no name
        return f"killed by signal {-status}"
