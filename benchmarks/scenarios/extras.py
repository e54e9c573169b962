"""Extras: what is wanted beside the faces takes beside the detection."""

import io
from collections.abc import Callable, Mapping
from statistics import median
from time import perf_counter
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.drawings import DRAWINGS
from benchmarks.ours import Facet
from benchmarks.progress import step
from benchmarks.registry import Figures, Goal, Report, Scenario, table
from inference_server import images
from inference_server.models.extras.computing import compute
from inference_server.models.extras.drawing import Canvas
from tests.support.pictures import Pixels
from utils.domain import Face
from utils.extras import Annotated, Crops, Wanted

ONE_MEGAPIXEL = (1250, 800)
CELLS = {"few": ONE_MEGAPIXEL, "many": ONE_MEGAPIXEL, "few, large": (4000, 3000)}
BOXES_SHARE = 0.02
"""The goal, as a share of a detection."""
WANTED: Mapping[str, Wanted] = {
    "quality": Wanted(quality=True),
    "crops 112": Wanted(crops=Crops()),
    "crops 512": Wanted(crops=Crops(size=512)),
    "box crops 112": Wanted(crops=Crops(shape="box", margin=0.2)),
    "annotated": Wanted(annotated=Annotated()),
    "annotated, all": Wanted(annotated=Annotated(landmarks=True, scores=True)),
}
"""What is measured, as it is wanted."""

METHOD = f"""
In one process, one thread, with the engine that is chosen by itself: a JPEG file of {ONE_MEGAPIXEL[0]} x
{ONE_MEGAPIXEL[1]} pixels with one face (`few`), one with a crowd (`many`), and one of 12 megapixels with one
face, drawn from the portrait in `examples/`. Each is decoded, its faces are found, and then what is wanted
beside them is computed, one after the other in each round; figures are medians. *Boxes* are the frames
alone, drawn into a copy that is there already; *annotated* is the whole picture, reduced to 1280 pixels, with
frames, as a JPEG file. Of a crowd 100 faces at most have a crop. *MB* are those of the answer's pictures.
"""


def run(_quick: bool, repeats: int) -> Figures:
    """Measure all of it, picture by picture."""
    detector = Facet("auto").detector
    cells = []
    for name, size in CELLS.items():
        file = _jpeg(DRAWINGS[name.partition(",")[0]](*size))
        with step(f"extras: {name}, {size[0]} x {size[1]}", repeats * 2):
            rounds = [_measured(file, detector.detect) for _ in range(repeats + 1)][1:]
        ms = {what: round(median(one["ms"][what] for one in rounds), 3) for what in rounds[0]["ms"]}
        cells.append({"picture": name, "size": size, **rounds[0], "ms": ms})
    return {"parameters": {"rounds": repeats, "engine": detector.model.engine}, "cells": cells}


def _jpeg(pixels: Pixels) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=90)
    return file.getvalue()


def _measured(file: bytes, detect: Callable[[Pixels], tuple[Face, ...]]) -> dict[str, Any]:
    """Milliseconds of each step with a picture, and what comes of it."""
    ms: dict[str, float] = {}
    megabytes: dict[str, float] = {}
    pixels = _timed(ms, "decode", lambda: images.decode(file, 2**26)[0])
    faces = _timed(ms, "detect", lambda: detect(pixels))
    canvas = Canvas(np.array(pixels), pixels)

    def draw() -> None:
        for face in faces:
            canvas.frame(face.box)

    _timed(ms, "boxes", draw)
    for name, wanted in WANTED.items():
        made = _timed(ms, name, lambda wanted=wanted: compute(pixels, faces, wanted, lambda: None))  # type: ignore[misc]
        pictures = [made.annotated, *(face.crop for face in made.faces)]
        megabytes[name] = round(sum(len(one.data) for one in pictures if one is not None) / 1e6, 2)
    return {"ms": ms, "megabytes": megabytes, "faces": len(faces)}


def _timed(ms: dict[str, float], name: str, call: Callable[[], Any]) -> Any:  # noqa: ANN401 - what it gives
    started = perf_counter()
    result = call()
    ms[name] = (perf_counter() - started) * 1000
    return result


def report(figures: Figures) -> Report:
    """Times, sizes, and the share that boxes take of a detection at one megapixel."""
    cells = figures["cells"]
    goals = []
    for cell in cells:
        if cell["size"] == [*ONE_MEGAPIXEL]:
            share = cell["ms"]["boxes"] / cell["ms"]["detect"]
            what = f"boxes drawn, of a detection at 1 megapixel with {cell['picture']} faces"
            goals.append(Goal(what, share, BOXES_SHARE, unit="%"))
    steps = ("decode", "detect", "boxes", *WANTED)
    columns = {"picture": "picture", "faces": "faces"}
    times = columns | {name: f"ms.{name}" for name in steps}
    sizes = columns | {name: f"megabytes.{name}" for name in WANTED if name != "quality"}
    engine = figures["parameters"]["engine"]
    return Report(goals, [table(cells, times, f"Milliseconds, engine {engine}:"), table(cells, sizes, "MB:")])


SCENARIO = Scenario("What is wanted beside the faces", METHOD, run, report, repeats=15)
