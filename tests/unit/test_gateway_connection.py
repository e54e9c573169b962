"""Rules of what a thread may wait for at the socket of one client."""

import contextlib
import json
import socket
import time
from collections.abc import Iterator

import pytest

from gateway.connections import limits
from gateway.connections.connection import Client
from tests.support.connections import connected
from tests.support.gateway_fakes import FakeBackend, app_for
from utils.logs import JsonFormatter

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


@pytest.fixture
def ends() -> Iterator[tuple[Client, socket.socket]]:
    """The gateway's end of a connection whose request is seen to, and its client's."""
    conn, client = connected()
    sock: Client = conn.sock
    sock.begin_request()
    with sock, client:
        yield sock, client


def fill(sock: Client) -> None:
    """Let there be room for nothing more; as the answers before this one do."""
    sock.setblocking(False)
    with contextlib.suppress(BlockingIOError):
        while True:
            socket.socket.send(sock, bytes(1000))
    sock.setblocking(True)


@pytest.mark.parametrize("send", [Client.send, Client.sendall], ids=["send", "sendall"])
def test_nothing_is_sent_without_a_limit(
    send: object, ends: tuple[Client, socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the caller had made the socket wait for ever; it is known that nothing was taken."""
    monkeypatch.setattr(limits, "ANSWER_SECONDS", 0.01)
    sock, _ = ends
    fill(sock)
    assert sock.taken is None
    assert callable(send)
    with pytest.raises(BrokenPipeError, match="takes no answer"):
        send(sock, b"x")
    assert sock.taken is False


def test_all_of_an_answer_has_one_time(ends: tuple[Client, socket.socket]) -> None:
    """Its head and its body do not have it twice; the next answer has its own."""
    sock, client = ends
    sock.sendall(b"head")
    until = sock.send_until
    sock.sendall(b"body")
    assert until is not None
    assert sock.send_until == until
    sock.send_until = until - limits.ANSWER_SECONDS
    fill(sock)
    with pytest.raises(BrokenPipeError, match="takes no answer"):
        sock.sendall(b"more")
    while client.recv(10**6, socket.MSG_DONTWAIT)[-4:] != b"next":
        sock.begin_request()
        sock.sendall(b"next")


def test_who_asks_is_told_when_its_body_is_wanted_and_once(ends: tuple[Client, socket.socket]) -> None:
    """Not before: it may be refused unread."""
    sock, client = ends
    sock.asks = True
    client.sendall(b"abc")
    assert sock.recv(2) == b"ab"
    assert client.recv(100) == CONTINUE
    assert sock.recv(2) == b"c"
    sock.sendall(b"answer")
    assert client.recv(100) == b"answer"


def test_who_asks_and_reads_nothing_is_not_waited_for(ends: tuple[Client, socket.socket]) -> None:
    """There is no room for a word of 25 bytes."""
    sock, _ = ends
    sock.asks = True
    fill(sock)
    with pytest.raises(BrokenPipeError, match="takes no word"):
        sock.recv(1)


def test_the_word_to_go_on_begins_no_answer(ends: tuple[Client, socket.socket]) -> None:
    """The body and the work are still to come, and have their own times."""
    sock, client = ends
    sock.asks = True
    client.sendall(b"abc")
    sock.recv(3)
    assert sock.send_until is None


def test_a_wait_for_a_thread_counts_in_the_time_of_a_request(ends: tuple[Client, socket.socket]) -> None:
    """Its clock begins with the end of its head."""
    sock, _ = ends
    sock.head_ended = time.monotonic() - 5.0
    backend = FakeBackend()
    answers = app_for(backend).test_client()
    environ = {"gunicorn.socket": sock}
    for seconds, status in ((4, 504), (60, 200)):
        headers = {"X-Request-Timeout": str(seconds), "Content-Type": "image/jpeg"}
        answer = answers.post("/predict", data=b"x", headers=headers, environ_overrides=environ)
        assert answer.status_code == status
    [left] = backend.timeouts
    assert left is not None
    assert left <= 55


@pytest.mark.parametrize("taken", [None, False])
def test_the_log_says_whose_answer_was_not_taken(
    taken: bool | None, ends: tuple[Client, socket.socket], caplog: pytest.LogCaptureFixture
) -> None:
    """Though its status is that of a success; of others it says nothing."""
    caplog.set_level("INFO")
    sock, _ = ends
    answer = app_for(FakeBackend()).test_client().get("/", environ_overrides={"gunicorn.socket": sock})
    sock.taken = taken  # as sending finds
    answer.close()
    [record] = [record for record in caplog.records if record.message == "request"]
    assert json.loads(JsonFormatter().format(record)).get("taken") is taken
