"""What processes have used of the CPUs."""

import os
from collections.abc import Iterable
from pathlib import Path

from tests.support.processes import Process


def family(*processes: Process) -> list[int]:
    """Process ids of these processes and their living children."""
    return [pid for process in processes for pid in (process.pid, *process.children())]


def seconds(pids: Iterable[int]) -> list[float]:
    """Seconds of CPU that each of these processes has used so far, by `/proc/PID/stat`."""
    return [sum(map(int, _stat(pid)[11:13])) / os.sysconf("SC_CLK_TCK") for pid in pids]


def _stat(pid: int) -> list[str]:
    """A process's fields after its name; the 11th and 12th are ticks in user and system mode."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
