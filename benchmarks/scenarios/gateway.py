"""Gateway: what /predict adds to the direct gRPC call."""

from statistics import median
from typing import Any

from benchmarks import cpu, pairs, servers
from benchmarks.progress import step
from benchmarks.registry import Column, Figures, Goal, Report, Scenario, table
from benchmarks.stats import describe, milliseconds
from tests.support.processes import Process
from utils.settings import Settings

_BYTES = 100_000

METHOD = f"""
One client, one call at a time, a detector that answers at once. `/predict` with a raw body of {
    _BYTES // 1000
} KB over one kept connection to gunicorn (one process, as many threads as by default), and the same
picture by `ServiceClient.detect` straight to the backend, in turn; the figure is the difference of their
medians. CPU is what gunicorn's processes used in that time by `/proc/PID/stat`, divided by the requests.

In the same turn comes the *bare* gateway (`peers/bare_gateway.py`): a Flask application of one route, which
passes the picture on by a stub and the faces back, under gunicorn's own threads, and does nothing else. It
shows how much of the figures Flask, gunicorn and grpcio take on this machine, used plainly.
"""


def run(quick: bool, repeats: int) -> Figures:
    """Measure all in turn."""
    rounds = 300 if quick else 2000
    runs: list[dict[str, Any]] = []
    with (
        servers.facet(2, sleeping=True, **servers.PATIENT) as (_, backend),
        servers.gateway(backend) as (ours, ours_at),
        servers.bare_gateway(backend, Settings().http_threads) as (bare, bare_at),
    ):
        services = [("http", ours_at), ("http", bare_at), ("grpc", backend)]
        pairs.measure(services, _BYTES, 10)  # the process that answers has booted, so its CPU is not counted
        for number in range(repeats):
            before = [_cpu_seconds(web) for web in (ours, bare)]
            with step(f"gateway: run {number + 1} of {repeats}", rounds * 0.01 + 2):
                *gateways, direct = pairs.measure(services, _BYTES, rounds)
            used = [_cpu_seconds(web) - then for web, then in zip((ours, bare), before, strict=True)]
            runs.append(
                {
                    "direct": describe(direct),
                    **{
                        name: _figures_of(latencies, direct, seconds / (rounds + pairs.WARM_UP))
                        for name, latencies, seconds in zip(("facet", "bare"), gateways, used, strict=True)
                    },
                }
            )
    return {"parameters": {"picture_bytes": _BYTES, "rounds": rounds}, "runs": runs}


def _cpu_seconds(web: Process) -> float:
    return sum(cpu.seconds(cpu.family(web)))


def _figures_of(latencies: list[float], direct: list[float], cpu_seconds: float) -> dict[str, Any]:
    return {
        "latency": describe(latencies),
        "added_ms": milliseconds(median(latencies) - median(direct)),
        "cpu_ms": milliseconds(cpu_seconds),
    }


def report(figures: Figures) -> Report:
    """The difference of the medians, and CPU per request."""
    runs = figures["runs"]
    added, cpu_ms = (median(run["facet"][what] for run in runs) for what in ("added_ms", "cpu_ms"))

    def why(what: str) -> str:
        return f"the bare gateway has {median(run['bare'][what] for run in runs):.2f} ms"

    columns: dict[str, Column] = {
        "gateway": "name",
        "p50 ms": "latency.p50_ms",
        "p99 ms": "latency.p99_ms",
        "direct p50 ms": "direct.p50_ms",
        "direct p99 ms": "direct.p99_ms",
        "added to p50, ms": "added_ms",
        "CPU ms a request": "cpu_ms",
    }
    rows = [
        {"name": name, "direct": run["direct"], **run[name]} for run in runs for name in ("facet", "bare")
    ]
    return Report(
        goals=[
            Goal("/predict over the direct gRPC call, p50", added, 1.0, unit="ms", why=why("added_ms")),
            Goal("CPU of the gateway for a request", cpu_ms, 1.2, unit="ms", why=why("cpu_ms")),
        ],
        tables=[table(rows, columns)],
        note=_note(runs),
    )


def _note(runs: list[dict[str, Any]]) -> str:
    more = median(run["facet"]["added_ms"] - run["bare"]["added_ms"] for run in runs)
    share = median(run["facet"]["cpu_ms"] / run["bare"]["cpu_ms"] for run in runs)
    return f"Facet's p50 is {more:.2f} ms above the bare gateway's, and its CPU {share:.2f}x."


SCENARIO = Scenario("What the HTTP endpoint adds to the gRPC call", METHOD, run, report, repeats=3)
