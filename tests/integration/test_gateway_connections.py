"""Rules of the gateway's connections: nobody holds a thread, nothing is misread, everyone gets an answer."""

import contextlib
import select
import socket
import threading
import time
from collections.abc import Iterator

import pytest

from protos import infer_pb2 as pb
from tests.support import gateway_process, processes
from tests.support.fake_backend import Backend, echo, fake_backend
from tests.support.gateway_process import Gateway, ended, post, read_reply

THREADS = 10
LIMIT = 1024 * 1024


@pytest.fixture(scope="module")
def backend() -> Iterator[Backend]:
    """One backend for all tests here."""
    with fake_backend() as serving:
        yield serving


@pytest.fixture(scope="module")
def gateway(backend: Backend) -> Iterator[Gateway]:
    """One gateway with few threads and a small image limit."""
    settings = {"FACET_HTTP_THREADS": str(THREADS), "FACET_MAX_IMAGE_BYTES": str(LIMIT)}
    with gateway_process.gateway(backend.target, **settings) as running:
        yield running


@pytest.fixture(autouse=True)
def calm(backend: Backend) -> Iterator[None]:
    """Leave the backend as it was."""
    yield
    backend.held.set()
    backend.answer = echo
    while backend.began.acquire(blocking=False):
        pass


def head(
    length: int | None = None, kind: str = "image/jpeg", *, expect: bool = False, timeout: str | None = None
) -> bytes:
    """The head of a POST to /predict; chunked where no length is given."""
    framing = "Transfer-Encoding: chunked" if length is None else f"Content-Length: {length}"
    lines = ["POST /predict HTTP/1.1", "Host: x", f"Content-Type: {kind}", framing]
    if expect:
        lines.append("Expect: 100-continue")
    if timeout is not None:
        lines.append(f"X-Request-Timeout: {timeout}")
    return "\r\n".join([*lines, "", ""]).encode()


def chunk(data: bytes) -> bytes:
    """One chunk of a body."""
    return b"%x\r\n%s\r\n" % (len(data), data)


@contextlib.contextmanager
def connections(gateway: Gateway, count: int, first: bytes) -> Iterator[list[socket.socket]]:
    """So many connections that each have sent this."""
    with contextlib.ExitStack() as stack:
        opened = [stack.enter_context(contextlib.closing(gateway.connect())) for _ in range(count)]
        for connection in opened:
            connection.sendall(first)
        yield opened


# --- slow clients -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "first",
    [
        b"",
        b"G",
        b"GET /healthz HTTP/1.1\r\nHost: x\r\n",
        b"GET /healthz HTTP/1.1\r\nContent-Length: 9\r\n\r\n",
    ],
    ids=["idle", "one byte", "half a head", "no body"],
)
def test_twice_as_many_slow_connections_as_threads_delay_nobody(gateway: Gateway, first: bytes) -> None:
    """A good client is answered while all of them are still there."""
    with connections(gateway, 2 * THREADS, first) as opened:
        complete = first.endswith(b"\r\n\r\n")
        if complete:
            assert all(read_reply(connection).status == 200 for connection in opened)
        assert gateway.get("/healthz").status == 200
        assert gateway.predict().status == 200
        for connection in opened:
            if complete:  # had it been closed, the second byte would be an error
                connection.sendall(b"x")
                connection.sendall(b"x")
            else:
                assert not _answered(connection)


def test_slow_bodies_take_no_more_than_the_permits(gateway: Gateway) -> None:
    """Others are told to come again, and the health check is answered."""
    with connections(gateway, THREADS, head(1000) + b"abc") as opened:
        processes.wait_until(
            lambda: len([c for c in opened if _answered(c)]) == 8, "eight of ten to be refused"
        )
        refused = [connection for connection in opened if _answered(connection)]
        reply = read_reply(refused[0])
        assert (reply.status, reply.json["reason"]) == (429, "GATEWAY_BUSY")
        assert reply.headers["Retry-After"] == "1"
        assert gateway.get("/healthz").status == 200
    gateway_process.wait_for_status(gateway, "/healthz", 200)


def _answered(connection: socket.socket) -> bool:
    return bool(select.select([connection], [], [], 0)[0])


def test_clients_that_take_no_answer_hold_permits_and_not_for_long(
    gateway: Gateway, backend: Backend
) -> None:
    """Meanwhile others are told to come again, and the health check is answered."""
    asked = threading.Semaphore(0)

    def long_answer(_message: object, _context: object) -> pb.InferResults:
        asked.release()
        return pb.InferResults(results=[pb.Result()] * 60_000)

    backend.answer = long_answer
    with contextlib.ExitStack() as stack:
        for _ in range(THREADS - 8):
            deaf = stack.enter_context(contextlib.closing(socket.socket()))
            deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            deaf.connect(gateway.address)
            deaf.sendall(head(3) + b"abc")
            assert asked.acquire(timeout=processes.PATIENCE)
        backend.answer = echo
        assert gateway.predict().json["reason"] == "GATEWAY_BUSY"
        assert gateway.get("/healthz").status == 200
        processes.wait_until(lambda: gateway.predict().status == 200, "the permits to be free")


