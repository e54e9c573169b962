"""Batching: what computing together what waits together brings, and what it takes."""

import os
import tempfile
from pathlib import Path
from statistics import median
from typing import Any

import onnx
from onnx import numpy_helper

from benchmarks import servers, store, unary
from benchmarks.drawings import few
from benchmarks.progress import step
from benchmarks.registry import Column, Figures, Goal, Report, Scenario, table
from benchmarks.stats import describe
from tests.support.onnx_models import convolutions
from tests.support.pictures import encoded

WORKERS = 2
CLIENTS = (1, 8)
_SETTLING = 0.5
_NETWORK = "models/imagenet/shufflenet-v2-12-int8.onnx"
NETWORK_KEYS: dict[str, Any] = {
    "size": [224, 224],
    "mean": [0.485, 0.456, 0.406],
    "std": [0.229, 0.224, 0.225],
}
_LEAST = {("sleeping", 1): 0.95, ("sleeping", 8): 2.5, ("classifying", 1): 0.95, ("classifying", 8): 0.95}
"""Goals: times the answers a second without batches, by model and clients."""

METHOD = f"""
{WORKERS} workers, and each model in a process of its own; closed loops of {CLIENTS[0]} and {CLIENTS[1]}
clients, each over a connection of its own. A model that takes up to 8 inputs at once and the same model with
one at a time take turns, and so does which of them is first. The figure is the median over the rounds of the
answers a second with batches divided by those without.

*Sleeping*: a Python class that sleeps for {store.BATCH_MS} ms, and {store.ITEM_MS} ms more for each input,
as a model that computes on a device of its own does (`max_batch = 8` in model.toml).

*Classifying*: `image_classification` of a JPEG file of 640 x 480 pixels by a small network of convolutions on
one thread of the CPU, for which a batch saves little: the ShuffleNet of the folder that PHOTOS_DIR names,
whose graph takes batches of 1, and the same with a variable batch (where there is no such folder: some
convolutions with random weights).
"""


def run(quick: bool, repeats: int) -> Figures:
    """Measure both in turn, in short rounds."""
    seconds = 1.5 if quick else 4.0
    runs: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(prefix="facet-bench-") as folder:
        network = put_all(Path(folder))
        names = ",".join(
            f"{model}_{batches}" for model in ("sleeping", "classifying") for batches in ("one", "many")
        )
        chosen = {"FACET_MODEL_STORE": folder, "FACET_MODELS": names}
        with servers.facet(WORKERS, sleeping=True, **servers.PATIENT, **chosen) as (_, address):
            inputs = {
                "sleeping": {"content": b"a"},
                "classifying": {"image": encoded(few(640, 480), "JPEG", quality=90)},
            }
            for number in range(repeats):
                for model, values in inputs.items():
                    methods = {
                        kind: unary.typed(address, f"{model}_{kind}", **values) for kind in ("one", "many")
                    }
                    for clients in CLIENTS:
                        with step(
                            f"batching: {model}, {clients} clients, round {number + 1} of {repeats}",
                            2 * seconds + 2,
                        ):
                            found = _loops(methods, clients, seconds, turned=bool(number % 2))
                        runs.append({"model": model, "clients": clients, "round": number, **found})
    return {"parameters": {"network": network, "seconds": seconds}, "runs": runs}


def put_all(folder: Path) -> str:
    """Put all models into a store; gives what the network is."""
    store.put_class(folder, "sleeping_one", store.Slow)
    store.put_class(folder, "sleeping_many", store.Slow, max_batch=8)
    one, many = (
        store.put(folder, f"classifying_{kind}", "image_classification", **NETWORK_KEYS)
        for kind in ("one", "many")
    )
    path = Path(os.environ.get("PHOTOS_DIR", "")) / _NETWORK
    if not path.is_file():
        convolutions(one, batch=1)
        convolutions(many, batch="N")
        return "convolutions with random weights"
    model = onnx.load(path)
    onnx.save(model, one / "model.onnx")
    onnx.save(_with_variable_batch(model), many / "model.onnx")
    return path.name


def _with_variable_batch(model: onnx.ModelProto) -> onnx.ModelProto:
    """The same network for any number of pictures: every shape that begins with 1 keeps what it is given."""
    shapes = {node.input[1] for node in model.graph.node if node.op_type == "Reshape"}
    for constant in model.graph.initializer:
        if constant.name in shapes:
            shape = numpy_helper.to_array(constant).copy()
            shape[0] = 0
            constant.CopyFrom(numpy_helper.from_array(shape, constant.name))
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_param = "N"
    del model.graph.value_info[:]
    return model


def _loops(
    methods: dict[str, unary.Method], clients: int, seconds: float, *, turned: bool
) -> dict[str, dict[str, float]]:
    """Answers a second, and latencies, of both."""
    found = {}
    for kind in list(methods)[:: -1 if turned else 1]:
        rows = [row for row in unary.closed_loop(methods[kind], clients, seconds) if row.ended >= _SETTLING]
        counted = [row for row in rows if row.ended < seconds]
        per_second = round(len(counted) / (seconds - _SETTLING), 2)
        found[kind] = {"per_second": per_second, **describe([row.latency for row in counted])}
    return found


def report(figures: Figures) -> Report:
    """The medians of the rounds."""
    goals, rows = [], []
    for (model, clients), limit in _LEAST.items():
        runs = [run for run in figures["runs"] if (run["model"], run["clients"]) == (model, clients)]
        ratio = median(run["many"]["per_second"] / run["one"]["per_second"] for run in runs)
        what = (
            f"answers with batches over those without, {model}, {clients} client{'s' if clients > 1 else ''}"
        )
        goals.append(Goal(what, ratio, limit, at_least=True, unit="x"))
        medians = {
            f"{kind}_{name}": median(run[kind][name] for run in runs)
            for kind in ("one", "many")
            for name in ("per_second", "p50_ms", "p99_ms")
        }
        rows.append({"model": model, "clients": clients, "rounds": len(runs), "ratio": ratio, **medians})
    columns: dict[str, Column] = {
        "model": "model",
        "clients": "clients",
        "rounds": "rounds",
        "one at a time, /s": ("one_per_second", ".1f"),
        "batches, /s": ("many_per_second", ".1f"),
        "median of the ratios": lambda row: f"{row['ratio']:.2f}x",
        "one at a time, p50 ms": ("one_p50_ms", ".1f"),
        "batches, p50 ms": ("many_p50_ms", ".1f"),
        "one at a time, p99 ms": ("one_p99_ms", ".1f"),
        "batches, p99 ms": ("many_p99_ms", ".1f"),
    }
    network = figures["parameters"]["network"]
    return Report(goals, [table(rows, columns, f"The network is {network}.")])


SCENARIO = Scenario("Requests that are computed together", METHOD, run, report, repeats=5)
