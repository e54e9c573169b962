"""Non-maximum suppression against the plain reading of its rule."""

import tracemalloc

import numpy as np
import pytest

from inference_server.detector import nms
from inference_server.detector.engine import Boxes
from inference_server.detector.nms import Suppress, by_score


def native_suppress() -> Suppress:
    """Our own kernel's, where it could be compiled."""
    pytest.importorskip("facet_native", reason="the native engine is not built")
    from inference_server.detector import nms_native

    return nms_native.suppress


@pytest.fixture(params=["numpy", "native"])
def suppress(request: pytest.FixtureRequest) -> Suppress:
    """Each way of computing it."""
    return nms.suppress if request.param == "numpy" else native_suppress()


def plainly(boxes: Boxes, threshold: float, *, of_smaller: bool = False) -> list[int]:
    """A box stays if no box before it overlaps it by more than the threshold."""
    stays = []
    for j in range(len(boxes)):
        for i in range(j):
            sides = np.minimum(boxes[i, 2:], boxes[j, 2:]) - np.maximum(boxes[i, :2], boxes[j, :2])
            shared = max(0.0, sides[0]) * max(0.0, sides[1])
            areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (boxes[i], boxes[j])]
            whole = min(areas) if of_smaller else sum(areas) - shared
            if whole != 0 and shared / whole > threshold:
                break
        else:
            stays.append(j)
    return stays


def random_boxes(count: int, seed: int, spread: tuple[float, float] = (300, 200)) -> Boxes:
    """Boxes of many sizes, some of them inside out, as regressions can make them."""
    random = np.random.default_rng(seed)
    corner = random.uniform(-20, spread, (count, 2))
    return np.hstack([corner, corner + random.uniform(-2, 90, (count, 2))])


@pytest.mark.parametrize("of_smaller", [False, True])
@pytest.mark.parametrize("threshold", [0.3, 0.5, 0.7])
@pytest.mark.parametrize("spread", [(300, 200), (20, 900), (5, 5)])
def test_suppression_keeps_what_the_plain_rule_keeps(
    suppress: Suppress, of_smaller: bool, threshold: float, spread: tuple[float, float]
) -> None:
    """Looking only at pairs that may overlap enough changes nothing."""
    for seed in range(5):
        boxes = random_boxes(120, seed, spread)
        kept = suppress(boxes, threshold, of_smaller=of_smaller)
        assert kept.tolist() == plainly(boxes, threshold, of_smaller=of_smaller)


@pytest.mark.parametrize("of_smaller", [False, True])
@pytest.mark.parametrize("threshold", [0.05, 0.25, 0.5, 0.7, 0.999, 1.0])
def test_boxes_of_whole_numbers_meet_the_threshold_exactly(
    suppress: Suppress, of_smaller: bool, threshold: float
) -> None:
    """Few coordinates, so that edges coincide, boxes lie in one another, and shares equal a threshold."""
    for seed in range(4):
        random = np.random.default_rng(seed)
        corner = random.integers(-3, 12, (50, 2))
        boxes = np.hstack([corner, corner + random.choice([1, 2, 3, 4, 5, 8, 10, 16], (50, 2))]).astype(float)
        kept = suppress(boxes, threshold, of_smaller=of_smaller)
        assert kept.tolist() == plainly(boxes, threshold, of_smaller=of_smaller)


@pytest.mark.parametrize("threshold", [0.5, 0.7])
def test_a_box_in_a_larger_one_is_near_it_however_far_their_edges_are_apart(
    suppress: Suppress, threshold: float
) -> None:
    """The smaller one ends where the larger one does, or begins there; its share is just high enough."""
    for width in (1e-3, 1.0, 20.0, 5000.0):
        part = width * (threshold + 1e-9)
        for left in (0.0, width - part):
            pair = np.array([[0, 0, width, 9], [left, 0, left + part, 9]])
            assert suppress(pair, threshold).tolist() == [0]
            assert suppress(pair[::-1], threshold).tolist() == [0]


