"""Rules of what a batch is made of: parts that come in pieces, room for pictures, answers that wait."""

import os
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.batches import outbox
from gateway.batches.outbox import Outbox
from gateway.batches.room import MOST_ITEMS, Room
from gateway.forms.parts import read_parts
from gateway.server.connection import ANSWER_SECONDS, Connection
from tests.support.batches import END, file, option
from tests.support.processes import PATIENCE
from utils.domain import Detection, ImageInfo, ModelInfo, Timings
from utils.errors import (
    Cancelled,
    DeadlineExceeded,
    FacetError,
    ImageEmpty,
    MalformedRequest,
    QueueFull,
)

# --- parts ------------------------------------------------------------------------------------------

Parts = list[tuple[str, str | None, bytes]]


def parts_of(pieces: list[bytes]) -> Parts | str:
    """The parts of a body that comes so, or why there are none."""
    try:
        parts = read_parts(iter(pieces), b"B", 5)
        return [(part.name, part.file_name, b"".join(part.content)) for part in parts]
    except MalformedRequest as error:
        return error.detail


NEAR_BOUNDARIES = st.lists(
    st.sampled_from(
        [b"\r", b"\n", b"-", b"--B", b"--B--", b"B", b" ", b"\r\n--", b"\r\n--B\r\n", file(b"y")[:-2]]
    ),
    max_size=9,
).map(b"".join)


@given(NEAR_BOUNDARIES, st.sampled_from([b"", END]), st.lists(st.integers(0, 300), max_size=6))
def test_parts_are_the_same_however_a_body_comes(content: bytes, end: bytes, cuts: list[int]) -> None:
    """In one piece, byte by byte, or cut anywhere; whether it can be read or not."""
    body = option("a", "b") + file(content) + end
    places = [0, *sorted(min(cut, len(body)) for cut in cuts), len(body)]
    pieces = [body[start:stop] for start, stop in pairwise(places) if start < stop]
    assert parts_of(pieces) == parts_of([body]) == parts_of([bytes([byte]) for byte in body])


def test_a_part_need_not_be_taken_before_the_next_one() -> None:
    """What was left of it is passed over."""
    body = file(b"x" * 1000, "a") + file(b"y", "b") + END
    parts = read_parts(iter([body[:500], body[500:]]), b"B", 2)
    assert next(next(parts).content)
    assert b"".join(next(parts).content) == b"y"
    assert next(parts, None) is None


def test_what_is_behind_the_last_boundary_is_not_taken() -> None:
    """It is for whoever reads the body to do with it what is right."""
    pieces = iter([file(b"x") + END, b"more"])
    assert len([b"".join(part.content) for part in read_parts(pieces, b"B", 1)]) == 1
    assert [*pieces] == [b"more"]


# --- room -------------------------------------------------------------------------------------------

SECONDS = 60.0
"""That a picture has."""


def assert_waits(room: Room, pool: ThreadPoolExecutor, call: Any, *arguments: int) -> None:  # noqa: ANN401
    """See that a call waits until the room is closed."""
    future = pool.submit(call, *arguments)
    with pytest.raises(TimeoutError):
        future.result(0.02)
    room.close()
    with pytest.raises(Cancelled):
        future.result(PATIENCE)


def detection(waited: float, computed: float) -> Detection:
    """An answer that took so many milliseconds."""
    timings = Timings(queue_ms=waited, decode_ms=0, detect_ms=computed, total_ms=waited + computed)
    return Detection((), ImageInfo(1, 1, 1), ModelInfo("", "", ""), timings)


def entered(items: int, most_bytes: int = 10, *outcomes: Detection | FacetError) -> Room:
    """A room in which there are so many, where others have left that came to this."""
    room = Room(most_bytes, SECONDS)
    for outcome in outcomes or [detection(0, 1)]:
        places = 0
        inside = 0
        while not places:
            places = room.enter()
            inside += 1
        room.learn(places, outcome)
        for _ in range(inside):
            room.leave(0)
    for _ in range(items):
        room.enter()
    return room


