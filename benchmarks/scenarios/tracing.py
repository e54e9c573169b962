"""Tracing: what it adds to a request, off, at the default ratio, and where all are traced."""

import time
from collections.abc import Callable, Mapping
from statistics import median
from typing import Any

from benchmarks.processes import started
from benchmarks.progress import step
from benchmarks.registry import Column, Figures, Goal, Report, Scenario, table
from gateway.arrival import Arrival
from gateway.context import RequestContext
from gateway.tracing import end_request
from inference_server.api import spans
from utils.otlp import OtlpTracer
from utils.tracing import NO_TRACER, Sampler, Tracer

REQUESTS = {"off": 20_000, "1 %": 20_000, "all": 300}
"""How many there are in a row, by what is traced; those that are traced have room in the exporter's queue."""
RATIOS = {"1 %": 0.01, "all": 1.0}
COST_GOAL = 50.0
ENDS = ("gateway", "worker")

_FIELDS = {"bytes": 100_000, "faces": 1, "queue_ms": 0.5, "decode_ms": 6.1, "detect_ms": 20.3}
_EXPORTED_SECONDS = 1.5
"""After which the exporter's thread has sent what there is: it looks once a second."""

METHOD = f"""
What is called for one picture to decide whether it is traced and, where it is, to make its spans: in the
gateway those of the request, its body and its call, in the worker those of the call, the queue, decoding
and prediction. It is done {REQUESTS["off"]:,} times in a row ({REQUESTS["all"]:,} times where all are
traced), and as often nothing is done, in turn. The figure is the median of the differences, of all threads'
processor time: what the exporter takes until all is sent to a collector, which is another process, is part
of it, and so is what it takes while there is nothing to send.
"""


def run(quick: bool, repeats: int) -> Figures:
    """Measure both ends in each state."""
    rounds = 2 if quick else 6
    runs: list[dict[str, Any]] = []
    with started("benchmarks.collector") as collector:
        endpoint = collector.receive()
        tracers: dict[str, Tracer] = {"off": NO_TRACER}
        for name, ratio in RATIOS.items():
            tracers[name] = OtlpTracer(endpoint, "benchmark", Sampler(ratio, 10_000))
        for number in range(repeats):
            with step(f"tracing: run {number + 1} of {repeats}", rounds * len(ENDS) * 4.5):
                runs.append({end: _costs(_REQUEST[end], tracers, rounds) for end in ENDS})
        for tracer in tracers.values():
            tracer.close()
    return {"parameters": {"requests": REQUESTS, "rounds": rounds}, "runs": runs}


def _costs(request: Callable[[Tracer], None], tracers: Mapping[str, Tracer], rounds: int) -> dict[str, float]:
    """Microseconds that a request takes more than one in which nothing is called for traces."""
    costs = {}
    for name, tracer in tracers.items():
        count = REQUESTS[name]
        differences = [
            _time(request, tracer, count) - _time(lambda _: None, NO_TRACER, count) for _ in range(rounds)
        ]
        costs[name] = round(median(differences) / count * 1e6, 3)
    return costs


def _time(request: Callable[[Tracer], None], tracer: Tracer, count: int) -> float:
    began = time.process_time()
    for _ in range(count):
        request(tracer)
    if tracer is not NO_TRACER:
        time.sleep(_EXPORTED_SECONDS)
    return time.process_time() - began


_ARRIVAL = Arrival(head_ended=time.monotonic() - 1, body_ended=time.monotonic())
_CONTEXT = RequestContext.of({"REQUEST_METHOD": "POST"})
_CONTEXT.arrival, _CONTEXT.route, _CONTEXT.log_fields = _ARRIVAL, "/predict", _FIELDS


def _gateway_request(tracer: Tracer) -> None:
    span, traceparent = tracer.serve("", _ARRIVAL.head_ended)
    call = tracer.call(traceparent, "Inference/Predict")
    call.note({"rpc.system.name": "grpc", "rpc.method": "Inference/Predict"})
    call.note({"rpc.response.status_code": "OK"})
    call.end()
    _CONTEXT.span = span
    end_request(_CONTEXT, 200, time.monotonic())


def _worker_request(tracer: Tracer) -> None:
    now = time.monotonic()
    spans.begin_call(tracer, "", now)
    spans.add_stages("face_detection", now, _FIELDS)
    spans.end_call("/Inference/Predict", "OK", None, time.monotonic(), _FIELDS)


_REQUEST = {"gateway": _gateway_request, "worker": _worker_request}


def report(figures: Figures) -> Report:
    """Medians of all runs."""

    def middle(end: str, state: str) -> float:
        return float(median(run[end][state] for run in figures["runs"]))

    goals = [
        Goal(f"traces of 1 %, a request of the {end}", middle(end, "1 %"), COST_GOAL, unit="µs")
        for end in ENDS
    ]
    rows = [{"end": end, **{state: middle(end, state) for state in REQUESTS}} for end in ENDS]
    columns: dict[str, Column] = {"µs a request": "end", **{state: (state, ".1f") for state in REQUESTS}}
    return Report(goals, [table(rows, columns)])


SCENARIO = Scenario("What traces take", METHOD, run, report, repeats=3)
