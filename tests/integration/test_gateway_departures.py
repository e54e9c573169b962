"""Rules of clients that leave, or close their sending side: their work is given up, and the log says so."""

import contextlib
import socket
from pathlib import Path

import pytest

from tests.support import gateway_process, processes, wsgi_app
from tests.support.fake_backend import Backend
from tests.support.gateway_process import Gateway, errors_of, read_reply
from tests.support.processes import PATIENCE
from tests.support.raw_http import HEALTH, connections, post_head, request_line

THREADS = 10
SETTINGS = {"FACET_HTTP_THREADS": str(THREADS)}


def unanswered(connection: socket.socket) -> bool:
    """Whether the connection ends without an answer, or with one that says that the client has left."""
    with connection.makefile("rb") as stream:
        return stream.read()[:12] in {b"", b"HTTP/1.1 499"}


@pytest.mark.security(
    endpoint="gateway",
    attack="Clients that send a picture and leave, to have work done for nobody",
    outcome=(
        "The call of the backend is cancelled, the log says 499, and the permit is free again: ten "
        "times, with two permits"
    ),
)
def test_a_client_that_leaves_cancels_its_call(gateway: Gateway, holding: Backend) -> None:
    """The backend is told, the log says 499, and the permit is free again."""
    for number in range(THREADS):
        holding.cancelled.clear()
        with contextlib.closing(gateway.open()) as connection:
            headers = {
                "Content-Type": "image/jpeg",
                "X-Request-ID": f"left-{number}",
                "X-Request-Timeout": "60",
            }
            connection.request("POST", "/predict", b"picture", headers)
            assert holding.began.acquire(timeout=PATIENCE)
        assert holding.cancelled.wait(PATIENCE)
        line = gateway.process.wait_for("request", request_id=f"left-{number}")
        assert (line["status"], line["reason"]) == (499, "CANCELLED")


def test_a_client_that_leaves_amid_its_body_is_logged(gateway: Gateway, backend: Backend) -> None:
    """The backend hears nothing of it."""
    before = len(backend.calls)
    for framing in (post_head(1000), post_head()):
        with contextlib.closing(gateway.connect()) as connection:
            connection.sendall(framing + b"5\r\nab")
        assert gateway.process.wait_for("request", status=499)["reason"] == "CANCELLED"
    assert len(backend.calls) == before


def test_a_client_that_leaves_behind_what_it_sent_ahead_cancels_its_call(
    gateway: Gateway, holding: Backend
) -> None:
    """It is read, or at least looked at, while the call goes on."""
    for number, ahead in enumerate((HEALTH, HEALTH * 50)):
        holding.cancelled.clear()
        with contextlib.closing(gateway.connect()) as connection:
            connection.sendall(
                post_head(3, "X-Request-Timeout: 60", f"X-Request-ID: ahead-{number}") + b"abc"
            )
            assert holding.began.acquire(timeout=PATIENCE)
            connection.sendall(ahead)
        assert holding.cancelled.wait(PATIENCE)
        assert request_line(gateway, f"ahead-{number}")["status"] == 499


def test_a_client_that_stays_gets_its_answer_however_late(gateway: Gateway, holding: Backend) -> None:
    """Also when it has sent its next request ahead, which is no sign of leaving."""
    with contextlib.closing(gateway.connect()) as connection:
        connection.sendall(post_head(3, "X-Request-Timeout: 60") + b"abc")
        assert holding.began.acquire(timeout=PATIENCE)
        connection.sendall(HEALTH)
        with contextlib.closing(gateway.connect()) as leaver:
            leaver.sendall(post_head(3, "X-Request-Timeout: 60") + b"abc")
            assert holding.began.acquire(timeout=PATIENCE)
        # Whoever has found that this one left has looked at the other, too.
        assert holding.cancelled.wait(PATIENCE)
        holding.held.set()
        assert read_reply(connection).status == 200


@pytest.mark.parametrize("path", ["/predict", "/nowhere"])
def test_who_closes_its_sending_side_has_left(gateway: Gateway, path: str) -> None:
    """Always, however quickly it could be answered: it is not, and its line says so."""
    name = f"half-{path[1:]}"
    for number in range(5):
        with contextlib.closing(gateway.connect()) as connection:
            # Both have come before the gateway looks.
            with processes.standing_still(gateway.workers()):
                connection.sendall(post_head(3, f"X-Request-ID: {name}-{number}", path=path) + b"abc")
                connection.shutdown(socket.SHUT_WR)
            assert unanswered(connection)
        line = request_line(gateway, f"{name}-{number}")
        assert (line["status"], line["reason"]) == (499, "CANCELLED")
    assert gateway.predict().status == 200


