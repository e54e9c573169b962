"""Rules of how many workers have a picture in hand: at most as many as it may still kill."""

import itertools
import os
import time
from collections.abc import Callable

import pytest

from inference_server.dispatch import quarantine
from inference_server.dispatch.page import Page
from inference_server.dispatch.quarantine import Quarantine
from inference_server.dispatch.suspects import Suspects
from utils.errors import DeadlineExceeded, WorkerCrashed

PICTURE, OTHER = b"\x01" * 32, b"\x02" * 32


class Ward:
    """Four workers on one page, the first of them ours; the others have a picture in hand."""

    def __init__(self, *in_hand: bytes) -> None:
        self.page = Page(os.memfd_create("page"), 4)
        self.suspects = Suspects()
        self.quarantine = Quarantine(self.page, 0, self.suspects)
        for slot, row in enumerate(self.page.rows):
            row.enlist(100 + slot, time.monotonic())
        for row, checksum in zip(self.page.rows[1:], in_hand, strict=False):
            row.checksum = checksum

    def die(self, slot: int) -> None:
        """Do what the supervisor does before it tells the others."""
        self.page.deaths += 1
        self.page.rows[slot].clear()

    def enter(self, *happens: Callable[[], object]) -> int:
        """Enter, while these happen one after the other; gives how many of them had to."""
        calls = itertools.count()

        def checkpoint() -> None:
            number = next(calls)
            assert number < len(happens), "it waits for something else"
            happens[number]()

        self.quarantine.enter(PICTURE, checkpoint)
        assert self.page.rows[0].checksum == PICTURE
        return next(calls)


def nothing() -> None:
    """Happen."""


def test_a_new_picture_is_in_the_hands_of_two_workers_at_most() -> None:
    """The third waits until one of them has put it down."""
    assert Ward().enter() == 0
    assert Ward(PICTURE, OTHER, OTHER).enter() == 0
    ward = Ward(PICTURE, PICTURE)
    assert ward.enter(nothing, lambda: setattr(ward.page.rows[2], "checksum", None)) == 2


def test_while_it_waits_a_worker_has_nothing_in_hand() -> None:
    """If it were killed for another reason, the picture would be blamed."""
    ward = Ward(PICTURE, PICTURE)

    def look() -> None:
        assert ward.page.rows[0].checksum is None
        ward.page.rows[1].checksum = None

    assert ward.enter(look) == 1


def test_a_picture_that_another_worker_has_computed_is_not_waited_for_again() -> None:
    """However often the others take the same one: a flood of one picture is worked off by all."""
    ward = Ward(PICTURE, PICTURE)
    assert ward.enter(nothing, lambda: setattr(ward.page.rows[1], "handled", 1)) == 2
    assert ward.page.rows[1].holds(PICTURE)
    assert ward.enter() == 0


def test_a_picture_that_this_worker_has_computed_is_not_waited_for() -> None:
    """It has shown that it does not kill."""
    ward = Ward(PICTURE, PICTURE, PICTURE)
    ward.quarantine.trust(PICTURE)
    assert ward.enter() == 0


def test_a_picture_that_was_computed_is_a_suspect_like_any_other_after_a_death() -> None:
    """Whatever was known of it before."""
    ward = Ward(PICTURE)
    ward.quarantine.trust(PICTURE)
    ward.suspects.know(PICTURE, 1, time.monotonic())
    assert ward.enter(nothing, lambda: setattr(ward.page.rows[1], "checksum", None)) == 2


def test_a_poison_in_two_hands_is_never_in_a_third() -> None:
    """Nor in the moment between a death and the word of it."""
    ward = Ward(PICTURE, PICTURE)

    def told(deaths: int) -> None:
        ward.suspects.know(PICTURE, deaths, time.monotonic())
        ward.suspects.hear(deaths)

    with pytest.raises(WorkerCrashed):
        ward.enter(
            lambda: ward.die(1),
            nothing,
            lambda: told(1),
            nothing,
            lambda: ward.die(2),
            nothing,
            lambda: told(2),
        )
    assert ward.page.rows[0].checksum is None


def test_a_worker_that_has_not_heard_of_every_death_begins_nothing() -> None:
    """A new one, for instance, until it has been told of those before its time."""
    ward = Ward()
    ward.page.deaths = 7
    assert ward.enter(nothing, lambda: ward.suspects.hear(7), lambda: setattr(ward.suspects, "heard", 7)) == 3


def test_word_that_never_comes_is_not_waited_for_for_ever(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """And the log says so."""
    monkeypatch.setattr(quarantine, "_WORD_SECONDS", 0.0)
    ward = Ward()
    ward.page.deaths = 1
    assert ward.enter(nothing) <= 1
    assert "no word of a death" in caplog.text


def test_who_waits_can_be_called_off() -> None:
    """By the checkpoint: the caller has left, or the time has run out."""

    def late() -> None:
        raise DeadlineExceeded("late")

    ward = Ward(PICTURE, PICTURE)
    with pytest.raises(DeadlineExceeded):
        ward.enter(late)
    assert ward.page.rows[0].checksum is None


def test_a_thousand_innocents_are_remembered() -> None:
    """The oldest make room; one that comes again is not old."""
    ward = Ward(PICTURE, PICTURE)
    ward.quarantine.trust(PICTURE)
    for number in range(999):
        ward.quarantine.trust(number.to_bytes(32, "big"))
    assert ward.enter() == 0
    ward.quarantine.trust(PICTURE)
    ward.quarantine.trust(OTHER)
    assert ward.enter() == 0


def test_deaths_are_heard_of_in_their_order() -> None:
    """One that is not the next was missed with those before it, and is told of again."""
    suspects = Suspects()
    suspects.hear(1)
    suspects.hear(3)
    assert suspects.heard == 1
    suspects.hear(2)
    assert suspects.heard == 2
