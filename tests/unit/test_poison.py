"""Rules of payloads that may kill: how many workers have one in flight, and how long it is remembered."""

import hashlib
import os
import sys
import time
from collections.abc import Callable
from types import FrameType
from typing import Any

import pytest

from inference_server.dispatch import poison
from inference_server.dispatch.poison import ENTRIES, FORGET_SECONDS, TABLE_BYTES, PoisonGuard, PoisonTable
from inference_server.dispatch.stats import SharedStats
from inference_server.supervision.liveness import LivenessMonitor
from utils.errors import WorkerCrashed


def key(number: int) -> bytes:
    """The key of some payload."""
    return hashlib.sha256(b"%d" % number).digest()


KEY, OTHER = key(1), key(2)


class Ward:
    """Four workers on one stats, the first of them ours; the others have a payload in flight."""

    def __init__(self, *in_hand: bytes) -> None:
        self.stats = SharedStats(os.memfd_create("stats"), 4)
        self.liveness = LivenessMonitor(self.stats, hang_seconds=60)
        self.guard = PoisonGuard(self.stats, 0)
        for slot in range(4):
            self.liveness.acquire_slot(slot)
            self.stats.rows[slot].consuming = 0
        for row, held in zip(self.stats.rows[1:], in_hand, strict=False):
            row.in_flight = [held]

    def enters(self) -> bool:
        """Whether it takes the payload in flight; if not, nothing is in flight that could be blamed."""
        entered = self.guard.enter(KEY)
        assert self.stats.rows[0].in_flight == [KEY] * entered
        return entered

    def blame(self) -> None:
        """Record a death by the payload."""
        self.stats.poison.record_death(KEY, time.monotonic())


def table() -> PoisonTable:
    """An empty one."""
    return PoisonTable(memoryview(bytearray(TABLE_BYTES)))


def test_a_new_payload_is_in_the_hands_of_two_workers_at_most() -> None:
    """The third may have it when one of them has put it down."""
    assert Ward().enters()
    assert Ward(KEY, OTHER, OTHER).enters()
    ward = Ward(KEY, KEY)
    assert not ward.enters()
    ward.stats.rows[2].in_flight = []
    assert ward.enters()


def test_a_payload_that_another_worker_has_computed_is_trusted() -> None:
    """However often the others take the same one: a flood of one picture is worked off by all."""
    ward = Ward(KEY, KEY)
    ward.stats.rows[1].note_computed(OTHER)
    assert not ward.enters()
    ward.stats.rows[1].note_computed(KEY)
    assert ward.enters()
    ward.stats.rows[1].note_computed(OTHER)
    assert ward.enters()


def test_a_payload_that_this_worker_has_computed_is_trusted_and_the_others_see_it() -> None:
    """It has shown that it does not kill."""
    ward = Ward(KEY, KEY, KEY)
    assert not ward.guard.note_computed(KEY)
    assert ward.enters()
    assert PoisonGuard(ward.stats, 1).enter(KEY)


def test_a_payload_that_was_computed_is_a_suspect_like_any_other_after_a_death() -> None:
    """Whatever was known of it before."""
    ward = Ward(KEY)
    ward.guard.note_computed(KEY)
    ward.blame()
    assert not ward.enters()
    ward.stats.rows[1].in_flight = []
    assert ward.enters()
    assert ward.guard.note_computed(KEY)  # who computes a suspect knows that it was one


def test_a_poison_in_two_hands_is_never_in_a_third() -> None:
    """Not after one of them died of it, and after the other did it is refused."""
    ward = Ward(KEY, KEY)
    ward.liveness.release_slot(1)
    assert not ward.enters()
    ward.liveness.release_slot(2)
    with pytest.raises(WorkerCrashed):
        ward.enters()
    assert ward.stats.rows[0].in_flight == []


def test_payloads_are_in_flight_together_unless_one_is_a_suspect_or_at_two_others() -> None:
    """Such ones are left out; for none of the rest is there a moment at which it is missing."""
    ward = Ward(KEY, KEY)
    ward.stats.poison.record_death(OTHER, time.monotonic())
    fresh = [key(100), key(101)]
    ward.guard.note_computed(key(102))
    assert ward.guard.enter_together([KEY, fresh[0], OTHER, fresh[1], key(102)]) == {*fresh, key(102)}
    assert ward.stats.rows[0].in_flight == [*fresh, key(102)]
    ward.guard.leave()
    assert ward.stats.rows[0].in_flight == []


