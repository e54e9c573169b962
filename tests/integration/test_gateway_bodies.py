"""Rules of bodies: they are collected before anything else is spent on a request, within their limits."""

import contextlib
import gzip
import time
from collections.abc import Iterator

import pytest

from tests.support import gateway_process
from tests.support.fake_backend import Backend
from tests.support.gateway_process import Gateway, Reply, ended, read_reply
from tests.support.processes import wait_until
from tests.support.raw_http import (
    HEALTH,
    answered,
    assert_last_problem,
    assert_problem,
    chunk,
    connections,
    post_head,
    request_line,
    trickle,
)

THREADS = 10
LIMIT = 1024 * 1024
SETTINGS = {
    "FACET_HTTP_THREADS": str(THREADS),
    "FACET_MAX_IMAGE_BYTES": str(LIMIT),
    "FACET_BODY_BUDGET_BYTES": str(4 * LIMIT),
}
"""Few threads and room for four large bodies, which have the default times."""
SOON = 8.0
"""Seconds within which limits of one to three seconds act, and the default of ten does not."""


@pytest.fixture(scope="module")
def hasty(backend: Backend) -> Iterator[Gateway]:
    """One that waits for nothing longer than some seconds."""
    settings = {
        "FACET_TIMEOUT_SECONDS": "1",
        "FACET_BODY_PAUSE_SECONDS": "1.5",
        "FACET_BODY_SECONDS": "3",
        "FACET_MAX_IMAGE_BYTES": str(LIMIT),
    }
    with gateway_process.gateway(backend.target, **settings) as running:
        yield running


# --- who sends slowly holds up nobody ---------------------------------------------------------------


@pytest.mark.security(
    endpoint="gateway",
    attack="130 bodies that are sent slowly",
    outcome=("20 of 20 pictures and 20 of 20 health checks are answered meanwhile, and then the slow ones"),
)
@pytest.mark.parametrize("count", [THREADS, 130])
def test_slow_bodies_refuse_and_delay_nobody(gateway: Gateway, count: int) -> None:
    """Others are answered meanwhile, and each of the slow ones when it has sent the rest."""
    with connections(gateway, count, post_head(6) + b"abc") as slow:
        assert [gateway.predict().status for _ in range(20)] == [200] * 20
        assert [gateway.get("/healthz").status for _ in range(20)] == [200] * 20
        for connection in slow:
            connection.sendall(b"def")
            assert read_reply(connection).json["image"]["width"] == 6


def test_slow_bodies_of_other_paths_delay_nobody(gateway: Gateway) -> None:
    """Whether or not a path takes any."""
    head = b"GET /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n"
    with connections(gateway, 3 * THREADS, head):
        assert gateway.get("/healthz").status == 200
        assert gateway.predict().status == 200


# --- how long a body may take -----------------------------------------------------------------------


@pytest.mark.parametrize("framed", [True, False], ids=["known length", "chunked"])
def test_the_default_time_of_a_request_runs_from_the_end_of_its_body(hasty: Gateway, framed: bool) -> None:
    """A slow uplink takes longer for the body alone, which is no reason to refuse it."""
    pieces = [b"x" * 10_000] * 10
    with contextlib.closing(hasty.connect()) as connection:
        connection.sendall(post_head(100_000 if framed else None))
        for piece in pieces:
            time.sleep(0.2)
            connection.sendall(piece if framed else chunk(piece))
        if not framed:
            connection.sendall(chunk(b""))
        assert read_reply(connection).json["image"]["width"] == 100_000


def test_a_time_that_the_caller_names_runs_from_the_end_of_the_head(
    gateway: Gateway, backend: Backend
) -> None:
    """The backend gets what the body has left of it."""
    with contextlib.closing(gateway.connect()) as connection:
        connection.sendall(post_head(6, "X-Request-Timeout: 30") + b"abc")
        assert gateway.get("/healthz").status == 200  # and so the head has been read
        time.sleep(0.5)
        connection.sendall(b"def")
        assert read_reply(connection).status == 200
    assert backend.calls[-1].remaining <= 29.5