def test_who_closes_its_sending_side_later_cancels_its_call(gateway: Gateway, holding: Backend) -> None:
    """As one that closes all of it."""
    with contextlib.closing(gateway.connect()) as connection:
        connection.sendall(post_head(3, "X-Request-Timeout: 60", "X-Request-ID: half-later") + b"abc")
        assert holding.began.acquire(timeout=PATIENCE)
        connection.shutdown(socket.SHUT_WR)
        assert holding.cancelled.wait(PATIENCE)
        assert unanswered(connection)
    assert request_line(gateway, "half-later")["status"] == 499


@pytest.mark.parametrize(
    "framing", [post_head(1000, "X-Request-ID: amid"), post_head(None, "X-Request-ID: amid-chunks")]
)
def test_who_closes_its_sending_side_amid_its_body_has_left(gateway: Gateway, framing: bytes) -> None:
    """Its request can never be complete."""
    with contextlib.closing(gateway.connect()) as connection:
        connection.sendall(framing + b"5\r\nab")
        connection.shutdown(socket.SHUT_WR)
        assert unanswered(connection)
    name = framing.partition(b"X-Request-ID: ")[2].split(b"\r\n")[0].decode()
    assert request_line(gateway, name)["status"] == 499


def test_who_leaves_while_it_waits_for_a_thread_is_never_served(tmp_path: Path) -> None:
    """Its place is free for others, and its line says that it left."""
    threads = 9
    settings = {"FACET_HTTP_THREADS": str(threads), wsgi_app.FOLDER: str(tmp_path)}
    with (
        gateway_process.gateway("127.0.0.1:1", wsgi_app.APPLICATION, **settings) as running,
        connections(running, threads, b"GET /wait HTTP/1.1\r\nHost: x\r\n\r\n") as busy,
    ):
        for _ in range(threads):
            running.process.wait_for("entered", path="/wait")
        with contextlib.closing(running.connect()) as leaver:
            leaver.sendall(b"GET /left HTTP/1.1\r\nHost: x\r\nX-Request-ID: left\r\n\r\n")
        with contextlib.closing(running.connect()) as stays:
            stays.sendall(b"GET /stays HTTP/1.1\r\nHost: x\r\n\r\n")
            line = request_line(running, "left")
            assert (line["status"], line["reason"], line["path"]) == (499, "CANCELLED", "/left")
            (tmp_path / "go").touch()
            assert read_reply(stays).body == b"/stays"
        assert [read_reply(connection).status for connection in busy] == [200] * threads
        assert not [line for line in running.process.logged("entered") if line["path"] == "/left"]


@pytest.mark.parametrize("half", [False, True], ids=["all of it", "its sending side"])
def test_who_leaves_with_requests_sent_ahead_is_no_error(half: bool) -> None:
    """Whether its first one waits for a thread, runs, or is answered."""
    with gateway_process.gateway("127.0.0.1:1", FACET_HTTP_THREADS="9") as running:
        for number in range(40):
            with contextlib.closing(running.connect()) as connection:
                connection.sendall(HEALTH * (number % 5 + 1) + post_head(3) + b"abc" + HEALTH * 3)
                if half:
                    connection.shutdown(socket.SHUT_WR)
        assert running.get("/healthz").status == 200
        assert errors_of(running) == []


def test_who_leaves_after_it_has_waited_for_a_thread_is_no_error(tmp_path: Path) -> None:
    """Its request runs by then, and its thread is free afterwards."""
    threads = 9
    settings = {"FACET_HTTP_THREADS": str(threads), wsgi_app.FOLDER: str(tmp_path)}
    wait = b"GET /wait HTTP/1.1\r\nHost: x\r\n\r\n"
    with gateway_process.gateway("127.0.0.1:1", wsgi_app.APPLICATION, **settings) as running:
        with connections(running, threads, wait), connections(running, threads, wait) as waiting:
            for _ in range(threads):
                running.process.wait_for("entered", path="/wait")
            (tmp_path / "go").touch()
            for _ in range(threads):
                running.process.wait_for("entered", path="/wait")
            (tmp_path / "go").unlink()
            for connection in waiting:
                connection.close()
        (tmp_path / "go").touch()
        assert running.get("/").status == 200
        assert errors_of(running) == []
