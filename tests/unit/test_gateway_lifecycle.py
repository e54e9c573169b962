"""Rules of the life of a connection: what its client does, and what one request thread does then."""

import errno
import socket
from collections.abc import Callable, Iterator

import pytest
from gunicorn.config import Config

from gateway.connections import limits
from gateway.connections.connection import Connection
from gateway.connections.lifecycle import Lifecycle
from gateway.connections.refusals import Refusals
from gateway.connections.waiting import Waiting
from tests.support.connections import connected

HEAD = b"GET /%d HTTP/1.1\r\nHost: a\r\n\r\n"
BEGUN, REST = b"GET /1 HT", b"TP/1.1\r\nHost: a\r\n\r\n"


class Gateway:
    """Connections over socket pairs, and an application that answers with the path, or fails."""

    def __init__(self) -> None:
        self.answer = b""
        self.keeps = True
        self.on_handled: Callable[[], object] = lambda: None
        self.closed = 0
        self.clients: list[socket.socket] = []
        self.connections: list[Connection] = []
        self.life = Lifecycle(75.0, Refusals(Config()), self.handle, self.count_closed)

    def connect(self) -> socket.socket:
        """A new client."""
        conn, client = connected()
        self.clients.append(client)
        self.connections.append(conn)
        self.life.begin(conn)
        return client

    def handle(self, conn: Connection) -> bool:
        """Answer as gunicorn does: parse the head that was collected, then send."""
        conn.init()
        path: str = next(conn.parser).path
        if path == "/fault":
            raise RuntimeError(path)
        conn.sock.sendall(self.answer or path.encode())
        self.on_handled()
        return self.keeps

    def count_closed(self) -> None:
        """Count a connection that has ended."""
        self.closed += 1


@pytest.fixture
def gateway() -> Iterator[Gateway]:
    """Nobody is connected yet."""
    made = Gateway()
    yield made
    for client, conn in zip(made.clients, made.connections, strict=True):
        client.close()
        conn.close()


def test_a_connection_may_be_used_again(gateway: Gateway) -> None:
    """Request by request, for as long as its client likes."""
    client = gateway.connect()
    for number in range(3):
        client.sendall(HEAD % number)
        gateway.life.serve_next()
        assert client.recv(100) == b"/%d" % number


def test_half_a_head_holds_no_thread(gateway: Gateway) -> None:
    """The thread that looked at it is free for others at once; the rest may come later."""
    slow, good = gateway.connect(), gateway.connect()
    slow.sendall(BEGUN)
    gateway.life.serve_next()
    good.sendall(HEAD % 2)
    gateway.life.serve_next()
    assert good.recv(100) == b"/2"
    slow.sendall(REST)
    gateway.life.serve_next()
    assert slow.recv(100) == b"/1"


def test_what_was_sent_ahead_is_answered_in_order_behind_those_who_wait(gateway: Gateway) -> None:
    """Nobody gains by sending all requests at once."""
    greedy, good = gateway.connect(), gateway.connect()
    greedy.sendall(b"".join(HEAD % number for number in (1, 2, 3)))
    good.sendall(HEAD % 4)
    gateway.life.serve_next()
    gateway.life.serve_next()
    assert (greedy.recv(100), good.recv(100)) == (b"/1", b"/4")
    gateway.life.serve_next()
    gateway.life.serve_next()
    assert greedy.recv(100) == b"/2/3"


