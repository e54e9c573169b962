"""Metrics: what counting adds to a request, and what a scrape takes."""

import os
import time
from collections.abc import Callable
from statistics import median
from typing import Any

from benchmarks import servers
from benchmarks.progress import step
from benchmarks.registry import Column, Figures, Goal, Report, Scenario, table
from benchmarks.stats import describe
from gateway.counters import HttpCounters
from inference_server.admin.metrics import BackendMetrics
from inference_server.api.call_counters import CallCounters
from inference_server.catalogue.table import QUEUES
from inference_server.dispatch.consumer_counters import ConsumerCounters
from inference_server.dispatch.counters import OF_MODELS
from inference_server.dispatch.families import PAYLOAD_BYTES, RECEIVED
from inference_server.dispatch.shared import Membership, Shared
from inference_server.dispatch.stats import SharedStats
from tests.support.endpoints import http_request

REQUESTS = 20_000
"""Counted without a pause, and as often not."""
SLOTS, MODEL_SLOTS = 64, 66
MODELS = {8: 20.0, 32: 50.0}
"""How many models there are, and the goal of a scrape in milliseconds."""
GENERATIONS = 1000
COST_GOAL = 3.0

_LOG_FIELDS = {"faces": 1, "queue_ms": 0.5, "decode_ms": 6.1, "detect_ms": 20.3}
_PAYLOAD = RECEIVED.place(PAYLOAD_BYTES)

METHOD = f"""
*A request*: everything that is counted of one picture, by the event loop of the worker that receives it (its
bytes, the outcome and the time of picture and call, three stages, its key) and by the consumer's thread, is
done {REQUESTS:,} times, and as often a function that does nothing is called, in turn. The figure is the
median of the differences, of processor time. The same for a request in the gateway.

*A scrape*: what the admin process does between the supervisor's answer and the text, with counters of {SLOTS}
slots of workers and {MODEL_SLOTS} of model workers of which each has counted something for what it serves,
a worker for as many keys, too; then after {GENERATIONS:,} processes more, one after the other in these slots.
It is the median of several, of the time that passes.

*Over HTTP*: scrapes of a real backend with two workers and of a real gateway, one after the other.
"""


def run(quick: bool, repeats: int) -> Figures:
    """Measure all three."""
    rounds, scrapes = (5, 5) if quick else (50, 50)
    runs: list[dict[str, Any]] = []
    for number in range(repeats):
        with step(f"metrics: run {number + 1} of {repeats}", rounds * 0.5 + scrapes * 0.2):
            costs = {
                "worker": _cost(_worker_request(), rounds),
                "gateway": _cost(_gateway_request(), rounds),
            }
            found = {str(models): _scrapes(models, scrapes) for models in MODELS}
            runs.append({"cost_us": costs, "scrapes": found, "over_http": _over_http(scrapes)})
    return {"parameters": {"requests": REQUESTS, "rounds": rounds, "scrapes": scrapes}, "runs": runs}


def _cost(count: Callable[[], object], rounds: int) -> float:
    """Microseconds of processor time that a call takes more than one of a function that does nothing."""
    differences = [_time(count) - _time(lambda: None) for _ in range(rounds)]
    return round(median(differences) / REQUESTS * 1e6, 3)


def _time(call: Callable[[], object]) -> float:
    started = time.process_time()
    for _ in range(REQUESTS):
        call()
    return time.process_time() - started


def _worker_request() -> Callable[[], object]:
    shared = Shared.create(2, QUEUES + 1, 1)
    calls = CallCounters(shared.stats.counters, 0, keyed=True)
    dispatcher = shared.stats.counters.receiver(0)
    consumer = ConsumerCounters(Membership(shared, 1, 1), 0)

    def count() -> None:
        dispatcher.of(0)[_PAYLOAD] += 100_000
        consumer.begin(1.0)
        consumer.computed(1)
        consumer.answered(0)
        consumer.end(1.02)
        calls.answered(0, 0.03, _LOG_FIELDS)
        calls.called("Inference", None, "", 0.03, "shop")

    return count


def _gateway_request() -> Callable[[], object]:
    counters = HttpCounters.unshared(["/predict"], keyed=True)
    return lambda: counters.count("/predict", "", 0.03, 100_000, "shop")


