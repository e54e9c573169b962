"""Models: what they take from face detection and from memory, and what a call to one of them takes."""

import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks import servers, store, unary
from benchmarks.drawings import few
from benchmarks.processes import pss
from benchmarks.progress import step
from benchmarks.registry import Column, Figures, Goal, Report, Scenario, Table, table
from benchmarks.stats import describe, milliseconds
from protos import infer_pb2, models_pb2
from tests.support import onnx_models
from tests.support.model_backend import Backend, clients
from tests.support.pictures import encoded

WORKERS = 2
IDLE = 8
SIZES = {100_000: 0.3, 1_000_000: 1.0}
"""Bytes of an input, and the goal in milliseconds."""
CONNECTIONS = 6
_RAW = "/Inference/Predict"
_BUILDS = {"none": "", "idle": ",".join(f"echo-{number}=echo" for number in range(IDLE)), "control": ""}

METHOD = f"""
{WORKERS} workers; one client, which makes one call at a time.

*Beside faces*: the real detector and a JPEG file of 640 x 480 pixels, with no model; beside {IDLE} models
that nobody calls, `echo` under {IDLE} names (`FACET_MODELS`); and with no model again, as a control. Each is
started alone, since idle processes would disturb the others' figures as much, in an order that turns round.
The figure is the median over the rounds of the p50 beside models divided by that without, over the same
ratio of the control.

*Typed calls*: a model with one field of bytes, at which it does not look, called by the method of its own
with a message of its own type; and in turn with it, as *raw dispatch*, the same bytes by the same method to
the same model in a process that neither reads messages nor writes them, and so has no schema. Both cross
gRPC, catalogue, buffer, queue, claim and completion. The figure is the difference of their medians.

*Registration*: from the command at the control socket to register `echo` until a client has been answered by
it over each of {CONNECTIONS} connections, which the kernel spreads over the workers; none of these calls is
tried again. The model's process is started within that time.

*Memory*: PSS of the processes of a small ONNX model, after they have answered, beside {WORKERS} workers with
the native engine, which load no ONNX Runtime: the two share it with each other alone. Beside them stands a
process with `echo`. MB are millions of bytes.
"""


def run(quick: bool, repeats: int) -> Figures:
    """Measure each in turn."""
    calls = 50 if quick else 300
    beside = [_beside(number, calls, repeats) for number in range(repeats)]
    with tempfile.TemporaryDirectory(prefix="facet-bench-") as folder:
        return {
            "parameters": {"workers": WORKERS, "idle": IDLE, "calls": calls},
            "beside": beside,
            "typed": _typed(Path(folder), 200 if quick else 1000, 1 if quick else 3),
            "registration_s": _registration(Path(folder), 2 if quick else 12),
            "pss_mb": _memory(Path(folder)),
        }


def _beside(number: int, calls: int, repeats: int) -> dict[str, float]:
    """The p50 in milliseconds of each build, once."""
    request = infer_pb2.Image(raw_data=encoded(few(640, 480), "JPEG", quality=90)).SerializeToString()
    names, found = list(_BUILDS), {}
    turned = names[number % len(names) :] + names[: number % len(names)]
    with step(f"models: beside faces, round {number + 1} of {repeats}", 10 + calls * 0.03):
        for name in turned[:: -1 if number % 2 else 1]:
            chosen = {"FACET_MODELS": _BUILDS[name]} if _BUILDS[name] else {}
            with servers.facet(WORKERS, sleeping=False, **servers.PATIENT, **chosen) as (_, address):
                [seconds] = unary.in_turn([unary.Method(address, _RAW, request)], calls)
            found[name] = milliseconds(median(seconds))
    return found


def _typed(folder: Path, rounds: int, repeats: int) -> list[dict[str, Any]]:
    store.put_class(folder, "typed", store.Sink)
    store.put_class(folder, "raw", store.Unread)
    chosen = {"FACET_MODEL_STORE": str(folder), "FACET_MODELS": "typed,raw"}
    runs = []
    with servers.facet(WORKERS, sleeping=True, **servers.PATIENT, **chosen) as (_, address):
        for size in (size for _ in range(repeats) for size in SIZES):
            methods = [unary.typed(address, name, content=bytes(size)) for name in ("typed", "raw")]
            with step(f"models: typed calls of {size:,} bytes", 2 + rounds * (0.003 + size * 2e-9)):
                typed, raw = unary.in_turn(methods, rounds)
            added = milliseconds(median(typed) - median(raw))
            runs.append({"bytes": size, "typed": describe(typed), "raw": describe(raw), "added_ms": added})
    return runs


