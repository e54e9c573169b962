"""Accuracy: how well faces and landmarks are found on labelled photographs."""

import os
import sys
from collections.abc import Sequence
from dataclasses import asdict
from itertools import chain
from pathlib import Path
from statistics import fmean, median
from typing import Any

from benchmarks.arena import Answer, Arena, arena
from benchmarks.contenders import PACKAGE
from benchmarks.evaluation import OVERLAP, Judged, Verdict, judge, landmark_error, quality
from benchmarks.facesets import LEVELS, Labelled, sets
from benchmarks.peers.opencv import YUNET_OVERLAP, YUNET_SCORE
from benchmarks.progress import step
from benchmarks.registry import Figures, Report, Scenario, Table
from inference_server.detector.choice import choose

_QUICK_PICTURES = 3
_FAILED = 0.1
_SECONDS_EACH = 0.5

METHOD = f"""
Photographs whose faces somebody has marked: the sets of the folder that FACES_DIR names, else PHOTOS_DIR
(`benchmarks/facesets.py` says how they lie there). WIDER FACE may lie there as it is published, with
`wider_face_split/wider_face_val_bbx_gt.txt` and `WIDER_val/images`; its levels are in other files, so every
face that is not marked invalid counts then. All detectors get the same pixels.

A detection is right where it overlaps a face by {OVERLAP:g} of their union and no better one was right about
that face before. A face of another level, one too unclear to be judged, and a detection of such a face count
for nothing (the protocol of WIDER FACE; its levels take in the easier ones). *AP* is the area under
precision over recall. Each detector has its usual thresholds (MTCNN 0.6, 0.7 and 0.8; YuNet
{YUNET_SCORE:g}, and suppression at {YUNET_OVERLAP:g}): recall and precision are those of its answers, and so
AP ends at that recall, below figures that are published for detections of any score. A *landmark error* is
the mean distance of the five points from where they were marked, over the distance of the eyes; it is of the
faces that were found.

Each set's boxes were drawn by rules of its own, and small sets say little about the world: compare within a
row. The levels of wider_val_416 are those of the same faces before their pictures were reduced.
"""


def run(quick: bool, _repeats: int) -> Figures:
    """Let every detector look at every photograph."""
    found = _found()
    results: list[dict[str, Any]] = []
    with arena([PACKAGE, choose().engine, "YuNet"]) as contenders:
        for name, pictures in found.items():
            chosen = pictures[:_QUICK_PICTURES] if quick else pictures
            with step(f"accuracy: {name}, {len(chosen)} pictures", len(chosen) * _SECONDS_EACH):
                results.append({"set": name, **_measured(contenders, chosen)})
    return {"parameters": {"versions": contenders.versions, "absent": contenders.absent}, "sets": results}


def _found() -> dict[str, list[Labelled]]:
    """The sets of the folder that is named; none where none is."""
    asked, folder = os.environ.get("FACES_DIR", ""), os.environ.get("PHOTOS_DIR", "")
    found = sets(Path(asked or folder).absolute()) if asked or folder else {}
    if asked and not found:
        sys.exit(f"FACES_DIR is {asked}, where no labelled photographs are; see benchmarks/facesets.py")
    return found


def _measured(contenders: Arena, pictures: Sequence[Labelled]) -> dict[str, Any]:
    """What the detectors find in a set."""
    answers = {
        name: [contenders.ask(name, file=str(picture.path)) for picture in pictures]
        for name in contenders.names
    }
    return {
        "pictures": len(pictures),
        "faces": sum(len(picture.faces) for picture in pictures),
        "quality": {name: _quality(pictures, found) for name, found in answers.items()},
        "landmarks": {name: _landmarks(pictures, found) for name, found in answers.items()},
    }


