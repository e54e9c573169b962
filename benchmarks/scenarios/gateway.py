"""Gateway: what /predict adds to the direct gRPC call."""

from statistics import median
from typing import Any

from benchmarks import cpu, pairs, servers
from benchmarks.progress import step
from benchmarks.registry import Figures, Goal, Report, Scenario, Table
from benchmarks.stats import describe, milliseconds

_BYTES = 100_000

METHOD = f"""
One client, one call at a time, a detector that answers at once. `/predict` with a raw body of {
    _BYTES // 1000
} KB over one kept connection to gunicorn (one process, as many threads as by default), and the same
picture by `ServiceClient.detect` straight to the backend, in turn; the figure is the difference of their
medians. CPU is what gunicorn's processes used in that time by `/proc/PID/stat`, divided by the requests.
"""


def run(quick: bool) -> Figures:
    """Measure both in turn."""
    rounds, repeats = (300, 1) if quick else (2000, 3)
    runs: list[dict[str, Any]] = []
    with (
        servers.facet(2, sleeping=True, **servers.PATIENT) as (_, backend),
        servers.gateway(backend) as (web, address),
    ):
        services = [("http", address), ("grpc", backend)]
        pairs.measure(services, _BYTES, 10)  # the process that answers has booted, so its CPU is not counted
        for number in range(repeats):
            before = sum(cpu.seconds(cpu.family(web)))
            with step(f"gateway: run {number + 1} of {repeats}", rounds * 0.006 + 2):
                gateway, direct = pairs.measure(services, _BYTES, rounds)
            used = sum(cpu.seconds(cpu.family(web))) - before
            runs.append(
                {
                    "gateway": describe(gateway),
                    "direct": describe(direct),
                    "added_ms": milliseconds(median(gateway) - median(direct)),
                    "cpu_ms": milliseconds(used / (rounds + pairs.WARM_UP)),
                }
            )
    return {"parameters": {"picture_bytes": _BYTES, "rounds": rounds}, "runs": runs}


def report(figures: Figures) -> Report:
    """The difference of the medians, and CPU per request."""
    runs = figures["runs"]
    added, cpu = (median(run[what] for run in runs) for what in ("added_ms", "cpu_ms"))
    rows: list[tuple[object, ...]] = [
        (
            *(run[door][which] for which in ("p50_ms", "p99_ms") for door in ("gateway", "direct")),
            run["added_ms"],
            run["cpu_ms"],
        )
        for run in runs
    ]
    head = ("/predict p50 ms", "direct p50 ms", "/predict p99 ms", "direct p99 ms", "added to p50, ms")
    return Report(
        goals=[
            Goal("/predict over the direct gRPC call, p50", added, 1.0, unit="ms"),
            Goal("CPU of the gateway for a request", cpu, 1.2, unit="ms"),
        ],
        tables=[Table((*head, "CPU ms a request"), rows)],
    )


SCENARIO = Scenario("What the HTTP door adds to the gRPC call", METHOD, run, report)
