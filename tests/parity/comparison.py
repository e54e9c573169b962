"""Detections of an engine beside those of the reference, and what explains a difference."""

from collections.abc import Iterable
from dataclasses import dataclass, fields
from typing import Any
from unittest.mock import patch

import numpy as np

from inference_server.detector.engine import Boxes
from inference_server.detector.pipeline import Detector
from tests.parity import reference
from tests.parity.corpus import picture
from tests.parity.reference import Rounds, Rows
from tests.support.pictures import Pixels
from utils.domain import Face

# Two scores that the package gives are a tie, and a score is at a threshold, within these.
TIE = 1e-6
AT_THRESHOLD = 1e-5

_SAME_BOX = 0.05


@dataclass(frozen=True)
class Pair:
    """What the engine and the reference found in one picture."""

    name: str
    key: str
    found: Rows
    expected: Rows

    @property
    def same_count(self) -> bool:
        return len(self.found) == len(self.expected)

    @property
    def same_rounded(self) -> bool:
        return np.array_equal(_rounded(self.found), _rounded(self.expected))

    @property
    def same_faces(self) -> bool:
        """Whether the reference's integers were found, in whatever order."""
        found, expected = (sorted(_rounded(table).tolist()) for table in (self.found, self.expected))
        return found == expected

    @property
    def largest_difference(self) -> float:
        """In pixels, over boxes and landmarks."""
        if not self.same_count or not len(self.found):
            return 0.0
        return float(np.delete(np.abs(self.found - self.expected), 4, axis=1).max())


def compare(detector: Detector, names: Iterable[str]) -> list[Pair]:
    """Detect in pictures with both."""
    keys, found = {}, {}
    for name in names:
        pixels = picture(name)
        keys[name] = reference.key(pixels)
        found[name] = rows(detector.detect(pixels))
    expected = reference.detections(keys)
    return [Pair(name, keys[name], found[name], expected[name]) for name in keys]


def rows(faces: Iterable[Face]) -> Rows:
    """Faces in the reference's form."""
    table = []
    for face in faces:
        box, points = face.box, [getattr(face.landmarks, point.name) for point in fields(face.landmarks)]
        table.append(
            [box.up_left.x, box.up_left.y, box.lower_right.x, box.lower_right.y, face.confidence]
            + [point.x for point in points]
            + [point.y for point in points]
        )
    return np.array(table, dtype=np.float64).reshape(-1, 15)


def explain(detector: Detector, pairs: Iterable[Pair]) -> dict[str, str | None]:
    """For each unequal pair what the reference's own scores say of it; None where they explain nothing."""
    unequal = [pair for pair in pairs if not pair.same_rounded]
    if not unequal:
        return {}
    traces = reference.traces({pair.name: pair.key for pair in unequal})
    reasons: dict[str, str | None] = {}
    for pair in unequal:
        theirs, nearest = traces[pair.name]
        ours = _rounds(detector, picture(pair.name))
        if not pair.same_count:
            reasons[pair.name] = at_threshold(nearest)
        elif pair.same_faces:  # only the order of the last round can be what differs
            reasons[pair.name] = tie(theirs[-1:], ours[-1:])
        else:
            reasons[pair.name] = tie(theirs, ours)
    return reasons


def tie(theirs: Rounds, ours: list[Boxes]) -> str | None:
    """Name two equal scores of the reference whose boxes entered a round of suppression in another order.

    It is the first such round, and all boxes that changed places in it must have had equal scores.
    """
    for their, our in zip(theirs, ours, strict=False):
        if len(their) != len(our):
            return None
        elsewhere = np.flatnonzero(np.abs(their[:, :4] - our).max(axis=1, initial=0) > _SAME_BOX)
        if len(elsewhere) == 0:
            continue
        distances = np.abs(their[None, :, :4] - our[elsewhere, None]).max(axis=2)
        first, second = their[elsewhere, 4], their[distances.argmin(axis=1), 4]
        if distances.min(axis=1).max() > _SAME_BOX or np.abs(first - second).max() > TIE:
            return None
        return f"tie of the reference's scores {first[0]:.8f} and {second[0]:.8f}"
    return None


def at_threshold(nearest: Rows) -> str | None:
    """Name a score of the reference that is as good as at its threshold."""
    for stage, threshold, score in nearest:
        if abs(score - threshold) <= AT_THRESHOLD:
            return (
                f"the reference's own score {score:.8f} of stage {stage:.0f} is at the threshold {threshold}"
            )
    return None


def _rounds(detector: Detector, pixels: Pixels) -> list[Boxes]:
    """The boxes that enter each round of suppression in our pipeline."""
    entered: list[Boxes] = []
    suppress = detector._suppress

    def record(boxes: Boxes, *args: Any, **kwargs: Any) -> object:  # noqa: ANN401 - as suppress
        entered.append(boxes)
        return suppress(boxes, *args, **kwargs)

    with patch.object(detector, "_suppress", record):
        detector.detect(pixels)
    return entered


def _rounded(table: Rows) -> Rows:
    """The reference's integers: x, y, width and height, each rounded by itself, and the landmarks."""
    boxes = np.hstack([table[:, :2], table[:, 2:4] - table[:, :2]])
    return np.hstack([boxes, table[:, 5:]]).round()
