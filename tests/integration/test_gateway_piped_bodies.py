"""Rules of bodies that an application reads while they arrive."""

import contextlib
import hashlib
import socket
import threading
import time
from collections.abc import Iterator
from http.client import HTTPResponse
from pathlib import Path

import pytest

from tests.support import gateway_process, wsgi_app
from tests.support.gateway_process import Gateway, ended, read_reply
from tests.support.raw_http import (
    HEALTH,
    answered,
    assert_last_problem,
    assert_prompt,
    chunk,
    connections,
    post_head,
)

THREADS = 9
AHEAD = 4 * 1024**2
"""Bytes of a body that are kept for an application that has begun to read and does not go on."""
BUFFERS = 16 * 1024**2
"""More than the system holds of what was sent on a connection."""
PIPED_BODIES = 4


@contextlib.contextmanager
def serving(folder: Path) -> Iterator[Gateway]:
    """The application of tests.support.wsgi_app, with few threads."""
    settings = {"FACET_HTTP_THREADS": str(THREADS), wsgi_app.FOLDER: str(folder)}
    with gateway_process.gateway("127.0.0.1:1", wsgi_app.APPLICATION, **settings) as running:
        yield running


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """One for all tests that end nothing."""
    with serving(tmp_path_factory.mktemp("gateway")) as running:
        yield running


def test_a_piped_body_is_read_while_it_arrives(gateway: Gateway) -> None:
    """Its end is not waited for."""
    body = bytes(range(256)) * 1000
    head = post_head(2 * len(body), path=f"{wsgi_app.PIPED}/sum")
    with connections(gateway, 1, head + body) as [connection]:
        gateway.process.wait_for("reading")
        assert not answered(connection)
        connection.sendall(body)
        assert read_reply(connection).json == {
            "bytes": 2 * len(body),
            "sha256": hashlib.sha256(body + body).hexdigest(),
        }
        connection.sendall(HEALTH)
        assert read_reply(connection).status == 200


def send_while_taken(connection: socket.socket, data: bytes) -> int:
    """Send until nothing more is taken for a second; how many bytes were."""
    connection.settimeout(1)
    view = memoryview(data)
    with contextlib.suppress(TimeoutError):
        while view:
            view = view[connection.send(view[: 1024**2]) :]
    connection.settimeout(60)
    return len(data) - len(view)


@pytest.mark.parametrize("framed", [True, False], ids=["known length", "chunked"])
def test_a_piped_body_that_is_not_read_is_not_kept(tmp_path: Path, framed: bool) -> None:
    """The client must wait, once so much has come, and nothing is lost when it is read."""
    size, piece = 64 * 1024**2, bytes(1024**2)
    count = size // len(piece)
    body = piece * count if framed else chunk(piece) * count + chunk(b"")
    with serving(tmp_path) as running:
        head = post_head(size if framed else None, path=f"{wsgi_app.PIPED}/wait")
        with connections(running, 1, head) as [connection]:
            sent = send_while_taken(connection, body)
            assert sent < AHEAD + BUFFERS
            (tmp_path / "go").touch()
            connection.sendall(memoryview(body)[sent:])
            assert read_reply(connection).json["bytes"] == size


def test_more_bodies_than_may_be_piped_at_once_are_refused(tmp_path: Path) -> None:
    """At once, and not when all of them has come; the others are read ahead while their application waits."""
    head = post_head(AHEAD, path=f"{wsgi_app.PIPED}/wait")
    with serving(tmp_path) as running, connections(running, PIPED_BODIES, head + b"x") as served:
        for _ in served:
            running.process.wait_for("entered", path=f"{wsgi_app.PIPED}/wait")
        with connections(running, 1, head) as [refused]:
            reply = assert_last_problem(refused, 429, "GATEWAY_BUSY")
            assert reply.headers["Retry-After"] == "1"
        for connection in served:
            connection.sendall(bytes(AHEAD - 1))
        (tmp_path / "go").touch()
        assert {read_reply(connection).json["bytes"] for connection in served} == {AHEAD}
        with connections(running, 1, head + bytes(AHEAD)) as [later]:
            assert read_reply(later).json["bytes"] == AHEAD


def test_a_piped_body_that_is_cut_off_is_no_whole_one(gateway: Gateway) -> None:
    """Who reads it learns that its client has left."""
    head = post_head(3 * wsgi_app.PIECE, path=f"{wsgi_app.PIPED}/sum")
    before = len(gateway.process.logged("read"))
    with connections(gateway, 1, head + bytes(2 * wsgi_app.PIECE)):
        gateway.process.wait_for("reading")
    gateway.process.wait_for("cut off")
    assert len(gateway.process.logged("read")) == before


def test_piped_bodies_leave_threads_to_others(gateway: Gateway) -> None:
    """However many there are."""
    head = post_head(1000, path=f"{wsgi_app.PIPED}/sum")
    with connections(gateway, 2 * THREADS, head + b"abc"):
        assert_prompt(gateway)


def test_an_application_that_pauses_is_not_taken_for_a_client_that_does(tmp_path: Path) -> None:
    """While it does not read, the client cannot send."""
    settings = {"FACET_BODY_PAUSE_SECONDS": "0.5", wsgi_app.FOLDER: str(tmp_path)}
    body = bytes(AHEAD + 2 * BUFFERS)
    with (
        gateway_process.gateway("127.0.0.1:1", wsgi_app.APPLICATION, **settings) as running,
        connections(running, 1, post_head(len(body), path=f"{wsgi_app.PIPED}/wait")) as [connection],
    ):
        sending = threading.Thread(target=connection.sendall, args=[body])
        sending.start()
        time.sleep(1.5)  # longer than a body may pause
        (tmp_path / "go").touch()
        sending.join(60)
        assert read_reply(connection).json["bytes"] == len(body)


def test_an_answer_may_begin_before_the_end_of_its_request(gateway: Gateway) -> None:
    """Its connection ends with it, for nobody knew whether the request would."""
    head = post_head(3 * wsgi_app.PIECE, path=f"{wsgi_app.PIPED}/stream")
    with connections(gateway, 1, head) as [connection]:
        connection.sendall(bytes(wsgi_app.PIECE))
        response = HTTPResponse(connection)
        response.begin()
        assert (response.status, response.headers["Connection"]) == (200, "close")
        for _ in range(2):
            assert response.readline() == b"a line\n"
            connection.sendall(bytes(wsgi_app.PIECE))
        assert response.read() == b"a line\n"
        assert ended(connection)


def test_who_sends_on_what_is_not_wanted_gets_to_its_answer(gateway: Gateway) -> None:
    """Though it reads nothing until it has sent all: what it sends is thrown away."""
    size = 2 * BUFFERS
    pieces = size // wsgi_app.PIECE
    head = post_head(size, path=f"{wsgi_app.PIPED}/part?pieces={pieces}")
    with connections(gateway, 1, head) as [connection]:
        connection.sendall(bytes(size))
        reply = read_reply(connection)
        assert (reply.status, reply.headers["Connection"]) == (200, "close")
        assert len(reply.body) == size
        assert ended(connection)
