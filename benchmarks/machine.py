"""Where and with what something was measured."""

import os
import platform
import resource
import subprocess
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from tests.support.processes import ROOT

_FLAGS = ("avx2", "fma", "avx512f", "avx512_vnni", "amx_tile", "sha_ni")
_PACKAGES = (
    "grpcio",
    "protobuf",
    "numpy",
    "onnxruntime",
    "pillow",
    "flask",
    "gunicorn",
    "orjson",
)
_PRODUCT = ("inference_server", "utils", "gateway", "protos", "benchmarks")
# What a run writes itself does not make its figures those of another program.
_OWN = (":!benchmarks/results", ":!benchmarks/plots", ":!benchmarks/README.md")


def describe() -> dict[str, Any]:
    """Machine, versions, date and commit."""
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        **build(ROOT),
        "cpu": cpu(),
        "cpu_flags": cpu_flags(),
        "cpus": len(os.sched_getaffinity(0)),
        "nice": os.getpriority(os.PRIO_PROCESS, 0),
        "memory_gib": round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30, 1),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "packages": {name: version(name) for name in _PACKAGES},
    }


def build(tree: Path) -> dict[str, Any]:
    """The commit of a checkout, and whether it has no changes besides."""
    return {
        "commit": _git(tree, "rev-parse", "--short", "HEAD"),
        "clean": not _git(tree, "status", "--porcelain", "--", *_PRODUCT, *_OWN),
    }


def cpu() -> str:
    """The name of the CPU."""
    return _cpuinfo("model name") or platform.machine()


def cpu_flags() -> list[str]:
    """What the CPU has of what decides how fast a detector is."""
    flags = _cpuinfo("flags").split()
    return [flag for flag in _FLAGS if flag in flags]


class Neighbours:
    """What other programs take of the CPUs, from when this is built."""

    def __init__(self) -> None:
        self._before = self._times()

    def share(self) -> float:
        """Their share of all CPU time so far: 0 is a quiet machine.

        What this process started counts as its own once it has ended.
        """
        total, busy, own = (now - before for now, before in zip(self._times(), self._before, strict=True))
        return round(max(busy - own, 0) / max(total, 1e-9), 2)

    @staticmethod
    def _times() -> tuple[float, float, float]:
        """Seconds of all CPUs, those in which they worked, and those of them for this process."""
        ticks = list(map(int, Path("/proc/stat").read_text().splitlines()[0].split()[1:9]))
        idle = ticks[3] + ticks[4]  # nothing to do, waiting for a disk
        second = os.sysconf("SC_CLK_TCK")
        own = sum(
            sum(resource.getrusage(who)[:2]) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
        )
        return sum(ticks) / second, (sum(ticks) - idle) / second, own


def _cpuinfo(field: str) -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(field)), "")


def _git(tree: Path, *arguments: str) -> str:
    command = ["git", *arguments]
    return subprocess.run(command, cwd=tree, stdout=subprocess.PIPE, text=True, check=False).stdout.strip()