def test_a_suppressed_box_still_suppresses(suppress: Suppress) -> None:
    """Of a chain A > B > C in which neighbours overlap, A alone stays: the rule is not greedy."""
    chain = np.array([[0.0, 0, 100, 100], [30, 0, 130, 100], [60, 0, 160, 100]])
    assert suppress(chain, 0.5).tolist() == [0]
    assert suppress(chain[[0, 2]], 0.5).tolist() == [0, 1]


def test_an_overlap_of_exactly_the_threshold_stays(suppress: Suppress) -> None:
    """The comparison is strict."""
    boxes = np.array([[0.0, 0, 4, 4], [0, 0, 4, 2]])
    assert suppress(boxes, 0.5).tolist() == [0, 1]
    assert suppress(boxes, 0.49).tolist() == [0]


def test_equal_boxes_leave_the_first(suppress: Suppress) -> None:
    """Boxes that coincide overlap wholly."""
    assert suppress(np.tile([[5.0, 5, 25, 25]], (7, 1)), 0.7).tolist() == [0]


def test_no_boxes_leave_none(suppress: Suppress) -> None:
    """An empty round is a round."""
    assert suppress(np.empty((0, 4)), 0.5).tolist() == []
    assert by_score(np.empty(0, np.float32)).tolist() == []


def test_portions_of_pairs_do_not_show(suppress: Suppress) -> None:
    """Thousands of boxes, far more pairs than are looked at at once, give what the plain rule gives."""
    boxes = random_boxes(900, 7, (60, 60))
    assert suppress(boxes, 0.5).tolist() == plainly(boxes, 0.5)


def test_comparing_many_boxes_can_be_given_up(suppress: Suppress) -> None:
    """Thousands of boxes in one place take a while, and the checkpoint ends it."""

    def checkpoint() -> None:
        raise TimeoutError

    with pytest.raises(TimeoutError):
        suppress(random_boxes(50, 1, (5, 5)), 0.5, checkpoint=checkpoint)


def test_memory_does_not_grow_with_the_square_of_the_boxes(suppress: Suppress) -> None:
    """20,000 boxes in one place would need 3.2 GB as one matrix of numbers."""
    boxes = random_boxes(20_000, 3, (2000, 2000))
    tracemalloc.start()
    suppress(boxes, 0.5)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 64 * 2**20


def test_boxes_come_by_descending_score() -> None:
    """The order is NumPy's own, of float64, reversed: that is what the reference does."""
    scores = np.random.default_rng(1).choice([0.7, 0.9, 1.0], 500).astype(np.float32)
    order = by_score(scores)
    assert np.all(np.diff(scores[order]) <= 0)
    assert order.tolist() == np.argsort(scores.astype(np.float64))[::-1].tolist()


def test_the_kernel_refuses_marks_that_do_not_fit() -> None:
    """It writes nowhere else."""
    facet_native = pytest.importorskip("facet_native", reason="the native engine is not built")
    boxes = random_boxes(5, 1)
    for begin, end, ranks, marks in [(0, 6, 5, 5), (3, 2, 5, 5), (0, 5, 5, 4), (0, 5, 4, 5)]:
        with pytest.raises(ValueError, match="no such boxes"):
            facet_native.mark_overlapped(
                boxes, np.arange(ranks), begin, end, 0.5, False, np.zeros(marks, np.uint8)
            )


@pytest.mark.parametrize("of_smaller", [False, True])
def test_what_is_not_a_number_overlaps_nothing(suppress: Suppress, of_smaller: bool) -> None:
    """Nor does what has no end."""
    boxes = np.tile([[0.0, 0, 9, 9]], (9, 1))
    for index in range(4):
        boxes[index, index] = np.nan
        boxes[4 + index, index] = np.inf
    with np.errstate(invalid="ignore"):
        kept = suppress(boxes, 0.5, of_smaller=of_smaller)
        assert kept.tolist() == nms.suppress(boxes, 0.5, of_smaller=of_smaller).tolist()
    assert {0, 1, 2, 3} <= set(kept.tolist())
