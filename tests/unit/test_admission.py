"""Rules of what may wait."""

import math
import os
import time

import pytest

from inference_server.dispatch.admission import (
    MAX_WAITING,
    MAX_WAITING_BYTES,
    Load,
    QueueLoad,
    ewma,
)
from inference_server.dispatch.stats import SharedStats
from utils.errors import DeadlineExceeded, QueueFull

ONE = Load(1, 100_000, 1.0)


def machine(count: int, cost: float, *, consumers: int = 2, rate: float = 0.5, size: int = 0) -> QueueLoad:
    """Consumers that need so many seconds for a unit of cost, and have so much waiting."""
    return QueueLoad(Load(count, size, cost), consumers, rate)


def test_a_request_is_accepted_while_its_predicted_wait_is_short_enough() -> None:
    """The wait is the cost of what is ahead, times the seconds that a unit takes, shared by all workers."""
    machine(8, 8.0).admit(ONE, remaining=60, longest_wait=2)
    with pytest.raises(QueueFull):
        machine(9, 9.0).admit(ONE, remaining=60, longest_wait=2)
    machine(9, 9.0, consumers=4).admit(ONE, remaining=60, longest_wait=2)


def test_there_is_no_wait_while_a_worker_is_idle() -> None:
    """However costly the request is that keeps another one busy."""
    machine(1, 25.0).admit(ONE, remaining=0.6, longest_wait=2)


def test_a_full_queue_says_when_there_will_be_room() -> None:
    """The excess over the limit, in seconds; never so short that the caller comes at once."""
    with pytest.raises(QueueFull) as caught:
        machine(20, 20.0).admit(ONE, remaining=60, longest_wait=2)
    assert caught.value.retry_after == pytest.approx(3.0)
    with pytest.raises(QueueFull) as caught:
        machine(MAX_WAITING, 1.0, rate=0.001).admit(ONE, remaining=60, longest_wait=2)
    assert caught.value.retry_after == pytest.approx(0.1)


def test_what_waits_is_bounded_by_count_and_by_bytes_before_anything_is_learned() -> None:
    """A new machine has no prediction, and bounded memory all the same."""
    machine(MAX_WAITING - 1, 1e6, rate=0.0).admit(ONE, remaining=60, longest_wait=2)
    for full in (machine(MAX_WAITING, 0.0, rate=0.0), machine(3, 0.0, rate=0.0, size=MAX_WAITING_BYTES)):
        with pytest.raises(QueueFull):
            full.admit(ONE, remaining=60, longest_wait=2)


def test_a_full_machine_is_full_whatever_a_request_costs() -> None:
    """So it refuses before it has looked at one: nothing is as cheap."""
    unseen = Load(1, 100_000)
    machine(8, 8.0).admit(unseen, remaining=60, longest_wait=2)
    for full in (machine(9, 9.0), machine(MAX_WAITING, 0.0), machine(3, 0.0, size=MAX_WAITING_BYTES)):
        with pytest.raises(QueueFull):
            full.admit(unseen, remaining=60, longest_wait=2)
    with pytest.raises(DeadlineExceeded):
        machine(9, 9.0).admit(unseen, remaining=2.8, longest_wait=math.inf)


def test_a_request_whose_own_time_decides_waits_as_long_as_that_allows() -> None:
    """But never where memory for it is not there."""
    machine(80, 80.0).admit(ONE, remaining=60, longest_wait=math.inf)
    with pytest.raises(DeadlineExceeded):
        machine(200, 200.0).admit(ONE, remaining=60, longest_wait=math.inf)
    for full in (machine(MAX_WAITING, 0.0), machine(3, 0.0, size=MAX_WAITING_BYTES)):
        with pytest.raises(QueueFull, match="fewer requests at once"):
            full.admit(ONE, remaining=60, longest_wait=math.inf)


def test_a_refusal_says_what_was_predicted_and_what_helps() -> None:
    """Seconds on both sides, and each lever by its name."""
    with pytest.raises(QueueFull, match=r"about 5\.0 s; .* at most 2 s") as full:
        machine(20, 20.0).admit(ONE, remaining=60, longest_wait=2)
    with pytest.raises(
        DeadlineExceeded, match=r"about 6\.75 s, 6\.25 s of them waiting, and has 4\.00 s"
    ) as late:
        machine(20, 20.0).admit(ONE, remaining=4, longest_wait=math.inf)
    for refusal in (full.value, late.value):
        for lever in ("X-Request-Timeout", "gRPC deadline", "client's timeout", "smaller request"):
            assert lever in refusal.detail


