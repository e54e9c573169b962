"""How well faces were found: the protocol of WIDER FACE, and the error of landmarks.

A detection belongs to the face that it overlaps most. It is right where that overlap is at least one half
and no better detection was right about that face before; a second one is wrong. One that belongs to a face
which is to be ignored (of another level, or too unclear to be labelled) is neither, and so is that face.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from itertools import chain

import numpy as np
import numpy.typing as npt

Boxes = npt.NDArray[np.float64]
"""(N, 4): x1, y1, x2, y2."""

OVERLAP = 0.5

_EYES = (0, 1)


class Verdict(Enum):
    """What a detection is."""

    RIGHT = "right"
    WRONG = "wrong"
    IGNORED = "ignored"


@dataclass(frozen=True)
class Judged:
    """A detection that was judged.

    Attributes:
        number: Which one of the picture's it is.
        score: What the detector gave it.
        verdict: What it is.
        face: The index of the face that it is right about; else None.
    """

    number: int
    score: float
    verdict: Verdict
    face: int | None = None


@dataclass(frozen=True)
class Quality:
    """How well all faces of some pictures were found, each 0 to 1; a share of nothing is 0.

    Attributes:
        faces: How many there are to be found.
        recall: The share of them that was found.
        precision: The share of the detections that are right, of those that are right or wrong.
        average_precision: The mean of the precision at every recall from 0 to 1, taking at each the best that
            any lower threshold on the score has.
    """

    faces: int
    recall: float
    precision: float
    average_precision: float


def overlaps(box: Sequence[float], boxes: Boxes) -> npt.NDArray[np.float64]:
    """Intersection over union of a box with each of some."""
    left, top, right, bottom = box
    across = np.minimum(right, boxes[:, 2]) - np.maximum(left, boxes[:, 0])
    down = np.minimum(bottom, boxes[:, 3]) - np.maximum(top, boxes[:, 1])
    shared = np.maximum(across, 0) * np.maximum(down, 0)
    areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    union = (right - left) * (bottom - top) + areas - shared
    # Two boxes without area have no union either.
    shares: npt.NDArray[np.float64] = np.divide(shared, union, out=np.zeros(len(boxes)), where=union > 0)
    return shares


def judge(
    boxes: Sequence[Sequence[float]], scores: Sequence[float], faces: Boxes, counts: Sequence[bool]
) -> list[Judged]:
    """Judge the detections of a picture, best first.

    Args:
        boxes: Of the detections, in any order.
        scores: Theirs.
        faces: The boxes of all labelled faces, those to be ignored among them.
        counts: Which of these are to be found.
    """
    taken: set[int] = set()
    judged = []
    for number in sorted(range(len(boxes)), key=lambda number: -scores[number]):
        shares = overlaps(boxes[number], faces)
        face = int(shares.argmax()) if len(faces) else -1
        if face < 0 or shares[face] < OVERLAP:
            judged.append(Judged(number, scores[number], Verdict.WRONG))
        elif not counts[face]:
            judged.append(Judged(number, scores[number], Verdict.IGNORED))
        elif face in taken:
            judged.append(Judged(number, scores[number], Verdict.WRONG))
        else:
            taken.add(face)
            judged.append(Judged(number, scores[number], Verdict.RIGHT, face))
    return judged


def quality(pictures: Sequence[Sequence[Judged]], faces: int) -> Quality:
    """Sum up the detections of some pictures, in which there are so many faces to be found."""
    ranked = sorted(chain.from_iterable(pictures), key=lambda judged: -judged.score)
    right = np.array([one.verdict is Verdict.RIGHT for one in ranked if one.verdict is not Verdict.IGNORED])
    if not faces or not right.size:
        return Quality(faces, 0.0, 0.0, 0.0)
    found = np.cumsum(right)
    precisions = found / np.arange(1, len(right) + 1)
    best = np.maximum.accumulate(precisions[::-1])[::-1]
    return Quality(faces, found[-1] / faces, float(precisions[-1]), float(best[right].sum() / faces))


def landmark_error(found: npt.ArrayLike, truth: npt.ArrayLike) -> float:
    """The mean distance of five landmarks from where they are, over the distance of the eyes."""
    true = np.asarray(truth, np.float64)
    eyes = np.linalg.norm(true[_EYES[1]] - true[_EYES[0]])
    return float(np.linalg.norm(np.asarray(found, np.float64) - true, axis=1).mean() / eyes)
