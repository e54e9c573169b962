"""Rules of the pictures of a `detect_many` that are under way."""

import pytest

from protos import infer_pb2 as pb
from utils.channel import RetryBudget, backoff
from utils.errors import BackendUnavailable, DeadlineExceeded, InternalError
from utils.window import Ended, Window

GONE = Ended(BackendUnavailable("gone"))


def window(pictures: int, budget: RetryBudget | None = None, timeout: float = 60.0) -> Window:
    """A window of so many pictures, which have been sent."""
    made = Window(timeout, 1000, budget or RetryBudget(), timeout_named=True)
    for _ in range(pictures):
        made.add(b"x")
    assert len(made.take_due()) == pictures
    return made


def test_a_storm_of_failures_raises_the_load_by_a_tenth_at_most() -> None:
    """Each lost picture takes from the budget that a client's calls share; ten answers give one back."""
    budget = RetryBudget()
    for _ in range(127):
        lost = window(1, budget)
        lost.take(GONE)
        assert not lost.outcomes
    for _ in range(2):
        refused = window(1, budget)
        refused.take(GONE)
        assert refused.outcomes
    answered = window(1, budget)
    for _ in range(30):  # more than the two below half
        answered.take(pb.PredictStreamReply(number=0))
    again = window(1, budget)
    again.take(GONE)
    assert not again.outcomes


@pytest.mark.parametrize(("failures", "expected"), [(1, 0.05), (2, 0.1), (5, 0.8), (6, 1.0), (10**6, 1.0)])
def test_attempts_wait_longer_the_more_have_failed(failures: int, expected: float) -> None:
    """Within a fifth, so that clients do not come back together."""
    waits = [backoff(failures) for _ in range(100)]
    assert expected * 0.8 <= min(waits) < max(waits) <= expected * 1.2


def test_an_error_that_no_other_attempt_changes_ends_all_that_was_sent() -> None:
    """At once."""
    sent = window(3)
    sent.take(Ended(InternalError()))
    assert [type(outcome) for _, outcome in sent.outcomes] == [InternalError] * 3


def test_the_end_of_an_idle_stream_is_no_failure() -> None:
    """Another one is begun when there is something to send."""
    idle = window(0)
    assert idle.take(GONE)
    assert not idle.outcomes
    assert idle.seconds() is None


def test_an_answer_after_the_pictures_time_is_passed_over() -> None:
    """It has its outcome already."""
    late = window(1, timeout=0.0)
    late.end_late()
    late.take(pb.PredictStreamReply(number=0))
    [(number, outcome)] = late.outcomes
    assert (number, type(outcome)) == (0, DeadlineExceeded)


def test_a_picture_whose_time_is_over_is_not_sent_any_more() -> None:
    """Nor is one that has its outcome."""
    made = Window(0.0, 1000, RetryBudget(), timeout_named=True)
    made.add(b"x")
    [picture] = made.take_due()
    assert picture.to_send() is None