def _registration(folder: Path, count: int) -> list[float]:
    """Seconds of each, after one that does not count."""
    state, found = folder / "state", []
    with (
        step("models: registrations", count * 0.8),
        servers.facet(WORKERS, sleeping=False, FACET_STATE_DIR=str(state)) as (process, address),
        clients(address, CONNECTIONS) as connections,
    ):
        backend = Backend(process, address, state)
        for _ in range(count + 1):
            started = time.monotonic()
            backend.register("echo")
            for client in connections:
                client.predict("echo", {"text": "a"})
            found.append(round(time.monotonic() - started, 3))
            backend.unregister("echo")
    return found[1:]


def _memory(folder: Path) -> dict[str, float]:
    """Megabytes by what a process is."""
    onnx_models.linear(store.put(folder, "linear", "onnx", min_workers=2, max_workers=2))
    chosen = {"FACET_MODEL_STORE": str(folder), "FACET_MODELS": "linear,echo"}
    request = models_pb2.PredictRequest(name="linear", json=b'{"x": [1, 2, 3]}').SerializeToString()
    with (
        step("models: memory", 5),
        servers.facet(WORKERS, sleeping=False, FACET_ENGINE="native", **chosen) as (process, address),
    ):
        unary.closed_loop(unary.Method(address, "/Models/Predict", request), 4, 1.0)
        lines = process.logged("worker ready")
        pids: dict[str, list[int]] = {}
        for line in lines:
            pids.setdefault(str(line.get("model", "worker")), []).append(line["worker"])
        return dict(_named(pids))


def _named(pids: dict[str, list[int]]) -> Iterator[tuple[str, float]]:
    for name, members in pids.items():
        for number, pid in enumerate(members, 1):
            yield f"{name}, process {number}", pss(pid)


def report(figures: Figures) -> Report:
    """Medians of everything, and the larger of the processes with the ONNX model."""
    beside, typed, registered = figures["beside"], figures["typed"], figures["registration_s"]
    idle, control = (median(row[name] / row["none"] for row in beside) for name in ("idle", "control"))
    goals = [
        Goal(
            f"p50 of face detection beside {IDLE} idle models, over the control",
            idle / control,
            1.01,
            unit="x",
        )
    ]
    for size, limit in SIZES.items():
        added = median(run["added_ms"] for run in typed if run["bytes"] == size)
        goals.append(
            Goal(f"a typed call adds to raw dispatch of {size // 1000} KB, p50", added, limit, unit="ms")
        )
    memory = max(mb for name, mb in figures["pss_mb"].items() if name.startswith("linear"))
    echo = max(mb for name, mb in figures["pss_mb"].items() if name.startswith("echo"))
    why = f"{memory - echo:.0f} MB of it are what ONNX Runtime, NumPy and the model take beyond `echo`"
    what = "from registering a light model to its answers through every worker"
    goals += [
        Goal(what, median(registered), 1.0, unit="s"),
        Goal("PSS of a process with a small ONNX model", memory, 50, unit="MB", why=why),
    ]
    caption = f"*Beside faces*: p50; over no model {idle:.3f}x beside models, {control:.3f}x the control."
    return Report(
        goals, [_of_beside(beside, caption), _of_typed(typed), *_of_others(registered, figures["pss_mb"])]
    )


def _of_beside(rows: list[dict[str, float]], caption: str) -> Table:
    columns: dict[str, Column] = {
        "no model, ms": ("none", ".3f"),
        f"{IDLE} idle models, ms": ("idle", ".3f"),
        "no model again, ms": ("control", ".3f"),
    }
    return table(rows, columns, caption)


def _of_typed(runs: list[dict[str, Any]]) -> Table:
    columns: dict[str, Column] = {
        "input": lambda run: f"{run['bytes'] // 1000} KB",
        "typed p50 ms": "typed.p50_ms",
        "raw p50 ms": "raw.p50_ms",
        "typed p99 ms": "typed.p99_ms",
        "raw p99 ms": "raw.p99_ms",
        "added to p50, ms": "added_ms",
    }
    return table(sorted(runs, key=lambda run: int(run["bytes"])), columns, "*Typed calls*:")


def _of_others(registered: list[float], memory: dict[str, float]) -> list[Table]:
    head = ("registrations", "median s", "fastest s", "slowest s")
    times = tuple(f"{value:.2f}" for value in (median(registered), min(registered), max(registered)))
    return [
        Table(head, [(len(registered), *times)], "*Registration*:"),
        Table(("process", "PSS, MB"), [*memory.items()], "*Memory*:"),
    ]


SCENARIO = Scenario("Many models beside face detection", METHOD, run, report, repeats=12)
