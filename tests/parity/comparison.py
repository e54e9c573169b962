"""Detections of an engine beside those of the reference, and what explains a difference."""

from collections.abc import Iterable
from dataclasses import dataclass, fields, replace
from typing import Any
from unittest.mock import patch

import numpy as np

from inference_server.detector.engine import Boxes, Floats
from inference_server.detector.nms import Indices, Suppress, by_score
from inference_server.detector.pipeline import Detector
from tests.parity import reference
from tests.parity.corpus import picture
from tests.parity.reference import Rounds, Rows
from utils.domain import DetectOptions, Face

# What rounding may make of one box: its score, in the end and at a threshold, and its place in pixels.
_SAME_SCORE = 1e-4
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
        reasons[pair.name] = _order_of_faces(pair) or _order_of_boxes(detector, pair, rounds, nearest)
    return reasons


def _order_of_faces(pair: Pair) -> str | None:
    """Name two scores of the reference that rounding has exchanged, where only the order of faces differs."""
    try:
        order = exchange(pair.expected[:, :5], pair.found[:, :5])
    except NoTie:
        return None
    return _tie(pair.expected, order) if replace(pair, found=pair.found[order]).same_rounded else None


def _order_of_boxes(detector: Detector, pair: Pair, rounds: Rounds, nearest: Rows) -> str | None:
    """Name scores of the reference that rounding has exchanged, or moved across a threshold.

    The picture is looked at again, with thresholds a little lower. The reference's boxes enter each round of
    suppression, in its order, and then its integers must be found.
    """
    replay = _Replay(detector._suppress, rounds)
    with (
        patch.object(detector, "_suppress", replay.suppress),
        patch("inference_server.detector.pipeline.by_score", replay.sort),
    ):
        try:
            found = rows(detector.detect(picture(pair.name), _options(-_SAME_SCORE)))
        except NoTie:
            return None
    if not replace(pair, found=found).same_rounded:
        return None
    return next(iter(replay.ties), None) or _at_threshold(nearest)


def _options(change: float) -> DetectOptions:
    """The defaults, with all thresholds changed by so much."""
    usual = DetectOptions()
    return DetectOptions(
        threshold_proposal=usual.threshold_proposal + change,
        threshold_refine=usual.threshold_refine + change,
        threshold_output=usual.threshold_output + change,
    )


class NoTie(Exception):
    """Boxes are not the reference's in its order, and rounding of scores does not explain that."""


def exchange(their: Rows, our: Rows, at_threshold: float = -np.inf) -> Indices:
    """The order in which our boxes, with their scores, are the reference's.

    Two scores of the reference may stand in another order here where they differ by no more than twice what
    the two scores of any one of these boxes differ by. A box that the reference lacks is left out where its
    score is not above `at_threshold`.

    Raises:
        NoTie: They are not the same boxes with the same scores, or are in an order that is not explained.
    """
    low = np.flatnonzero(our[:, 4] <= at_threshold)
    lacking = low[_distances(our[low], their).min(axis=1, initial=np.inf) > _SAME_BOX]
    kept = np.delete(np.arange(len(our)), lacking)
    our = our[kept]
    if len(their) != len(our):
        raise NoTie
    places = np.arange(len(our))
    elsewhere = np.flatnonzero(np.abs(their[:, :4] - our[:, :4]).max(axis=1, initial=0) > _SAME_BOX)
    if len(elsewhere):
        distances = _distances(our[elsewhere], their[elsewhere])
        if max(distances.min(axis=0).max(), distances.min(axis=1).max()) > _SAME_BOX:
            raise NoTie
        places[elsewhere] = elsewhere[distances.argmin(axis=1)]
    rounding = np.abs(our[:, 4] - their[places, 4]).max(initial=0)
    exchanged = np.abs(their[:, 4] - their[places, 4]).max(initial=0)
    if rounding > _SAME_SCORE or exchanged > 2 * rounding:
        raise NoTie
    return kept[places.argsort()]


def _distances(some: Rows, others: Rows) -> Rows:
    """How far apart boxes are, (N, M), in pixels."""
    distances: Rows = np.abs(some[:, None, :4] - others[None, :, :4]).max(axis=2)
    return distances


def _tie(their: Rows, order: Indices) -> str | None:
    """The first two scores that are exchanged, if any are."""
    places = order.argsort()
    moved = np.flatnonzero(places != np.arange(len(places)))
    if len(moved) == 0:
        return None
    return f"tie of the reference's scores {their[moved[0], 4]:.8f} and {their[places[moved[0]], 4]:.8f}"


def _at_threshold(nearest: Rows) -> str | None:
    """The first score of the reference that rounding may move across its threshold, if there is one."""
    for stage, threshold, score in nearest:
        if abs(score - threshold) <= _SAME_SCORE:
            return (
                f"the reference's own score {score:.8f} of stage {stage:.0f} is at the threshold {threshold}"
            )
    return None


class _Replay:
    """Sorting and suppression of our pipeline, with the reference's boxes in its order.

    Attributes:
        ties: Where that was another order than ours.
    """

    def __init__(self, suppress: Suppress, rounds: Rounds) -> None:
        self.ties: list[str] = []
        self._suppress = suppress
        high = _options(_SAME_SCORE)
        thresholds = [high.threshold_proposal] * (len(rounds) - 2)
        thresholds += [high.threshold_refine, high.threshold_output]
        self._rounds = zip(rounds, thresholds, strict=False)
        self._scores = np.empty(0, np.float32)

    def sort(self, scores: Floats) -> Indices:
        """Sort as the pipeline does, which then suppresses."""
        order = by_score(scores)
        self._scores = scores[order]
        return order

    def suppress(self, boxes: Boxes, *args: Any, **kwargs: Any) -> Indices:  # noqa: ANN401 - as Suppress
        """Suppress among the reference's boxes in its order; those that stay are in it, too."""
        their, threshold = next(self._rounds, (np.empty((0, 5)), -np.inf))
        order = exchange(their, np.column_stack([boxes, self._scores]), threshold)
        self.ties += filter(None, [_tie(their, order)])
        return order[self._suppress(boxes[order], *args, **kwargs)]


def _rounded(table: Rows) -> Rows:
    """The reference's integers: x, y, width and height, each rounded by itself, and the landmarks."""
    boxes = np.hstack([table[:, :2], table[:, 2:4] - table[:, :2]])
    return np.hstack([boxes, table[:, 5:]]).round()
