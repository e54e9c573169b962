"""A real gateway process, and what a test asks of it."""

import contextlib
import json
import socket
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPResponse
from typing import Any, cast

from tests.support import processes
from tests.support.fake_backend import Backend


@dataclass
class Reply:
    """A response that was read to its end; the names of its headers in any case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> dict[str, Any]:
        document: dict[str, Any] = json.loads(self.body)
        return document


class Gateway:
    """A running gateway: its process, an address of its, and what it said when it was ready."""

    def __init__(
        self, process: processes.Process, address: str, ready: Mapping[str, str] | None = None
    ) -> None:
        self.process = process
        self.ready = ready or {}
        self.where = address
        host, _, port = address.rpartition(":")
        self.address = (host, int(port))

    def connect(self) -> socket.socket:
        """A bare connection, on which a test sends what it likes."""
        return socket.create_connection(self.address, timeout=processes.PATIENCE)

    def open(self) -> HTTPConnection:
        """A connection of an ordinary client."""
        return HTTPConnection(*self.address, timeout=processes.PATIENCE)

    def get(self, path: str) -> Reply:
        """GET on a connection of its own."""
        with contextlib.closing(self.open()) as connection:
            connection.request("GET", path)
            return read(connection.getresponse())

    def predict(self, image: bytes = b"picture", **headers: str) -> Reply:
        """Post a raw picture on a connection of its own; headers are named with underscores."""
        with contextlib.closing(self.open()) as connection:
            return post(connection, image, **headers)

    def workers(self) -> list[int]:
        return self.process.children()


@contextlib.contextmanager
def held_request(gateway: Gateway, backend: Backend) -> Iterator[HTTPConnection]:
    """A connection whose picture the backend has, and answers when its `held` is set."""
    backend.answer = backend.hold
    headers = {"Content-Type": "image/jpeg", "X-Request-Timeout": "60"}
    with contextlib.closing(gateway.open()) as connection:
        connection.request("POST", "/predict", b"picture", headers)
        assert backend.began.acquire(timeout=processes.PATIENCE)
        yield connection


def post(connection: HTTPConnection, image: bytes = b"picture", **headers: str) -> Reply:
    """Post a raw picture on this connection."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    connection.request("POST", "/predict", image, {"Content-Type": "image/jpeg", **named})
    return read(connection.getresponse())


def read(response: HTTPResponse) -> Reply:
    """Read a response to its end."""
    return Reply(response.status, cast(Mapping[str, str], response.headers), response.read())


def read_reply(connection: socket.socket) -> Reply:
    """Read one response from a bare connection."""
    response = HTTPResponse(connection)
    response.begin()
    return read(response)


def ended(connection: socket.socket) -> bool:
    """Whether the server ends this connection, and nothing more came on it."""
    try:
        return connection.recv(1) == b""
    except ConnectionResetError:
        return True


COMMAND = [sys.executable, "-m", "gateway"]


@contextlib.contextmanager
def gateway(target: str, *arguments: str, **environ: str) -> Iterator[Gateway]:
    """A gateway of one worker before this backend, ready to answer; gunicorn gets these arguments, too."""
    settings = {
        "FACET_HTTP_ADDRESS": "127.0.0.1:0",
        "FACET_HTTP_WORKERS": "1",
        "FACET_BACKEND": target,
        **environ,
    }
    with processes.running([*COMMAND, *arguments], **settings) as process:
        ready = process.wait_for("ready")
        running = Gateway(process, ready["http_address"], ready)
        assert running.get("/healthz").status == 200
        yield running


def wait_for_status(gateway: Gateway, path: str, status: int) -> Reply:
    """Ask until this is the answer."""
    give_up = time.monotonic() + processes.PATIENCE
    while (reply := gateway.get(path)).status != status:
        assert time.monotonic() < give_up, f"{path} still answers {reply.status}: {reply.body!r}"
        time.sleep(0.05)
    return reply


def errors_of(gateway: Gateway) -> list[str]:
    """Its log lines of faults so far."""
    return [line for line in gateway.process.lines if '"level": "error"' in line]
