"""Rules of the supervisor's eye on its workers, and of what makes it replace them."""

import math
import os
from collections.abc import Callable

import pytest

from inference_server.dispatch.page import Page, Row
from inference_server.dispatch.poison import FORGET_SECONDS
from inference_server.supervision import watch as watch_module
from inference_server.supervision.recycling import Limits, resident_bytes
from inference_server.supervision.watch import BEAT_SECONDS, Death, HangReport, Watch


class Clock:
    """Stands for the module `time`, and stands still unless a test puts it forward."""

    now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def page() -> Page:
    """Three slots."""
    return Page(os.memfd_create("page"), 3)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """By which a watch goes."""
    made = Clock()
    monkeypatch.setattr(watch_module, "time", made)
    return made


def look_for(seconds: float, watch: Watch, clock: Clock) -> None:
    """Look once a second, as the supervisor does."""
    for _ in range(math.ceil(seconds)):
        clock.now += min(seconds, 1.0)
        seconds -= 1.0
        watch.look()


def test_no_two_workers_have_the_same_generation(page: Page) -> None:
    """Not even in the same slot, one after the other."""
    watch = Watch(page, hang_seconds=5)
    given = [watch.acquire_slot(slot) for slot in (0, 1, 0, 2)]
    assert len(set(given)) == 4
    assert page.rows[0].generation == given[2]


def test_a_worker_that_beats_and_makes_progress_is_not_hung(page: Page, clock: Clock) -> None:
    """Nor is one that has nothing to do, however long ago it last had."""
    watch = Watch(page, hang_seconds=5)
    watch.acquire_slot(0)
    for _ in range(100):
        page.rows[0].beat = clock.now
        look_for(1, watch, clock)
        assert watch.hang_report(0) is None


def test_no_beat_is_a_hung_event_loop(page: Page, clock: Clock) -> None:
    """For more than two seconds."""
    watch = Watch(page, hang_seconds=5)
    watch.acquire_slot(0)
    look_for(BEAT_SECONDS, watch, clock)
    assert watch.hang_report(0) is None
    look_for(0.1, watch, clock)
    assert "event loop" in str(watch.hang_report(0))


def test_a_busy_detector_without_progress_is_hung(page: Page, clock: Clock) -> None:
    """For FACET_HANG_SECONDS after it was due, whatever deadline its request has."""
    watch = Watch(page, hang_seconds=5)
    watch.acquire_slot(0)
    row = page.rows[0]
    row.busy = True
    row.show_progress(clock.now, grace=2)
    look_for(7, watch, clock)
    row.beat = clock.now
    assert watch.hang_report(0) is None
    look_for(0.1, watch, clock)
    assert "progress" in str(watch.hang_report(0))


def test_a_supervisor_that_was_late_itself_judges_nobody(page: Page, clock: Clock) -> None:
    """After the machine slept, everybody's last beat is long ago."""
    watch = Watch(page, hang_seconds=5)
    watch.acquire_slot(0)
    clock.now += 60
    watch.look()
    assert watch.hang_report(0) is None


def test_a_death_tells_what_was_in_hand_and_how_often_it_killed(page: Page) -> None:
    """Counted until somebody computes it after all."""
    watch = Watch(page, hang_seconds=5)
    key = b"\x01" * 32
    deaths = []
    for _ in range(2):
        generation = watch.acquire_slot(1)
        page.rows[1].key = key
        deaths.append(watch.release_slot(1))
        assert deaths[-1] == Death(1, generation, key, len(deaths))
        assert page.rows[1].generation == 0
        assert page.poison.deaths(key) == len(deaths)
    watch.clear_suspect(key)
    assert page.poison.empty
    watch.acquire_slot(1)
    assert watch.release_slot(1).key is None


def test_deaths_are_forgotten_though_nobody_dies_any_more(page: Page, clock: Clock) -> None:
    """By looking; so a machine whose last crash was long ago computes no key for nothing."""
    watch = Watch(page, hang_seconds=5)
    page.poison.record_death(b"\x01" * 32, clock.now)
    look_for(FORGET_SECONDS, watch, clock)
    assert not page.poison.empty
    look_for(1, watch, clock)
    assert page.poison.empty


