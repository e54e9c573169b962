"""Pictures whose faces are known: sets as PHOTOS_DIR has them, or WIDER FACE as it is published.

A set of the former is a folder with `gt.jsonl`, a line of JSON for each picture: `image` (a path), `boxes`
([x1, y1, x2, y2]), and where they are known `ignore` and `unlabelled_yunet` (boxes of faces that count for
nothing), `level` or `level_at_full_res` (easy, medium or hard, for each box) and `landmarks` (five points for
each box, in the order in which they are seen: left eye, right eye, nose, left and right corner of the mouth).
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.evaluation import Boxes

LEVELS = ("easy", "medium", "hard")
"""Each takes in the ones before it."""

_WIDER = ("wider_face_split/wider_face_val_bbx_gt.txt", "WIDER_val/images")
_INVALID = 7  # of a face in WIDER FACE's list: x, y, width, height, blur, expression, illumination, invalid

# The reference's networks were trained on it.
_LEFT_OUT = {"wider_train"}

Points = list[list[float]]


@dataclass(frozen=True)
class Labelled:
    """A picture and its faces.

    Attributes:
        path: Its file.
        faces: The boxes of the faces to be found.
        levels: Theirs; none where they are not known.
        landmarks: Theirs; none where they are not known.
        ignored: Boxes of faces that count for nothing.
    """

    path: Path
    faces: list[list[float]]
    levels: list[str] = field(default_factory=list)
    landmarks: list[Points | None] = field(default_factory=list)
    ignored: list[list[float]] = field(default_factory=list)

    def boxes(self) -> Boxes:
        """All boxes, those to be ignored last."""
        return np.array([*self.faces, *self.ignored], np.float64).reshape(-1, 4)

    def counts(self, level: str | None) -> list[bool]:
        """Which of these are to be found at a level; None takes all that have a box in `faces`."""
        wanted = LEVELS[: LEVELS.index(level) + 1] if level else ()
        known = [not level or own in wanted for own in self.levels or [""] * len(self.faces)]
        return [*known, *([False] * len(self.ignored))]


def sets(folder: Path) -> dict[str, list[Labelled]]:
    """All sets of a folder, by name."""
    if (folder / _WIDER[0]).is_file():
        return {"WIDER FACE val": list(_wider(folder))}
    listed = [folder / "gt.jsonl"] if (folder / "gt.jsonl").is_file() else sorted(folder.glob("*/gt.jsonl"))
    return {path.parent.name: list(_set(path)) for path in listed if path.parent.name not in _LEFT_OUT}


def _set(path: Path) -> Iterator[Labelled]:
    for line in path.read_text().splitlines():
        row: dict[str, Any] = json.loads(line)
        yield Labelled(
            path=path.parent / row["image"],
            faces=row["boxes"],
            levels=row.get("level") or row.get("level_at_full_res") or [],
            landmarks=row.get("landmarks") or [],
            ignored=[*row.get("ignore", []), *row.get("unlabelled_yunet", [])],
        )


def _wider(folder: Path) -> Iterator[Labelled]:
    """Faces marked invalid are to be ignored. A picture without faces has one line of zeros all the same."""
    lines = iter((folder / _WIDER[0]).read_text().splitlines())
    for name in lines:
        rows = [list(map(float, next(lines).split())) for _ in range(max(int(next(lines)), 1))]
        real = [row for row in rows if row[2] > 0 and row[3] > 0]
        boxes = [[x, y, x + width, y + height] for x, y, width, height, *_ in real]
        valid = [row[_INVALID] == 0 for row in real]
        yield Labelled(
            path=folder / _WIDER[1] / name.strip(),
            faces=[box for box, good in zip(boxes, valid, strict=True) if good],
            ignored=[box for box, good in zip(boxes, valid, strict=True) if not good],
        )