@pytest.mark.parametrize(
    ("outcomes", "places"),
    [
        ([detection(0, 10)], MOST_ITEMS),
        ([detection(0, 500)], 4),
        ([detection(0, 500), detection(500, 500)], 4),
        ([detection(0, 500), detection(2000, 500)], 2),
        ([detection(0, 10), QueueFull("full")], 8),
        ([detection(0, 10), DeadlineExceeded("late")], 8),
        ([detection(0, 10), ImageEmpty("empty")], MOST_ITEMS),
        ([detection(9000, 10)] * 3, 1),
    ],
)
def test_a_room_has_as_many_places_as_wait_for_half_a_second(
    outcomes: list[Detection | FacetError], places: int
) -> None:
    """In the backend; one at least and sixteen at most, and half of them where it has no room or no time."""
    with ThreadPoolExecutor(1) as pool:
        room = entered(places, 10, *outcomes)
        assert_waits(room, pool, room.enter)


def test_pictures_that_entered_at_once_change_a_room_once() -> None:
    """Only that which took the last place says how many there should be."""
    with ThreadPoolExecutor(1) as pool:
        room = Room(10, SECONDS)
        assert [room.enter(), room.enter()] == [0, 2]
        for places in (0, 2, 2, 0):
            room.learn(places, detection(0, 500))
        assert [room.enter(), room.enter()] == [0, 4]
        assert_waits(room, pool, room.enter)


def test_bytes_wait_for_room_unless_there_is_nothing_else() -> None:
    """One picture may always be as large as it may be."""
    entered(1).add(100)
    with ThreadPoolExecutor(1) as pool:
        room = entered(2)
        room.add(10)
        room.leave(10)
        room.enter()
        room.add(10)
        assert_waits(room, pool, room.add, 1)
        room = entered(1)
        assert_waits(room, pool, room.wait_until_empty)


# --- answers that wait ------------------------------------------------------------------------------


def test_answers_are_given_in_the_order_in_which_they_came(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those too that wait in a file, which has no name, and no size when they are taken."""
    monkeypatch.setattr(outbox, "MEMORY_BYTES", 100)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    box = Outbox()
    lines = [str(number).encode() * number for number in range(1, 60)]
    for _ in range(3):
        for index, line in enumerate(lines):
            box.put(index, line)
        assert [*tmp_path.iterdir()] == []
        links = Path("/proc/self/fd").iterdir()
        [file] = [link for link in links if f"{tmp_path}/" in os.path.realpath(link)]
        assert file.stat().st_size >= sum(map(len, lines)) - 100
        assert [box.take() for _ in lines] == [*enumerate(lines)]
        assert file.stat().st_size == 0
    box.put(0, b"last")
    box.end()
    assert box.take() == (0, b"last")
    assert box.take() is None
    box.close()


def test_a_failure_comes_behind_the_answers_and_only_the_first_one_counts() -> None:
    """What comes later is dropped; who waits is told."""
    box = Outbox()
    with ThreadPoolExecutor(1) as pool:
        taken = pool.submit(box.take)
        box.put(0, b"x")
        assert taken.result(PATIENCE) == (0, b"x")
        taken = pool.submit(box.take)
        assert not box.end_unless_begun(ValueError("too late"))
        box.end(ValueError("first"))
        box.end(ValueError("second"))
        box.put(1, b"y")
        with pytest.raises(ValueError, match="first"):
            taken.result(PATIENCE)
    other = Outbox()
    assert other.end_unless_begun(ValueError("in time"))
    with pytest.raises(ValueError, match="in time"):
        other.take()


# --- a client that takes nothing yet ----------------------------------------------------------------


class Transport(SimpleNamespace):
    """A transport of which the client takes nothing."""

    def get_write_buffer_size(self) -> int:
        return 1

    def is_closing(self) -> bool:
        return False

    def abort(self) -> None:
        self.aborted = True


@pytest.mark.parametrize("may_send_first", [True, False])
def test_no_answer_is_waited_for_for_long_once_its_request_has_ended(may_send_first: bool) -> None:
    """Before, its client may still be sending."""
    connection: Any = Connection.__new__(Connection)
    connection.__dict__.update(
        transport=Transport(aborted=False),
        may_send_first=may_send_first,
        deadline=float("inf"),
        flow=SimpleNamespace(read_paused=False),
        _unsent=0,
        _unsent_since=0.0,
    )
    connection.check(1000.0)
    connection.check(1000.0 + 10 * ANSWER_SECONDS)
    assert connection.transport.aborted is not may_send_first
    connection.may_send_first = False
    connection.check(1000.0 + 10.5 * ANSWER_SECONDS)
    assert connection.transport.aborted is not may_send_first
    connection.check(1000.0 + 11.5 * ANSWER_SECONDS)
    assert connection.transport.aborted
