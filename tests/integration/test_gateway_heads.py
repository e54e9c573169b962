"""Rules of requests whose head cannot be used: they are told why, as every other failure is."""

import contextlib
import re
import socket
import ssl
from collections.abc import Iterator

import pytest

from tests.support import gateway_process
from tests.support.gateway_process import Gateway, Reply, read_reply
from tests.support.raw_http import answered, assert_last_problem


@pytest.fixture(scope="module")
def gateway() -> Iterator[Gateway]:
    """One gateway; no head here reaches a backend."""
    with gateway_process.gateway("127.0.0.1:1") as running:
        yield running


@pytest.fixture
def connection(gateway: Gateway) -> Iterator[socket.socket]:
    """A bare connection to it."""
    with contextlib.closing(gateway.connect()) as made:
        yield made


def assert_refused(connection: socket.socket, status: int, reason: str | None = None) -> Reply:
    """Read the problem document with which the connection ends; it says what would be accepted."""
    reply = assert_last_problem(connection, status, reason)
    assert "accepted: " in reply.json["detail"]
    return reply


def lines_so_far(gateway: Gateway, name: str) -> int:
    """How many lines about requests there are, once the line of a request of this name is there."""
    gateway.predict(X_Request_ID=name)
    gateway.process.wait_for("request", request_id=name)
    return len(gateway.process.logged("request"))


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"\x16\x03\x01\r\n\r\n", 400),
        (b"GET / HTTP/9.9\r\nHost: x\r\n\r\n", 505),
        (b"get / HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: x\r\nno field\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: x\r\nA: b\r\n c\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nA: b\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n", 400),
        (b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n", 400),
        (b"POST /predict HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: odd\r\n\r\n", 501),
    ],
)
def test_what_is_no_http_is_refused_at_once_and_told_why(
    connection: socket.socket, head: bytes, status: int
) -> None:
    """With the status that HTTP has for it, and what would be accepted."""
    connection.sendall(head)
    assert_refused(connection, status)


@pytest.mark.security(
    endpoint="gateway",
    attack="TLS where plain HTTP is spoken",
    outcome="400 before the time of a head is over, and a line in the log that says why",
)
def test_who_speaks_tls_is_refused_at_once(gateway: Gateway) -> None:
    """Its first message is no head that goes on; it is refused in the words of HTTP, and logged."""
    before = lines_so_far(gateway, "before-tls")
    with contextlib.closing(gateway.connect()) as connection:
        connection.settimeout(3)  # the time of a head is longer
        with pytest.raises(ssl.SSLError):
            ssl.create_default_context().wrap_socket(connection, server_hostname="localhost")
    assert lines_so_far(gateway, "after-tls") == before + 2
    line = gateway.process.logged("request")[-2]
    assert (line["status"], line["reason"]) == (400, "MALFORMED_REQUEST")
    assert line["cause"] == "the client speaks TLS, and this server does not"


@pytest.mark.security(
    endpoint="gateway",
    attack=("`SCRIPT_NAME`, `X-Forwarded-Proto` and `X-Forwarded-Ssl`, which servers behind a proxy believe"),
    outcome="No effect, though they come from this machine",
)
@pytest.mark.parametrize("field", [b"SCRIPT_NAME: /x", b"X-Forwarded-Proto: https\r\nX-Forwarded-Ssl: off"])
def test_no_clients_word_is_taken_for_another_path(gateway: Gateway, field: bytes) -> None:
    """Also not from this machine, which a server behind a proxy commonly trusts."""
    with contextlib.closing(gateway.connect()) as connection:
        connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n" + field + b"\r\n\r\n")
        assert read_reply(connection).status == 200


@pytest.mark.security(
    endpoint="gateway",
    attack=("`X_Request_ID` and `X_Request_Timeout`, which some servers take for the fields with hyphens"),
    outcome="Both fields are dropped",
)
def test_a_name_with_an_underscore_is_no_field(gateway: Gateway) -> None:
    """Another server before this one may have taken it for what it looks like."""
    fields = b"X_Request_ID: mine\r\nX_Request_Timeout: none"
    with contextlib.closing(gateway.connect()) as connection:
        connection.sendall(
            b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n" + fields + b"\r\n\r\n"
        )
        reply = read_reply(connection)
    assert reply.json["reason"] != "INVALID_HEADER"
    assert reply.headers["X-Request-ID"] != "mine"


