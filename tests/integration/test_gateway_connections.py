"""Rules of the gateway's connections: whoever is idle or slow delays nobody, and has a limited time."""

import contextlib
import resource
import socket

import pytest

from tests.support import gateway_process
from tests.support.fake_backend import Backend
from tests.support.gateway_process import Gateway, ended, errors_of, post, read_reply
from tests.support.processes import PATIENCE, wait_until
from tests.support.raw_http import (
    HEALTH,
    answered,
    assert_prompt,
    connections,
    deaf,
    post_head,
    send_byte_by_byte,
)
from tests.support.wsgi_app import APPLICATION

THREADS = 10
SETTINGS = {"FACET_HTTP_THREADS": str(THREADS)}
LARGE = 16 * 1024**2
"""Bytes of an answer that finds no room in the buffers between the processes."""
LINGER_SECONDS = 5.0
"""For which a connection is kept whose client may still be sending."""


# --- who sends no request ---------------------------------------------------------------------------


@pytest.mark.security(
    endpoint="gateway",
    attack=(
        "Twice as many connections as there are threads, which send nothing, one byte or a half of a head"
    ),
    outcome="Others are answered",
)
@pytest.mark.parametrize(
    "first", [b"", b"G", b"GET /healthz HTTP/1.1\r\nHost: x\r\n"], ids=["idle", "one byte", "half a head"]
)
def test_twice_as_many_slow_connections_as_threads_delay_nobody(gateway: Gateway, first: bytes) -> None:
    """A good client is answered while all of them are still there."""
    with connections(gateway, 2 * THREADS, first) as opened:
        assert gateway.get("/healthz").status == 200
        assert gateway.predict().status == 200
        assert not any(map(answered, opened))


