"""Start: how long until a backend serves."""

import time
from statistics import median
from typing import Any

from benchmarks import servers
from benchmarks.pictures import blank
from benchmarks.progress import step
from benchmarks.registry import Figures, Goal, Report, Scenario, Table
from utils.service_client import ServiceClient

WORKERS = 2

METHOD = f"""
`python -m inference_server` with {WORKERS} workers and the real detector, from the start of its process to
its line `ready`: every worker has found the face in its built-in picture and listens. The models are
converted and the page cache is warm, because one start before the first that counts is thrown away. The
goal is that of the native engine.
"""


def run(quick: bool) -> Figures:
    """Start and stop it a number of times."""
    repeats = 2 if quick else 9
    runs: list[dict[str, Any]] = []
    with step("start: a pool of 2, again and again", 3.0 * (repeats + 1)):
        for number in range(repeats + 1):
            started = time.monotonic()
            with servers.facet(WORKERS, sleeping=False) as (process, address):
                seconds = time.monotonic() - started
                workers = [line["seconds"] for line in process.logged("worker ready")]
                with ServiceClient(address) as client:
                    engine = client.detect(blank(100_000)).model.engine
            if number:
                runs.append({"seconds": round(seconds, 3), "workers_seconds": workers, "engine": engine})
    return {"parameters": {"workers": WORKERS}, "runs": runs}


def report(figures: Figures) -> Report:
    """The median of all starts."""
    runs, engine = figures["runs"], figures["runs"][0]["engine"]
    seconds = median(run["seconds"] for run in runs)
    slowest = median(max(run["workers_seconds"]) for run in runs)
    head = ("engine", "starts", "median s", "fastest s", "slowest s", "of which the slower worker, median s")
    every = [run["seconds"] for run in runs]
    row = (engine, len(runs), f"{seconds:.2f}", f"{min(every):.2f}", f"{max(every):.2f}", f"{slowest:.2f}")
    goal = Goal(f"a pool of {WORKERS} is ready after its start (engine {engine})", seconds, 1.0, unit="s")
    return Report([goal], [Table(head, [row])])


SCENARIO = Scenario("From the start of the process to a pool that serves", METHOD, run, report)