def test_the_times_of_a_body_end_with_it(hasty: Gateway, holding: Backend) -> None:
    """However long its request then takes; the connection goes on."""
    with contextlib.closing(hasty.connect()) as connection:
        connection.sendall(post_head(3, "X-Request-Timeout: 60") + b"abc")
        assert holding.began.acquire(timeout=SOON)
        time.sleep(2)  # longer than a body may pause
        holding.held.set()
        for _ in range(2):
            assert read_reply(connection).json["image"]["width"] == 3
            connection.sendall(post_head(3) + b"abc")


@pytest.mark.security(
    endpoint="gateway",
    attack=(
        "A body that stops, of a known length or in chunks, with and without a time that its sender names"
    ),
    outcome="408 after `FACET_BODY_PAUSE_SECONDS`; the backend hears nothing of it",
)
@pytest.mark.parametrize("framed", [True, False], ids=["known length", "chunked"])
@pytest.mark.parametrize("fields", [(), ("X-Request-Timeout: 60",)], ids=["no time", "a time"])
def test_a_body_that_stops_is_given_up(
    hasty: Gateway, backend: Backend, fields: tuple[str, ...], framed: bool
) -> None:
    """Whatever time its request has; the caller is told so under its id, and so is the log."""
    name = f"stops-{framed}-{len(fields)}"
    with contextlib.closing(hasty.connect()) as connection:
        connection.settimeout(SOON)
        connection.sendall(
            post_head(1000 if framed else None, f"X-Request-ID: {name}", *fields) + b"3\r\nabc"
        )
        reply = assert_last_problem(connection, 408, "BODY_TOO_SLOW")
    assert reply.headers["X-Request-ID"] == name
    line = request_line(hasty, name)
    assert (line["status"], line["reason"]) == (408, "BODY_TOO_SLOW")
    assert (line["method"], line["path"]) == ("POST", "/predict")
    assert name not in {call.metadata["x-request-id"] for call in backend.calls}


@pytest.mark.security(
    endpoint="gateway",
    attack="A body that goes on and on",
    outcome="408 or 504 when its time is over; the backend hears nothing of it",
)
@pytest.mark.parametrize(
    ("fields", "status", "reason"),
    [
        ((), 408, "BODY_TOO_SLOW"),
        (("X-Request-Timeout: 1",), 504, "DEADLINE_EXCEEDED"),
        (("X-Request-Timeout: 1e-9",), 504, "DEADLINE_EXCEEDED"),
    ],
    ids=["no time", "a time", "hardly any"],
)
def test_a_body_that_goes_on_and_on_is_given_up(
    hasty: Gateway, backend: Backend, fields: tuple[str, ...], status: int, reason: str
) -> None:
    """By its request's own time, or by that of any body where the caller names none."""
    name = f"goes-on-{len(fields)}-{reason}"
    with contextlib.closing(hasty.connect()) as connection:
        connection.sendall(post_head(LIMIT, f"X-Request-ID: {name}", *fields))
        assert trickle(connection, b"x" * 2000, 0.1, SOON)
        assert_last_problem(connection, status, reason)
    assert name not in {call.metadata["x-request-id"] for call in backend.calls}


def test_a_body_whose_caller_names_a_time_may_take_all_of_it(hasty: Gateway) -> None:
    """Also more than any other body may take."""
    with contextlib.closing(hasty.connect()) as connection:
        connection.sendall(post_head(None, "X-Request-Timeout: 60"))
        assert not trickle(connection, chunk(b"x" * 2000), 0.1, 4.0)
        connection.sendall(chunk(b""))
        assert read_reply(connection).status == 200


# --- how long a body may be ---------------------------------------------------------------------------


def test_a_chunked_picture_is_as_good_as_any(gateway: Gateway) -> None:
    """However it is cut; and the connection goes on."""
    with contextlib.closing(gateway.connect()) as connection:
        for _ in range(2):
            connection.sendall(post_head() + chunk(b"x" * 5) + chunk(b"y" * 100_000) + b"0\r\n\r\n")
            assert read_reply(connection).json["image"]["width"] == 100_005