@pytest.mark.security(
    endpoint="gateway",
    attack="A line of 5,000 bytes that is no header field, to have it repeated",
    outcome="400, with fewer than 400 characters of detail",
)
def test_a_refusal_quotes_no_more_than_a_reader_needs(connection: socket.socket) -> None:
    """However long the line is that is at fault."""
    connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n" + b"x" * 5000 + b"\r\n\r\n")
    assert len(assert_refused(connection, 400, "MALFORMED_REQUEST").json["detail"]) < 400


@pytest.mark.security(
    endpoint="gateway",
    attack=("Heads of 72 KB, of 101 fields, with a field of 9,000 bytes, and fields or a field without end"),
    outcome="431: accepted are 65,536 bytes, 100 fields, and 8,188 bytes of a field",
)
@pytest.mark.parametrize(
    ("head", "limit"),
    [
        (b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 12_000, "100 fields"),
        (b"GET / HTTP/1.1\r\nHost: x\r\n" + (b"X: " + b"y" * 8000 + b"\r\n") * 9 + b"\r\n", "65536 bytes"),
        (b"GET / HTTP/1.1\r\nHost: x\r\n" + b"X: y\r\n" * 100 + b"\r\n", "100 fields"),
        (b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"y" * 9000 + b"\r\n\r\n", "8188 bytes"),
        (b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"y" * 400_000, "65536 bytes"),
    ],
    ids=["without end", "72 KB", "many fields", "a long field", "a field without end"],
)
def test_a_head_that_is_too_large_is_refused(connection: socket.socket, head: bytes, limit: str) -> None:
    """And one without end is not kept in memory."""
    connection.sendall(head)
    assert limit in assert_refused(connection, 431, "HEAD_TOO_LARGE").json["detail"]


@pytest.mark.parametrize(
    ("head", "more"),
    [
        (b"GET /%b HTTP/1.1\r\nHost: x\r\n\r\n", (4094 - 14) * b"x"),
        (b"GET / HTTP/1.1\r\nHost: x\r\n%b\r\n", 99 * b"X: y\r\n"),
        (b"GET / HTTP/1.1\r\nHost: x\r\nX: %b\r\n\r\n", (8188 - 3) * b"y"),
    ],
    ids=["line", "fields", "a field"],
)
def test_a_head_may_have_as_much_as_is_said_and_no_more(gateway: Gateway, head: bytes, more: bytes) -> None:
    """The limits that errors and documentation name are those that hold."""
    one = b"X: y\r\n" if more.startswith(b"X:") else more[:1]
    for filling, statuses in ((more, {200, 404}), (more + one, {414, 431})):
        with contextlib.closing(gateway.connect()) as connection:
            connection.sendall(head % filling)
            assert read_reply(connection).status in statuses


@pytest.mark.security(
    endpoint="gateway",
    attack="A request line of 5,000 bytes, and one without end",
    outcome="414: accepted are 4,094 bytes",
)
@pytest.mark.parametrize(
    "line",
    [b"GET /" + b"x" * 5000 + b" HTTP/1.1\r\n\r\n", b"GET /" + b"x" * 70_000],
    ids=["long", "without end"],
)
def test_a_request_line_that_is_too_long_is_refused(connection: socket.socket, line: bytes) -> None:
    """By the status that HTTP has for it."""
    connection.sendall(line)
    detail = assert_refused(connection, 414, "REQUEST_LINE_TOO_LONG").json["detail"]
    assert "accepted: 4094 bytes" in detail


