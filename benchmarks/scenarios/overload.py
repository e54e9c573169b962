"""Overload: what four times more than the capacity does to a service."""

import contextlib
from collections import defaultdict
from collections.abc import Iterator
from itertools import product
from statistics import median
from typing import Any

from benchmarks import servers
from benchmarks.load import Clients, Row, poisson, rate
from benchmarks.pictures import blank
from benchmarks.progress import step
from benchmarks.registry import Column, Figures, Goal, Report, Scenario, Table, table
from benchmarks.stats import describe

WORKERS = 4
CHANNELS = 8
SLEEP = 0.020
TIMES = 4
TIMEOUTS = (5.0, 1.0)
"""Seconds that a call may take, which also bound the queue."""
_PROCESSES = 2
_BYTES = 100_000
_SETTLING = 3.0
_IN_FLIGHT = 32

METHOD = f"""
{WORKERS} workers whose detector sleeps {SLEEP * 1000:g} ms, {CHANNELS} connections of {_PROCESSES} client
processes, 100 KB each, the settings a user gets. *Capacity* is the throughput of a closed loop of
{_IN_FLIGHT} calls; then {TIMES} times as many requests come (Poisson), each with a deadline of
{TIMEOUTS[0]:g} s or of {TIMEOUTS[1]:g} s. *Goodput* is what is answered with OK in time. A *refusal* is
RESOURCE_EXHAUSTED, or DEADLINE_EXCEEDED within half of the deadline; its latency counts from when the
request was due, so it contains all that kept the client from sending. Both are judged after
{_SETTLING:g} s, when the queue is full; while it *fills*, within the first two seconds, every request is
accepted, which costs several times more than a refusal. *Late* is what failed after half of the deadline.
*Answers nobody got*: detections that were begun, by the workers' own counters before and after, less the
answers that arrived. Beside it the
plain service, which refuses nothing. Each run has servers of its own, because the plain ones would go on
working for nobody.
"""


def run(quick: bool, repeats: int) -> Figures:
    """Measure capacity, then both services under both deadlines, in turn."""
    seconds = 6.0 if quick else 15.0
    runs: list[dict[str, Any]] = []
    for number in range(repeats):
        with _service("facet") as target:
            capacity = _capacity(target, seconds)
        for timeout, name in product(TIMEOUTS, ("facet", "plain")):
            what = f"overload: {name}, {timeout:g} s, run {number + 1} of {repeats}"
            with step(what, seconds + timeout + 4), _service(name) as target:
                figures = _overload(target, capacity, seconds, timeout, number)
            runs.append({"service": name, "timeout_s": timeout, "capacity": capacity, **figures})
    return {"parameters": {"workers": WORKERS, "channels": CHANNELS, "times": TIMES}, "runs": runs}


@contextlib.contextmanager
def _service(name: str) -> Iterator[str]:
    if name == "plain":
        with servers.plain(WORKERS, sleeping=True) as address:
            yield address
    else:
        with servers.facet(WORKERS, sleeping=True) as (_, address):
            yield address


def _clients(target: str, timeout: float) -> Clients:
    return Clients(target, [blank(_BYTES)], CHANNELS, processes=_PROCESSES, timeout=timeout)


def _capacity(target: str, seconds: float) -> float:
    """Answers a second in a closed loop."""
    with step("overload: capacity", seconds + 2):
        rows = _clients(target, 60).closed_loop(seconds, _IN_FLIGHT, [SLEEP])
    return round(rate(rows, _SETTLING, seconds), 2)


def _overload(target: str, capacity: float, seconds: float, timeout: float, seed: int) -> dict[str, Any]:
    offered = TIMES * capacity
    requests = poisson(offered, round(offered * seconds), CHANNELS, lambda _: SLEEP, seed)
    clients = _clients(target, timeout)
    before, _ = _census(target)
    rows = clients.open_loop(requests)
    after, counting = _census(target)
    detections = sum(after[worker] - before[worker] for worker in after) - counting - clients.warm_up_calls
    answered = sum(row.code == "OK" for row in rows)
    refused = [row for row in rows if is_refusal(row, timeout)]
    return {
        "offered_per_second": round(offered, 1),
        "goodput_per_second": round(rate(rows, _SETTLING, seconds), 2),
        "requests": len(rows),
        "answered": answered,
        "refused": len(refused),
        "late": len(rows) - answered - len(refused),
        "answer": describe([row.latency for row in rows if row.code == "OK"]),
        "refusal": describe([row.latency for row in refused if row.at >= _SETTLING]),
        "refusal_filling": describe([row.latency for row in refused if row.at < _SETTLING]),
        "sent_late": describe([row.sent - row.at for row in rows]),
        "detections": detections,
        "for_nobody": round(1 - answered / detections, 4),
    }


def is_refusal(row: Row, timeout: float) -> bool:
    """Whether a call was refused, and not just late."""
    quick = row.ended - row.sent < timeout / 2
    return row.code == "RESOURCE_EXHAUSTED" or (row.code == "DEADLINE_EXCEEDED" and quick)


def _census(target: str) -> tuple[dict[int, int], int]:
    """How many detections each worker has begun, and how many of them were for this question."""
    # So many connections that one reaches every worker even where nobody dispatches.
    clients = Clients(target, [blank(1000)], 32)
    begun: dict[int, int] = defaultdict(int)
    rows = clients.closed_loop(0.5, 32, [0.050])
    for row in rows:
        begun[row.worker] = max(begun[row.worker], row.begun)
    return begun, len(rows) + clients.warm_up_calls


def report(figures: Figures) -> Report:
    """Goodput as a share of capacity, refusals at the client, and detections for nobody."""
    goals = []
    for timeout in TIMEOUTS:
        ours = [r for r in figures["runs"] if r["service"] == "facet" and r["timeout_s"] == timeout]
        goodput = median(run["goodput_per_second"] / run["capacity"] for run in ours)
        refusals = median(run["refusal"].get("p99_ms", 0.0) for run in ours)
        nobody = median(run["for_nobody"] for run in ours)
        which = f"{TIMES}x the capacity, deadline {timeout:g} s"
        goals += [
            Goal(f"{which}: goodput as a share of the capacity", goodput, 0.95, at_least=True, unit="%"),
            Goal(f"{which}: refusals, p99", refusals, 20, unit="ms"),
            Goal(f"{which}: detections whose answer nobody got", nobody, 0.01, unit="%"),
        ]
    return Report(goals, [_table(figures)])


def _table(figures: Figures) -> Table:
    columns: dict[str, Column] = {
        "deadline": lambda run: f"{run['timeout_s']:g} s",
        "service": "service",
        "capacity /s": "capacity",
        "offered /s": "offered_per_second",
        "goodput /s": lambda run: (
            f"{run['goodput_per_second']} ({run['goodput_per_second'] / run['capacity']:.1%})"
        ),
        "OK / refused / late": lambda run: f"{run['answered']} / {run['refused']} / {run['late']}",
        "OK p99 ms": lambda run: run["answer"].get("p99_ms", ""),
        "refusal p50 ms": lambda run: run["refusal"].get("p50_ms", ""),
        "refusal p99 ms": lambda run: run["refusal"].get("p99_ms", ""),
        "p99 ms while it fills": lambda run: run["refusal_filling"].get("p99_ms", ""),
        "sent late p99 ms": "sent_late.p99_ms",
        "for nobody": ("for_nobody", ".2%"),
    }
    runs = sorted(figures["runs"], key=lambda run: (-run["timeout_s"], run["service"]))
    return table(runs, columns)


SCENARIO = Scenario("Four times more than the capacity", METHOD, run, report, repeats=3)
