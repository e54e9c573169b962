"""Rules of the supervisor's eye on its workers, and of what makes it replace them."""

import math
import os
from collections.abc import Callable

import pytest

from inference_server.dispatch.poison import FORGET_SECONDS
from inference_server.dispatch.row import WorkerStats
from inference_server.dispatch.stats import SharedStats
from inference_server.supervision import liveness as watch_module
from inference_server.supervision.liveness import HEARTBEAT_SECONDS, Death, HangReport, LivenessMonitor
from inference_server.supervision.recycling import Limits, resident_bytes


class Clock:
    """Stands for the module `time`, and stands still unless a test puts it forward."""

    now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def stats() -> SharedStats:
    """Three slots."""
    return SharedStats(os.memfd_create("stats"), 3)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """By which a liveness goes."""
    made = Clock()
    monkeypatch.setattr(watch_module, "time", made)
    return made


def look_for(seconds: float, liveness: LivenessMonitor, clock: Clock) -> None:
    """Look once a second, as the supervisor does."""
    for _ in range(math.ceil(seconds)):
        clock.now += min(seconds, 1.0)
        seconds -= 1.0
        liveness.look()


def test_no_two_workers_have_the_same_generation(stats: SharedStats) -> None:
    """Not even in the same slot, one after the other, nor in another group."""
    liveness, other = (LivenessMonitor(stats, hang_seconds=5) for _ in range(2))
    given = [
        group.acquire_slot(slot) for group, slot in ((liveness, 0), (other, 1), (liveness, 0), (other, 2))
    ]
    assert len(set(given)) == 4
    assert stats.rows[0].generation == given[2]


def test_a_slot_is_free_when_no_group_has_a_worker_there(stats: SharedStats) -> None:
    """The first of those that may be taken."""
    liveness, other = (LivenessMonitor(stats, hang_seconds=5) for _ in range(2))
    other.acquire_slot(1)
    assert liveness.free_slot(range(3)) == 0
    assert liveness.free_slot(range(1, 3)) == 2
    assert liveness.free_slot(range(1, 2)) is None
    other.release_slot(1)
    assert liveness.free_slot(range(1, 3)) == 1


def test_a_worker_that_beats_and_makes_progress_is_not_hung(stats: SharedStats, clock: Clock) -> None:
    """Nor is one that has nothing to do, however long ago it last had."""
    liveness = LivenessMonitor(stats, hang_seconds=5)
    liveness.acquire_slot(0)
    for _ in range(100):
        stats.rows[0].heartbeat = clock.now
        look_for(1, liveness, clock)
        assert liveness.hang_report(0) is None


def test_no_beat_is_a_hung_event_loop(stats: SharedStats, clock: Clock) -> None:
    """For more than two seconds."""
    liveness = LivenessMonitor(stats, hang_seconds=5)
    liveness.acquire_slot(0)
    look_for(HEARTBEAT_SECONDS, liveness, clock)
    assert liveness.hang_report(0) is None
    look_for(0.1, liveness, clock)
    assert "event loop" in str(liveness.hang_report(0))


def test_a_busy_consumer_without_progress_is_hung(stats: SharedStats, clock: Clock) -> None:
    """For FACET_HANG_SECONDS after it was due, whatever deadline its request has."""
    liveness = LivenessMonitor(stats, hang_seconds=5)
    liveness.acquire_slot(0)
    row = stats.rows[0]
    row.busy = True
    row.show_progress(clock.now, grace=2)
    look_for(7, liveness, clock)
    row.heartbeat = clock.now
    assert liveness.hang_report(0) is None
    look_for(0.1, liveness, clock)
    assert "progress" in str(liveness.hang_report(0))


def test_who_may_hold_the_interpreter_lock_needs_no_beat_while_it_is_busy(
    stats: SharedStats, clock: Clock
) -> None:
    """Its progress alone counts until it is idle again, and its beat from then on."""
    liveness = LivenessMonitor(stats, hang_seconds=30, heartbeat_while_busy=False)
    liveness.acquire_slot(0)
    row = stats.rows[0]
    row.busy = True
    look_for(30, liveness, clock)
    assert liveness.hang_report(0) is None
    row.show_progress(clock.now)
    row.busy = False
    look_for(HEARTBEAT_SECONDS, liveness, clock)
    assert liveness.hang_report(0) is None
    look_for(0.1, liveness, clock)
    assert "event loop" in str(liveness.hang_report(0))


def test_who_may_hold_the_interpreter_lock_is_hung_without_progress(stats: SharedStats, clock: Clock) -> None:
    """As anybody else."""
    liveness = LivenessMonitor(stats, hang_seconds=30, heartbeat_while_busy=False)
    liveness.acquire_slot(0)
    stats.rows[0].busy = True
    look_for(30.1, liveness, clock)
    report = liveness.hang_report(0)
    assert report == HangReport("its consumer has made no progress for 30 s", blame_request=True)


