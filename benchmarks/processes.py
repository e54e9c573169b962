"""Processes of the benchmarks' own: each takes and gives lines of JSON.

`TREE` is the checkout whose servers and detectors are measured; clients are always this one's.
"""

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextvars import ContextVar
from hashlib import sha256
from pathlib import Path
from typing import Any

from tests.support.processes import ROOT

TREE = ContextVar("TREE", default=ROOT)

COMPILED = Path(".cache", "native")
"""Where another checkout may have its own compiled engine."""


def python(tree: Path) -> str:
    """The interpreter of a checkout: that of its own environment, else this one."""
    own = tree / ".venv" / "bin" / "python"
    return str(own) if tree != ROOT and own.exists() else sys.executable


def environment(tree: Path) -> dict[str, str]:
    """What lets the processes of another checkout load its own compiled engine, where it has one."""
    own = tree / COMPILED
    if tree == ROOT or not own.is_dir():
        return {}
    return {"PYTHONPATH": os.pathsep.join(filter(None, (str(own), os.environ.get("PYTHONPATH"))))}


def compiled_engine(tree: Path) -> str:
    """A checksum of the compiled engine that the processes of a checkout load; empty where there is none."""
    command = [python(tree), "-c", "import facet_native; print(facet_native.__file__)"]
    environ = {**os.environ, **environment(tree)}
    found = subprocess.run(command, cwd=tree, env=environ, capture_output=True, text=True, check=False)
    return "" if found.returncode else sha256(Path(found.stdout.strip()).read_bytes()).hexdigest()[:12]


class JsonProcess:
    """A process that reads and writes lines of JSON."""

    def __init__(self, name: str, process: "subprocess.Popen[str]") -> None:
        self._name = name
        self._process = process

    def send(self, message: object) -> None:
        """Write one line."""
        assert self._process.stdin is not None
        print(json.dumps(message), file=self._process.stdin, flush=True)

    def receive(self) -> Any:  # noqa: ANN401 - whatever it says
        """Read one line.

        Raises:
            RuntimeError: The process has ended.
        """
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"the process of {self._name} ended; what it printed is above")
        return json.loads(line)


@contextlib.contextmanager
def started(module: str, *arguments: str, tree: Path = ROOT, **environ: str) -> Iterator[JsonProcess]:
    """A module of the benchmarks as a process, which ends with this."""
    command = [python(tree), "-m", module, *arguments]
    pipe, environ = subprocess.PIPE, {**os.environ, **environment(tree), **environ}
    with subprocess.Popen(command, cwd=tree, env=environ, stdin=pipe, stdout=pipe, text=True) as process:
        try:
            yield JsonProcess(" ".join([module, *arguments]), process)
        finally:
            process.kill()


def carry_out(module: str, plan: object) -> Any:  # noqa: ANN401 - whatever came of it
    """Start a module, give it one plan, and wait for what comes of it."""
    with started(module) as process:
        process.send(plan)
        return process.receive()


def pss(pid: int) -> float:
    """Megabytes of a process, with its part of what it shares."""
    return _megabytes(Path(f"/proc/{pid}/smaps_rollup"), "Pss")


def peak(pid: int) -> float:
    """The most megabytes that a process had in RAM."""
    return _megabytes(Path(f"/proc/{pid}/status"), "VmHWM")


def reset_peak(pid: int) -> None:
    """Let `peak` count anew."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")


def _megabytes(path: Path, field: str) -> float:
    line = next(line for line in path.read_text().splitlines() if line.startswith(f"{field}:"))
    return round(int(line.split()[1]) * 1024 / 10**6, 1)