def test_a_payload_that_comes_twice_in_a_batch_is_in_flight_once() -> None:
    """Its death is counted once."""
    ward = Ward()
    assert ward.guard.enter_together([KEY, KEY, OTHER]) == {KEY, OTHER}
    assert ward.stats.rows[0].in_flight == [KEY, OTHER]
    assert ward.guard.enter_together([KEY, KEY]) == {KEY}
    assert ward.liveness.release_slot(0).deaths == {KEY: 1}


def test_a_payload_anywhere_in_the_batches_of_two_others_is_not_taken() -> None:
    """Not only one that is the first of them."""
    ward = Ward()
    for slot, held in ((1, [OTHER, KEY]), (2, [key(7), key(8), KEY])):
        ward.stats.rows[slot].in_flight = held
    assert not ward.enters()
    assert ward.guard.enter_together([KEY, OTHER]) == {OTHER}
    ward.stats.rows[2].drop(KEY)
    assert ward.enters()


def test_a_consumer_of_another_queue_is_not_asked() -> None:
    """Its payloads are for another model."""
    ward = Ward(KEY, KEY)
    ward.stats.rows[1].consuming = 1
    assert ward.enters()


def at_line(number: int, act: Callable[[], object], run: Callable[[], object]) -> tuple[object, bool]:
    """Act before a line that `run` executes in poison.py, by its number; gives its result, and if it did."""
    lines, last = 0, (sys._getframe(), 0)

    def trace(frame: FrameType, event: str, _argument: object) -> Any:  # noqa: ANN401 - as in typeshed
        nonlocal lines, last
        if frame.f_code.co_filename != poison.__file__:
            return None
        here = (frame, frame.f_lineno)
        if event == "line" and here != last:
            lines, last = lines + 1, here
            if lines == number:
                act()
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        return run(), lines >= number
    finally:
        sys.settrace(before)


@pytest.mark.parametrize(("in_hand", "deaths"), [((KEY, KEY), 0), ((KEY,), 1)])
def test_a_death_while_a_worker_looks_is_overlooked_by_none(in_hand: tuple[bytes, ...], deaths: int) -> None:
    """Wherever it comes between the lines: the dead one's row, or its death in the table, is seen."""
    number, happened = 0, True
    while happened:
        number += 1
        ward = Ward(*in_hand)
        for _ in range(deaths):
            ward.blame()

        def enters(guard: PoisonGuard = ward.guard) -> bool:
            try:
                return guard.enter(KEY)
            except WorkerCrashed:
                return False

        entered, happened = at_line(number, lambda ward=ward: ward.liveness.release_slot(1), enters)  # type: ignore[misc]
        assert not entered
        assert ward.stats.rows[0].in_flight == []
    assert number > 10


def test_of_two_that_look_at_the_same_time_one_at_most_has_the_last_place() -> None:
    """Wherever the other one comes between the lines; both may step back, and try again."""
    number, happened = 0, True
    while happened:
        number += 1
        ward, other = Ward(KEY), list[bool]()
        second = PoisonGuard(ward.stats, 2)
        entered, happened = at_line(
            number,
            lambda second=second, other=other: other.append(second.enter(KEY)),  # type: ignore[misc]
            lambda guard=ward.guard: guard.enter(KEY),  # type: ignore[misc]
        )
        assert [entered, *other].count(True) <= 1
    assert number > 5


@pytest.mark.parametrize(("in_hand", "deaths"), [((KEY, KEY), 0), ((KEY,), 0), ((), 1)])
def test_no_death_and_no_other_is_overlooked_while_a_batch_is_entered(
    in_hand: tuple[bytes, ...], deaths: int
) -> None:
    """Wherever either comes between the lines; and what is in flight already stays so."""
    number, happened = 0, True
    while happened:
        number += 1
        ward, other = Ward(*in_hand), list[bool]()
        for _ in range(deaths):
            ward.blame()
        second = PoisonGuard(ward.stats, 3)

        def act(ward: Ward = ward, other: list[bool] = other, second: PoisonGuard = second) -> None:
            if in_hand == (KEY, KEY):
                ward.liveness.release_slot(1)
            else:
                other.append(second.enter(KEY))

        entered, happened = at_line(
            number,
            act,
            lambda guard=ward.guard: guard.enter_together([OTHER, KEY]),  # type: ignore[misc]
        )
        assert isinstance(entered, set)
        assert OTHER in entered
        assert [KEY in entered, *other].count(True) <= 1
        assert not (in_hand == (KEY, KEY) and KEY in entered)
    assert number > 10


