"""Service: all of Facet beside the design of the article that it began with."""

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import packages_distributions, version
from itertools import product
from statistics import fmean
from typing import Any

from benchmarks import cpu, crowd, servers
from benchmarks.crowd import Call
from benchmarks.pictures import assortment
from benchmarks.progress import step
from benchmarks.registry import Bar, BarPlot, Column, Figures, Goal, Report, Scenario, Table, table
from benchmarks.stats import describe, milliseconds
from tests.support.processes import Process
from utils.cpus import usable_cpus

CLIENTS = (1, 8, 64)
ENDPOINTS = {"json": "/predict", "grpc": "gRPC"}
"""How the endpoints that are compared are called in the report."""
_PHOTOGRAPHS = 40
_PASSES = {"facet": 6, "article": 2}
_ROUND = ("facet", "article", "facet")

METHOD = f"""
Facet as it is installed, `python -m inference_server` and its gunicorn, beside the *article's design*, built
plainly in `peers/article/`: as many processes as cores, each a synchronous gRPC server of 5 threads that
share one `MTCNN()` of the untouched package on TensorFlow, on one port by bare SO_REUSEPORT; before them
gunicorn with 2 sync processes, Flask, the standard library's JSON and base64, one channel for each process.
Both have a backend process for each core.

{", ".join(map(str, CLIENTS))} clients, each with one request at a time, send {_PHOTOGRAPHS} photographs of up
to 2 MB in turn (where there are none: composites of the portrait in `examples/`): to /predict as base64 in
JSON, as the article's client does, and straight to the backend by gRPC. For each endpoint and number of
clients Facet is measured, then the article, then Facet again; the ratio is the mean of Facet's two over the
article's. *Images a second* and latencies are those of the answers that came after as many as there are
clients, and before the last request was sent: while everybody is in the middle of something, or small
pictures, which overtake, would count more than large ones. Those are {_PASSES["article"]} whole rounds
through the photographs for the article's design, and {_PASSES["facet"]} for Facet. *raw* is Facet's /predict
with the picture as it is for a body.

Nothing is refused: Facet's queue is as long as need be (its other settings are the defaults, but that either
process of its gateway has a thread for every client), and the article's design knows no limit. Clients are
threads of one process of their own. They, and both services, share the machine's cores, so a client's CPU is
taken from whom it calls. CPU is that of all processes of a part, divided by the requests. The article's
gateway has two connections, and the kernel may give both to one backend process; *busiest* is the share of
the backend's CPU that its busiest worker used.
"""


@dataclass(frozen=True)
class Service:
    """One that runs: where its endpoints are, and the processes of its parts."""

    http: str
    grpc: str
    gateway: Process
    backend: Sequence[Process]

    def address(self, endpoint: str) -> str:
        """Where an endpoint is."""
        return self.grpc if endpoint == "grpc" else self.http


def run(quick: bool, _repeats: int) -> Figures:
    """Measure both services in turn, at each endpoint, by each number of clients."""
    counts: Sequence[int] = CLIENTS
    pictures, passes = _PHOTOGRAPHS, _PASSES
    if quick:
        counts, pictures, passes = CLIENTS[:2], 4, {"facet": 5, "article": 1}
    source, chosen = assortment(pictures)
    runs: list[dict[str, Any]] = []
    with contextlib.ExitStack() as stack:
        with step("service: start", 25):
            services = {
                "facet": stack.enter_context(_facet(max(counts))),
                "article": stack.enter_context(_article()),
            }
        speeds = {name: _warm_up(name, service, pictures, len(chosen)) for name, service in services.items()}

        def measure(name: str, endpoint: str, clients: int) -> None:
            requests = passes[name] * len(chosen) + 2 * clients
            what = f"service: {name}, {endpoint}, {clients} client{'s' if clients > 1 else ''}"
            with step(what, requests / speeds[name] + 2):
                figures = _measure(services[name], endpoint, pictures, clients, requests)
            runs.append({"service": name, "endpoint": endpoint, "clients": clients, **figures})

        for endpoint, clients in product(ENDPOINTS, counts):
            for name in _ROUND:
                measure(name, endpoint, clients)
        for clients in counts:
            measure("facet", "raw", clients)
    return {"parameters": {"pictures": source, "count": len(chosen), "article": _packages()}, "runs": runs}


def _packages() -> str:
    """What the article's design stands on; TensorFlow has several distributions."""
    return ", ".join(
        f"{name} {version(packages_distributions()[name][0])}" for name in ("mtcnn", "tensorflow")
    )


@contextlib.contextmanager
def _facet(clients: int) -> Iterator[Service]:
    # An empty setting is its default. Beside a thread for each client are those kept for other paths.
    roomy = {"FACET_HTTP_WORKERS": "", "FACET_HTTP_THREADS": str(clients + 8), **servers.PATIENT}
    with (
        servers.facet(usable_cpus(), sleeping=False, **servers.PATIENT) as (backend, grpc),
        servers.gateway(grpc, **roomy) as (web, http),
    ):
        yield Service(http, grpc, web, [backend])


@contextlib.contextmanager
def _article() -> Iterator[Service]:
    with (
        servers.article_backend(usable_cpus()) as (backend, grpc),
        servers.article_gateway(grpc) as (web, http),
    ):
        yield Service(http, grpc, web, backend)


