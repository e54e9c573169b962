"""Rules of connections that wait for their clients, and of the threads that wait for them."""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from gateway.connections.connection import Connection
from gateway.connections.waiting import Waiting
from tests.support.connections import connected

NEVER = 1e9


class Peer:
    """A connection and its client's end."""

    def __init__(self) -> None:
        self.conn, self.client = connected()

    def close(self) -> None:
        """Close both ends."""
        self.client.close()
        self.conn.close()


@pytest.fixture
def peers() -> Iterator[tuple[Peer, Peer]]:
    """Two connections."""
    two = Peer(), Peer()
    yield two
    for peer in two:
        peer.close()


@pytest.fixture
def waiting(peers: tuple[Peer, Peer]) -> Waiting:
    """It knows both."""
    made = Waiting()
    for peer in peers:
        made.add(peer.conn)
    return made


def nothing(conn: Connection) -> None:
    """Stands for what is done."""


def other(conn: Connection) -> None:
    """Stands for something else that is done."""


def test_the_connection_whose_client_sends_is_taken(peers: tuple[Peer, Peer], waiting: Waiting) -> None:
    """With what is to be done then; those of silent clients go on waiting."""
    silent, talking = peers
    waiting.put(silent.conn, NEVER, nothing, other)
    waiting.put(talking.conn, NEVER, nothing, other)
    talking.client.sendall(b"x")
    assert waiting.take() == (talking.conn, nothing)
    silent.client.close()
    assert waiting.take() == (silent.conn, nothing)


def test_one_connection_wakes_one_of_many_threads(peers: tuple[Peer, Peer], waiting: Waiting) -> None:
    """And is nobody else's, though its client goes on sending, until it is put back."""
    first, second = peers
    with ThreadPoolExecutor(2) as threads:
        taken = [threads.submit(waiting.take) for _ in range(2)]
        waiting.put(first.conn, NEVER, nothing, other)
        first.client.sendall(b"x")
        first.client.sendall(b"y")
        waiting.put(second.conn, NEVER, nothing, other)
        second.client.sendall(b"x")
        found = [one.result(30) for one in taken]
    assert {id(conn) for conn, _ in filter(None, found)} == {id(first.conn), id(second.conn)}
    waiting.put(first.conn, NEVER, nothing, other)
    assert waiting.take() == (first.conn, nothing)


def test_what_waits_for_a_thread_alone_needs_no_client(peers: tuple[Peer, Peer], waiting: Waiting) -> None:
    """Its turn comes behind those that were ready before."""
    talking, ready = peers
    waiting.put(talking.conn, NEVER, nothing, other)
    talking.client.sendall(b"x")
    waiting.put(ready.conn, NEVER, nothing, other, writable=True)
    assert [waiting.take(), waiting.take()] == [(talking.conn, nothing), (ready.conn, nothing)]


def test_what_has_waited_long_enough_is_taken_and_by_no_thread(
    peers: tuple[Peer, Peer], waiting: Waiting
) -> None:
    """Not even where its client sends in that very moment."""
    late, early = peers
    waiting.put(late.conn, 10.0, nothing, other)
    waiting.put(early.conn, 11.0, nothing, other)
    assert waiting.take_late(9.9) == []
    assert waiting.take_late(10.0) == [(late.conn, other)]
    late.client.sendall(b"x")
    assert waiting.take() is None
    early.client.sendall(b"x")
    assert waiting.take() == (early.conn, nothing)
    assert waiting.take_late(NEVER) == []


def test_the_idle_may_be_hastened_and_none_slowed(peers: tuple[Peer, Peer], waiting: Waiting) -> None:
    """A head that has begun keeps its time."""
    first, second = peers
    first.conn.extend_head(b"GET ")
    waiting.put(first.conn, 10.0, nothing, other)
    waiting.put(second.conn, 10.0, nothing, other)
    waiting.hasten_idle(5.0)
    waiting.hasten_idle(7.0)
    assert waiting.take_late(5.0) == [(second.conn, other)]
    assert waiting.take_late(9.0) == []


def test_the_longest_idle_is_taken_and_nobody_else(peers: tuple[Peer, Peer], waiting: Waiting) -> None:
    """Idle is who was put so; none is left in the end."""
    first, second = peers
    waiting.put(first.conn, NEVER, nothing, other, idle=True)
    waiting.put(second.conn, NEVER, nothing, other)
    assert waiting.take_idle() is first.conn
    assert waiting.take_idle() is None
    assert waiting.take_late(NEVER) == [(second.conn, other)]
    waiting.put(second.conn, NEVER, nothing, other, idle=True)
    waiting.put(first.conn, NEVER, nothing, other, idle=True)
    assert [waiting.take_idle(), waiting.take_idle()] == [second.conn, first.conn]


def test_a_thread_that_waits_learns_of_what_is_put_later(peers: tuple[Peer, Peer], waiting: Waiting) -> None:
    """It waits in the kernel, where every connection is known."""
    peer, _ = peers
    began = threading.Event()

    def wait() -> object:
        began.set()
        return waiting.take()

    with ThreadPoolExecutor(1) as thread:
        taken = thread.submit(wait)
        assert began.wait(30)
        waiting.put(peer.conn, time.monotonic() + 30, nothing, other)
        assert not taken.done()
        peer.client.sendall(b"x")
        assert taken.result(30) == (peer.conn, nothing)
