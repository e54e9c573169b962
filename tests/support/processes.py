"""Real processes for tests: started, waited for by what they log, and ended by their own id.

A process logs JSON, one object a line; `wait_for` finds the line that shows what a test waits for.
"""

import contextlib
import json
import os
import queue
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
PATIENCE = 60.0
"""Seconds after which something that should happen counts as not happening."""

Line = dict[str, Any]


def wait_until(condition: Callable[[], bool], what: str, seconds: float = PATIENCE) -> None:
    """Wait for a condition, with a bound; fails with what it waited for."""
    give_up = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < give_up, f"not within {seconds:g} s: {what}"
        time.sleep(0.01)


class Process:
    """A process of Facet under test, in a process group of its own."""

    def __init__(self, command: Sequence[str], environ: Mapping[str, str], folder: Path = ROOT) -> None:
        self.lines: list[str] = []
        self._new: queue.Queue[str | None] = queue.Queue()
        self._state = tempfile.TemporaryDirectory(prefix="facet-state-")  # which no two backends may share
        # Without the admin process, whose place is one of the machine's, as is that of the gateway's metrics.
        defaults = {
            "FACET_LOG_FORMAT": "json",
            "FACET_STATE_DIR": self._state.name,
            "FACET_ADMIN_ADDRESS": "",
            "FACET_HTTP_METRICS_ADDRESS": "",
        }
        self._popen = subprocess.Popen(
            command,
            cwd=folder,
            env={**os.environ, **defaults, **environ},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            process_group=0,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def pid(self) -> int:
        return self._popen.pid

    def _read(self) -> None:
        assert self._popen.stdout is not None
        with self._popen.stdout as output:
            for line in output:
                self.lines.append(line.rstrip("\n"))
                self._new.put(self.lines[-1])
        self._new.put(None)

    def wait_for(self, message: str, seconds: float = PATIENCE, **values: object) -> Line:
        """The next log line with this message and these fields."""
        give_up = time.monotonic() + seconds
        while True:
            try:
                text = self._new.get(timeout=max(give_up - time.monotonic(), 0.001))
            except queue.Empty:
                raise AssertionError(
                    f"no line {message!r} {values} within {seconds:g} s:\n{self.log()}"
                ) from None
            if text is None:
                raise AssertionError(f"the process ended without {message!r} {values}:\n{self.log()}")
            line = parse(text)
            if line.get("message") == message and all(line.get(k) == v for k, v in values.items()):
                return line

    def logged(self, message: str) -> list[Line]:
        """All log lines so far with this message."""
        return [line for line in map(parse, list(self.lines)) if line.get("message") == message]

    def log(self) -> str:
        """Everything it has printed."""
        return "\n".join(self.lines)

    def send(self, signum: int) -> None:
        """Signal this process alone."""
        self._popen.send_signal(signum)

    def send_group(self, signum: int) -> None:
        """Signal it and all its children, as a terminal or a Procfile runner does."""
        os.killpg(self.pid, signum)

    def wait(self, seconds: float = PATIENCE) -> int:
        """Its exit status, once it has ended and its output has been read."""
        status = self._popen.wait(seconds)
        self._reader.join(seconds)
        return status

    def alive(self) -> bool:
        return self._popen.poll() is None

    def children(self) -> list[int]:
        """Process ids of its living children."""
        return children(self.pid)

    def end(self) -> None:
        """End it and its children, if they still live."""
        if self.alive():
            family = self.children()
            self._popen.kill()
            self._popen.wait(PATIENCE)
            for pid in family:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        self._reader.join(PATIENCE)
        self._state.cleanup()


def parse(text: str) -> Line:
    """A log line as its fields; none where it is not JSON."""
    try:
        line = json.loads(text)
    except json.JSONDecodeError:
        return {}
    return line if isinstance(line, dict) else {}


def children(pid: int) -> list[int]:
    """Process ids of the living children of a process."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            state, parent = stat.read_text().rpartition(")")[2].split()[:2]
            if int(parent) == pid and state != "Z":
                found.append(int(stat.parent.name))
    return found


def alive(pid: int) -> bool:
    """Whether a process lives (a zombie does not)."""
    return state(pid) not in {"Z", ""}


def state(pid: int) -> str:
    """What a process does, as a letter of proc(5): R runs, S sleeps, T is stopped; "" where there is none."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return ""


@contextlib.contextmanager
def standing_still(pids: Sequence[int]) -> Iterator[None]:
    """Stop processes, as when the machine is suspended; they go on where they were."""
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        for pid in pids:
            wait_until(lambda pid=pid: state(pid) == "T", f"process {pid} stands still")  # type: ignore[misc]
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


@contextlib.contextmanager
def running(command: Sequence[str], folder: Path = ROOT, /, **environ: str) -> Iterator[Process]:
    """A process that is ended, whatever happens, when the test is."""
    process = Process(command, environ, folder)
    try:
        yield process
    finally:
        process.end()
