"""Rules of what runs an application: streamed answers, and faults."""

import contextlib
import http.client
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import gateway_process, wsgi_app
from tests.support.gateway_process import Gateway, ended, read_reply
from tests.support.processes import parse
from tests.support.raw_http import HEALTH, assert_problem, connections

THREADS = 9


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


def get(target: str, version: str = "1.1") -> bytes:
    """A request for this target."""
    return f"GET {target} HTTP/{version}\r\nHost: x\r\n\r\n".encode()


def expected(lines: int, size: int = 16) -> bytes:
    """All of a streamed answer."""
    return b"".join(str(number).encode().ljust(size - 1) + b"\n" for number in range(lines))


# --- streamed answers -------------------------------------------------------------------------------


def test_each_piece_of_an_answer_is_sent_when_it_is_there(gateway: Gateway) -> None:
    """Its end is far away; the pieces are chunks, and the connection goes on behind the last one."""
    with contextlib.closing(gateway.open()) as connection:
        connection.request("GET", "/stream?lines=1000&pause=1000")
        response = connection.getresponse()
        assert response.headers["Transfer-Encoding"] == "chunked"
        assert response.headers["Content-Length"] is None
        assert response.readline().split() == [b"0"]
        assert response.readline().split() == [b"1"]
    with connections(gateway, 1, get("/stream?lines=5") + HEALTH) as [connection]:
        stream = connection.makefile("rb")
        assert stream.readline().startswith(b"HTTP/1.1 200")
        text = b""
        while not text.endswith(b"0\r\n\r\n"):
            text += stream.readline()
        assert text.count(b"\r\n10\r\n") == 5
        assert stream.readline().startswith(b"HTTP/1.1 200")


def test_to_http_1_0_an_answer_of_unknown_length_ends_with_its_connection(gateway: Gateway) -> None:
    """That knows no chunks; nor does it keep a connection unless it says so."""
    with connections(gateway, 1, get("/stream?lines=100", "1.0") + HEALTH) as [connection]:
        head, _, body = connection.makefile("rb").read().partition(b"\r\n\r\n")
    assert body == expected(100)
    assert b"\r\ntransfer-encoding:" not in head.lower()
    assert b"\r\ncontent-length:" not in head.lower()
    assert b"\r\nconnection: close" in head.lower()


@pytest.mark.security(
    endpoint="gateway",
    attack="HEAD, whose answer a client or proxy could read as two",
    outcome="Its answer has no body, and the next one is that of the next request",
)
def test_head_has_no_body(gateway: Gateway) -> None:
    """Neither of a known nor of an unknown length; the next answer is the next request's."""
    for target in ("/stream?lines=5", "/large?bytes=65536"):
        with contextlib.closing(gateway.open()) as connection:
            connection.request("HEAD", target)
            response = connection.getresponse()
            assert (response.status, response.read()) == (200, b"")
            connection.auto_open = 0
            connection.request("GET", "/next")
            assert connection.getresponse().read() == b"/next"


@pytest.mark.security(
    endpoint="gateway",
    attack="An answer of 6 GB that nobody reads",
    outcome="Less than 32 MiB of it is made; others are answered",
)
def test_no_more_of_an_answer_is_made_than_is_taken(gateway: Gateway) -> None:
    """Who reads nothing is waited for; once it has left, the application is told."""
    with contextlib.closing(socket.socket()) as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.connect(gateway.address)
        connection.sendall(get(f"/stream?lines=100000&size={wsgi_app.PIECE}&mark=1"))
        gateway.process.wait_for("entered", path="/stream")
        assert [gateway.get("/").status for _ in range(100)] == [200] * 100
    assert gateway.process.wait_for("closed", mark=1)["lines"] * wsgi_app.PIECE < 32 * 1024**2


def test_who_leaves_ends_its_answer(gateway: Gateway) -> None:
    """The application is told between two pieces, and its thread is free."""
    for mark in range(100, 100 + THREADS + 1):
        with connections(gateway, 1, get(f"/stream?lines=3000&pause=20&mark={mark}")) as [connection]:
            assert connection.recv(12) == b"HTTP/1.1 200"
        assert 0 < gateway.process.wait_for("closed", mark=mark)["lines"] < 3000


def test_an_answer_that_is_under_way_is_finished_before_the_end(tmp_path: Path) -> None:
    """It is whole; then the process ends."""
    with (
        serving(tmp_path) as running,
        connections(running, 1, get("/stream?lines=20&pause=100")) as [connection],
    ):
        running.process.wait_for("entered", path="/stream")
        running.process.send(signal.SIGTERM)
        assert read_reply(connection).body == expected(20)
        assert ended(connection)
        assert running.process.wait() == 0


# --- faults of the application ----------------------------------------------------------------------


@pytest.mark.security(
    endpoint="gateway",
    attack="A fault of the gateway's own",
    outcome=("500 `INTERNAL` with a request id and nothing of the exception, whose traceback is in the log"),
)
@pytest.mark.parametrize("path", ["/fail", "/header"])
def test_a_fault_tells_the_caller_nothing_of_itself(gateway: Gateway, path: str) -> None:
    """The log has the traceback under the id that the caller is told, and one line about the request."""
    reply = gateway.get(path)
    assert_problem(reply, 500, "INTERNAL")
    assert b"secret" not in reply.body
    assert "secret" not in str(reply.headers)
    name = reply.json["request_id"]
    assert "secret" in gateway.process.wait_for("request failed", request_id=name)["traceback"]
    line = gateway.process.wait_for("request", request_id=name)
    assert (line["status"], line["reason"], line["level"]) == (500, "INTERNAL", "error")
    assert gateway.get("/").status == 200


@pytest.mark.security(
    endpoint="gateway",
    attack="A fault amid an answer, so that a part of it looks like all of it",
    outcome="The connection is cut off before the answer's end",
)
def test_a_fault_amid_an_answer_cuts_it_off(gateway: Gateway) -> None:
    """What has been sent must not look whole."""
    with contextlib.closing(gateway.open()) as connection:
        connection.request("GET", "/stream?lines=10&fail=5&mark=2")
        response = connection.getresponse()
        assert response.status == 200
        with pytest.raises((http.client.IncompleteRead, ConnectionError)):
            response.read()
    assert gateway.process.wait_for("closed", mark=2)["lines"] == 5
    errors = [line for line in map(parse, gateway.process.lines) if line.get("level") == "error"]
    assert "secret" in errors[-1]["traceback"]
