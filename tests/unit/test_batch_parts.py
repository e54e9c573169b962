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
from utils.errors import Cancelled, MalformedRequest

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


def assert_waits(room: Room, pool: ThreadPoolExecutor, call: Any, *arguments: int) -> None:  # noqa: ANN401
    """See that a call waits until the room is closed."""
    future = pool.submit(call, *arguments)
    with pytest.raises(TimeoutError):
        future.result(0.02)
    room.close()
    with pytest.raises(Cancelled):
        future.result(PATIENCE)


def entered(items: int, most_bytes: int = 10) -> Room:
    """A room in which there are so many, where more have left already."""
    room = Room(most_bytes)
    for _ in range(MOST_ITEMS):
        room.enter()
        room.leave(0)
    for _ in range(items):
        room.enter()
    return room


def test_a_room_has_few_places_at_first_and_more_for_each_that_was_left() -> None:
    """Sixteen at most; and fewer where the backend had no room, or took long."""
    with ThreadPoolExecutor(1) as pool:
        room = entered(MOST_ITEMS)
        assert_waits(room, pool, room.enter)
        room = Room(10)
        for _ in range(2):
            room.enter()
        assert_waits(room, pool, room.enter)
        room = entered(8)
        for _ in range(8):
            room.shrink()
        assert_waits(room, pool, room.enter)
        room = entered(12)
        for _ in range(4):
            room.leave(0, slow=True)
        for _ in range(4):
            room.enter()
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