def _warm_up(name: str, service: Service, pictures: int, count: int) -> float:
    """Let every process answer something; gives about how many a second they do."""
    with step(f"service: {name}, warming up", count / 4):
        crowd.measure("json", service.http, pictures, 4, 8)
        calls, _ = crowd.measure("grpc", service.grpc, pictures, 8, count + 8)
    return len(calls) / calls[-1].ended


def _measure(service: Service, endpoint: str, pictures: int, clients: int, requests: int) -> dict[str, Any]:
    web, workers = cpu.family(service.gateway), cpu.family(*service.backend)
    before = cpu.seconds(web), cpu.seconds(workers)
    calls, client = crowd.measure(endpoint, service.address(endpoint), pictures, clients, requests)
    gateway, backend = (
        [now - then for now, then in zip(cpu.seconds(pids), earlier, strict=True)]
        for pids, earlier in zip((web, workers), before, strict=True)
    )
    used = {"gateway": sum(gateway), "backend": sum(backend), "client": client}
    return {
        **figures_of(calls, clients),
        "cpu_ms": {part: milliseconds(seconds / requests) for part, seconds in used.items()},
        "busiest": round(max(backend) / max(sum(backend), 1e-9), 3),
    }


def figures_of(calls: Sequence[Call], clients: int) -> dict[str, Any]:
    """Images a second and latencies while everybody was in the middle of something; failures; faces."""
    answered = [call for call in calls if call.faces is not None]
    start = sorted(call.ended for call in calls)[clients - 1]
    end = max(call.sent for call in calls)
    seconds = [call.ended - call.sent for call in answered if start < call.ended <= end]
    return {
        "requests": len(calls),
        "failed": len(calls) - len(answered),
        "per_second": round(len(seconds) / (end - start), 3),
        "latency": describe(seconds),
        "faces": sum({call.picture: call.faces or 0 for call in answered}.values()),
    }


def report(figures: Figures) -> Report:
    """Facet's images a second over the article's, and what each request costs."""
    runs = figures["runs"]
    compared = [_compare(runs, endpoint, clients) for endpoint in ENDPOINTS for clients in _counts(runs)]
    goals = [
        Goal(f"images/s through /predict over the article's, {_clients(row)}", row["ratio"], 10, True, "x")
        for row in compared
        if row["endpoint"] == "json"
    ]
    asked = figures["parameters"]
    caption = (
        f"{asked['count']} {asked['pictures']}; the article's design on {asked['article']}. "
        "Latencies of Facet are the means of its two runs."
    )
    columns: dict[str, Column] = {
        "endpoint": lambda row: ENDPOINTS[row["endpoint"]],
        "clients": "clients",
        "facet /s": ("facet.per_second", ".2f"),
        "article /s": ("article.per_second", ".2f"),
        "ratio": lambda row: f"{row['ratio']:.2f}x",
        "facet p50 ms": ("facet.p50_ms", ".1f"),
        "article p50 ms": ("article.p50_ms", ".1f"),
        "facet p99 ms": ("facet.p99_ms", ".1f"),
        "article p99 ms": ("article.p99_ms", ".1f"),
    }
    bars = [
        Bar(f"{service}, {_clients(row)}", round(row[service]["per_second"], 2), service)
        for row in compared
        if row["endpoint"] == "json"
        for service in _PASSES
    ]
    return Report(
        goals,
        [table(compared, columns, caption), _every_run(runs)],
        {"service": BarPlot("Throughput through /predict", "images/s", bars)},
    )


def _counts(runs: Sequence[dict[str, Any]]) -> list[int]:
    return sorted({run["clients"] for run in runs})


def _clients(row: dict[str, Any]) -> str:
    return f"{row['clients']} client{'s' if row['clients'] > 1 else ''}"


def _compare(runs: Sequence[dict[str, Any]], endpoint: str, clients: int) -> dict[str, Any]:
    """The means of both services at one endpoint, and the ratio."""
    here = [run for run in runs if (run["endpoint"], run["clients"]) == (endpoint, clients)]
    means = {}
    for service in _PASSES:
        own = [{**run["latency"], **run} for run in here if run["service"] == service]
        means[service] = {
            what: fmean(run[what] for run in own) for what in ("per_second", "p50_ms", "p99_ms")
        }
    ratio = means["facet"]["per_second"] / means["article"]["per_second"]
    return {"endpoint": endpoint, "clients": clients, "ratio": ratio, **means}


def _every_run(runs: Sequence[dict[str, Any]]) -> Table:
    """In the order in which they were measured."""
    columns: dict[str, Column] = {
        "endpoint": lambda run: ENDPOINTS.get(run["endpoint"], "/predict, raw"),
        "clients": "clients",
        "service": "service",
        "images/s": ("per_second", ".2f"),
        "p50 ms": "latency.p50_ms",
        "p99 ms": "latency.p99_ms",
        "requests": "requests",
        "failed": "failed",
        "faces": "faces",
        "CPU gateway": ("cpu_ms.gateway", ".1f"),
        "CPU backend": ("cpu_ms.backend", ".1f"),
        "CPU client": ("cpu_ms.client", ".1f"),
        "busiest": ("busiest", ".0%"),
    }
    caption = (
        "Every run. Faces are those of all the photographs, each once; CPU is in milliseconds for a request."
    )
    return table(runs, columns, caption)


SCENARIO = Scenario("The whole service beside the article's design", METHOD, run, report)