@pytest.mark.security(
    endpoint="gateway",
    attack="Chunks that together are over the limit, and do not end",
    outcome="413 while they come",
)
@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("image/jpeg", "IMAGE_TOO_LARGE"),
        ("multipart/form-data; boundary=B", "BODY_TOO_LARGE"),
        ("application/json", "BODY_TOO_LARGE"),
    ],
)
def test_a_chunked_body_over_the_limit_is_refused_while_it_comes(
    gateway: Gateway, kind: str, reason: str
) -> None:
    """Its end need not be seen."""
    with contextlib.closing(gateway.connect()) as connection:
        connection.sendall(post_head(None, kind=kind))
        sent = 0
        while sent <= 3 * LIMIT and not answered(connection):
            with contextlib.suppress(ConnectionError):
                connection.sendall(chunk(b"x" * 65536))
            sent += 65536
        reply = read_reply(connection)
        assert (reply.status, reply.json["reason"]) == (413, reason)
        assert "more than" in reply.json["detail"]
        assert reply.headers["Connection"] == "close"


@pytest.mark.security(
    endpoint="gateway",
    attack="A body whose `Content-Length` is over the limit",
    outcome="413 before a byte of it has come, and the connection ends",
)
def test_a_body_that_says_it_is_too_long_is_refused_unread(gateway: Gateway) -> None:
    """The client has not sent a byte of it."""
    with contextlib.closing(gateway.connect()) as connection:
        connection.sendall(post_head(LIMIT + 1))
        reply = read_reply(connection)
        assert (reply.status, reply.json["reason"]) == (413, "IMAGE_TOO_LARGE")
        assert reply.headers["Connection"] == "close"
        assert ended(connection)


def test_a_client_that_sends_50_mb_all_the_same_can_read_the_refusal(gateway: Gateway) -> None:
    """An ordinary client first sends everything, then reads."""
    reply = gateway.predict(bytes(50 * 1024**2))
    assert (reply.status, reply.json["reason"]) == (413, "IMAGE_TOO_LARGE")
    assert str(50 * 1024**2) in reply.json["detail"]


@pytest.mark.security(
    endpoint="gateway",
    attack="Another request as the body of one that is refused, or whose path does not exist",
    outcome="415 or 404; the other request is never served",
)
@pytest.mark.parametrize("path", ["/predict", "/nowhere"])
def test_a_body_that_nobody_wants_is_never_taken_for_a_request(gateway: Gateway, path: str) -> None:
    """The connection ends, or goes on behind the body."""
    smuggled = b"GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n"
    with contextlib.closing(gateway.connect()) as connection:
        connection.sendall(post_head(len(smuggled), path=path, kind="text/html") + smuggled)
        reply = read_reply(connection)
        assert reply.status in {404, 415}
        if reply.headers.get("Connection") == "close":
            assert ended(connection)
        else:
            connection.sendall(HEALTH)
            assert read_reply(connection).json == {"status": "ok"}
    assert not [line for line in gateway.process.logged("request") if line.get("path") == "/smuggled"]


@pytest.mark.security(
    endpoint="gateway",
    attack="Chunks with wrong sizes",
    outcome="400, and the connection ends",
)
@pytest.mark.parametrize("body", [b"xyz\r\n", b"5\r\nabc\r\nabcdef", b"-1\r\n\r\n"])
def test_broken_chunks_are_malformed(gateway: Gateway, body: bytes) -> None:
    """The caller is told, and the connection ends."""
    with contextlib.closing(gateway.connect()) as connection:
        connection.sendall(post_head() + body)
        reply = read_reply(connection)
        assert (reply.status, reply.json["reason"]) == (400, "MALFORMED_REQUEST")
        assert reply.headers["Connection"] == "close"
        assert ended(connection)


def test_a_client_may_ask_before_it_sends(gateway: Gateway) -> None:
    """Expect: 100-continue is answered, and once."""
    with contextlib.closing(gateway.connect()) as connection:
        connection.sendall(post_head(3, "Expect: 100-continue"))
        assert connection.recv(25) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(b"a")
        assert not answered(connection, 0.2)
        connection.sendall(b"bc")
        assert connection.recv(12) == b"HTTP/1.1 200"


@pytest.mark.parametrize(
    ("length", "kind", "status"),
    [(LIMIT + 1, "image/jpeg", 413), (3, "text/html", 415), (0, "image/jpeg", 400)],
)
def test_who_asks_is_not_invited_to_send_what_is_refused(
    gateway: Gateway, length: int, kind: str, status: int
) -> None:
    """The refusal is all that comes."""
    with contextlib.closing(gateway.connect()) as connection:
        connection.sendall(post_head(length, "Expect: 100-continue", kind=kind))
        assert connection.recv(12) == b"HTTP/1.1 %d" % status