def test_who_sends_ahead_and_reads_nothing_holds_no_thread(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its next request waits until it takes an answer, and not for ever."""
    gateway.answer = bytes(100_000)
    deaf, good = gateway.connect(), gateway.connect()
    monkeypatch.setattr(limits, "ANSWER_SECONDS", 0.0)
    deaf.sendall(b"".join(HEAD % number for number in (1, 2, 3)))
    gateway.life.serve_next()
    good.sendall(HEAD % 4)
    gateway.life.serve_next()
    assert good.recv(100_000, socket.MSG_WAITALL) == gateway.answer
    gateway.life.see_to_late()
    assert gateway.closed == 1


def test_who_asks_again_and_reads_nothing_holds_no_thread(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Though it waited with its next request until there was room for an answer; the log says so."""
    caplog.set_level("INFO")
    monkeypatch.setattr(limits, "ANSWER_SECONDS", 0.0)
    gateway.answer = bytes(100_000)
    handled: list[Connection] = []
    gateway.on_handled = lambda: handled.append(gateway.connections[0])
    deaf = gateway.connect()
    deaf.sendall(HEAD % 1)
    gateway.life.serve_next()
    deaf.sendall(HEAD % 2)
    gateway.life.serve_next()
    assert (len(handled), gateway.closed) == (1, 0)
    gateway.life.see_to_late()
    assert (len(handled), gateway.closed) == (1, 1)
    assert "answers not taken" in caplog.text


def test_who_asks_again_is_answered_when_it_has_read(gateway: Gateway) -> None:
    """Its request has waited for room."""
    gateway.answer = bytes(100_000)
    client = gateway.connect()
    client.sendall(HEAD % 1)
    gateway.life.serve_next()
    client.sendall(HEAD % 2)
    gateway.life.serve_next()
    assert client.recv(100_000, socket.MSG_WAITALL) == gateway.answer
    gateway.life.serve_next()
    assert client.recv(100_000, socket.MSG_WAITALL) == gateway.answer


def test_who_reads_late_is_answered_all_the_same(gateway: Gateway) -> None:
    """As soon as there is room for the next answer."""
    gateway.answer = bytes(100_000)
    late = gateway.connect()
    late.sendall((HEAD % 1) + (HEAD % 2))
    gateway.life.serve_next()
    assert late.recv(100_000, socket.MSG_WAITALL) == gateway.answer
    gateway.life.serve_next()
    assert late.recv(100_000, socket.MSG_WAITALL) == gateway.answer


def test_a_head_that_does_not_end_in_time_is_refused(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With an answer that says so, and the end of the connection."""
    monkeypatch.setattr(limits, "HEAD_SECONDS", 0.0)
    client = gateway.connect()
    client.sendall(BEGUN)
    gateway.life.serve_next()
    gateway.life.see_to_late()
    assert client.recv(10_000).startswith(b"HTTP/1.1 408 ")
    assert (client.recv(1), gateway.closed) == (b"", 0)


def test_the_time_of_a_head_is_counted_from_its_first_byte(gateway: Gateway) -> None:
    """A client that sends on gains none; one that is in time is left alone."""
    client = gateway.connect()
    client.sendall(b"G")
    gateway.life.serve_next()
    [conn] = gateway.connections
    began = conn.sock.head_began
    client.sendall(b"E")
    gateway.life.serve_next()
    gateway.life.see_to_late()
    assert gateway.closed == 0
    assert (conn.sock.head_began, conn.timeout) == (began, began + limits.HEAD_SECONDS)


@pytest.mark.parametrize("pieces", [[b"\r\n"], [b"\r", b"\n"], [b"\r\n\r\n\r", b"\n\r\n"]])
def test_empty_lines_before_a_request_are_no_part_of_it(
    pieces: list[bytes], gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some clients end a request with one too many; its time begins with what is more."""
    client = gateway.connect()
    for number in range(2):
        client.sendall(HEAD % number)
        gateway.life.serve_next()
        assert client.recv(100) == b"/%d" % number
        for piece in pieces:
            client.sendall(piece)
            gateway.life.serve_next()
        with monkeypatch.context() as late:
            late.setattr(limits, "HEAD_SECONDS", 0.0)
            gateway.life.see_to_late()
    client.sendall(b"".join([*pieces, HEAD % 3, *pieces, HEAD % 4]))
    gateway.life.serve_next()
    gateway.life.serve_next()
    assert client.recv(100) == b"/3/4"


def test_empty_lines_gain_a_connection_no_time(gateway: Gateway) -> None:
    """It is as idle as it was."""
    client = gateway.connect()
    [conn] = gateway.connections
    until = conn.timeout
    client.sendall(b"\r\n")
    gateway.life.serve_next()
    assert conn.timeout == until


def test_a_head_that_no_thread_had_time_for_is_no_late_one(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It came in time: its request is answered, however long it has waited."""
    monkeypatch.setattr(limits, "HEAD_SECONDS", 0.0)
    client = gateway.connect()
    client.sendall(BEGUN)
    gateway.life.serve_next()
    client.sendall(REST)
    gateway.life.see_to_late()
    gateway.life.serve_next()
    assert client.recv(100) == b"/1"


def test_who_reads_is_not_given_up_for_want_of_a_thread(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A request that waits for its turn is answered when a thread has time."""
    monkeypatch.setattr(limits, "ANSWER_SECONDS", 0.0)
    client = gateway.connect()
    client.sendall((HEAD % 1) + (HEAD % 2))
    gateway.life.serve_next()
    gateway.life.see_to_late()
    gateway.life.serve_next()
    assert (gateway.closed, client.recv(100)) == (0, b"/1/2")


def test_a_head_without_end_is_refused(gateway: Gateway) -> None:
    """However quickly it comes."""
    client = gateway.connect()
    client.sendall(b"GET / HTTP/1.1\r\nX: " + b"a" * limits.MAX_HEAD_BYTES)
    for _ in range(9):
        gateway.life.serve_next()
    assert client.recv(10_000).startswith(b"HTTP/1.1 431 ")


def test_an_ended_connection_waits_for_its_client_to_read(gateway: Gateway) -> None:
    """Closed at once, with a body unread, it would be reset, and the answer lost."""
    gateway.keeps = False
    client = gateway.connect()
    client.sendall(HEAD % 1)
    gateway.life.serve_next()
    client.sendall(b"what is left of a body")
    gateway.life.serve_next()
    assert (client.recv(2, socket.MSG_WAITALL), client.recv(1)) == (b"/1", b"")
    assert gateway.closed == 0
    client.close()
    gateway.life.serve_next()
    assert gateway.closed == 1


@pytest.mark.parametrize("sends", [False, True])
def test_an_ended_connection_does_not_wait_for_ever(
    sends: bool, gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor does it gain time by sending on."""
    monkeypatch.setattr(limits, "LINGER_SECONDS", 0.0)
    gateway.keeps = False
    client = gateway.connect()
    client.sendall(HEAD % 1)
    gateway.life.serve_next()
    if sends:
        monkeypatch.setattr(limits, "LINGER_SECONDS", 60.0)
        client.sendall(b"what is left of a body")
        gateway.life.serve_next()
    gateway.life.see_to_late()
    assert gateway.closed == 1


def test_a_client_that_is_gone_is_not_waited_for(gateway: Gateway, caplog: pytest.LogCaptureFixture) -> None:
    """There is nobody to read the answer, and it is no fault of ours."""
    gateway.keeps = False
    client = gateway.connect()
    client.sendall(HEAD % 1)
    [conn] = gateway.connections
    gateway.on_handled = conn.sock.close
    gateway.life.serve_next()
    assert (gateway.closed, caplog.text) == (1, "")


def test_a_fault_ends_its_connection_and_nothing_else(
    gateway: Gateway, caplog: pytest.LogCaptureFixture
) -> None:
    """The thread sees to the next one; the log has the fault."""
    unlucky, good = gateway.connect(), gateway.connect()
    unlucky.sendall(b"GET /fault HTTP/1.1\r\nHost: a\r\n\r\n")
    gateway.life.serve_next()
    assert gateway.closed == 1
    assert "a connection ended by a fault" in caplog.text
    good.sendall(HEAD % 1)
    gateway.life.serve_next()
    assert good.recv(100) == b"/1"


def test_who_has_sent_no_request_yet_is_not_kept_for_long(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only a client that has may come back with another."""
    monkeypatch.setattr(limits, "FIRST_SECONDS", 0.0)
    with monkeypatch.context() as before:
        before.setattr(limits, "FIRST_SECONDS", 60.0)
        known = gateway.connect()
    known.sendall(HEAD % 1)
    gateway.life.serve_next()
    gateway.connect()
    gateway.life.see_to_late()
    known.sendall(HEAD % 2)
    gateway.life.serve_next()
    assert (gateway.closed, known.recv(100)) == (1, b"/1/2")


def test_room_is_made_by_whoever_has_been_idle_longest(gateway: Gateway) -> None:
    """Since its last request, not since it came; and nobody else has to go."""
    first, second, third = (gateway.connect() for _ in range(3))
    first.sendall(HEAD % 1)
    gateway.life.serve_next()
    gateway.life.make_room()
    assert (gateway.closed, second.recv(1)) == (1, b"")
    gateway.life.make_room()
    assert (gateway.closed, third.recv(1)) == (2, b"")
    first.sendall(HEAD % 2)
    gateway.life.serve_next()
    assert first.recv(100) == b"/1/2"


def test_room_is_never_made_by_who_has_something_to_lose(gateway: Gateway) -> None:
    """A head that has begun, a request that no thread had time for, an answer that is not read."""
    begun = gateway.connect()
    begun.sendall(BEGUN)
    gateway.life.serve_next()
    gateway.keeps = False
    reading = gateway.connect()
    reading.sendall(HEAD % 2)
    gateway.life.serve_next()
    gateway.keeps = True
    unseen, half = gateway.connect(), gateway.connect()
    unseen.sendall(HEAD % 3)
    half.sendall(BEGUN)
    gateway.life.make_room()
    gateway.life.make_room()
    assert gateway.closed == 0
    gateway.life.serve_next()
    for client in (begun, half):
        client.sendall(REST)
        gateway.life.serve_next()
    assert [c.recv(100) for c in (begun, reading, unseen, half)] == [b"/1", b"/2", b"/3", b"/1"]


def test_a_connection_that_cannot_be_watched_is_closed_and_counted(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its place is free again."""

    def no_room(*_: object) -> None:
        raise OSError(errno.ENOSPC, "no watch is left")

    monkeypatch.setattr(Waiting, "add", no_room)
    with pytest.raises(OSError, match="no watch is left"):
        gateway.connect()
    assert (gateway.closed, gateway.clients[0].recv(1)) == (1, b"")


def test_who_leaves_cuts_the_idle_short_and_no_head_that_has_begun(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A request that is on its way is still answered."""
    monkeypatch.setattr(limits, "LAST_SECONDS", 0.0)
    idle, begun = gateway.connect(), gateway.connect()
    begun.sendall(BEGUN)
    gateway.life.serve_next()
    gateway.life.leave()
    gateway.life.see_to_late()
    assert (gateway.closed, idle.recv(1)) == (1, b"")
    begun.sendall(REST)
    gateway.life.serve_next()
    assert begun.recv(100) == b"/1"
    gateway.life.see_to_late()
    assert (gateway.closed, begun.recv(1)) == (2, b"")


def test_who_leaves_lets_nobody_begin_a_long_wait(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither a connection that comes now, nor one that has its answer and ends."""
    monkeypatch.setattr(limits, "LAST_SECONDS", 0.0)
    gateway.life.leave()
    late = gateway.connect()
    gateway.life.see_to_late()
    assert (gateway.closed, late.recv(1)) == (1, b"")
    gateway.keeps = False
    last = gateway.connect()
    last.sendall(HEAD % 1)
    gateway.life.serve_next()
    gateway.life.see_to_late()
    assert (gateway.closed, last.recv(2)) == (2, b"/1")