@pytest.mark.parametrize(
    ("timeout", "status", "reason"),
    [("60", 408, "BODY_TOO_SLOW"), ("0.5", 504, "DEADLINE_EXCEEDED"), ("1e-9", 504, "DEADLINE_EXCEEDED")],
)
def test_a_body_that_never_ends_is_given_up(
    gateway: Gateway, backend: Backend, timeout: str, status: int, reason: str
) -> None:
    """Even if it goes on and on; by the request's own time, or by that of any body where this ends first."""
    with contextlib.closing(gateway.connect()) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.sendall(head(1_000_000, timeout=timeout))
        give_up = time.monotonic() + processes.PATIENCE
        while not _answered(connection):
            assert time.monotonic() < give_up
            connection.sendall(b"x")
            time.sleep(0.0005)
        reply = read_reply(connection)
        assert (reply.status, reply.json["reason"]) == (status, reason)
        assert reply.headers["Connection"] == "close"
    assert not backend.began.acquire(blocking=False)


@pytest.mark.parametrize("length", [1000, None], ids=["known length", "chunked"])
def test_a_body_that_stops_holds_no_permit_beyond_its_requests_time(
    gateway: Gateway, length: int | None
) -> None:
    """The default, where the caller names none, is half of what a body may take."""
    with connections(gateway, THREADS - 8, head(length) + b"3\r\nabc") as opened:
        for connection in opened:
            reply = read_reply(connection)
            assert (reply.status, reply.json["reason"]) == (504, "DEADLINE_EXCEEDED")
        processes.wait_until(lambda: gateway.predict().status == 200, "the permits to be free")


def test_a_head_may_come_byte_by_byte(gateway: Gateway) -> None:
    """Where its pieces end does not matter."""
    with contextlib.closing(gateway.connect()) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in head(3) + b"abc":
            connection.send(bytes([byte]))
        assert read_reply(connection).json["image"]["width"] == 3


# --- bodies -----------------------------------------------------------------------------------------


def test_a_chunked_picture_is_as_good_as_any(gateway: Gateway) -> None:
    """However it is cut; and the connection goes on."""
    with contextlib.closing(gateway.connect()) as connection:
        for _ in range(2):
            connection.sendall(head() + chunk(b"x" * 5) + chunk(b"y" * 100_000) + b"0\r\n\r\n")
            assert read_reply(connection).json["image"]["width"] == 100_005


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
        connection.sendall(head(None, kind))
        sent = 0
        while sent <= 2 * LIMIT and not _answered(connection):
            with contextlib.suppress(ConnectionError):
                connection.sendall(chunk(b"x" * 65536))
            sent += 65536
        reply = read_reply(connection)
        assert (reply.status, reply.json["reason"]) == (413, reason)
        assert "more than" in reply.json["detail"]
        assert reply.headers["Connection"] == "close"


def test_a_body_that_says_it_is_too_long_is_refused_unread(gateway: Gateway) -> None:
    """The client has not sent a byte of it."""
    with contextlib.closing(gateway.connect()) as connection:
        connection.sendall(head(LIMIT + 1))
        reply = read_reply(connection)
        assert (reply.status, reply.json["reason"]) == (413, "IMAGE_TOO_LARGE")
        assert reply.headers["Connection"] == "close"
        assert ended(connection)


def test_a_client_that_sends_50_mb_all_the_same_can_read_the_refusal(gateway: Gateway) -> None:
    """An ordinary client first sends everything, then reads."""
    reply = gateway.predict(bytes(50 * 1024**2))
    assert (reply.status, reply.json["reason"]) == (413, "IMAGE_TOO_LARGE")
    assert str(50 * 1024**2) in reply.json["detail"]


@pytest.mark.parametrize("refused", ["/predict", "/nowhere"])
def test_an_unread_body_is_never_taken_for_a_request(gateway: Gateway, refused: str) -> None:
    """The connection ends instead."""
    smuggled = b"GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n"
    request = f"POST {refused} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(smuggled)}\r\n\r\n".encode()
    with contextlib.closing(gateway.connect()) as connection:
        connection.sendall(request + smuggled)
        reply = read_reply(connection)
        assert reply.status in {404, 415}
        assert reply.headers["Connection"] == "close"
        assert ended(connection)
    assert not [line for line in gateway.process.logged("request") if line["path"] == "/smuggled"]


