"""Tensors: what a call by the Open Inference Protocol adds to its bytes."""

import tempfile
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from onnx import helper

from benchmarks import servers, store, unary
from benchmarks.progress import step
from benchmarks.registry import Column, Figures, Goal, Report, Scenario, table
from benchmarks.stats import describe
from tests.support import onnx_models
from tests.support.open_inference import SERVICE, request, tensor

WORKERS = 2
NUMBERS = 250_000
"""Of a tensor of FP32: 1 MB."""

METHOD = f"""
{WORKERS} workers; one client, which makes one call at a time. An ONNX graph that gives back what it is given
(Identity) is called by `ModelInfer` with {NUMBERS:,} numbers of FP32, 1 MB, in raw contents, which are its
answer, too; and in turn with it, as *raw dispatch*, a model whose process neither reads nor writes messages,
with the same bytes, which it answers with as many. Both cross gRPC, catalogue, buffer, queue, claim and
completion. The figure is the ratio of their medians.
"""


def run(quick: bool, repeats: int) -> Figures:
    """Measure both in turn."""
    rounds = 200 if quick else 1000
    content = np.random.default_rng(0).random(NUMBERS, np.float32).tobytes()
    x = tensor("x", "FP32", [1, NUMBERS])
    inference = request(x, raws=[content], model_name="identity")
    runs: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(prefix="facet-bench-") as folder:
        shapes = [onnx_models.tensor(name, ["batch", "length"]) for name in "xy"]
        node = helper.make_node("Identity", ["x"], ["y"])
        onnx_models.save(store.put(Path(folder), "identity", "onnx"), [node], shapes[:1], shapes[1:])
        store.put_class(Path(folder), "mirror", store.Mirror)
        chosen = {"FACET_MODEL_STORE": folder, "FACET_MODELS": "identity,mirror"}
        with servers.facet(WORKERS, sleeping=True, **servers.PATIENT, **chosen) as (_, address):
            methods = [
                unary.Method(address, f"/{SERVICE}/ModelInfer", inference),
                unary.typed(address, "mirror", content=content),
            ]
            for number in range(repeats):
                with step(f"tensors: round {number + 1} of {repeats}", 2 + rounds * 0.015):
                    tensors, raw = unary.in_turn(methods, rounds)
                ratio = median(tensors) / median(raw)
                runs.append({"tensors": describe(tensors), "raw": describe(raw), "ratio": ratio})
    return {"parameters": {"numbers": NUMBERS, "rounds": rounds}, "runs": runs}


def report(figures: Figures) -> Report:
    """The median of the ratios."""
    runs = figures["runs"]
    ratio = median(run["ratio"] for run in runs)
    columns: dict[str, Column] = {
        "tensors p50 ms": "tensors.p50_ms",
        "raw p50 ms": "raw.p50_ms",
        "tensors p99 ms": "tensors.p99_ms",
        "raw p99 ms": "raw.p99_ms",
        "ratio of p50": ("ratio", ".2f"),
    }
    what = "an identity of 1 MB by the Open Inference Protocol, over raw dispatch of the same bytes, p50"
    return Report([Goal(what, ratio, 2.0, unit="x")], [table(runs, columns)])


SCENARIO = Scenario("Tensors by the Open Inference Protocol", METHOD, run, report, repeats=5)