@pytest.mark.parametrize(
    ("head", "status", "reason"),
    [
        (b"GET / HTTP/1.1\r\nX-Request-ID: mine\r\nX y\r\n\r\n", 400, "MALFORMED_REQUEST"),
        (b"GET /" + b"x" * 70_000, 414, "REQUEST_LINE_TOO_LONG"),
        (b"GET / HTTP/1.1\r\nX-Request-ID: mine\r\n", 408, "HEAD_TOO_SLOW"),
    ],
)
def test_a_refused_head_writes_one_line_of_its_own(
    gateway: Gateway, connection: socket.socket, head: bytes, status: int, reason: str
) -> None:
    """Under a fresh id, without method and path, which are not known."""
    before = lines_so_far(gateway, f"before-{reason}")
    connection.sendall(head)
    name = assert_refused(connection, status, reason).json["request_id"]
    assert lines_so_far(gateway, f"after-{reason}") == before + 2
    [line] = [line for line in gateway.process.logged("request") if line["request_id"] == name]
    assert (line["status"], line["reason"]) == (status, reason)
    assert line["elapsed_ms"] >= 0
    assert not line.keys() & {"method", "path"}
    assert "Invalid request from" not in gateway.process.log()


def test_a_refused_head_ends_only_its_own_connection(gateway: Gateway, connection: socket.socket) -> None:
    """Also when good requests came before it on the same one."""
    connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
    assert read_reply(connection).status == 200
    connection.sendall(b"get / HTTP/1.1\r\nHost: x\r\n\r\n")
    assert_refused(connection, 400, "MALFORMED_REQUEST")
    assert gateway.get("/healthz").status == 200


def test_a_head_in_pieces_may_have_as_much_as_one_in_one_piece(gateway: Gateway) -> None:
    """Wherever it is cut."""
    head = b"GET /healthz HTTP/1.1\r\nHost: x\r\n" + (b"X: " + b"y" * 1000 + b"\r\n") * 60 + b"\r\n"
    with contextlib.closing(gateway.connect()) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for start in range(0, len(head), 1400):
            connection.sendall(head[start : start + 1400])
        assert read_reply(connection).status == 200


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: " + b"0" * 5000 + b"3\r\n\r\nabc", 503),
        (b"GET ftp://x HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    ],
    ids=["a length with many zeros", "another scheme"],
)
def test_an_odd_head_is_no_fault_of_ours(gateway: Gateway, request_bytes: bytes, status: int) -> None:
    """It is passed on, to a backend that is not there, or refused as what it is."""
    with contextlib.closing(gateway.connect()) as connection:
        connection.sendall(request_bytes)
        assert read_reply(connection).status == status


def test_nobody_is_invited_by_an_answer_that_its_version_does_not_have(gateway: Gateway) -> None:
    """HTTP/1.0 knows no 100."""
    head = b"POST /predict HTTP/1.0\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n"
    with contextlib.closing(gateway.connect()) as connection:
        connection.sendall(head)
        assert not answered(connection, 0.3)
        connection.sendall(b"abc")
        assert read_reply(connection).status == 503  # there is no backend


@pytest.mark.security(
    endpoint="gateway",
    attack="A bad chunk, or another bad request, behind a wish to upgrade to HTTP/2",
    outcome="Judged as without the wish: 400, or an answer and 505",
)
@pytest.mark.parametrize(
    ("rest", "statuses"),
    [
        (b"3\r\nabc\r\nxyz\r\n", ["400"]),
        # There is no backend for the first one.
        (b"3\r\nabc\r\n0\r\n\r\nGET / HTTP/9.9\r\n\r\n", ["503", "505"]),
    ],
    ids=["a bad chunk", "a bad request behind it"],
)
def test_what_comes_behind_a_wish_to_upgrade_is_judged_as_ever(
    gateway: Gateway, rest: bytes, statuses: list[str]
) -> None:
    """At once, and as what it is."""
    fields = "Transfer-Encoding: chunked\r\nUpgrade: h2c\r\nConnection: upgrade"
    head = f"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: image/jpeg\r\n{fields}\r\n\r\n"
    with contextlib.closing(gateway.connect()) as connection:
        connection.settimeout(4)  # a body may pause longer
        connection.sendall(head.encode() + rest)
        with connection.makefile("rb") as stream:
            assert re.findall(r"HTTP/1\.1 (\d{3}) ", stream.read().decode()) == statuses
