"""Mixed: the real detector and pictures of all sizes, beside plain SO_REUSEPORT."""

from collections.abc import Sequence
from statistics import median
from typing import Any

from benchmarks import servers
from benchmarks.load import Clients, poisson, rate
from benchmarks.pictures import assortment
from benchmarks.progress import step
from benchmarks.registry import Figures, Goal, Report, Scenario, Table
from benchmarks.stats import describe, percentile

WORKERS = 2
CHANNELS = 8
IN_FLIGHT = (2, 4, 8)
"""Calls at any time, each over a connection of its own: as many as there are workers, and more."""
SHARE = 0.6
_PHOTOGRAPHS = 80
_SETTLING = 1.0

METHOD = f"""
{WORKERS} workers with the real detector and {_PHOTOGRAPHS} photographs of up to 2 MB from the folder that
PHOTOS_DIR names (where there is none: group pictures of several sizes, drawn from the portrait in
`examples/`). Short rounds of both in turn, with new connections in each. Both share the CPUs with the client.

*Throughput*: a closed loop of {", ".join(map(str, IN_FLIGHT[:-1]))} or {IN_FLIGHT[-1]} callers, each over a
connection of its own. The kernel spreads connections over the plain service's workers by chance: the fewer
there are, the more often one worker has them all and the other none. So the figure is what Facet answered in
all rounds divided by what the plain service did; beside it stands the median of the rounds' ratios, which
leaves out the rounds that were unlucky. With {IN_FLIGHT[-1]} both workers are nearly always busy, and what is
left to see is what dispatch itself takes of the CPUs.

*Latency*: arrivals that know nothing of each other (Poisson) over {CHANNELS} connections, at {SHARE:.0%} of
Facet's highest throughput in the first round, the same ones for both. The figure is the median over the
rounds of Facet's p99 divided by the plain service's.
"""


def run(quick: bool, repeats: int) -> Figures:
    """Measure both in turn, in short rounds."""
    seconds = 4.0 if quick else 5.0
    expected = len(IN_FLIGHT) * (seconds + 3)
    source, pictures = assortment(_PHOTOGRAPHS)
    runs: list[dict[str, Any]] = []
    offered = 0.0
    with servers.facet_and_plain(WORKERS, sleeping=False) as addresses:
        services = list(addresses.items())
        for number in range(repeats):
            for name, target in services:
                with step(f"mixed: {name}, throughput, round {number + 1} of {repeats}", expected):
                    loops = [Clients(target, pictures, n).closed_loop(seconds, n) for n in IN_FLIGHT]
                throughput = [round(rate(rows, _SETTLING, seconds), 2) for rows in loops]
                offered = offered or SHARE * max(throughput)
                with step(f"mixed: {name}, latency, round {number + 1} of {repeats}", seconds + 3):
                    requests = poisson(offered, round(offered * seconds), CHANNELS, lambda _: None, number)
                    rows = Clients(target, pictures, CHANNELS).open_loop(requests)
                figures = {"per_second": throughput, "latency": describe([row.latency for row in rows])}
                failed = sum(row.code != "OK" for row in rows)
                runs.append({"service": name, "round": number, **figures, "failed": failed})
            services.reverse()
    sizes = [len(picture) for picture in pictures]
    parameters = {
        "pictures": source,
        "count": len(pictures),
        "bytes_p50": percentile(sizes, 0.5),
        "bytes_max": max(sizes),
        "offered_per_second": round(offered, 2),
        "seconds": seconds,
    }
    return {"parameters": parameters, "runs": runs}


_WHY = "both keep all CPUs busy, so what dispatch itself takes of them is missing"


def report(figures: Figures) -> Report:
    """Throughput of all rounds together, latency by the median of the rounds' ratios."""
    ours, plain = (
        [run for run in figures["runs"] if run["service"] == service] for service in ("facet", "plain")
    )
    levels = range(len(IN_FLIGHT))
    throughputs = [_sum(ours, level) / _sum(plain, level) for level in levels]
    medians = [
        median(a["per_second"][level] / b["per_second"][level] for a, b in zip(ours, plain, strict=True))
        for level in levels
    ]
    p99, p50 = (
        median(a["latency"][which] / b["latency"][which] for a, b in zip(ours, plain, strict=True))
        for which in ("p99_ms", "p50_ms")
    )
    rows: list[tuple[object, ...]] = [
        (
            a["round"] + 1,
            *(run["per_second"][level] for level in levels for run in (a, b)),
            *(run["latency"][which] for which in ("p50_ms", "p99_ms") for run in (a, b)),
            a["failed"] + b["failed"],
        )
        for a, b in zip(ours, plain, strict=True)
    ]
    names = [f"{name} /s, {callers} callers" for callers in IN_FLIGHT for name in ("facet", "plain")]
    head = ("round", *names, "facet p50 ms", "plain p50 ms", "facet p99 ms", "plain p99 ms")
    asked = figures["parameters"]
    caption = (
        f"{asked['count']} {asked['pictures']}, median {asked['bytes_p50'] / 1000:.0f} KB; latency at "
        f"{asked['offered_per_second']:g} requests/s; the p50 over the plain service's is {p50:.2f}x. "
        f"Medians of the rounds' throughput ratios: {', '.join(f'{ratio:.2f}x' for ratio in medians)}."
    )
    what = "throughput over the plain service's, real detector"
    goals = [
        Goal(f"{what}, {callers} callers", ratio, 1.0, at_least=True, unit="x", why=_WHY)
        for callers, ratio in zip(IN_FLIGHT, throughputs, strict=True)
    ]
    return Report(
        goals=[*goals, Goal("p99 over the plain service's, real detector", p99, 1.0, unit="x")],
        tables=[Table((*head, "failed"), rows, caption)],
    )


def _sum(runs: Sequence[dict[str, Any]], level: int) -> float:
    total: float = sum(run["per_second"][level] for run in runs)
    return total


SCENARIO = Scenario("The real detector and pictures of all sizes", METHOD, run, report, repeats=12)
