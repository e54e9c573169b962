"""Rules of what may wait."""

import pytest

from inference_server.admission import MAX_WAITING, MAX_WAITING_BYTES, Admission, Load, load_of
from utils.errors import DeadlineExceeded, QueueFull

ONE = load_of(100_000, 1000, 950)  # a megapixel with its fixed cost


def taught(seconds: float) -> Admission:
    """An admission with a limit of 2 s whose detector takes so many seconds for a megapixel."""
    admission = Admission(queue_seconds=2.0)
    admission.learn(ONE, seconds)
    return admission


def test_a_request_is_accepted_while_its_predicted_wait_is_short_enough() -> None:
    """The wait is what is ahead, in megapixels, times the seconds that one takes."""
    admission = taught(0.5)
    admission.admit(Load(4, 0, 4.0), ONE, remaining=60)
    with pytest.raises(QueueFull):
        admission.admit(Load(5, 0, 5.0), ONE, remaining=60)


def test_a_full_queue_says_when_there_will_be_room() -> None:
    """The excess over the limit, in seconds; never so short that the caller comes at once."""
    with pytest.raises(QueueFull) as caught:
        taught(0.5).admit(Load(10, 0, 10.0), ONE, remaining=60)
    assert caught.value.retry_after == pytest.approx(3.0)
    with pytest.raises(QueueFull) as caught:
        taught(0.001).admit(Load(MAX_WAITING, 0, 1.0), ONE, remaining=60)
    assert caught.value.retry_after == pytest.approx(0.1)


def test_what_waits_is_bounded_by_count_and_by_bytes_before_anything_is_learned() -> None:
    """A new worker has no prediction, and bounded memory all the same."""
    admission = Admission(queue_seconds=2.0)
    admission.admit(Load(MAX_WAITING - 1, 0, 1e6), ONE, remaining=60)
    for waiting in (Load(MAX_WAITING, 0, 0.0), Load(1, MAX_WAITING_BYTES, 0.0)):
        with pytest.raises(QueueFull):
            admission.admit(waiting, ONE, remaining=60)


def test_a_request_that_cannot_be_done_in_time_is_refused_at_once() -> None:
    """Its own time counts, not only that of what is ahead."""
    admission = taught(0.5)
    admission.admit(Load(), ONE, remaining=0.6)
    for waiting, remaining in ((Load(), 0.4), (Load(1, 0, 1.0), 0.9), (Load(), -1.0)):
        with pytest.raises(DeadlineExceeded):
            admission.admit(waiting, ONE, remaining=remaining)


def test_the_prediction_follows_what_was_measured() -> None:
    """A moving average: one slow picture moves it little, many move it all the way."""
    admission = taught(0.1)
    admission.learn(ONE, 1.1)
    assert admission.predict(ONE) == pytest.approx(0.2)
    for _ in range(100):
        admission.learn(ONE, 1.1)
    assert admission.predict(ONE) == pytest.approx(1.1, rel=0.01)


def test_a_tiny_picture_is_not_free() -> None:
    """Decoding a thumbnail costs something, so a queue of them is bounded too."""
    assert load_of(10, 1, 1).megapixels > 0.01