@pytest.mark.security(
    endpoint="gateway",
    attack="1,000 idle connections",
    outcome="20 of 20 other requests are answered",
)
def test_a_thousand_idle_connections_delay_nobody(gateway: Gateway) -> None:
    """They cost neither a thread nor a process."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(2048, hard), hard))
    try:
        with connections(gateway, 1000) as opened:
            assert [gateway.get("/healthz").status for _ in range(10)] == [200] * 10
            assert [gateway.predict().status for _ in range(10)] == [200] * 10
            assert not any(map(answered, opened))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.security(
    endpoint="gateway",
    attack="More connections than there is room for",
    outcome=(
        "Those that have been idle longest are closed, and no others; a head that has begun is finished "
        "and answered"
    ),
)
def test_where_there_is_no_room_the_longest_idle_go(backend: Backend) -> None:
    """And nobody else: neither who came later, nor who has begun a request, nor the one that needs room."""
    room, more = 6, 3
    arguments = ("--worker-connections", str(room))
    with (
        gateway_process.gateway(backend.target, *arguments, FACET_HTTP_THREADS="9") as running,
        connections(running, 1, HEALTH[:-2]) as [begun],
        contextlib.ExitStack() as stack,
    ):
        idle = []
        for _ in range(room + more):  # each is known to the gateway before the next one connects
            connection = stack.enter_context(contextlib.closing(running.connect()))
            connection.sendall(HEALTH)
            assert read_reply(connection).status == 200
            idle.append(connection)
        assert all(answered(connection, PATIENCE) for connection in idle[:more])
        gone = [number for number, connection in enumerate(idle) if answered(connection)]
        assert gone == list(range(len(gone)))
        assert len(gone) < len(idle)
        begun.sendall(HEALTH[-2:])
        assert read_reply(begun).status == 200


def test_who_takes_its_answer_is_not_idle() -> None:
    """However slowly it does, and however many want its place."""
    room = 6
    arguments = (APPLICATION, "--worker-connections", str(room))
    with (
        gateway_process.gateway("127.0.0.1:1", *arguments, FACET_HTTP_THREADS="9") as running,
        deaf(running, 1, LARGE) as [slow],
    ):
        assert slow.recv(4, socket.MSG_WAITALL) == b"HTTP"
        for _ in range(2):
            with connections(running, room, HEALTH) as opened:
                assert {read_reply(connection).status for connection in opened} == {200}
        with slow.makefile("rb") as stream:
            assert len(stream.read(LARGE)) == LARGE


def test_a_connection_is_kept_between_requests_as_long_as_is_set(backend: Backend) -> None:
    """Not longer, and each request begins the time anew."""
    with (
        gateway_process.gateway(backend.target, FACET_KEEPALIVE_SECONDS="1") as running,
        contextlib.closing(running.connect()) as connection,
    ):
        connection.settimeout(8)
        for _ in range(3):
            connection.sendall(HEALTH)
            assert read_reply(connection).status == 200
            assert not answered(connection, 0.5)
        assert ended(connection)


# --- who sends ahead --------------------------------------------------------------------------------


def test_a_head_may_come_byte_by_byte(gateway: Gateway) -> None:
    """Where its pieces end does not matter."""
    with contextlib.closing(gateway.connect()) as connection:
        send_byte_by_byte(connection, post_head(3) + b"abc")
        assert read_reply(connection).json["image"]["width"] == 3


def test_requests_that_were_sent_ahead_are_answered_in_order(gateway: Gateway) -> None:
    """Their heads may come in one piece or cut anywhere."""
    with contextlib.closing(gateway.connect()) as connection:
        connection.sendall(post_head(1) + b"a" + post_head(2) + b"bb" + post_head(3)[:20])
        answers = connection.makefile("rb")
        widths = []
        for number in range(3):
            if number == 2:
                connection.sendall(post_head(3)[20:] + b"ccc")
            assert answers.readline().startswith(b"HTTP/1.1 200")
            length = 0
            while line := answers.readline().strip():
                name, _, value = line.partition(b":")
                length = int(value) if name.lower() == b"content-length" else length
            widths.append(answers.read(length).count(b'"width":%d' % (number + 1)))
        assert widths == [1, 1, 1]


def test_more_clients_than_threads_may_send_ahead(gateway: Gateway) -> None:
    """Every request is answered, and others are meanwhile."""
    ahead = 50
    with connections(gateway, 2 * THREADS, HEALTH * ahead) as opened:
        assert gateway.predict().status == 200
        for connection in opened:
            answers = b""
            while answers.count(b"HTTP/1.1 200 OK") < ahead or not answers.endswith(b"}"):
                piece = connection.recv(65536)
                assert piece, answers[-500:]
                answers += piece
            assert answers.count(b"HTTP/1.1") == ahead


@pytest.mark.security(
    endpoint="gateway",
    attack="200 requests sent ahead by a client that reads no answer",
    outcome="None is begun before there is room for its answer; others are answered",
)
def test_requests_that_are_sent_ahead_wait_for_room_for_their_answers() -> None:
    """What a client does not read is not kept for it."""
    ahead = 200
    with (
        gateway_process.gateway("127.0.0.1:1", APPLICATION, FACET_HTTP_THREADS=str(THREADS)) as running,
        deaf(running, 1, LARGE) as [connection],
    ):
        connection.sendall(b"GET /ahead?size=65536 HTTP/1.1\r\nHost: x\r\n\r\n" * ahead)
        assert [running.get("/").status for _ in range(50)] == [200] * 50
        assert not [line for line in running.process.logged("entered") if line["path"] == "/ahead"]
        rest = b"HTTP/1.1 200" + (LARGE + ahead * len("/ahead")) * b"\0"
        received = connection.makefile("rb").read(len(rest))
        assert len(received) == len(rest)
        assert received.startswith(b"HTTP/1.1 200")


def test_permits_that_are_taken_leave_health_and_are_given_back(gateway: Gateway, holding: Backend) -> None:
    """Ten threads have two permits."""
    with contextlib.ExitStack() as stack:
        opened = [stack.enter_context(contextlib.closing(gateway.open())) for _ in range(THREADS - 8)]
        for connection in opened:
            connection.request("POST", "/predict", b"picture", {"Content-Type": "image/jpeg"})
            assert holding.began.acquire(timeout=PATIENCE)
        assert gateway.predict().json["reason"] == "GATEWAY_BUSY"
        assert gateway.get("/healthz").status == 200
        holding.held.set()
        assert [gateway_process.read(c.getresponse()).status for c in opened] == [200] * (THREADS - 8)
        assert post(opened[0]).status == 200


def test_who_has_its_answer_may_ask_again_at_once(backend: Backend) -> None:
    """The only permit is free before the answer can be read."""
    with (
        gateway_process.gateway(backend.target, FACET_HTTP_THREADS="9") as running,
        contextlib.closing(running.open()) as connection,
    ):
        assert {post(connection).status for _ in range(200)} == {200}


def test_more_that_come_at_once_than_there_is_room_for_are_served_in_turn(backend: Backend) -> None:
    """Nobody is lost, and there is no error."""
    with (
        gateway_process.gateway(backend.target, "--worker-connections", "6") as running,
        connections(running, 30, post_head(3, "Connection: close") + b"abc") as opened,
    ):
        assert {read_reply(connection).status for connection in opened} == {200}
        assert errors_of(running) == []


def test_who_asks_for_the_end_of_its_connection_gets_it_with_the_answer(gateway: Gateway) -> None:
    """It is not waited for, as who may still be sending is."""
    with connections(gateway, 1, post_head(3, "Connection: close") + b"abc") as [connection]:
        assert read_reply(connection).status == 200
        assert ended(connection)

        def has_ended() -> bool:
            try:
                connection.sendall(b"x")
            except ConnectionError:
                return True
            return False

        wait_until(has_ended, "the connection to be closed", LINGER_SECONDS / 2)


@pytest.mark.security(
    endpoint="gateway",
    attack=(
        "100 requests sent ahead on each of twice as many connections as there are threads, whose "
        "clients read nothing"
    ),
    outcome="Others are answered",
)
def test_who_sends_ahead_and_reads_nothing_holds_no_thread() -> None:
    """Its answers wait in memory for as long as it may take."""
    head = b"GET /large?bytes=65536 HTTP/1.1\r\nHost: x\r\n\r\n"
    with (
        gateway_process.gateway("127.0.0.1:1", APPLICATION, FACET_HTTP_THREADS=str(THREADS)) as running,
        deaf(running, 2 * THREADS, 65536) as opened,
    ):
        for connection in opened:
            connection.sendall(head * 100)
        assert_prompt(running)
