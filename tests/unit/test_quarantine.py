"""Rules of pictures that may kill: how many workers have one in hand, and how long it is remembered."""

import os
import time

import pytest

from inference_server.dispatch import quarantine
from inference_server.dispatch.page import Page
from inference_server.dispatch.quarantine import Quarantine
from inference_server.dispatch.suspects import FORGET_SECONDS, Suspects
from utils.errors import WorkerCrashed

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

    def enters(self) -> bool:
        """Whether it takes the picture in hand; if not, nothing is in hand that could be blamed."""
        entered = self.quarantine.enter(PICTURE)
        assert self.page.rows[0].checksum == (PICTURE if entered else None)
        return entered

    def die(self, slot: int) -> None:
        """Do what the supervisor does before it tells the others."""
        self.page.deaths += 1
        self.page.rows[slot].clear()

    def hear(self, deaths: int) -> None:
        """Be told what the supervisor tells."""
        self.suspects.know(PICTURE, deaths, time.monotonic())
        self.suspects.hear(deaths)


def test_a_new_picture_is_in_the_hands_of_two_workers_at_most() -> None:
    """The third may have it when one of them has put it down."""
    assert Ward().enters()
    assert Ward(PICTURE, OTHER, OTHER).enters()
    ward = Ward(PICTURE, PICTURE)
    assert not ward.enters()
    ward.page.rows[2].checksum = None
    assert ward.enters()


def test_a_picture_that_another_worker_has_computed_is_trusted() -> None:
    """However often the others take the same one: a flood of one picture is worked off by all."""
    ward = Ward(PICTURE, PICTURE)
    ward.page.rows[1].note_computed(OTHER)
    assert not ward.enters()
    ward.page.rows[1].note_computed(PICTURE)
    assert ward.enters()
    ward.page.rows[1].note_computed(OTHER)
    assert ward.enters()


def test_a_picture_that_this_worker_has_computed_is_trusted_and_the_others_see_it() -> None:
    """It has shown that it does not kill."""
    ward = Ward(PICTURE, PICTURE, PICTURE)
    ward.quarantine.trust(PICTURE)
    assert ward.enters()
    assert Quarantine(ward.page, 1, ward.suspects).enter(PICTURE)


def test_a_picture_that_was_computed_is_a_suspect_like_any_other_after_a_death() -> None:
    """Whatever was known of it before."""
    ward = Ward(PICTURE)
    ward.quarantine.trust(PICTURE)
    ward.suspects.know(PICTURE, 1, time.monotonic())
    assert not ward.enters()
    ward.page.rows[1].checksum = None
    assert ward.enters()


def test_a_poison_in_two_hands_is_never_in_a_third() -> None:
    """Nor in the moment between a death and the word of it."""
    ward = Ward(PICTURE, PICTURE)
    ward.die(1)
    assert not ward.enters()
    ward.hear(1)
    assert not ward.enters()
    ward.die(2)
    assert not ward.enters()
    ward.hear(2)
    with pytest.raises(WorkerCrashed):
        ward.enters()
    assert ward.page.rows[0].checksum is None


def test_a_worker_that_has_not_heard_of_every_death_begins_nothing() -> None:
    """A new one, for instance, until it has been told of those before its time."""
    ward = Ward()
    ward.page.deaths = 7
    ward.suspects.hear(7)
    assert not ward.enters()
    ward.suspects.heard = 7
    assert ward.enters()


def test_word_that_never_comes_is_not_waited_for_for_ever(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """And the log says so."""
    ward = Ward()
    ward.page.deaths = 1
    assert not ward.enters()
    monkeypatch.setattr(quarantine, "_WORD_SECONDS", -1.0)
    assert ward.enters()
    assert "no word of a death" in caplog.text


def test_a_thousand_computed_pictures_are_remembered() -> None:
    """The oldest make room; one that comes again is not old."""
    ward = Ward(PICTURE, PICTURE)
    ward.quarantine.trust(PICTURE)
    for number in range(999):
        ward.quarantine.trust(number.to_bytes(32, "little"))
    assert ward.enters()
    ward.quarantine.trust(OTHER)
    assert not ward.enters()


def test_deaths_are_heard_of_in_their_order() -> None:
    """One that was not told of is missing, whatever came after it."""
    suspects = Suspects()
    suspects.hear(1)
    suspects.hear(3)
    assert suspects.heard == 1
    suspects.hear(2)
    assert suspects.heard == 2


def test_suspects_are_forgotten_after_ten_minutes() -> None:
    """A picture that was poison is tried again, and two more deaths are needed."""
    suspects = Suspects()
    assert suspects.blame(b"x", 0.0) == 1
    assert not suspects.is_poison(b"x", 0.0)
    assert suspects.blame(b"x", 1.0) == 2
    assert suspects.is_poison(b"x", FORGET_SECONDS)
    assert not suspects.is_poison(b"x", FORGET_SECONDS + 1.1)
    assert suspects.blame(b"x", FORGET_SECONDS + 2) == 1


def test_a_thousand_suspects_are_enough() -> None:
    """The oldest make room, so that nobody fills the memory with pictures that kill."""
    suspects = Suspects()
    for i in range(1100):
        suspects.blame(b"%d" % i, 0.0)
    assert len(suspects.known(0.0)) == 1000
    assert suspects.deaths(b"0", 0.0) == 0
    assert suspects.deaths(b"1099", 0.0) == 1
