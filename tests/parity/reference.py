"""The reference: the package `mtcnn`, untouched, at its default parameters, in a process of its own.

Its results are kept in a cache outside the repository, under the checksum of everything that they depend
on: the package, TensorFlow, NumPy and its CPU features (they decide the order of equal scores), and the
picture. It runs in `python -m tests.parity.reference`, which this module starts, alone.
"""

import hashlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from importlib.metadata import PackageNotFoundError, distribution, version
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import numpy.typing as npt

from tests.parity.corpus import picture
from tests.support.pictures import Pixels

Rows = npt.NDArray[np.float64]
"""(N, 15), a face each: x1, y1, x2, y2, score, x of five landmarks, y of five landmarks."""

Rounds = list[Rows]
"""What enters each round of suppression, in order: (N, 5) with x1, y1, x2, y2, score."""


def cache_dir() -> Path:
    """Where tests keep what is costly to compute."""
    home = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(home) if Path(home).is_absolute() else Path.home() / ".cache") / "facet-tests"


def key(pixels: Pixels) -> str:
    """The checksum under which the reference's result on a picture is kept."""
    digest = hashlib.sha256(_environment())
    digest.update(str(pixels.shape).encode())
    digest.update(pixels.tobytes())
    return digest.hexdigest()


def detections(keys: dict[str, str]) -> dict[str, Rows]:
    """The reference's faces on pictures, given as name and key."""
    missing = {name: wanted for name, wanted in keys.items() if not _result(wanted).exists()}
    if missing:
        _run("detect", missing)
    return {name: np.load(_result(wanted)) for name, wanted in keys.items()}


def traces(keys: dict[str, str]) -> dict[str, tuple[Rounds, Rows]]:
    """What led to the reference's faces: the rounds, and rows of (stage, threshold, nearest score)."""
    _run("trace", keys)
    found = {}
    for name, wanted in keys.items():
        with np.load(_result(wanted).with_suffix(".npz")) as arrays:
            *rounds, nearest = (arrays[entry] for entry in arrays.files)
        found[name] = (rounds, nearest)
    return found


def _result(wanted: str) -> Path:
    return cache_dir() / "reference" / f"{wanted}.npy"


@cache
def _environment() -> bytes:
    """What the reference's results depend on, besides the picture."""
    digest = hashlib.sha256()
    package = distribution("mtcnn")
    for file in sorted(package.files or (), key=str):
        if file.suffix in {".py", ".lz4"}:
            digest.update(Path(str(package.locate_file(file))).read_bytes())
    features: Any = np.show_config(mode="dicts")
    facts = [_tensorflow(), version("keras"), version("numpy"), str(features["SIMD Extensions"])]
    facts += filter(None, [os.environ.get("ONEDNN_MAX_CPU_ISA")])
    digest.update(json.dumps(facts).encode())
    return digest.digest()


def _tensorflow() -> str:
    try:
        return version("tensorflow-cpu")
    except PackageNotFoundError:
        return version("tensorflow")


def _run(task: str, keys: dict[str, str]) -> None:
    """Let one process of its own do all of it, at one thread."""
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": ""}
    subprocess.run(
        [sys.executable, "-m", "tests.parity.reference", task],
        input=json.dumps(keys),
        text=True,
        check=True,
        env=environment,
        cwd=Path(__file__).parents[2],
    )


# --- in that process --------------------------------------------------------------------------------


def _detect(model: Any, pixels: Pixels) -> Rows:  # noqa: ANN401 - the package has no types
    found = model.detect_faces(pixels, output_type="numpy", box_format="xyxy")
    rows: Rows = found[:, 1:16] if found.shape[1] >= 16 else np.empty((0, 15))
    return rows


def _trace(model: Any, pixels: Pixels) -> dict[str, Rows]:  # noqa: ANN401
    with _recorded() as (rounds, nearest):
        _detect(model, pixels)
    named = {f"round{number:03}": boxes for number, boxes in enumerate(rounds)}
    return {**named, "z_nearest": np.array(nearest).reshape(-1, 3)}


@contextmanager
def _recorded() -> Iterator[tuple[Rounds, list[tuple[float, float, float]]]]:
    """Record what the package's own functions are given, without changing what they do."""
    from mtcnn.stages import stage_onet, stage_pnet, stage_rnet
    from mtcnn.utils import bboxes

    rounds: Rounds = []
    nearest: list[tuple[float, float, float]] = []

    def near(stage: int, scores: npt.NDArray[Any], threshold: float) -> None:
        if scores.size:
            score = scores.flat[np.abs(scores.astype(np.float64) - threshold).argmin()]
            nearest.append((stage, threshold, float(score)))

    def suppress(boxes: Rows, *args: Any, initial_sort: bool = True, **kwargs: Any) -> Any:  # noqa: ANN401
        entered = bboxes.sort_by_scores(boxes, boxes[:, 5], ascending=False) if initial_sort else boxes
        rounds.append(entered[:, 1:6].copy())
        return bboxes.smart_nms_from_bboxes(boxes, *args, initial_sort=initial_sort, **kwargs)

    def propose(regressions: Any, scores: Any, threshold: float) -> Any:  # noqa: ANN401
        near(1, scores.numpy()[..., 1], threshold)
        return bboxes.generate_bounding_box(regressions, scores, threshold)

    def pick(boxes: Rows, scores_column: int = -1, score_threshold: float = 0.7) -> Any:  # noqa: ANN401
        near(3 if scores_column == 5 else 2, boxes[:, scores_column], score_threshold)
        return bboxes.pick_matches(boxes, scores_column, score_threshold)

    with (
        patch.object(stage_pnet, "smart_nms_from_bboxes", suppress),
        patch.object(stage_rnet, "smart_nms_from_bboxes", suppress),
        patch.object(stage_onet, "smart_nms_from_bboxes", suppress),
        patch.object(stage_pnet, "generate_bounding_box", propose),
        patch.object(stage_rnet, "pick_matches", pick),
        patch.object(stage_onet, "pick_matches", pick),
    ):
        yield rounds, nearest


def _save(path: Path, arrays: Rows | dict[str, Rows]) -> None:
    """Write results so that an interrupted run leaves none that is incomplete."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:
        if isinstance(arrays, dict):
            np.savez(file, **arrays)  # type: ignore[arg-type] # its keywords are arrays
        else:
            np.save(file, arrays)
    Path(file.name).replace(path)


def main(arguments: Sequence[str]) -> None:
    """Do the task for the pictures whose names and keys standard input has as JSON."""
    import tensorflow as tf
    from mtcnn import MTCNN

    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    model = MTCNN()
    for name, wanted in json.load(sys.stdin).items():
        if arguments[0] == "trace":
            _save(_result(wanted).with_suffix(".npz"), _trace(model, picture(name)))
        else:
            _save(_result(wanted), _detect(model, picture(name)))


if __name__ == "__main__":
    main(sys.argv[1:])