def test_a_worker_that_is_not_ready_in_time_is_hung(stats: SharedStats, clock: Clock) -> None:
    """No request is to blame: it has none."""
    liveness = LivenessMonitor(stats, hang_seconds=5, boot_seconds=20)
    started = clock.now
    look_for(20, liveness, clock)
    assert liveness.boot_report(started) is None
    look_for(0.1, liveness, clock)
    assert liveness.boot_report(started) == HangReport("it was not ready within 20 s", blame_request=False)


def test_a_supervisor_that_was_late_itself_judges_nobody(stats: SharedStats, clock: Clock) -> None:
    """After the machine slept, everybody's last heartbeat is long ago."""
    liveness = LivenessMonitor(stats, hang_seconds=5)
    liveness.acquire_slot(0)
    clock.now += 60
    liveness.look()
    assert liveness.hang_report(0) is None


def test_a_death_tells_what_was_in_flight_and_how_often_it_killed(stats: SharedStats) -> None:
    """Counted until somebody computes it after all."""
    liveness = LivenessMonitor(stats, hang_seconds=5)
    key = b"\x01" * 32
    deaths = []
    for _ in range(2):
        generation = liveness.acquire_slot(1)
        stats.rows[1].in_flight = [key]
        deaths.append(liveness.release_slot(1))
        assert deaths[-1] == Death(1, generation, {key: len(deaths)})
        assert stats.rows[1].generation == 0
        assert stats.poison.deaths(key) == len(deaths)
    liveness.clear_suspect(key)
    assert stats.poison.empty
    liveness.acquire_slot(1)
    assert not liveness.release_slot(1).deaths


def test_what_died_in_a_group_is_forgotten_with_it(stats: SharedStats) -> None:
    """And nothing else."""
    leaving, staying = (LivenessMonitor(stats, hang_seconds=5) for _ in range(2))
    keys = [bytes([number]) * 32 for number in (1, 2, 3)]
    for liveness, key in zip((leaving, leaving, staying), keys, strict=True):
        liveness.acquire_slot(1)
        stats.rows[1].in_flight = [key]
        liveness.release_slot(1)
    leaving.forget_poison()
    assert [stats.poison.deaths(key) for key in keys] == [0, 0, 1]


def test_of_payloads_that_were_in_flight_together_each_becomes_a_suspect_and_none_more(
    stats: SharedStats,
) -> None:
    """Nobody knows which has killed; one that dies alone afterwards is the one."""
    liveness = LivenessMonitor(stats, hang_seconds=5)
    first, second, third = (bytes([number]) * 32 for number in (1, 2, 3))
    for together in ([first, second], [second, third], [second, third]):
        generation = liveness.acquire_slot(2)
        stats.rows[2].in_flight = together
        assert liveness.release_slot(2) == Death(2, generation, dict.fromkeys(together, 1))
    assert [stats.poison.deaths(key) for key in (first, second, third)] == [1, 1, 1]
    liveness.acquire_slot(2)
    stats.rows[2].in_flight = [second]
    assert liveness.release_slot(2).deaths == {second: 2}


def test_deaths_are_forgotten_though_nobody_dies_any_more(stats: SharedStats, clock: Clock) -> None:
    """By looking; so a machine whose last crash was long ago computes no key for nothing."""
    liveness = LivenessMonitor(stats, hang_seconds=5)
    stats.poison.record_death(b"\x01" * 32, clock.now)
    look_for(FORGET_SECONDS, liveness, clock)
    assert not stats.poison.empty
    look_for(1, liveness, clock)
    assert stats.poison.empty