def test_requests_that_were_sent_ahead_are_answered_in_order(gateway: Gateway) -> None:
    """Their heads may come in one piece or cut anywhere."""
    with contextlib.closing(gateway.connect()) as connection:
        connection.sendall(head(1) + b"a" + head(2) + b"bb" + head(3)[:20])
        answers = connection.makefile("rb")
        widths = []
        for number in range(3):
            if number == 2:
                connection.sendall(head(3)[20:] + b"ccc")
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
    request = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
    with connections(gateway, 2 * THREADS, request * ahead) as opened:
        assert gateway.predict().status == 200
        for connection in opened:
            answers = b""
            while answers.count(b"HTTP/1.1 200 OK") < ahead or not answers.endswith(b"}"):
                piece = connection.recv(65536)
                assert piece, answers[-500:]
                answers += piece
            assert answers.count(b"HTTP/1.1") == ahead


@pytest.mark.parametrize("body", [b"xyz\r\n", b"5\r\nabc\r\nabcdef", b"-1\r\n\r\n"])
def test_broken_chunks_are_malformed(gateway: Gateway, body: bytes) -> None:
    """The caller is told, and the connection ends."""
    with contextlib.closing(gateway.connect()) as connection:
        connection.sendall(head() + body)
        reply = read_reply(connection)
        assert (reply.status, reply.json["reason"]) == (400, "MALFORMED_REQUEST")
        assert reply.headers["Connection"] == "close"


def test_a_client_may_ask_before_it_sends(gateway: Gateway) -> None:
    """Expect: 100-continue is answered."""
    with contextlib.closing(gateway.connect()) as connection:
        connection.sendall(head(3, expect=True))
        assert connection.recv(25) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(b"abc")
        assert read_reply(connection).status == 200


@pytest.mark.parametrize(
    ("length", "kind", "status"),
    [(LIMIT + 1, "image/jpeg", 413), (3, "text/html", 415), (0, "image/jpeg", 400)],
)
def test_who_asks_is_not_invited_to_send_what_is_refused(
    gateway: Gateway, length: int, kind: str, status: int
) -> None:
    """The refusal is all that comes."""
    with contextlib.closing(gateway.connect()) as connection:
        connection.sendall(head(length, kind, expect=True))
        assert connection.recv(12) == b"HTTP/1.1 %d" % status


# --- clients that leave -----------------------------------------------------------------------------


def test_a_client_that_leaves_cancels_its_call(gateway: Gateway, backend: Backend) -> None:
    """The backend is told, the log says 499, and the permit is free again."""
    for number in range(THREADS):
        backend.held.clear()
        backend.cancelled.clear()
        backend.answer = backend.hold
        with contextlib.closing(gateway.open()) as connection:
            headers = {
                "Content-Type": "image/jpeg",
                "X-Request-ID": f"left-{number}",
                "X-Request-Timeout": "60",
            }
            connection.request("POST", "/predict", b"picture", headers)
            assert backend.began.acquire(timeout=processes.PATIENCE)
        assert backend.cancelled.wait(processes.PATIENCE)
        line = gateway.process.wait_for("request", request_id=f"left-{number}")
        assert (line["status"], line["reason"]) == (499, "CANCELLED")


def test_a_client_that_leaves_amid_its_body_is_logged(gateway: Gateway, backend: Backend) -> None:
    """The backend hears nothing of it."""
    for framing in (head(1000), head()):
        with contextlib.closing(gateway.connect()) as connection:
            connection.sendall(framing + b"5\r\nab")
        assert gateway.process.wait_for("request", status=499)["reason"] == "CANCELLED"
    assert not backend.began.acquire(blocking=False)


def test_a_client_that_stays_gets_its_answer_however_late(gateway: Gateway, backend: Backend) -> None:
    """Also when it has sent its next request ahead, which is no sign of leaving."""
    backend.cancelled.clear()
    backend.held.clear()
    backend.answer = backend.hold
    with contextlib.closing(gateway.connect()) as connection:
        connection.sendall(head(3, timeout="60") + b"abc")
        assert backend.began.acquire(timeout=processes.PATIENCE)
        connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        with contextlib.closing(gateway.connect()) as leaver:
            leaver.sendall(head(3, timeout="60") + b"abc")
            assert backend.began.acquire(timeout=processes.PATIENCE)
        # Whoever has found that this one left has looked at the other, too.
        assert backend.cancelled.wait(processes.PATIENCE)
        backend.held.set()
        assert read_reply(connection).status == 200


def test_permits_that_are_taken_leave_health_and_are_given_back(gateway: Gateway, backend: Backend) -> None:
    """Ten threads have two permits."""
    backend.held.clear()
    backend.answer = backend.hold
    with contextlib.ExitStack() as stack:
        holding = [stack.enter_context(contextlib.closing(gateway.open())) for _ in range(THREADS - 8)]
        for connection in holding:
            connection.request("POST", "/predict", b"picture", {"Content-Type": "image/jpeg"})
            assert backend.began.acquire(timeout=processes.PATIENCE)
        assert gateway.predict().json["reason"] == "GATEWAY_BUSY"
        assert gateway.get("/healthz").status == 200
        backend.held.set()
        assert [gateway_process.read(c.getresponse()).status for c in holding] == [200] * (THREADS - 8)
        assert post(holding[0]).status == 200