def test_a_request_that_is_late_for_the_wait_alone_is_told_when_to_come_back() -> None:
    """When the wait has become short enough; where its own work takes too long, no delay helps."""
    with pytest.raises(DeadlineExceeded) as caught:
        machine(20, 20.0).admit(ONE, remaining=4, longest_wait=math.inf)
    assert caught.value.retry_after == pytest.approx(2.75)
    with pytest.raises(DeadlineExceeded) as caught:
        machine(20, 20.0).admit(ONE, remaining=0.4, longest_wait=math.inf)
    assert caught.value.retry_after is None


def test_a_request_that_cannot_be_done_in_time_is_refused_at_once() -> None:
    """Its own time counts, not only that of what is ahead."""
    machine(1, 1.0).admit(ONE, remaining=0.6, longest_wait=2)
    for busy, remaining in ((machine(1, 1.0), 0.4), (machine(4, 4.0), 1.4), (machine(0, 0.0), -1.0)):
        with pytest.raises(DeadlineExceeded):
            busy.admit(ONE, remaining=remaining, longest_wait=2)


def test_an_idle_machine_tries_what_it_believes_to_be_hopeless() -> None:
    """Where it has computed nothing for a second: it may be wrong, and who never tries never unlearns."""
    QueueLoad(Load(), 2, rate=100.0, quiet=1.1).admit(ONE, remaining=0.4, longest_wait=2)
    for sure in (QueueLoad(Load(), 2, 100.0, quiet=0.9), QueueLoad(Load(1, 1, 0.1), 2, 100.0, quiet=1.1)):
        with pytest.raises(DeadlineExceeded):
            sure.admit(ONE, remaining=0.4, longest_wait=2)


def test_the_prediction_follows_what_was_measured() -> None:
    """A moving average: one slow request moves it little, many move it all the way."""
    rate = ewma(0.0, 0.1, 1.0)
    assert rate == pytest.approx(0.1)
    rate = ewma(rate, 0.3, 1.0)
    assert rate == pytest.approx(0.12)
    for _ in range(100):
        rate = ewma(rate, 1.1, 1.0)
    assert rate == pytest.approx(1.1, rel=0.01)


def test_a_machine_that_stood_still_teaches_little() -> None:
    """One small request that took a minute says nothing about others; many slow ones are believed soon."""
    rate = ewma(0.1, 60.0, 0.1)
    assert rate == pytest.approx(0.13)
    for _ in range(30):
        rate = ewma(rate, 10.0, 1.0)
    assert rate > 5
    assert ewma(rate, 0.1, 1.0) == pytest.approx(0.4)  # one that is quick proves the rest wrong


def test_the_machine_is_the_sum_of_its_living_workers() -> None:
    """What each has accepted, how many take work (one is booting), and what they learned."""
    stats = SharedStats(os.memfd_create("stats"), 4)
    for slot, (waiting, rate) in enumerate([((2, 10, 3.0), 0.2), ((1, 5, 1.0), 0.4), ((0, 0, 0.0), 0.0)]):
        row = stats.rows[slot]
        row.assign(slot + 1, time.monotonic())
        row.consuming = 0 if slot < 2 else None
        row.add_waiting(0, *waiting)
        row.rate = rate
    stats.rows[3].add_waiting(0, 9, 9, 9.0)
    stats.rows[3].clear()  # its worker is dead
    seen = QueueLoad.snapshot(stats)
    assert (seen.waiting, seen.consumers) == (Load(3, 15, 4.0), 2)
    assert seen.rate == pytest.approx(0.8 / 3)  # together a unit in 0.4 s / 3, by two


def test_queues_share_the_limit_of_bytes_and_nothing_else() -> None:
    """Each is predicted by its own requests, consumers, rates and progress; memory is the machine's."""
    stats = SharedStats(os.memfd_create("stats"), 1, model_slots=2, queues=2)
    for slot, (queue, rate) in enumerate([(0, 0.1), (1, 100.0), (1, 300.0)]):
        row = stats.rows[slot]
        row.assign(slot + 1, time.monotonic() - 60 * (1 - queue))
        row.consuming, row.rate = queue, rate
    stats.rows[0].add_waiting(1, 3 * MAX_WAITING, 30, 1500.0)
    own, other = QueueLoad.snapshot(stats, 0), QueueLoad.snapshot(stats, 1)
    assert (own.waiting, own.consumers) == (Load(0, 30, 0.0), 1)
    assert own.rate == pytest.approx(0.1)
    assert own.quiet >= 60
    assert (other.waiting, other.consumers) == (Load(3 * MAX_WAITING, 30, 1500.0), 2)
    assert other.rate == pytest.approx(150.0)
    own.admit(ONE, remaining=0.2, longest_wait=0.1)
    stats.rows[0].add_waiting(1, 1, MAX_WAITING_BYTES, 1.0)
    with pytest.raises(QueueFull):
        QueueLoad.snapshot(stats, 0).admit(ONE, remaining=60, longest_wait=math.inf)
