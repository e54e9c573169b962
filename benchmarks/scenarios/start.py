"""Start: how long until a backend serves, and until it has answered."""

import time
from statistics import median
from typing import Any

from benchmarks import servers
from benchmarks.drawings import few
from benchmarks.progress import step
from benchmarks.registry import Column, Figures, Goal, Report, Scenario, table
from tests.support.pictures import encoded
from utils.service_client import ServiceClient

WORKERS = 2
GOAL = 1.0
_ENGINES = ("native", "onnx", "tensorflow")
_TIMEOUT = 60

METHOD = f"""
`python -m inference_server` with {WORKERS} workers and the real detector, from the start of its process to
its line `ready`, when every worker has found the face in its built-in picture and listens; and on to the
first answer, for which a new client connects and sends a JPEG file of 640 x 480 pixels. The engines start in
turn. The models are converted and the page cache is warm, because one start of each, before the first that
counts, is thrown away. The goal is that of the native engine.
"""


def run(_quick: bool, repeats: int) -> Figures:
    """Start and stop it a number of times with each engine."""
    engines = servers.available(_ENGINES)
    runs: list[dict[str, Any]] = []
    for number in range(repeats + 1):
        for engine in engines:
            with step(f"start: {engine}, {number} of {repeats}", 2.0):
                found = _start(engine)
            runs += [found] if number else []
    return {"parameters": {"workers": WORKERS}, "runs": runs}


def _start(engine: str) -> dict[str, Any]:
    picture = encoded(few(640, 480), "JPEG", quality=90)
    started = time.monotonic()
    with servers.facet(WORKERS, sleeping=False, FACET_ENGINE=engine) as (process, address):
        ready = time.monotonic()
        with ServiceClient(address, timeout=_TIMEOUT) as client:
            client.detect(picture)
        answered = time.monotonic()
        workers = [line["seconds"] for line in process.logged("worker ready")]
    return {
        "engine": engine,
        "ready_s": round(ready - started, 3),
        "answered_s": round(answered - started, 3),
        "workers_s": workers,
    }


def report(figures: Figures) -> Report:
    """The medians of all starts."""
    runs: dict[str, list[dict[str, Any]]] = {}
    for run in figures["runs"]:
        runs.setdefault(run["engine"], []).append(run)
    rows = [{"engine": engine, **_summed(found)} for engine, found in runs.items()]
    columns: dict[str, Column] = {
        "engine": "engine",
        "starts": "starts",
        "ready, median s": ("ready", ".2f"),
        "fastest s": ("fastest", ".2f"),
        "slowest s": ("slowest", ".2f"),
        "the slower worker, median s": ("slower_worker", ".2f"),
        "first answer, median s": ("answered", ".2f"),
    }
    goals = [
        Goal(f"a pool of {WORKERS} is ready after its start (native)", row["ready"], GOAL, unit="s")
        for row in rows
        if row["engine"] == "native"
    ]
    return Report(goals, [table(rows, columns)])


def _summed(runs: list[dict[str, Any]]) -> dict[str, Any]:
    ready = [run["ready_s"] for run in runs]
    return {
        "starts": len(runs),
        "ready": median(ready),
        "fastest": min(ready),
        "slowest": max(ready),
        "slower_worker": median(max(run["workers_s"]) for run in runs),
        "answered": median(run["answered_s"] for run in runs),
    }


SCENARIO = Scenario("From the start of the process to a pool that serves", METHOD, run, report, repeats=6)
