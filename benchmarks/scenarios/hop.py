"""Hop: what dispatch adds to a call that meets nobody."""

from statistics import median
from typing import Any

from benchmarks import pairs, servers
from benchmarks.progress import step
from benchmarks.registry import Column, Figures, Goal, Report, Scenario, table
from benchmarks.stats import describe, milliseconds

WORKERS = 2
SIZES = {100_000: 0.8, 1_000_000: 1.5}
"""Bytes of a picture, and the goal in milliseconds."""

METHOD = f"""
One client, one call at a time, a detector that answers at once. Facet with {WORKERS} workers, in which
every request crosses the queue (buffer, datagram, claim, completion), and the plain service: the same server,
interceptor, service and decoder in one process, which passes the request to its own detector thread. The
two are called in turn; the figure is the difference of their medians. Pictures are uncompressed PNG files,
whose decoding is the same in both.
"""


def run(quick: bool, repeats: int) -> Figures:
    """Measure both in turn, for each size."""
    rounds = 200 if quick else 1000
    runs: list[dict[str, Any]] = []
    with (
        servers.facet(WORKERS, sleeping=True, **servers.PATIENT) as (_, ours),
        servers.plain(1, sleeping=True) as plain,
    ):
        for number in range(repeats):
            for size in SIZES:
                with step(
                    f"hop: {size:,} bytes, run {number + 1} of {repeats}", rounds * (0.004 + size * 2e-8) + 2
                ):
                    facet, own = pairs.measure([("grpc", ours), ("grpc", plain)], size, rounds)
                runs.append(
                    {
                        "bytes": size,
                        "facet": describe(facet),
                        "plain": describe(own),
                        "added_ms": milliseconds(median(facet) - median(own)),
                    }
                )
    return {"parameters": {"workers": WORKERS, "rounds": rounds}, "runs": runs}


def report(figures: Figures) -> Report:
    """The difference of the medians, for each size."""
    goals = []
    for size, limit in SIZES.items():
        added = median(run["added_ms"] for run in figures["runs"] if run["bytes"] == size)
        goals.append(
            Goal(f"dispatch adds to the p50 of a lone call of {size // 1000} KB", added, limit, unit="ms")
        )
    columns: dict[str, Column] = {
        "picture": lambda run: f"{run['bytes'] // 1000} KB",
        "facet p50 ms": "facet.p50_ms",
        "plain p50 ms": "plain.p50_ms",
        "facet p99 ms": "facet.p99_ms",
        "plain p99 ms": "plain.p99_ms",
        "added to p50, ms": "added_ms",
    }
    runs = sorted(figures["runs"], key=lambda run: int(run["bytes"]))
    return Report(goals, [table(runs, columns)])


SCENARIO = Scenario("What dispatch adds to a call that meets nobody", METHOD, run, report, repeats=3)
