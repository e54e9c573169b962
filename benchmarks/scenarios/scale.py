"""Scale: what stands between callers and several backends, and what Ray does in their place."""

import contextlib
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import pytest

from benchmarks import cpu, servers, unary
from benchmarks.drawings import few
from benchmarks.processes import pss
from benchmarks.progress import step
from benchmarks.registry import Column, Figures, Report, Scenario, table
from benchmarks.stats import describe
from protos import infer_pb2
from tests.support import balancers, ray_cluster
from tests.support.client_environment import NotInstalled
from tests.support.pictures import encoded
from tests.support.processes import Process

CLIENTS = 6
WORKERS = 2
BACKENDS = (1, 2, 3)
ALONE, RAY = f"one backend of {WORKERS} workers", f"Ray, {WORKERS} replicas"
_KINDS = (balancers.NGINX, balancers.HAPROXY, balancers.ENVOY)

METHOD = f"""
{CLIENTS} clients, each with one call of `Inference/Predict` at a time over a connection of its own, send a
JPEG file of 640 x 480 pixels with few faces to each of these in turn: a backend of {WORKERS} workers; 1, 2
and 3 backends of one worker each, behind nginx, haproxy and Envoy with the files in `deploy/`; and {WORKERS}
replicas of `facet_serving.ray` on a cluster of one machine. Everything shares the CPUs of this machine, the
clients included: what is seen is what the parts take, not what more machines give.

*Start* is the time until everything serves that the row has. *Detecting* is the CPU time, for each answer,
of workers or replicas, *between* that of the balancer, or of all other processes of Ray.
"""


class Served(NamedTuple):
    """What serves: its address, and process ids of what detects and of what stands before it."""

    address: str
    detecting: list[int]
    between: list[int]


Arrangement = Callable[[], AbstractContextManager[Served]]


def run(quick: bool, repeats: int) -> Figures:
    """Measure each arrangement in turn, and say what was left out, and why."""
    seconds = 1.0 if quick else 15.0
    left_out: dict[str, str] = {}
    runs: list[dict[str, Any]] = []
    for number in range(repeats):
        for name, arrangement in _arrangements().items():
            if name in left_out:
                continue
            try:
                with step(f"scale: {name}, run {number + 1} of {repeats}", seconds + 10):
                    runs.append({"name": name, **_measured(arrangement, seconds)})
            except (NotInstalled, pytest.skip.Exception) as error:
                left_out[name] = str(error)
    return {"parameters": {"seconds": seconds}, "runs": runs, "left_out": left_out}


def _arrangements() -> dict[str, Arrangement]:
    behind = {
        f"{kind.name}, {count} backend{'s' * (count > 1)}": partial(_behind, kind, count)
        for kind in _KINDS
        for count in BACKENDS
    }
    return {ALONE: _alone, **behind, RAY: _on_ray}


def _measured(arrangement: Arrangement, seconds: float) -> dict[str, Any]:
    picture = encoded(few(640, 480), "JPEG", quality=90)
    request = infer_pb2.Image(raw_data=picture).SerializeToString()
    started = time.monotonic()
    with arrangement() as served:
        start = time.monotonic() - started
        method = unary.Method(served.address, "/Inference/Predict", request)
        unary.closed_loop(method, CLIENTS, seconds / 5)
        before = [sum(cpu.seconds(pids)) for pids in served[1:]]
        answers = unary.closed_loop(method, CLIENTS, seconds)
        used = [sum(cpu.seconds(pids)) - was for pids, was in zip(served[1:], before, strict=True)]
        memory = sum(map(pss, (*served.detecting, *served.between)))
    detecting, between = (round(one / len(answers) * 1000, 2) for one in used)
    return {
        "per_second": round(len(answers) / max(one.ended for one in answers), 2),
        "latency": describe([one.latency for one in answers]),
        "cpu_ms": {"detecting": detecting, "between": between},
        "pss_mb": round(memory, 1),
        "start_s": round(start, 1),
    }


@contextlib.contextmanager
def _alone() -> Iterator[Served]:
    with servers.facet(WORKERS, sleeping=False, **servers.PATIENT) as (process, address):
        yield Served(address, cpu.family(process), [])


@contextlib.contextmanager
def _behind(kind: balancers.Kind, count: int) -> Iterator[Served]:
    """Backends behind a balancer, whose gateways are none of what is measured."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="facet-bench-")))
        started = [
            stack.enter_context(servers.facet(1, sleeping=False, **servers.PATIENT)) for _ in range(count)
        ]
        addresses = [address for _, address in started]
        _, gateway = stack.enter_context(servers.gateway(addresses[0]))
        machines = balancers.Machines([gateway], addresses)
        passing = stack.enter_context(balancers.balancer(kind, folder, machines))
        yield Served(passing.grpc, _families(one for one, _ in started), _families([passing.process]))


def _families(processes: Iterable[Process]) -> list[int]:
    return [pid for process in processes for pid in cpu.family(process)]


@contextlib.contextmanager
def _on_ray() -> Iterator[Served]:
    ray_cluster.environment(make=False)
    with ray_cluster.cluster(WORKERS) as ray:
        ray.deploy(WORKERS)
        replicas = ray.replicas()
        yield Served(ray.grpc, replicas, sorted({*ray.processes()} - {*replicas}))


def report(figures: Figures) -> Report:
    """The medians of each arrangement, beside the first one's."""
    runs: dict[str, list[dict[str, Any]]] = {}
    for one in figures["runs"]:
        runs.setdefault(one["name"], []).append(one)
    rows = [{"name": name, **_summed(found)} for name, found in runs.items()]
    columns: dict[str, Column] = {
        "what serves": "name",
        "images/s": ("per_second", ".1f"),
        "of one backend's": lambda row: f"{row['per_second'] / rows[0]['per_second']:.2f}x",
        "p50 ms": ("p50_ms", ".1f"),
        "p99 ms": ("p99_ms", ".1f"),
        "CPU ms, detecting": ("detecting", ".1f"),
        "between": ("between", ".2f"),
        "PSS MB": ("pss_mb", ".0f"),
        "start s": ("start_s", ".1f"),
    }
    note = "".join(f"\nLeft out: {name}. {reason}" for name, reason in figures["left_out"].items())
    return Report([], [table(rows, columns)], note=note.strip())


def _summed(runs: list[dict[str, Any]]) -> dict[str, float]:
    def middle(read: Callable[[dict[str, Any]], float]) -> float:
        return median(map(read, runs))

    return {
        "per_second": middle(lambda one: one["per_second"]),
        "p50_ms": middle(lambda one: one["latency"]["p50_ms"]),
        "p99_ms": middle(lambda one: one["latency"]["p99_ms"]),
        "detecting": middle(lambda one: one["cpu_ms"]["detecting"]),
        "between": middle(lambda one: one["cpu_ms"]["between"]),
        "pss_mb": middle(lambda one: one["pss_mb"]),
        "start_s": middle(lambda one: one["start_s"]),
    }


SCENARIO = Scenario("Several backends behind a balancer, and Ray", METHOD, run, report, repeats=3)
