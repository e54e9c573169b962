"""Protocols: what the protocols of other servers add to a call by Facet's own."""

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks import servers, store, unary
from benchmarks.drawings import few
from benchmarks.progress import step
from benchmarks.registry import Column, Figures, Goal, Report, Scenario, Table, table
from benchmarks.stats import describe, milliseconds
from protos import infer_pb2, oip, torchserve
from tests.support import onnx_models, open_inference
from tests.support.pictures import encoded

WORKERS = 2
NUMBERS = 250_000
"""Of four bytes each, in the tensor that is given back."""
ADDED_MS, RATIO = 0.5, 2.0
"""The goals."""
FOREIGN = {"torchserve": "TorchServe's Predictions", "oip": "ModelInfer of the Open Inference Protocol"}

METHOD = f"""
{WORKERS} workers; one client, which makes one call at a time, over a connection for each method.

*Faces*: a JPEG file of 640 x 480 pixels, and a detector that finds one face at once, by `Inference/Predict`,
by `Predictions` of TorchServe's inference service and by `ModelInfer` of the Open Inference Protocol, in
turn. The figure is the difference of their medians.

*Tensors*: an ONNX model that gives back its input, {NUMBERS * 4 // 10**6} MB of FP32, by `ModelInfer` with
raw contents; and in turn with it, as *raw dispatch*, the same number of bytes there and back by the typed
method of a model whose process neither reads messages nor writes them. Both cross gRPC, catalogue, buffer,
queue, claim and completion. The figure is the ratio of their medians.
"""


def run(quick: bool, repeats: int) -> Figures:
    """Measure each in turn."""
    rounds = 50 if quick else 300
    runs: dict[str, list[dict[str, Any]]] = {"faces": [], "tensors": []}
    with tempfile.TemporaryDirectory(prefix="facet-bench-") as folder, served(Path(folder)) as measured:
        for number, (name, methods) in ((n, one) for n in range(repeats) for one in measured.items()):
            with step(f"protocols: {name}, run {number + 1} of {repeats}", rounds * 0.05 + 2):
                seconds = unary.in_turn([*methods.values()], rounds)
            found = {method: describe(times) for method, times in zip(methods, seconds, strict=True)}
            runs[name].append(found | _compared(dict(zip(methods, map(median, seconds), strict=True))))
    return {"parameters": {"workers": WORKERS, "rounds": rounds}, **runs}


@contextlib.contextmanager
def served(folder: Path) -> Iterator[dict[str, dict[str, unary.Method]]]:
    """A backend with a store in this folder; gives the methods that are compared, those of its own first."""
    onnx_models.identity(store.put(folder, "identity", "onnx"), NUMBERS)
    store.put_class(folder, "raw", store.Returned)
    chosen = {
        "FACET_MODEL_STORE": str(folder),
        "FACET_MODELS": "face_detection,identity,raw",
        "FACET_TORCHSERVE_ADDRESS": "127.0.0.1:0",
    }
    with servers.facet(WORKERS, sleeping=True, **servers.PATIENT, **chosen) as (process, address):
        [ready] = process.logged("ready")
        yield {"faces": _faces(address, ready["torchserve_address"]), "tensors": _tensors(address)}


def _compared(medians: dict[str, float]) -> dict[str, Any]:
    """What each protocol's median is beside the first one's."""
    own, *others = medians.values()
    _, *names = medians
    return {
        "added_ms": {name: milliseconds(other - own) for name, other in zip(names, others, strict=True)},
        "ratio": {name: round(other / own, 3) for name, other in zip(names, others, strict=True)},
    }


def _faces(address: str, other: str) -> dict[str, unary.Method]:
    picture = encoded(few(640, 480), "JPEG", quality=90)
    # The detector sleeps for the threshold.
    own = infer_pb2.Image(raw_data=picture, options=infer_pb2.DetectOptions(threshold_output=0))
    asked = torchserve.message_class("inference", "PredictionsRequest")(
        model_name="face_detection", input={"data": picture, "options": b'{"threshold_output": 0}'}
    )
    infer = open_inference.request(
        open_inference.tensor("image", "BYTES", [1]),
        raws=[open_inference.raw("BYTES", [picture])],
        model_name="face_detection",
        parameters={"threshold_output": oip.message_class("InferParameter")(double_param=0)},
    )
    predictions = f"/{torchserve.service_name('inference')}/Predictions"
    return {
        "own": unary.Method(address, "/Inference/Predict", own.SerializeToString()),
        "torchserve": unary.Method(other, predictions, asked.SerializeToString()),
        "oip": unary.Method(address, f"/{open_inference.SERVICE}/ModelInfer", infer),
    }


def _tensors(address: str) -> dict[str, unary.Method]:
    content = bytes(NUMBERS * 4)
    tensor = open_inference.tensor("x", "FP32", [1, NUMBERS])
    infer = open_inference.request(tensor, raws=[content], model_name="identity")
    return {
        "raw": unary.typed(address, "raw", content=content),
        "oip": unary.Method(address, f"/{open_inference.SERVICE}/ModelInfer", infer),
    }


def report(figures: Figures) -> Report:
    """Medians over the runs."""
    goals = []
    for name, what in FOREIGN.items():
        added = median(run["added_ms"][name] for run in figures["faces"])
        goals.append(Goal(f"{what} adds to the p50 of `Inference/Predict`", added, ADDED_MS, unit="ms"))
    ratio = median(run["ratio"]["oip"] for run in figures["tensors"])
    what = f"p50 of {FOREIGN['oip']} with {NUMBERS * 4 // 10**6} MB of FP32, over raw dispatch"
    goals.append(Goal(what, ratio, RATIO, unit="x"))
    return Report(goals, [_of_faces(figures["faces"]), _of_tensors(figures["tensors"])])


def _of_faces(runs: list[dict[str, Any]]) -> Table:
    columns: dict[str, Column] = {
        "own p50 ms": "own.p50_ms",
        "TorchServe p50 ms": "torchserve.p50_ms",
        "OIP p50 ms": "oip.p50_ms",
        "TorchServe adds, ms": "added_ms.torchserve",
        "OIP adds, ms": "added_ms.oip",
    }
    return table(runs, columns, "*Faces*:")


def _of_tensors(runs: list[dict[str, Any]]) -> Table:
    columns: dict[str, Column] = {
        "raw p50 ms": "raw.p50_ms",
        "OIP p50 ms": "oip.p50_ms",
        "raw p99 ms": "raw.p99_ms",
        "OIP p99 ms": "oip.p99_ms",
        "ratio": "ratio.oip",
    }
    return table(runs, columns, "*Tensors*:")


SCENARIO = Scenario("What other servers' protocols add to a call", METHOD, run, report, repeats=3)