def test_a_reader_sees_a_whole_entry_or_none_while_another_takes_its_place() -> None:
    """At every line of the writer, and with the writer at every line of the reader."""

    def filled() -> PoisonTable:
        made = table()
        for _ in range(2):
            made.record_death(KEY, 1.0)
        for number in range(ENTRIES - 1):
            made.record_death(key(100 + number), 2.0)
        return made

    number, happened = 0, True
    while happened:
        number += 1
        known, seen = filled(), list[tuple[int, int]]()
        _, happened = at_line(
            number,
            lambda known=known, seen=seen: seen.append((known.deaths(KEY), known.deaths(OTHER))),  # type: ignore[misc]
            lambda known=known: known.record_death(OTHER, 3.0),  # type: ignore[misc]
        )
        assert set(seen) <= {(2, 0), (0, 0), (0, 1)}
        known = filled()
        deaths, _ = at_line(
            number,
            lambda known=known: known.record_death(OTHER, 3.0),  # type: ignore[misc]
            lambda known=known: known.deaths(KEY),  # type: ignore[misc]
        )
        assert deaths in {0, 2}
    assert number > 10


def test_a_table_is_seen_by_all_that_map_it() -> None:
    """Also by a worker that is started after a death."""
    ward = Ward()
    descriptor = os.memfd_create("stats")
    stats, same = SharedStats(descriptor, 4), SharedStats(descriptor, 4)
    stats.poison.record_death(KEY, 1.0)
    assert same.poison.deaths(KEY) == 1
    stats.poison.clear(KEY)
    assert same.poison.empty
    assert ward.stats.poison.empty


def test_a_thousand_computed_payloads_are_remembered() -> None:
    """The oldest make room; one that comes again is not old."""
    ward = Ward(KEY, KEY)
    ward.guard.note_computed(KEY)
    for number in range(999):
        ward.guard.note_computed(key(100 + number))
    assert ward.enters()
    ward.guard.note_computed(OTHER)
    assert not ward.enters()


def test_deaths_are_forgotten_after_ten_minutes() -> None:
    """A payload that was refused is tried again, and two more deaths are needed."""
    known = table()
    assert known.record_death(KEY, 1.0) == 1
    known.refuse(KEY)
    assert known.record_death(KEY, 2.0) == 2
    known.expire(FORGET_SECONDS + 2)
    with pytest.raises(WorkerCrashed):
        known.refuse(KEY)
    assert known.record_death(KEY, FORGET_SECONDS + 2.1) == 1
    known.refuse(KEY)
    known.expire(2 * FORGET_SECONDS + 3)
    assert known.empty


def test_a_payload_that_was_computed_after_all_is_forgotten() -> None:
    """It and no other; and its entry is free for the next."""
    known = table()
    for number in range(ENTRIES):
        known.record_death(key(number), 1.0 + number)
    known.clear(key(7))
    known.clear(key(7))
    assert known.deaths(key(7)) == 0
    known.record_death(key(ENTRIES), 500.0)
    assert [number for number in range(ENTRIES + 1) if not known.deaths(key(number))] == [7]
    for number in range(ENTRIES + 1):
        assert not known.empty
        known.clear(key(number))
    assert known.empty


def test_as_many_payloads_are_known_as_there_is_room_for() -> None:
    """The one whose last death is oldest makes room, however many it had."""
    known = table()
    for number in range(ENTRIES):
        known.record_death(key(number), 1.0 + number)
    known.record_death(key(0), 500.0)
    known.record_death(key(ENTRIES), 501.0)
    assert known.deaths(key(0)) == 2
    assert known.deaths(key(1)) == 0
    assert known.deaths(key(2)) == known.deaths(key(ENTRIES)) == 1


def test_a_death_in_company_makes_a_suspect_and_never_more() -> None:
    """Whatever was known before."""
    known = table()
    for _ in range(3):
        assert known.record_death(KEY, 1.0, alone=False) == 1
    assert known.record_death(KEY, 2.0) == 2
    assert known.record_death(KEY, 3.0, alone=False) == 2


def test_a_key_is_found_only_where_one_begins() -> None:
    """Not across two of them."""
    known = table()
    known.record_death(b"ab" * 16, 1.0)
    known.record_death(b"ab" * 16, 1.0)
    known.record_death(b"cd" * 16, 1.0)
    across = b"ab" * 8 + b"cd" * 8
    assert known.deaths(across) == 0
    known.record_death(across, 1.0)
    assert known.deaths(across) == 1
