"""Detections of an engine beside those of the reference, and what explains a difference."""

from collections.abc import Iterable
from dataclasses import dataclass, fields
from typing import Any
from unittest.mock import patch

import numpy as np

from inference_server.detector.engine import Boxes, Floats
from inference_server.detector.nms import Indices, Suppress, by_score
from inference_server.detector.pipeline import Detector
from tests.parity import reference
from tests.parity.corpus import picture
from tests.parity.reference import Rounds, Rows
from utils.domain import Face

# What rounding may make of one box: its score, and its coordinates in pixels.
_SAME_SCORE = 1e-5
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
        rounds, nearest = traces[pair.name]
        reasons[pair.name] = tie(detector, pair, rounds) if pair.same_count else at_threshold(nearest)
    return reasons


def tie(detector: Detector, pair: Pair, rounds: Rounds) -> str | None:
    """Name two scores of the reference that rounding has exchanged, where that alone explains the difference.

    The picture is looked at again, and boxes enter each round of suppression in the reference's order as far
    as rounding explains another one (`exchange`). So the reference's integers must be found, in its order.
    """
    replay = _Replay(detector._suppress, rounds)
    with (
        patch.object(detector, "_suppress", replay.suppress),
        patch("inference_server.detector.pipeline.by_score", replay.sort),
    ):
        try:
            found = rows(detector.detect(picture(pair.name)))
        except NoTie:
            return None
    same = Pair(pair.name, pair.key, found, pair.expected).same_rounded
    return replay.ties[0] if same and replay.ties else None


class NoTie(Exception):
    """A round of suppression is not the reference's, and rounding of scores does not explain that."""


def exchange(their: Rows, our: Rows) -> Indices:
    """The order that makes ours of what entered a round of suppression theirs.

    Scores of the reference may stand in another order here where they differ by no more than twice what the
    two scores of one box in this round differ by at most.

    Raises:
        NoTie: They are not the same boxes with the same scores, or are in an order that is not explained.
    """
    if len(their) != len(our):
        raise NoTie
    places = np.arange(len(our))
    elsewhere = np.flatnonzero(np.abs(their[:, :4] - our[:, :4]).max(axis=1, initial=0) > _SAME_BOX)
    if len(elsewhere):
        distances = np.abs(our[elsewhere, None, :4] - their[None, elsewhere, :4]).max(axis=2)
        if max(distances.min(axis=0).max(), distances.min(axis=1).max()) > _SAME_BOX:
            raise NoTie
        places[elsewhere] = elsewhere[distances.argmin(axis=1)]
    rounding = np.abs(our[:, 4] - their[places, 4]).max(initial=0)
    exchanged = np.abs(their[:, 4] - their[places, 4]).max(initial=0)
    if rounding > _SAME_SCORE or exchanged > 2 * rounding:
        raise NoTie
    return places.argsort()


class _Replay:
    """Sorting and suppression of our pipeline, in the reference's order.

    Attributes:
        ties: Where that was another order than ours.
    """

    def __init__(self, suppress: Suppress, rounds: Rounds) -> None:
        self.ties: list[str] = []
        self._suppress = suppress
        self._rounds = iter(rounds)
        self._scores = np.empty(0, np.float32)

    def sort(self, scores: Floats) -> Indices:
        """Sort as the pipeline does, which then suppresses."""
        order = by_score(scores)
        self._scores = scores[order]
        return order

    def suppress(self, boxes: Boxes, *args: Any, **kwargs: Any) -> Indices:  # noqa: ANN401 - as Suppress
        """Suppress in the reference's order; the boxes that stay are in it, too."""
        their = next(self._rounds, np.empty((0, 5)))
        order = exchange(their, np.column_stack([boxes, self._scores]))
        moved = np.flatnonzero(order != np.arange(len(order)))
        if len(moved):
            first, second = their[moved[0], 4], their[order.argsort()[moved[0]], 4]
            self.ties.append(f"tie of the reference's scores {first:.8f} and {second:.8f}")
        return order[self._suppress(boxes[order], *args, **kwargs)]


def at_threshold(nearest: Rows) -> str | None:
    """Name a score of the reference that is as good as at its threshold."""
    for stage, threshold, score in nearest:
        if abs(score - threshold) <= _SAME_SCORE:
            return (
                f"the reference's own score {score:.8f} of stage {stage:.0f} is at the threshold {threshold}"
            )
    return None


def _rounded(table: Rows) -> Rows:
    """The reference's integers: x, y, width and height, each rounded by itself, and the landmarks."""
    boxes = np.hstack([table[:, :2], table[:, 2:4] - table[:, :2]])
    return np.hstack([boxes, table[:, 5:]]).round()
