"""Which differences from the reference count as ties of its scores, and which as faults of ours."""

from collections.abc import Callable
from dataclasses import dataclass
from unittest.mock import patch

import numpy as np
import pytest

from inference_server.detector.engine import Boxes, Floats
from inference_server.detector.nms import Indices, by_score
from inference_server.detector.pipeline import Detector
from tests.parity.comparison import NoTie, compare, exchange, explain
from tests.parity.engines import detector
from tests.parity.reference import Rows

CROWD = "crowd of small faces"


def entered(*scores: float) -> Rows:
    """Boxes beside each other with these scores, as they enter a round."""
    left = np.arange(len(scores)) * 30.0
    return np.column_stack([left, left, left + 20, left + 20, scores])


THEIRS = entered(0.9, 0.8000010, 0.8000000, 0.7)
EXCHANGED = [0, 2, 1, 3]


def test_boxes_may_change_places_by_what_rounding_makes_of_scores() -> None:
    """Twice the largest difference between the two scores of a box, here of another box than the two."""
    ours = entered(0.9000006, 0.8000002, 0.8000004, 0.7)[EXCHANGED]
    assert exchange(THEIRS, ours).tolist() == EXCHANGED


def test_a_box_at_its_threshold_may_be_one_that_the_reference_lacks() -> None:
    """One with a higher score may not."""
    ours = entered(0.9, 0.8000010, 0.8000000, 0.7, 0.6)
    assert exchange(THEIRS, ours, 0.6).tolist() == [0, 1, 2, 3]
    with pytest.raises(NoTie):
        exchange(THEIRS, ours, 0.59)


WRONG = {
    "they differ by more than rounding makes": entered(0.9000003, 0.8000010, 0.8000000, 0.7)[EXCHANGED],
    "no score of a box is the reference's": entered(0.95, 0.8000004, 0.8000006, 0.7)[EXCHANGED],
    "a box is elsewhere": entered(0.9, 0.8000004, 0.8000006, 0.7)[EXCHANGED] + [0, 0, 0.2, 0, 0],
    "one box stands for two": entered(0.9, 0.8000006, 0.8000004, 0.7)[[0, 1, 1, 3]],
    "a box is missing": entered(0.9, 0.8000006, 0.8000004),
}


@pytest.mark.parametrize("why", WRONG)
def test_other_differences_are_no_ties(why: str) -> None:
    """Whichever of these it is."""
    with pytest.raises(NoTie):
        exchange(THEIRS, WRONG[why])


@dataclass(frozen=True)
class Moved:
    """Sees a picture as another engine does, but moves each box that is refined by a percent of its side."""

    prepared: object

    def __getattr__(self, name: str) -> object:
        return getattr(self.prepared, name)

    def refine(self, boxes: Boxes) -> tuple[Floats, Floats]:
        scores, regressions = self.prepared.refine(boxes)  # type: ignore[attr-defined]
        return scores, regressions + np.float32(0.01)


def test_a_picture_whose_boxes_are_moved_is_not_explained() -> None:
    """Though the same faces are found, a little elsewhere."""
    moved = Detector(detector("onnx")._engine, 20_000)
    prepare = moved._engine.prepare
    with patch.object(moved._engine, "prepare", lambda *args: Moved(prepare(*args))):
        [pair] = compare(moved, [CROWD])
        assert pair.same_count
        assert explain(moved, [pair]) == {CROWD: None}


def test_a_picture_in_whose_order_scores_do_not_count_is_not_explained() -> None:
    """Its boxes and their scores are the reference's, but worse ones come before better ones."""
    assert _explained(lambda scores: by_score(scores.round(1))) is None


def test_a_picture_whose_boxes_of_one_score_come_in_another_order_is_a_tie() -> None:
    """It is what an unstable sort may do on another CPU."""
    reason = _explained(lambda scores: np.argsort(scores, kind="stable")[::-1])
    assert reason is not None
    assert reason.startswith("tie of the reference's scores")


def _explained(sort: Callable[[Floats], Indices]) -> str | None:
    """What is said of faces found with boxes in this order."""
    with (
        patch("inference_server.detector.pipeline.by_score", sort),
        patch("tests.parity.comparison.by_score", sort),
    ):
        [pair] = compare(detector("onnx"), [CROWD])
        assert pair.same_count
        assert not pair.same_rounded
        return explain(detector("onnx"), [pair])[CROWD]
