"""Rules of the delay between a crash and the next start."""

import pytest

from inference_server.supervision.backoff import Backoff


@pytest.mark.parametrize(
    ("crashes", "wait"),
    [
        ([], 0.0),
        ([0], 0.0),
        ([0, 1], 0.0),
        ([0, 1, 2], 0.5),
        ([0, 1, 2, 3], 1.0),
        ([0, 1, 2, 3, 4], 2.0),
        ([0, 1, 2, *range(3, 12)], 30.0),
        ([0, 20, 40], 0.0),
        ([0, 20, 40, 45], 0.5),
    ],
)
def test_back_off_begins_at_the_third_crash_in_30_seconds_and_doubles(
    crashes: list[float], wait: float
) -> None:
    """Half a second, doubled by each further crash, 30 s at most."""
    backoff = Backoff()
    for time in crashes:
        backoff.crashed(time)
    assert backoff.wait(crashes[-1] if crashes else 0.0) == wait


def test_waiting_makes_the_wait_shorter() -> None:
    """It is counted from the last crash."""
    backoff = Backoff()
    for time in (0, 1, 2):
        backoff.crashed(time)
    assert backoff.wait(2.4) == pytest.approx(0.1)
    assert backoff.wait(3) == 0


def test_a_crash_after_a_good_minute_is_a_first_one() -> None:
    """A long back-off is forgotten after a minute without a crash, and not before."""
    for pause, wait in ((59, 1.0), (61, 0.0)):
        backoff = Backoff()
        for time in (0, 1, 2, 2 + pause):
            backoff.crashed(time)
        assert backoff.wait(2 + pause) == wait