def test_a_death_is_recorded_before_its_row_is_cleared(page: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who sees the row gone sees the death."""
    counted = []
    clear = Row.clear

    def look(row: Row) -> None:
        counted.append(page.poison.deaths(b"\x01" * 32))
        clear(row)

    watch = Watch(page, hang_seconds=5)
    watch.acquire_slot(1)
    page.rows[1].key = b"\x01" * 32
    monkeypatch.setattr(Row, "clear", look)
    watch.release_slot(1)
    assert counted == [1]


def first_report(watch: Watch, clock: Clock, tick: float, work: Callable[[], None]) -> HangReport:
    """What the watch says when it first says something of slot 1, looking at each tick, with work between."""
    for _ in range(100):
        clock.now += tick
        work()
        watch.look()
        report = watch.hang_report(1)
        if report is not None:
            return report
    raise AssertionError("it never was in trouble")


def nothing() -> None:
    """What a frozen process does."""


TICKS = pytest.mark.parametrize("tick", [0.1, 0.5, 0.7, 1.4])


@TICKS
@pytest.mark.parametrize("grace", [0.0, 0.4, 1.9, 10.0])
@pytest.mark.parametrize("before", [(0.0, 0.15), (0.24, 0.0), (0.24, 0.24), (0.4, 0.0)])
def test_a_process_that_is_frozen_with_a_picture_in_hand_blames_it(
    page: Page, clock: Clock, tick: float, grace: float, before: tuple[float, float]
) -> None:
    """As one that dumps its core, in detection or in decoding, in which it may show no progress for long."""
    watch = Watch(page, hang_seconds=60)
    watch.acquire_slot(1)
    row = page.rows[1]
    row.busy, row.beat = True, clock.now - before[0]
    row.show_progress(clock.now - before[1], grace)
    report = first_report(watch, clock, tick, nothing)
    assert "event loop" in report.reason
    assert report.blame_request


@TICKS
@pytest.mark.parametrize("grace", [0.0, 0.4, 10.0])
def test_an_event_loop_that_is_hung_alone_blames_no_picture(
    page: Page, clock: Clock, tick: float, grace: float
) -> None:
    """Its detector goes on, with the next step or with the next picture."""
    watch = Watch(page, hang_seconds=60)
    watch.acquire_slot(1)
    row = page.rows[1]

    def step() -> None:
        row.busy = True
        row.show_progress(clock.now, grace)

    step()
    report = first_report(watch, clock, tick, step)
    assert "event loop" in report.reason
    assert not report.blame_request


def test_a_process_without_a_picture_in_hand_blames_none(page: Page, clock: Clock) -> None:
    """However it is frozen."""
    watch = Watch(page, hang_seconds=60)
    watch.acquire_slot(1)
    assert not first_report(watch, clock, 0.5, nothing).blame_request


def test_progress_before_the_machine_stood_still_is_none_after_it(page: Page, clock: Clock) -> None:
    """Who looked late begins anew: with the progress that is made after it."""
    watch = Watch(page, hang_seconds=60)
    watch.acquire_slot(1)
    row = page.rows[1]
    row.busy = True
    row.show_progress(clock.now)
    look_for(1, watch, clock)
    row.show_progress(clock.now)
    clock.now += 600
    watch.look()
    assert watch.hang_report(1) is None
    assert first_report(watch, clock, 0.5, nothing).blame_request


def test_what_a_worker_in_the_same_slot_did_is_not_held_against_the_next(page: Page, clock: Clock) -> None:
    """Each has a last beat of its own."""
    watch = Watch(page, hang_seconds=60)
    watch.acquire_slot(1)
    look_for(3, watch, clock)
    watch.release_slot(1)
    watch.acquire_slot(1)
    row = page.rows[1]
    row.busy = True
    row.show_progress(clock.now, grace=1)
    assert first_report(watch, clock, 1.4, nothing).blame_request


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


def test_a_worker_that_was_ended_for_another_reason_blames_no_picture(page: Page) -> None:
    """Its grace was over, or its event loop hung: what its detector had in hand is innocent."""
    watch = Watch(page, hang_seconds=5)
    watch.acquire_slot(1)
    page.rows[1].key = b"\x01" * 32
    assert watch.release_slot(1, blame_request=False).key is None
    assert page.poison.empty


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
