"""Memory: what a worker takes, after many sizes and after a large picture, and what a new size costs."""

import random
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from statistics import median
from typing import Any

import numpy as np

from benchmarks import servers
from benchmarks.arena import Cell, arena
from benchmarks.drawings import few, many
from benchmarks.processes import peak, pss
from benchmarks.progress import step
from benchmarks.registry import Figures, Goal, Report, Scenario, Table
from benchmarks.stats import milliseconds
from tests.support.pictures import encoded
from utils.service_client import ServiceClient

WORKERS = 2
ENGINES = ("native", "onnx")
PICTURES, SMALL = 500, 50
LARGE, LARGEST = (4000, 3000), (6124, 4082)
WIDTHS, HEIGHTS = (120, 900), (120, 700)
_TIMEOUT = 120

# How many other sizes lie between the first time and the second: more than any cache of the CPU holds.
_BEHIND = 8

METHOD = f"""
*Memory*: the whole backend with {WORKERS} workers, and as many clients that keep both busy with JPEG files.
What a worker takes is its PSS (`/proc/PID/smaps_rollup`: memory of its own, and its part of what it shares),
once it is ready; after {PICTURES} pictures for each worker, {WIDTHS[0]} to {WIDTHS[1]} pixels wide and
{HEIGHTS[0]} to {HEIGHTS[1]} high at random; after one of 12 megapixels for each; after {SMALL} small ones for
each; and after the largest that is accepted by default, 25 megapixels, and {SMALL} small ones again. The
figure is that of the larger worker. *Peak* is the most that either had in RAM until then, the whole of what
they share included (VmHWM).

*New sizes*: one process detects in pictures of sizes that it has never seen, and in each again after
{_BEHIND} others, so that first times and second times take turns. The figure is the median of their ratios.

MB are millions of bytes.
"""


def run(quick: bool, _repeats: int) -> Figures:
    """Load the backend stage by stage, for each engine; then time new sizes."""
    pictures, sizes = (10, 10) if quick else (PICTURES, 100)
    runs = {engine: _stages(engine, pictures) for engine in servers.available(ENGINES)}
    with step("memory: sizes seen for the first time and again", sizes * 0.3):
        ratios = {engine: _first_times(engine, sizes) for engine in runs}
    parameters = {"workers": WORKERS, "pictures": pictures, "sizes": sizes}
    return {"parameters": parameters, "runs": runs, "new_sizes": ratios}


def _stages(engine: str, pictures: int) -> list[dict[str, Any]]:
    """Memory of the workers after each stage."""
    small = [encoded(few(320, 240), "JPEG", quality=90)] * SMALL
    plan: list[tuple[str, Iterable[bytes]]] = [
        ("ready", ()),
        (f"{pictures} pictures of random size", _random_sizes(pictures)),
        ("12 megapixels", [encoded(many(*LARGE), "JPEG", quality=90)]),
        (f"{SMALL} small ones", small),
        ("25 megapixels, the largest", [encoded(few(*LARGEST), "JPEG", quality=90)]),
        (f"{SMALL} small ones again", small),
    ]
    found = []
    with servers.facet(WORKERS, sleeping=False, FACET_ENGINE=engine, **servers.PATIENT) as (process, address):
        pids = [line["worker"] for line in process.logged("worker ready")]
        for stage, sent in plan:
            with step(f"memory: {engine}, {stage}", 3):
                _keep_busy(address, sent)
            found.append({"stage": stage, "pss_mb": list(map(pss, pids)), "peak_mb": max(map(peak, pids))})
    return found


def _random_sizes(count: int) -> Iterator[bytes]:
    """Parts of a crowd, as files."""
    rng, crowd = random.Random(0), many(WIDTHS[1], HEIGHTS[1])
    for _ in range(count):
        width, height = rng.randint(*WIDTHS), rng.randint(*HEIGHTS)
        left, top = rng.randint(0, WIDTHS[1] - width), rng.randint(0, HEIGHTS[1] - height)
        yield encoded(
            np.ascontiguousarray(crowd[top : top + height, left : left + width]), "JPEG", quality=90
        )


def _keep_busy(address: str, pictures: Iterable[bytes]) -> None:
    """Send every picture once for each worker, as many at a time: each worker has one in flight."""
    with ServiceClient(address, timeout=_TIMEOUT) as client, ThreadPoolExecutor(WORKERS) as threads:
        for picture in pictures:
            list(threads.map(client.detect, [picture] * WORKERS))


def _first_times(engine: str, count: int) -> dict[str, float]:
    """Milliseconds of the first time and of the second in pictures of many sizes, and their ratio."""
    rng = random.Random(1)
    sizes = [("many", rng.randint(*WIDTHS), rng.randint(*HEIGHTS)) for _ in range(count)]
    first, again = [], []
    with arena([engine]) as contenders:

        def seconds(size: Cell) -> float:
            took: float = contenders.ask(engine, draw=size)["seconds"]
            return took

        for size in sizes:
            contenders.ask(engine, draw=size, only_draw=True)
        seconds(("many", WIDTHS[1], HEIGHTS[1]))  # whatever is allocated once
        for number in range(count + _BEHIND):
            if number < count:
                first.append(seconds(sizes[number]))
            if number >= _BEHIND:
                again.append(seconds(sizes[number - _BEHIND]))
    ratio = median(one / other for one, other in zip(first, again, strict=True))
    return {
        "first_ms": milliseconds(median(first)),
        "again_ms": milliseconds(median(again)),
        "ratio": round(ratio, 3),
    }


def report(figures: Figures) -> Report:
    """Memory of the larger worker after each stage, and the ratios."""
    tables = [_memory(engine, stages) for engine, stages in figures["runs"].items()]
    rows: list[tuple[object, ...]] = [
        (engine, took["first_ms"], took["again_ms"], f"{took['ratio']:.2f}x")
        for engine, took in figures["new_sizes"].items()
    ]
    head = ("engine", "first time, median ms", "again, median ms", "median of the ratios")
    tables.append(Table(head, rows, f"{figures['parameters']['sizes']} sizes, none seen before:"))
    return Report(list(_goals(figures)) if "native" in figures["runs"] else [], tables)


def _memory(engine: str, stages: Sequence[dict[str, Any]]) -> Table:
    rows: list[tuple[object, ...]] = [
        (found["stage"], max(found["pss_mb"]), min(found["pss_mb"]), found["peak_mb"]) for found in stages
    ]
    return Table(
        ("after", "PSS of the larger worker, MB", "of the smaller", "peak, MB"), rows, f"*{engine}*:"
    )


def _goals(figures: Figures) -> Iterator[Goal]:
    _ready, many_sizes, large, *_ = figures["runs"]["native"]
    for found, limit in ((many_sizes, 120), (large, 220)):
        yield Goal(f"PSS of a worker after {found['stage']} (native)", max(found["pss_mb"]), limit, unit="MB")
    ratio = figures["new_sizes"]["native"]["ratio"]
    yield Goal("a size seen for the first time over the same size again (native)", ratio, 1.1, unit="x")


SCENARIO = Scenario("What a worker takes, and what a new size costs", METHOD, run, report)