def _scrapes(models: int, scrapes: int) -> dict[str, Any]:
    """Milliseconds of a scrape, and what it gives, before and after many processes."""
    stats = SharedStats(os.memfd_create("stats"), SLOTS, MODEL_SLOTS, QUEUES + 1)
    stats.counters.start()
    for queue in range(1, models + 1):
        stats.counters.assign(queue, OF_MODELS[queue - 1])
    for slot in range(SLOTS + MODEL_SLOTS):
        _live(stats, slot, models)
    metrics = BackendMetrics(lambda _: _status(models), stats)
    first = _milliseconds(metrics, scrapes)
    for generation in range(GENERATIONS):
        _live(stats, generation % (SLOTS + MODEL_SLOTS), models)
    size = len(metrics.exposition("").body)
    return {"first_ms": first, "later_ms": _milliseconds(metrics, scrapes), "bytes": size}


def _live(stats: SharedStats, slot: int, models: int) -> None:
    """A process begins in a slot, counts, and ends."""
    stats.rows[slot].assign(1, 0.0)
    queue = 0 if slot < SLOTS else 1 + slot % models
    if not queue:
        calls = CallCounters(stats.counters, slot, keyed=True)
        for each in range(models + 1):
            calls.answered(each, 0.03, _LOG_FIELDS)
            calls.called("Models", each, "", 0.03, f"key-{each}")
    block = stats.counters.consumer(slot).of(queue)
    for place in range(len(block)):
        block[place] += 1
    stats.rows[slot].clear()


def _status(models: int) -> dict[str, Any]:
    """What the supervisor would say."""

    def group(name: str, slots: range) -> dict[str, Any]:
        processes = [{"slot": slot, "state": "ready", "memory_bytes": 50_000_000} for slot in slots]
        return {"name": name, "wanted": len(slots), "processes": processes}

    names = [f"model-{number}" for number in range(models)]
    described = [
        {"name": name, "version": "1.0", "queue": queue, "kind": "onnx", "state": "ready"}
        for queue, name in enumerate(names, 1)
    ]
    places = [range(SLOTS + 2 * number, SLOTS + 2 * number + 2) for number in range(models)]
    groups = [group(f"{name}/1.0", slots) for name, slots in zip(names, places, strict=True)]
    return {
        "state": "ready",
        "started": 1.8e9,
        "memory_bytes": 30_000_000,
        "release": 0,
        "engine": "native",
        "instruction_set": "avx2",
        "groups": [group("workers", range(SLOTS)), *groups],
        "models": described,
    }


def _milliseconds(metrics: BackendMetrics, scrapes: int) -> float:
    took = []
    for _ in range(scrapes):
        started = time.perf_counter()
        metrics.exposition("")
        took.append(time.perf_counter() - started)
    return round(median(took) * 1000, 3)


def _over_http(scrapes: int) -> dict[str, dict[str, float]]:
    """Latencies of scrapes of both ends."""
    anywhere = "127.0.0.1:0"
    with (
        servers.facet(2, sleeping=True, FACET_ADMIN_ADDRESS=anywhere) as (backend, address),
        servers.gateway(address, FACET_HTTP_METRICS_ADDRESS=anywhere) as (gateway, _),
    ):
        places = {
            "backend": backend.logged("ready")[0]["admin_address"],
            "gateway": gateway.logged("ready")[0]["http_metrics_address"],
        }
        for place in places.values():
            _scraped(place)  # which waits until the process serves
        return {name: describe([_scraped(place) for _ in range(scrapes)]) for name, place in places.items()}


def _scraped(address: str) -> float:
    started = time.perf_counter()
    status, _, _ = http_request(address, "GET", "/metrics")
    assert status == 200
    return time.perf_counter() - started


def report(figures: Figures) -> Report:
    """Medians of all runs."""
    runs = figures["runs"]

    def middle(*path: str) -> float:
        values = []
        for run in runs:
            value: Any = run
            for key in path:
                value = value[key]
            values.append(float(value))
        return median(values)

    goals = [
        Goal(f"counting in a request of the {end}", middle("cost_us", end), COST_GOAL, unit="µs")
        for end in ("worker", "gateway")
    ]
    for models, limit in MODELS.items():
        for when, named in (("first_ms", ""), ("later_ms", f", after {GENERATIONS:,} processes")):
            what = f"a scrape at {SLOTS} slots and {models} models{named}"
            goals.append(Goal(what, middle("scrapes", str(models), when), limit, unit="ms"))
    rows = [
        {"end": end, **{name: middle("over_http", end, name) for name in ("p50_ms", "p99_ms")}}
        for end in ("backend", "gateway")
    ]
    columns: dict[str, Column] = {
        "scraped over HTTP": "end",
        "p50 ms": ("p50_ms", ".2f"),
        "p99 ms": ("p99_ms", ".2f"),
    }
    return Report(goals, [table(rows, columns)])


SCENARIO = Scenario("What counting and scraping take", METHOD, run, report, repeats=3)
