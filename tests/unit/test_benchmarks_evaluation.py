"""The protocol by which accuracy is measured."""

import numpy as np
import pytest

from benchmarks.evaluation import Judged, Quality, Verdict, judge, landmark_error, overlaps, quality

FACES = np.array([[0, 0, 10, 10], [100, 0, 110, 10], [200, 0, 210, 10]], float)


def _quality(boxes: list[list[float]], scores: list[float], counts: list[bool]) -> Quality:
    return quality([judge(boxes, scores, FACES, counts)], sum(counts))


def test_perfect_detections_have_an_average_precision_of_one() -> None:
    """And find everything, and nothing else."""
    assert _quality(FACES.tolist(), [0.9, 0.8, 0.7], [True] * 3) == Quality(3, 1.0, 1.0, 1.0)


def test_no_detections_have_an_average_precision_of_zero() -> None:
    """There is no precision of nothing."""
    assert _quality([], [], [True] * 3) == Quality(3, 0.0, 0.0, 0.0)


def test_a_duplicate_is_wrong_even_if_it_overlaps_more() -> None:
    """The better score is right about the face."""
    judged = judge([[0, 0, 10, 10], [0, 0, 10, 9]], [0.7, 0.9], FACES, [True] * 3)
    assert judged == [Judged(1, 0.9, Verdict.RIGHT, 0), Judged(0, 0.7, Verdict.WRONG)]


def test_an_ignored_face_counts_for_nothing() -> None:
    """Neither found, however often, nor missed."""
    found = _quality(
        [[0, 0, 10, 10], [0, 0, 10, 9], [100, 0, 110, 10]], [0.9, 0.8, 0.7], [False, True, False]
    )
    assert found == Quality(1, 1.0, 1.0, 1.0)
    assert _quality([[100, 0, 110, 10]], [0.7], [False, True, False]) == Quality(1, 1.0, 1.0, 1.0)


def test_a_detection_belongs_to_the_face_that_it_overlaps_most() -> None:
    """Even if that one is to be ignored."""
    faces = np.array([[0, 0, 10, 10], [0, 0, 10, 9]], float)
    assert judge([[0, 0, 10, 10]], [0.9], faces, [False, True])[0].verdict is Verdict.IGNORED


@pytest.mark.parametrize(("right", "verdict"), [(15, Verdict.WRONG), (20, Verdict.RIGHT)])
def test_half_of_the_union_is_enough(right: float, verdict: Verdict) -> None:
    """A box of twice the size that contains the face still counts, one beside it does not."""
    faces = np.array([[10, 0, 20, 10]], float)
    left = right - (20 if verdict is Verdict.RIGHT else 10)
    assert judge([[left, 0, right, 10]], [0.9], faces, [True])[0].verdict is verdict


def test_a_picture_without_faces_makes_every_detection_wrong() -> None:
    """There is nothing to be right about."""
    assert judge([[0, 0, 5, 5]], [0.9], np.empty((0, 4)), []) == [Judged(0, 0.9, Verdict.WRONG)]


def test_a_wrong_detection_costs_precision_only_at_lower_scores() -> None:
    """Worked out by hand: right, wrong, right of three faces gives (1 + 2/3) / 3."""
    found = _quality([[0, 0, 10, 10], [50, 50, 60, 60], [100, 0, 110, 10]], [0.9, 0.8, 0.7], [True] * 3)
    assert found.recall == found.precision == pytest.approx(2 / 3)
    assert found.average_precision == pytest.approx((1 + 2 / 3) / 3)


def test_precision_at_a_recall_is_the_best_of_any_higher_recall() -> None:
    """A wrong detection at the top costs only as much as is not made good below."""
    found = _quality([[50, 50, 60, 60], *FACES.tolist()], [0.9, 0.8, 0.7, 0.6], [True] * 3)
    assert found.average_precision == pytest.approx(3 / 4)


def test_pictures_are_ranked_together() -> None:
    """A wrong detection in one costs the right ones of lower score in all."""
    first = judge([[50, 50, 60, 60]], [0.9], FACES, [True] * 3)
    second = judge(FACES.tolist(), [0.8, 0.7, 0.6], FACES, [True] * 3)
    assert quality([second, first], 3).average_precision == pytest.approx(3 / 4)


def test_overlap_is_intersection_over_union() -> None:
    """Boxes beside each other have none."""
    boxes = np.array([[0, 0, 10, 10], [5, 0, 15, 10], [10, 10, 20, 20]], float)
    assert overlaps([0, 0, 10, 10], boxes) == pytest.approx([1, 1 / 3, 0])
    assert overlaps([0, 0, 0, 0], np.zeros((1, 4))) == 0


def test_landmark_error_is_a_share_of_the_distance_of_the_eyes() -> None:
    """One of five points off by the whole distance is a fifth."""
    truth = [[0, 0], [10, 0], [5, 5], [2, 8], [8, 8]]
    assert landmark_error(truth, truth) == 0
    assert landmark_error([[0, 10], *truth[1:]], truth) == pytest.approx(0.2)