# --- how much of bodies is kept in memory -----------------------------------------------------------


@pytest.mark.security(
    endpoint="gateway",
    attack="Five bodies that together are over `FACET_BODY_BUDGET_BYTES`, to fill the memory",
    outcome=("429 for one of them, as long as the others are held; a small one is answered meanwhile"),
)
@pytest.mark.parametrize("framed", [True, False], ids=["known length", "chunked"])
def test_bodies_beyond_the_budget_are_refused_and_no_others(gateway: Gateway, framed: bool) -> None:
    """Who has room keeps it, small ones go through, and the room of one that leaves is free again."""
    size, most = 1_000_000, 900_000
    first = post_head(size) + bytes(most) if framed else post_head() + chunk(bytes(most))
    rest = bytes(size - most) if framed else chunk(bytes(size - most)) + chunk(b"")
    with connections(gateway, 5, first) as opened:
        wait_until(lambda: any(map(answered, opened)), "one of five to be refused", SOON)
        [refused] = filter(answered, opened)
        reply = read_reply(refused)
        assert_problem(reply, 429, "GATEWAY_BUSY")
        assert reply.headers["Retry-After"] == "1"
        assert gateway.predict(bytes(100)).status == 200
        leaver, stays, *_ = (connection for connection in opened if connection is not refused)
        leaver.close()
        wait_until(lambda: gateway.predict(bytes(size)).status == 200, "the leaver's room to be free", SOON)
        stays.sendall(rest)
        assert read_reply(stays).json["image"]["width"] == size


# --- compressed bodies ------------------------------------------------------------------------------


def compressed(gateway: Gateway, body: bytes, coding: str = "gzip") -> Reply:
    """The answer to a picture whose body is said to be compressed so."""
    return gateway.predict(body, Content_Encoding=coding)


def test_a_compressed_body_is_taken_for_what_it_holds(gateway: Gateway) -> None:
    """Also where it comes in chunks."""
    body = gzip.compress(b"x" * 50_000)
    assert compressed(gateway, body).json["image"]["width"] == 50_000
    assert compressed(gateway, body, "x-gzip").json["image"]["width"] == 50_000
    with contextlib.closing(gateway.connect()) as connection:
        connection.sendall(
            post_head(None, "Content-Encoding: GZIP") + chunk(body[:20]) + chunk(body[20:]) + chunk(b"")
        )
        assert read_reply(connection).json["image"]["width"] == 50_000


@pytest.mark.security(
    endpoint="gateway",
    attack=("A small gzip body that unpacks to a byte more than the limit, or to 64 times the limit"),
    outcome="413",
)
def test_the_limit_of_a_compressed_body_is_for_what_it_holds(gateway: Gateway) -> None:
    """A small one may hold too much."""
    assert compressed(gateway, gzip.compress(bytes(LIMIT))).status == 200
    assert_problem(compressed(gateway, gzip.compress(bytes(LIMIT + 1))), 413, "IMAGE_TOO_LARGE")
    assert_problem(compressed(gateway, gzip.compress(bytes(64 * LIMIT))), 413, "IMAGE_TOO_LARGE")


@pytest.mark.parametrize(
    "body",
    [b"no gzip", gzip.compress(b"x" * 1000)[:-9], gzip.compress(b"x") + b"more", b""],
    ids=["no gzip", "cut off", "followed by more", "nothing"],
)
def test_a_compressed_body_that_is_damaged_is_refused(gateway: Gateway, body: bytes) -> None:
    """Nothing is made of what could be read."""
    reply = compressed(gateway, body)
    assert reply.status == 400
    assert reply.headers["Content-Type"] == "application/problem+json"


@pytest.mark.parametrize("coding", ["br", "gzip, gzip", "deflate, gzip"])
def test_another_compression_is_refused_and_the_accepted_one_named(gateway: Gateway, coding: str) -> None:
    """It is the encoding that is not taken, whatever the Content-Type."""
    reply = compressed(gateway, b"abc", coding)
    assert_problem(reply, 415)
    assert "gzip" in reply.json["detail"]
    assert "Content-Encoding" in reply.json["detail"]
