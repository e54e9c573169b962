"""HTTP as bytes on bare connections, for what no ordinary client sends."""

import contextlib
import select
import socket
import time
from collections.abc import Iterator

from tests.support.gateway_process import Gateway, Reply, ended, read_reply
from tests.support.processes import PATIENCE, wait_until

HEALTH = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"


def post_head(
    length: int | None = None, *fields: str, path: str = "/predict", kind: str = "image/jpeg"
) -> bytes:
    """The head of a POST with these further header fields; chunked where no length is given."""
    framing = "Transfer-Encoding: chunked" if length is None else f"Content-Length: {length}"
    lines = [f"POST {path} HTTP/1.1", "Host: x", f"Content-Type: {kind}", framing, *fields]
    return "\r\n".join([*lines, "", ""]).encode()


def chunk(data: bytes) -> bytes:
    """One chunk of a body; the last one where there is no data."""
    return b"%x\r\n%s\r\n" % (len(data), data)


@contextlib.contextmanager
def connections(gateway: Gateway, count: int, first: bytes = b"") -> Iterator[list[socket.socket]]:
    """So many connections that each have sent this."""
    with contextlib.ExitStack() as stack:
        opened = [stack.enter_context(contextlib.closing(gateway.connect())) for _ in range(count)]
        for connection in opened:
            connection.sendall(first)
        yield opened


@contextlib.contextmanager
def deaf(gateway: Gateway, count: int, size: int, field: str = "X: y") -> Iterator[list[socket.socket]]:
    """So many connections that have asked tests.support.wsgi_app for so many bytes, and read nothing.

    There is little room for it on their side.
    """
    with contextlib.ExitStack() as stack:
        opened = []
        for _ in range(count):
            connection = stack.enter_context(contextlib.closing(socket.socket()))
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            connection.settimeout(PATIENCE)
            connection.connect(gateway.address)
            connection.sendall(f"GET /large?bytes={size} HTTP/1.1\r\nHost: x\r\n{field}\r\n\r\n".encode())
            opened.append(connection)
        yield opened


def answered(connection: socket.socket, seconds: float = 0) -> bool:
    """Whether something can be read within so many seconds, be it an answer or the connection's end."""
    poll = select.poll()  # select() takes no descriptor above 1,023
    poll.register(connection, select.POLLIN)
    return bool(poll.poll(seconds * 1000))


def trickle(connection: socket.socket, piece: bytes, pause: float, seconds: float = PATIENCE) -> bool:
    """Send a piece again and again until there is an answer or the time is over; whether there is one."""
    give_up = time.monotonic() + seconds
    while time.monotonic() < give_up:
        if answered(connection, pause):
            return True
        with contextlib.suppress(ConnectionError):  # its answer may be on its way
            connection.sendall(piece)
    return False


def assert_prompt(gateway: Gateway) -> None:
    """See that a good client is answered, long before any client's time is over."""
    for _ in range(10):
        with connections(gateway, 1, HEALTH) as [connection]:
            connection.settimeout(5)
            assert read_reply(connection).status == 200


def send_byte_by_byte(connection: socket.socket, data: bytes) -> None:
    """Send each byte by itself, until the server ends the connection."""
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    with contextlib.suppress(ConnectionError):
        for byte in data:
            connection.send(bytes([byte]))


def assert_problem(reply: Reply, status: int, reason: str | None = None) -> None:
    """Check what every problem document has; its reason where one is given."""
    assert reply.status == status, reply
    problem = reply.json
    assert problem["status"] == status
    assert reply.headers["Content-Type"] == "application/problem+json"
    assert int(reply.headers["Content-Length"]) == len(reply.body)
    assert reply.headers["X-Request-ID"] == problem["request_id"]
    assert problem["type"] == "urn:facet:problem:" + problem["reason"].lower().replace("_", "-")
    assert problem["title"]
    assert problem["message"] == problem["detail"]
    assert reason in {None, problem["reason"]}, problem


def assert_last_problem(connection: socket.socket, status: int, reason: str | None = None) -> Reply:
    """Read a problem document with which the connection ends."""
    reply = read_reply(connection)
    assert_problem(reply, status, reason)
    assert reply.headers["Connection"] == "close"
    assert ended(connection)
    return reply


def assert_safe_fields(reply: Reply, kept: str) -> None:
    """See that an answer binds caches and browsers, and tells nothing of the server.

    Args:
        reply: The answer.
        kept: What it says to caches.
    """
    assert reply.headers["Cache-Control"] == kept
    assert reply.headers["X-Content-Type-Options"] == "nosniff"
    assert not {"Server", "X-Powered-By", "Via"} & set(reply.headers)


def request_line(gateway: Gateway, name: str) -> dict[str, object]:
    """The one line that the gateway has written about the request of this id."""

    def lines() -> list[dict[str, object]]:
        return [line for line in gateway.process.logged("request") if line["request_id"] == name]

    wait_until(lambda: bool(lines()), f"the line of request {name}")
    [line] = lines()
    return line
