"""Balance: whether the requests of one connection reach every worker."""

from collections import Counter
from statistics import fmean, median
from typing import Any

from benchmarks import servers
from benchmarks.load import Clients, Row, rate
from benchmarks.pictures import blank
from benchmarks.progress import step
from benchmarks.registry import Bar, BarPlot, Column, Figures, Goal, Report, Scenario, table
from benchmarks.stats import milliseconds

WORKERS = 4
SLEEP = 0.020
IN_FLIGHT = 16
IDEAL = WORKERS / SLEEP
_BYTES = 100_000
_SETTLING = 0.5

METHOD = f"""
{WORKERS} workers whose detector sleeps {SLEEP * 1000:g} ms; one client process keeps {IN_FLIGHT} calls of
{_BYTES // 1000} KB under way over one connection. Throughput counts the answers between the first half
second and the end. The *ideal* is a service that never leaves a detector idle: {WORKERS} divided by the
mean time that a detector had a request in flight (its decoding and its sleep, as the answers say), which is
{IDEAL:g}/s if a sleep takes exactly its time. *Busiest / mean* is the share of the worker that detected
most. Beside it the plain service: the same worker without dispatch, which detects what it receives. New
connections for each run, in turn.
"""


def run(quick: bool, repeats: int) -> Figures:
    """Measure both, in turn."""
    seconds = 3.0 if quick else 20.0
    runs: list[dict[str, Any]] = []
    with servers.facet_and_plain(WORKERS, sleeping=True) as services:
        for number in range(repeats):
            for name, target in services.items():
                with step(f"balance: {name}, run {number + 1} of {repeats}", seconds + 2):
                    rows = Clients(target, [blank(_BYTES)], 1).closed_loop(seconds, IN_FLIGHT, [SLEEP])
                runs.append({"service": name, **figures_of(rows, seconds)})
    return {"parameters": {"workers": WORKERS, "sleep_ms": SLEEP * 1000, "seconds": seconds}, "runs": runs}


def figures_of(rows: list[Row], seconds: float) -> dict[str, Any]:
    """Throughput and share of the busiest of one run."""
    counted = [row for row in rows if _SETTLING <= row.ended < seconds and row.code == "OK"]
    per_second = rate(rows, _SETTLING, seconds)
    service = fmean(row.service for row in counted)
    shares = Counter(row.worker for row in counted)
    return {
        "answers": len(counted),
        "failed": sum(row.code != "OK" for row in rows),
        "per_second": round(per_second, 2),
        "service_ms": milliseconds(service),
        "of_ideal": round(per_second * service / WORKERS, 4),
        "by_worker": sorted(shares.values(), reverse=True),
        "busiest_over_mean": round(max(shares.values()) * WORKERS / len(counted), 3),
    }


def report(figures: Figures) -> Report:
    """Throughput as a share of the ideal, and the busiest worker over the mean."""
    bars = [Bar(name, _median(figures, name, "per_second"), name) for name in ("facet", "plain")]
    share, busiest = _median(figures, "facet", "of_ideal"), _median(figures, "facet", "busiest_over_mean")
    columns: dict[str, Column] = {
        "service": "service",
        "requests/s": "per_second",
        "in flight ms": "service_ms",
        "of the ideal": ("of_ideal", ".1%"),
        f"of {IDEAL:g}/s": lambda run: f"{run['per_second'] / IDEAL:.1%}",
        "busiest / mean": "busiest_over_mean",
        "answers by worker": lambda run: " / ".join(map(str, run["by_worker"])),
        "failed": "failed",
    }
    return Report(
        goals=[
            Goal("one connection, share of the ideal throughput", share, 0.97, True, "%"),
            Goal("one connection, busiest worker over the mean", busiest, 1.10, unit="x"),
        ],
        tables=[table(figures["runs"], columns)],
        plots={"balance": BarPlot("Throughput over one connection", "requests/s", bars, ("ideal", IDEAL))},
    )


def _median(figures: Figures, service: str, what: str) -> float:
    return median(float(run[what]) for run in figures["runs"] if run["service"] == service)


SCENARIO = Scenario(
    "One connection, saturated: does its load reach every worker?", METHOD, run, report, repeats=3
)
