"""Rules of the watch for clients that leave."""

import socket
import threading
from collections.abc import Iterator

import pytest

from gateway.connections.departures import Departures
from tests.support.processes import wait_until

Pair = tuple[socket.socket, socket.socket]


@pytest.fixture
def pair() -> Iterator[Pair]:
    """A server's and a client's end of a connection."""
    server, client = socket.socketpair()
    with server, client:
        yield server, client


@pytest.mark.parametrize("sent_ahead", [b"", b"GET / HTTP/1.1"])
def test_a_client_that_closes_is_noticed(pair: Pair, sent_ahead: bytes) -> None:
    """Also behind what it has sent before."""
    server, client = pair
    left = threading.Event()
    with Departures().watch(server, left.set):
        client.sendall(sent_ahead)
        client.close()
        assert left.wait(30)


def test_a_client_that_had_left_before_is_noticed(pair: Pair) -> None:
    """The watch may begin late."""
    server, client = pair
    client.close()
    left = threading.Event()
    with Departures().watch(server, left.set):
        assert left.wait(30)


def test_nobody_is_told_of_a_client_that_leaves_after_its_answer(pair: Pair) -> None:
    """The watch ends with the request; the next one on the connection has its own."""
    server, client = pair
    departures, first, second = Departures(), threading.Event(), threading.Event()
    with departures.watch(server, first.set):
        client.sendall(b"more")
    with departures.watch(server, second.set):
        client.close()
        assert second.wait(30)
    assert not first.is_set()


def test_each_connection_has_its_own_watch(pair: Pair) -> None:
    """One that leaves does not end another."""
    server, client = pair
    departures, one, other = Departures(), threading.Event(), threading.Event()
    second_server, second_client = socket.socketpair()
    with second_server, second_client, departures.watch(server, one.set):
        with departures.watch(second_server, other.set):
            second_client.close()
            assert other.wait(30)
        assert not one.is_set()
        client.close()
        assert one.wait(30)


def test_the_watch_begins_anew_after_a_time_without_requests(pair: Pair) -> None:
    """It looks at nothing while there is nobody to be watched."""
    server, client = pair
    departures, left = Departures(), threading.Event()
    with departures.watch(server, left.set):
        pass
    wait_until(lambda: not departures._some.is_set(), "the last request to be over for a moment")
    with departures.watch(server, left.set):
        client.close()
        assert left.wait(30)


def test_a_fault_in_one_departure_ends_no_other_watch(pair: Pair, caplog: pytest.LogCaptureFixture) -> None:
    """The log has it."""
    server, client = pair
    departures, left = Departures(), threading.Event()
    second_server, second_client = socket.socketpair()

    def fault() -> None:
        raise RuntimeError("a fault")

    with second_server, second_client:
        with departures.watch(second_server, fault):
            second_client.close()
            wait_until(lambda: "a departure was not passed on" in caplog.text, "the fault in the log")
        with departures.watch(server, left.set):
            client.close()
            assert left.wait(30)


def test_who_is_told_of_a_departure_may_watch_others(pair: Pair) -> None:
    """Nothing is locked meanwhile."""
    server, client = pair
    departures, left = Departures(), threading.Event()
    second_server, second_client = socket.socketpair()

    def watch_another() -> None:
        with departures.watch(second_server, lambda: None):
            left.set()

    with second_server, second_client, departures.watch(server, watch_another):
        client.close()
        assert left.wait(30)


def test_a_server_that_hides_its_connections_is_not_watched() -> None:
    """The request goes on without."""
    with Departures().watch(None, lambda: pytest.fail("nobody can have left")):
        pass
