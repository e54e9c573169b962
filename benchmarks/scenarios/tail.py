"""Tail: how long requests wait beside an ideal central queue."""

import random
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median
from typing import Any

from benchmarks import servers
from benchmarks.load import Clients, Request, Row, poisson
from benchmarks.pictures import blank
from benchmarks.progress import step
from benchmarks.registry import Column, Figures, Goal, LatencyPlot, Report, Scenario, Table, table
from benchmarks.stats import CURVE, central_queue, curve, describe, milliseconds, percentile

WORKERS = 4
CHANNELS = 8
_BYTES = 100_000
_LONE_SECONDS = 2.0


@dataclass(frozen=True)
class Load:
    """What arrives: so many requests a second, each of which sleeps so many seconds."""

    name: str
    share: float
    sleep: Callable[[random.Random], float]
    mean: float
    limit: float

    @property
    def rate(self) -> float:
        """Requests a second that keep this share of the workers busy."""
        return self.share * WORKERS / self.mean


def _mixed(rng: random.Random) -> float:
    return 0.010 if rng.random() < 0.8 else 0.060


LOADS = (
    Load("60 % load of 20 ms", 0.60, lambda _: 0.020, 0.020, 1.10),
    Load("75 % load of 10 and 60 ms", 0.75, _mixed, 0.020, 1.15),
)

METHOD = f"""
{WORKERS} workers whose detector sleeps, {CHANNELS} connections, 100 KB each, arrivals that know nothing of
each other (Poisson), latency from the time at which each request was due. Two loads: 20 ms each at 60 % of
capacity, and 10 or 60 ms (80 : 20) at 75 %. Beside it the plain service (the same worker without dispatch),
with new connections for each run.

The *ideal* is a simulated central queue in front of as many servers, fed the same arrivals and the same
service times: those that a detector had each request in flight, decoding included, as its answer says. In it
nothing else takes any time: no network, no serialization, no process that has to wake. The goals are judged
on p99 over the ideal's p99, the median of the runs, and **nothing is added to the ideal**. Two other
readings stand beside it: *p99 / nominal* feeds the ideal the sleeps as they were asked for, as if decoding
took no time and no timer were late; *p99 / (ideal + lone)* adds to every ideal latency what a lone call
takes beyond its service (the median of {_LONE_SECONDS:g} s of calls one after another, before each run), so
that only waiting is left. *sent late* is how far the client itself was behind at p99; that is part of the
latency.
"""


def run(quick: bool, repeats: int) -> Figures:
    """Measure both under both loads, in turn."""
    count = 1000 if quick else 10_000
    runs: list[dict[str, Any]] = []
    with servers.facet_and_plain(WORKERS, sleeping=True) as services:
        for number in range(repeats):
            for load in LOADS:
                requests = poisson(load.rate, count, CHANNELS, load.sleep, seed=number)
                lone = _lone_overhead(services["facet"])
                for name, target in services.items():
                    what = f"tail: {name}, {load.name}, run {number + 1} of {repeats}"
                    with step(what, requests[-1].at + 1):
                        rows = Clients(target, [blank(_BYTES)], CHANNELS).open_loop(requests)
                    runs.append({"service": name, "load": load.name, **figures_of(requests, rows, lone)})
    parameters = {"workers": WORKERS, "channels": CHANNELS, "requests": count, "picture_bytes": _BYTES}
    return {"parameters": parameters, "shares": CURVE, "runs": runs}


def _lone_overhead(target: str) -> float:
    """Seconds that a lone call takes beyond its service."""
    rows = Clients(target, [blank(_BYTES)], 1).closed_loop(_LONE_SECONDS, 1, [0.020])
    return median(row.latency - row.service for row in rows)


def figures_of(requests: list[Request], rows: list[Row], lone: float) -> dict[str, Any]:
    """Latencies of one run, beside those of the ideal queue."""
    latencies, due = [row.latency for row in rows], [row.at for row in rows]
    ideal = central_queue(due, [row.service for row in rows], WORKERS)
    nominal = central_queue(due, [request.sleep or 0.0 for request in requests], WORKERS)
    p99, best = percentile(latencies, 0.99), percentile(ideal, 0.99)
    return {
        "failed": sum(row.code != "OK" for row in rows),
        "latency": describe(latencies),
        "ideal": describe(ideal),
        "sent_late_p99_ms": milliseconds(percentile([row.sent - row.at for row in rows], 0.99)),
        "lone_overhead_ms": milliseconds(lone),
        "p99_over_ideal": round(p99 / best, 4),
        "p99_over_nominal": round(p99 / percentile(nominal, 0.99), 4),
        "p99_over_ideal_and_lone": round(p99 / (best + lone), 4),
        "curve_ms": curve(latencies),
        "ideal_curve_ms": curve(ideal),
    }


def report(figures: Figures) -> Report:
    """The ratio of the 99th percentiles, the latencies of every run, and the curves of the first."""
    goals, plots = [], {}
    for load in LOADS:
        runs = [run for run in figures["runs"] if run["load"] == load.name]
        ours = [run for run in runs if run["service"] == "facet"]
        ratio = median(run["p99_over_ideal"] for run in ours)
        lone = median(1 + run["lone_overhead_ms"] / run["ideal"]["p99_ms"] for run in ours)
        why = f"{lone:.2f}x is what a call takes beyond its service that waits for nobody"
        what = f"{load.name}: p99 over the ideal central queue's"
        goals.append(Goal(what, ratio, load.limit, unit="x", why=why))
        first = {run["service"]: run for run in reversed(runs)}
        curves = {name: first[name]["curve_ms"] for name in ("facet", "plain")}
        curves["ideal"] = first["facet"]["ideal_curve_ms"]
        title = f"{load.name}: latency, first run"
        plots[f"tail-{round(load.share * 100)}"] = LatencyPlot(title, figures["shares"], curves)
    return Report(goals, [_table(figures)], plots)


def _table(figures: Figures) -> Table:
    columns: dict[str, Column] = {
        "load": "load",
        "service": "service",
        "p50 ms": "latency.p50_ms",
        "p99 ms": "latency.p99_ms",
        "p99.9 ms": "latency.p999_ms",
        "ideal p99 ms": "ideal.p99_ms",
        "p99 / ideal": ("p99_over_ideal", ".2f"),
        "p99 / nominal": ("p99_over_nominal", ".2f"),
        "p99 / (ideal + lone)": ("p99_over_ideal_and_lone", ".2f"),
        "lone overhead ms": "lone_overhead_ms",
        "sent late ms": "sent_late_p99_ms",
        "failed": "failed",
    }
    runs = sorted(figures["runs"], key=lambda run: (run["load"], run["service"]))
    return table(runs, columns)


SCENARIO = Scenario(
    "Open loop over many connections: how much longer than ideal?", METHOD, run, report, repeats=3
)
