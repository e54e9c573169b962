"""One worker, as the supervisor sees it: a child process, its state, and the line to it."""

import enum
import math
import os
import signal
import subprocess
import time
from collections import deque
from collections.abc import Sequence
from typing import Any

from inference_server.supervision.control import Control, Message
from inference_server.supervision.group_signals import held_back
from inference_server.supervision.recycling import Limits

# A worker has one CPU. The libraries under NumPy would start a thread for each CPU of the machine, and
# read this when they are loaded, which is before any line of the worker's.
_ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


class State(enum.Enum):
    """What a worker is doing."""

    STARTING = "starting"
    READY = "ready"
    STOPPING = "stopping"


class WorkerProcess:
    """A worker that was started just now.

    Attributes:
        state: What it is doing, by what it said.
        leaving: It shall be replaced, whatever code it runs: somebody told it to end, or it reached a limit.
        failure: Why it could not boot, if it said so.
        hopeless: It said that no other worker can, either.
        silent: It has closed its end of the line, so it has ended or is about to.
        killed: It was killed here, and has not ended yet.
        at_fault: If it ends, what it has in hand may be the reason; not where we end it for another one.
        stop_by: When it is killed, of the monotonic clock, if it has not ended; set when it is retired.
        limits: What it may reach before it is replaced.

    Args:
        command: The program and its arguments. `--control-fd`, `--parent`, `--slot` and `--generation` are
            added. It is started with signals held back: see `leave_to_supervisor`.
        slot: The worker's place in what all workers share; no other living worker has it.
        generation: Its number among all workers there were.
        release: Counts the reloads: the code that this worker runs.
        inherit: Descriptors that it keeps open.
    """

    def __init__(
        self, command: Sequence[str], slot: int, generation: int, release: int, inherit: Sequence[int] = ()
    ) -> None:
        self.slot = slot
        self.release = release
        self.state = State.STARTING
        self.started = time.monotonic()
        self.leaving = False
        self.failure: str | None = None
        self.hopeless = False
        self.silent = False
        self.killed = False
        self.at_fault = True
        self.stop_by = math.inf
        self.limits = Limits()
        self._untold: deque[tuple[str, dict[str, Any]]] = deque()
        self.control, theirs = Control.pair()
        arguments: list[object] = ["--control-fd", theirs.fileno(), "--parent", os.getpid()]
        arguments += ["--slot", slot, "--generation", generation]
        with held_back():
            self._process = subprocess.Popen(
                [*command, *map(str, arguments)],
                stdin=subprocess.DEVNULL,
                env={**os.environ, **_ONE_THREAD},
                pass_fds=[theirs.fileno(), *inherit],
            )
        theirs.close()

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def receive(self) -> Message | None:
        """Its next message, None where there is none, or will be none: see `silent`."""
        try:
            return self.control.receive()
        except EOFError:
            self.silent = True
            return None

    def tell(self, event: str, **values: Any) -> bool:  # noqa: ANN401 - anything JSON can say
        """Tell it something, after what it was told before; False while it does not listen.

        What it could not take yet is kept for `tell_rest`. One that does not listen for long is hung.
        """
        self._untold.append((event, values))
        return self.tell_rest()

    def tell_rest(self) -> bool:
        """Tell it what it could not take yet; gives whether it knows everything now."""
        while self._untold:
            event, values = self._untold[0]
            if not self.control.send(event, **values):
                return False
            self._untold.popleft()
        return True

    def kill(self, *, at_fault: bool = False) -> None:
        """End it now; `at_fault` where what it had in hand may be the reason."""
        self.killed = True
        self.at_fault = at_fault
        self._process.kill()

    def poll(self) -> int | None:
        """Its exit status as `subprocess` counts it, None while it lives."""
        return self._process.poll()

    def close(self) -> None:
        """Release what belongs to a worker that has ended."""
        self.control.close()


def describe_exit(status: int) -> str:
    """An exit status in words: `killed by SIGKILL`, `exited with 3`."""
    if status >= 0:
        return f"exited with {status}"
    try:
        return f"killed by {signal.Signals(-status).name}"
    except ValueError:  # a real-time signal has no name
        return f"killed by signal {-status}"
