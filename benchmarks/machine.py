"""Where and with what something was measured."""

import os
import platform
import subprocess
import time
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from tests.processes import ROOT

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
    flags = _cpuinfo("flags").split()
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "commit": _git("rev-parse", "--short", "HEAD"),
        "clean": not _git("status", "--porcelain", "--", *_PRODUCT, *_OWN),
        "cpu": _cpuinfo("model name") or platform.machine(),
        "cpu_flags": [flag for flag in _FLAGS if flag in flags],
        "cpus": len(os.sched_getaffinity(0)),
        "cpus_idle_before": idle_share(),
        "memory_gib": round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30, 1),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "packages": {name: version(name) for name in _PACKAGES},
    }


def idle_share(seconds: float = 1.0) -> float:
    """The share of all CPU time that nobody uses, over so many seconds: 1 is a quiet machine."""
    before = _cpu_times()
    time.sleep(seconds)
    spent = [after - earlier for after, earlier in zip(_cpu_times(), before, strict=True)]
    return round((spent[3] + spent[4]) / max(sum(spent), 1), 2)


def _cpu_times() -> list[int]:
    """Ticks that all CPUs spent on: user, nice, system, idle, waiting for a disk, ..."""
    return [int(ticks) for ticks in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]


def _cpuinfo(field: str) -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(field)), "")


def _git(*arguments: str) -> str:
    command = ["git", *arguments]
    return subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=False).stdout.strip()
