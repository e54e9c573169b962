"""Batch: many pictures in one request, beside a stream of them and callers of their own."""

import os
from statistics import median
from typing import Any

from benchmarks import batches, servers
from benchmarks.processes import peak, pss, reset_peak
from benchmarks.progress import step
from benchmarks.registry import Column, Figures, Goal, Report, Scenario, Table, table
from benchmarks.stats import milliseconds
from utils.settings import Settings

WORKERS = 2
PICTURES, ROUNDS = 50, 7
LARGE_BYTES, LARGE_PICTURES = 4_000_000, 50
THROUGHPUT, FIRST = 0.95, 1.5
"""The goals."""
_READ_AHEAD = 32 * 1024**2
_IMAGES = 6
GROWTH_MB = (_READ_AHEAD + _IMAGES * Settings().max_image_bytes) / 10**6

METHOD = f"""
{WORKERS} workers that detect, one gateway process. The same {PICTURES} photographs (drawn pictures where
there are none), in each of {ROUNDS} rounds and by turns: by `/predict/batch`, over a connection on which
answers are read while pictures are sent; by `ServiceClient.detect_many`, which is `PredictStream`; and by
{batches.CALLERS} threads that call `ServiceClient.detect`. The ratios are those of a round; their median
counts. *First* is the time until the batch's first line, beside that of `/predict` with the same picture
right behind the batch.

*Memory*: a batch of {LARGE_PICTURES} pictures of {LARGE_BYTES // 10**6} MB each, after one of two of them:
the most that the gateway's process had in RAM during it (VmHWM), above what it had before (PSS).
"""


def run(quick: bool, repeats: int) -> Figures:
    """Measure the ways in turn, then the memory."""
    rounds = 2 if quick else ROUNDS
    patient = {**servers.PATIENT, "FACET_BODY_SECONDS": "600"}
    with (
        servers.facet(WORKERS, sleeping=False, **patient) as (_, backend),
        servers.gateway(backend, **patient) as (web, address),
    ):
        with step(f"batch: {rounds} rounds", rounds * 12):
            measured = [
                one._asdict()
                for _ in range(repeats)
                for one in batches.measure(address, backend, PICTURES, rounds)
            ]
        [worker] = web.children()
        with step(f"batch: {LARGE_BYTES * LARGE_PICTURES // 10**6} MB", 30):
            batches.send_large(address, LARGE_BYTES, 2)
            before = pss(worker)
            reset_peak(worker)
            batches.send_large(address, LARGE_BYTES, LARGE_PICTURES)
            most = peak(worker)
    photographs = "photographs" if os.environ.get("PHOTOS_DIR") else "drawn pictures"
    parameters = {"workers": WORKERS, "pictures": PICTURES, "of": photographs, "rounds": rounds}
    memory = {"before_mb": before, "peak_mb": most, "growth_mb": round(most - before, 1)}
    return {"parameters": parameters, "runs": measured, "memory": memory}


def report(figures: Figures) -> Report:
    """Medians of the ratios of the rounds."""
    runs = figures["runs"]
    over_stream = median(one["stream"] / one["batch"] for one in runs)
    over_callers = median(one["callers"] / one["batch"] for one in runs)
    first = median(one["first"] / one["alone"] for one in runs)
    memory = figures["memory"]
    goals = [
        Goal(f"throughput of a batch, of that of {way}", ratio, THROUGHPUT, at_least=True, unit="x")
        for way, ratio in (("PredictStream", over_stream), (f"{batches.CALLERS} callers", over_callers))
    ]
    goals.append(Goal("first answer of a batch, over the same picture alone", first, FIRST, unit="x"))
    most = round(GROWTH_MB, 1)
    goals.append(Goal("growth of a gateway for a 200 MB batch", memory["growth_mb"], most, unit="MB"))
    return Report(goals, [_of_rounds(runs), _of_memory(memory)])


def _of_rounds(runs: list[dict[str, Any]]) -> Table:
    columns: dict[str, Column] = {
        "batch s": ("batch", ".3f"),
        "PredictStream s": ("stream", ".3f"),
        f"{batches.CALLERS} callers s": ("callers", ".3f"),
        "first ms": lambda one: milliseconds(one["first"]),
        "alone ms": lambda one: milliseconds(one["alone"]),
    }
    return table(runs, columns, "*Rounds*:")


def _of_memory(memory: dict[str, float]) -> Table:
    rows: list[tuple[object, ...]] = [(memory["before_mb"], memory["peak_mb"], memory["growth_mb"])]
    return Table(("before, MB", "peak, MB", "growth, MB"), rows, "*Memory*:")


SCENARIO = Scenario("Many pictures in one request", METHOD, run, report)
