"""What the machine has, and what is installed."""

import os
import platform
import re
import resource
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

from cli.doctor.findings import Finding
from cli.text import mebibytes
from utils.cpus import usable_cpus
from utils.settings import Settings

_WORKER_BYTES = 120 * 2**20
"""What a worker may have at most after usual photographs (`python -m benchmarks memory`)."""
_FEW_FILES = 4096

_NEEDED = {
    "the gateway": ("flask", "gunicorn", "httptools", "uvicorn"),
    "the backend": (
        "grpc",
        "numpy",
        "onnxruntime",
        "orjson",
        "PIL",
        "pi_heif",
        "pydantic",
        "simplejpeg",
        "uvloop",
    ),
    "the weights of the networks": ("mtcnn",),
    "facet serve": ("honcho",),
}
"""Packages by what needs them."""


def look_at_machine(settings: Settings) -> Iterator[Finding]:
    """CPUs, memory, open files, packages."""
    yield _cpus(settings)
    yield _memory(settings)
    yield _files()
    yield from _packages()


def _cpus(settings: Settings) -> Finding:
    there, usable = os.cpu_count() or 1, usable_cpus()
    found = re.search(r"^model name\s*:\s*(.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    name = found[1] if found else platform.machine()
    text = f"{usable} of {there} usable, {name}, Python {platform.python_version()}"
    if settings.workers > usable:
        return Finding(
            "warning",
            "cpu",
            f"{text}; {settings.workers} workers",
            "More workers than CPUs find no face sooner: set FACET_WORKERS to fewer, or not at all.",
        )
    return Finding("ok", "cpu", text)


def _memory(settings: Settings) -> Finding:
    available = int(
        re.findall(r"^MemAvailable:\s*(\d+) kB$", Path("/proc/meminfo").read_text(), re.MULTILINE)[0]
    )
    needed, free = settings.workers * _WORKER_BYTES, available * 1024
    text = f"{mebibytes(free)} available; {settings.workers} workers may need {mebibytes(needed)}"
    if free < needed:
        return Finding("warning", "memory", text, "Set FACET_WORKERS to fewer, or end other programs.")
    return Finding("ok", "memory", text)


def _files() -> Finding:
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    text = f"{most} may be open in a process"
    if most < _FEW_FILES:
        return Finding(
            "warning", "files", text, "Connections and waiting requests need them: raise `ulimit -Hn`."
        )
    return Finding("ok", "files", text)


def _packages() -> Iterator[Finding]:
    missing = {
        user: absent
        for user, names in _NEEDED.items()
        if (absent := [name for name in names if not find_spec(name)])
    }
    for user, names in missing.items():
        yield Finding(
            "error",
            "packages",
            f"{user}: {', '.join(names)} not installed",
            "`make setup` of a checkout installs them, and the extra `serve` of a wheel.",
        )
    if not missing:
        yield Finding("ok", "packages", "all that serving needs are installed")