def _quality(pictures: Sequence[Labelled], answers: Sequence[Answer]) -> dict[str, Any]:
    """How well the faces of each level were found, and how many were found that are none."""
    levels: list[str | None] = [*LEVELS] if any(picture.levels for picture in pictures) else [None]
    found: dict[str, Any] = {}
    for level in levels:
        counts = [picture.counts(level) for picture in pictures]
        judged = [_judged(*one) for one in zip(pictures, answers, counts, strict=True)]
        faces = sum(map(sum, counts))
        wrong = sum(one.verdict is Verdict.WRONG for one in chain.from_iterable(judged))
        found[level or "all"] = {**asdict(quality(judged, faces)), "wrong": wrong}
    return found


def _judged(picture: Labelled, answer: Answer, counts: Sequence[bool]) -> list[Judged]:
    boxes, scores = [face[0] for face in answer["faces"]], [face[1] for face in answer["faces"]]
    return judge(boxes, scores, picture.boxes(), counts)


def _landmarks(pictures: Sequence[Labelled], answers: Sequence[Answer]) -> dict[str, Any]:
    """Errors of the landmarks of the faces that were found and have some marked."""
    errors = []
    for picture, answer in zip(pictures, answers, strict=True):
        for one in _judged(picture, answer, picture.counts(None)) if picture.landmarks else ():
            truth = None if one.face is None else picture.landmarks[one.face]
            if truth is not None:
                errors.append(landmark_error(answer["faces"][one.number][2], truth))
    if not errors:
        return {"faces": 0}
    failed = sum(error > _FAILED for error in errors) / len(errors)
    return {"faces": len(errors), "mean": fmean(errors), "median": median(errors), "failed": failed}


def report(figures: Figures) -> Report:
    """A table of faces, one of landmarks, and one of what was found where there is no face."""
    asked, found = figures["parameters"], figures["sets"]
    absent = [f"{name} was left out: {why}." for name, why in asked["absent"].items()]
    if not found:
        return Report([], [], note="There were no labelled photographs: name a folder by FACES_DIR.")
    names = list(asked["versions"])
    with_faces = [one for one in found if one["faces"]]
    marked = [one for one in found if any(told["faces"] for told in one["landmarks"].values())]
    tables = [
        _faces(with_faces, names),
        _marks(marked, names),
        _nothing([one for one in found if not one["faces"]], names),
    ]
    versions = ", ".join(f"{name} {version}" for name, version in asked["versions"].items())
    note = " ".join([f"Versions: {versions}.", *absent])
    return Report([], [table for table in tables if table.rows], note=note)


def _faces(found: Sequence[dict[str, Any]], names: Sequence[str]) -> Table:
    rows: list[tuple[object, ...]] = []
    for one in found:
        for level, first in one["quality"][names[0]].items():
            if not first["faces"]:
                continue
            told = [one["quality"][name][level] for name in names]
            cells = (f"{quality['average_precision']:.3f}" for quality in told)
            both = (f"{quality['recall']:.3f} / {quality['precision']:.3f}" for quality in told)
            rows.append((one["set"], one["pictures"], level, first["faces"], *cells, *both))
    head = ("set", "pictures", "level", "faces")
    aps, shares = (f"AP {name}" for name in names), (f"recall / precision {name}" for name in names)
    return Table((*head, *aps, *shares), rows, "Faces:")


def _marks(found: Sequence[dict[str, Any]], names: Sequence[str]) -> Table:
    rows: list[tuple[object, ...]] = [
        (one["set"], *(_mark(one["landmarks"][name]) for name in names)) for one in found
    ]
    caption = f"Landmark errors, mean / median / share above {_FAILED:.0%} (faces found):"
    return Table(("set", *names), rows, caption)


def _mark(told: dict[str, Any]) -> str:
    if not told["faces"]:
        return ""
    shares = " / ".join(f"{told[which] * 100:.1f} %" for which in ("mean", "median", "failed"))
    return f"{shares} ({told['faces']})"


def _nothing(found: Sequence[dict[str, Any]], names: Sequence[str]) -> Table:
    rows: list[tuple[object, ...]] = [
        (one["set"], one["pictures"], *(one["quality"][name]["all"]["wrong"] for name in names))
        for one in found
    ]
    return Table(("set", "pictures", *names), rows, "Faces found where there are none:")


SCENARIO = Scenario("How well faces and landmarks are found", METHOD, run, report)