def test_a_death_is_recorded_before_its_row_is_cleared(
    stats: SharedStats, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who sees the row gone sees the death."""
    counted = []
    clear = WorkerStats.clear

    def look(row: WorkerStats) -> None:
        counted.append(stats.poison.deaths(b"\x01" * 32))
        clear(row)

    liveness = LivenessMonitor(stats, hang_seconds=5)
    liveness.acquire_slot(1)
    stats.rows[1].in_flight = [b"\x01" * 32]
    monkeypatch.setattr(WorkerStats, "clear", look)
    liveness.release_slot(1)
    assert counted == [1]


def first_report(
    liveness: LivenessMonitor, clock: Clock, tick: float, work: Callable[[], None]
) -> HangReport:
    """The first report on slot 1, looking at each tick, with work between."""
    for _ in range(100):
        clock.now += tick
        work()
        liveness.look()
        report = liveness.hang_report(1)
        if report is not None:
            return report
    raise AssertionError("it never was in trouble")


def nothing() -> None:
    """What a frozen process does."""


TICKS = pytest.mark.parametrize("tick", [0.1, 0.5, 0.7, 1.4])


@TICKS
@pytest.mark.parametrize("grace", [0.0, 0.4, 1.9, 10.0])
@pytest.mark.parametrize("before", [(0.0, 0.15), (0.24, 0.0), (0.24, 0.24), (0.4, 0.0)])
def test_a_process_that_is_frozen_with_a_picture_in_flight_blames_it(
    stats: SharedStats, clock: Clock, tick: float, grace: float, before: tuple[float, float]
) -> None:
    """As one that dumps its core, in detection or in decoding, in which it may show no progress for long."""
    liveness = LivenessMonitor(stats, hang_seconds=60)
    liveness.acquire_slot(1)
    row = stats.rows[1]
    row.busy, row.heartbeat = True, clock.now - before[0]
    row.show_progress(clock.now - before[1], grace)
    report = first_report(liveness, clock, tick, nothing)
    assert "event loop" in report.reason
    assert report.blame_request


@TICKS
@pytest.mark.parametrize("grace", [0.0, 0.4, 10.0])
def test_an_event_loop_that_is_hung_alone_blames_no_picture(
    stats: SharedStats, clock: Clock, tick: float, grace: float
) -> None:
    """Its consumer goes on, with the next step or with the next picture."""
    liveness = LivenessMonitor(stats, hang_seconds=60)
    liveness.acquire_slot(1)
    row = stats.rows[1]

    def step() -> None:
        row.busy = True
        row.show_progress(clock.now, grace)

    step()
    report = first_report(liveness, clock, tick, step)
    assert "event loop" in report.reason
    assert not report.blame_request


def test_a_process_without_a_picture_in_flight_blames_none(stats: SharedStats, clock: Clock) -> None:
    """However it is frozen."""
    liveness = LivenessMonitor(stats, hang_seconds=60)
    liveness.acquire_slot(1)
    assert not first_report(liveness, clock, 0.5, nothing).blame_request


def test_progress_before_the_machine_stood_still_is_none_after_it(stats: SharedStats, clock: Clock) -> None:
    """Who looked late begins anew: with the progress that is made after it."""
    liveness = LivenessMonitor(stats, hang_seconds=60)
    liveness.acquire_slot(1)
    row = stats.rows[1]
    row.busy = True
    row.show_progress(clock.now)
    look_for(1, liveness, clock)
    row.show_progress(clock.now)
    clock.now += 600
    liveness.look()
    assert liveness.hang_report(1) is None
    assert first_report(liveness, clock, 0.5, nothing).blame_request


def test_what_a_worker_in_the_same_slot_did_is_not_held_against_the_next(
    stats: SharedStats, clock: Clock
) -> None:
    """Each has a last heartbeat of its own."""
    liveness = LivenessMonitor(stats, hang_seconds=60)
    liveness.acquire_slot(1)
    look_for(3, liveness, clock)
    liveness.release_slot(1)
    liveness.acquire_slot(1)
    row = stats.rows[1]
    row.busy = True
    row.show_progress(clock.now, grace=1)
    assert first_report(liveness, clock, 1.4, nothing).blame_request


@pytest.mark.parametrize(
    ("limits", "reached"),
    [
        (Limits(), None),
        (Limits(requests=101, seconds=61, memory_bytes=2**50), None),
        (Limits(requests=100), "100 requests"),
        (Limits(seconds=60), "60 s"),
        (Limits(memory_bytes=1), "bytes of memory"),
    ],
)
def test_a_worker_is_due_when_it_has_reached_a_limit(limits: Limits, reached: str | None) -> None:
    """Requests, age or memory; 0 is no limit."""
    said = limits.reached(os.getpid(), requests=100, seconds=60)
    assert (said is None) == (reached is None)
    assert reached is None or reached in str(said)


@pytest.mark.parametrize(("requests", "seconds"), [(0, 3600), (1000, 59)])
def test_a_worker_that_is_new_or_had_no_request_is_not_due_for_its_memory(
    requests: int, seconds: float
) -> None:
    """It has no more than it needs, and the next one would have the same."""
    assert Limits(memory_bytes=1).reached(os.getpid(), requests=requests, seconds=seconds) is None


def test_a_worker_that_was_ended_for_another_reason_blames_no_picture(stats: SharedStats) -> None:
    """Its grace was over, or its event loop hung: what its consumer had in flight is innocent."""
    liveness = LivenessMonitor(stats, hang_seconds=5)
    liveness.acquire_slot(1)
    stats.rows[1].in_flight = [b"\x01" * 32]
    assert not liveness.release_slot(1, blame_request=False).deaths
    assert stats.poison.empty


def test_limits_differ_a_little_from_worker_to_worker() -> None:
    """So that not all are due in the same moment."""
    drawn = {Limits(requests=10_000).jittered().requests for _ in range(20)}
    assert len(drawn) > 1
    assert all(9_000 <= requests <= 11_000 for requests in drawn)
    assert Limits().jittered() == Limits()


def test_the_memory_of_a_process_that_is_gone_is_none() -> None:
    """And that of this one is some."""
    assert resident_bytes(os.getpid()) > 2**20
    assert resident_bytes(2**22 + 1) == 0
