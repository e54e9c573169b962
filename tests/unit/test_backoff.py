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
        backoff.crashed(time, started=time)
    assert backoff.wait(crashes[-1] if crashes else 0.0) == wait


def test_waiting_makes_the_wait_shorter() -> None:
    """It is counted from the last crash."""
    backoff = Backoff()
    for time in (0, 1, 2):
        backoff.crashed(time, started=time)
    assert backoff.wait(2.4) == pytest.approx(0.1)
    assert backoff.wait(3) == 0


def test_a_crash_after_a_good_minute_is_a_first_one() -> None:
    """A long back-off is forgotten after a minute without a crash, and not before."""
    for pause, wait in ((59, 1.0), (61, 0.0)):
        backoff = Backoff()
        for time in (0, 1, 2, 2 + pause):
            backoff.crashed(time, started=time)
        assert backoff.wait(2 + pause) == wait


def test_workers_that_die_together_crashed_once() -> None:
    """Nor does it count when more of those die that were started before the first did."""
    backoff = Backoff()
    for time in (100.0, 100.0, 100.1, 100.2, 105.0, 120.0):
        backoff.crashed(time, started=50.0)
        assert backoff.wait(time) == 0


def test_workers_that_crash_again_and_again_beside_each_other_are_delayed_like_one() -> None:
    """Whether they crash in the same moments or between each other's."""
    for offset in (0.0, 0.5):
        backoff = Backoff()
        waits = []
        for time in range(1, 6):
            for crash in (float(time), time + offset):
                backoff.crashed(crash, started=crash - 0.9)
            waits.append(backoff.wait(time))
        assert waits == [0.0, 0.0, 0.5, 1.0, 2.0]


def test_a_minute_is_no_good_one_when_anything_crashed_in_it() -> None:
    """Also a worker that was started before, whose crash does not count else."""
    backoff = Backoff()
    for time in (0, 1, 2):
        backoff.crashed(time, started=time)
    backoff.crashed(50, started=-100)
    backoff.crashed(70, started=60)
    assert backoff.wait(70) == 1.0
