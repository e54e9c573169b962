"""A real gateway process and a real but simple gRPC backend behind it."""

import contextlib
import json
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent import futures
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPResponse
from typing import Any

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from protos import infer_pb2 as pb
from protos import infer_pb2_grpc
from tests.support import processes
from utils import codec
from utils.errors import FacetError

Answer = Callable[[pb.Image, Any], pb.InferResults]


class Backend(infer_pb2_grpc.InferenceServicer):
    """Answers each picture by `answer`; counts the calls that began and those that were cancelled."""

    def __init__(self) -> None:
        self.answer: Answer = echo
        self.port = 0
        self.began = threading.Semaphore(0)
        self.cancelled = threading.Event()
        self.metadata: dict[str, str] = {}
        self.held = threading.Event()
        """What a backend that `hold`s waits for."""

    def Predict(self, message: pb.Image, context: Any) -> pb.InferResults:  # noqa: ANN401, N802
        context.add_callback(lambda: None if context.is_active() else self._ended(context))
        self.metadata = dict(context.invocation_metadata())
        self.began.release()
        return self.answer(message, context)

    def _ended(self, context: Any) -> None:  # noqa: ANN401
        if context.code() is None:
            self.cancelled.set()

    def hold(self, message: pb.Image, context: Any) -> pb.InferResults:  # noqa: ANN401
        """Answer when the test says so, or when nobody waits any more."""
        while context.is_active() and not self.held.wait(0.02):
            pass
        return echo(message, context)

    @property
    def target(self) -> str:
        return f"127.0.0.1:{self.port}"


def echo(message: pb.Image, _context: Any) -> pb.InferResults:  # noqa: ANN401
    """Answer with the number of bytes as the picture's width."""
    return pb.InferResults(
        image_id=message.image_id, image=pb.ImageInfo(width=len(message.raw_data), height=1)
    )


def failing(error: FacetError) -> Answer:
    """Fail every call with an error of ours."""

    def answer(_message: pb.Image, context: Any) -> pb.InferResults:  # noqa: ANN401
        status = codec.encode_error(error)
        context.set_trailing_metadata(codec.error_metadata(status))
        code = next(code for code in grpc.StatusCode if code.value[0] == status.code)
        context.abort(code, status.message)
        raise AssertionError("abort raises")

    return answer


@contextlib.contextmanager
def fake_backend(port: int = 0) -> Iterator[Backend]:
    """A backend on a port of its own, or on this one."""
    servicer = Backend()
    server = grpc.server(
        futures.ThreadPoolExecutor(8),
        options=[("grpc.so_reuseport", 0), ("grpc.max_receive_message_length", 12 * 1024**2)],
    )
    infer_pb2_grpc.add_InferenceServicer_to_server(servicer, server)
    checks = health.HealthServicer()
    checks.set("Inference", health_pb2.HealthCheckResponse.SERVING)
    health_pb2_grpc.add_HealthServicer_to_server(checks, server)
    servicer.port = server.add_insecure_port(f"127.0.0.1:{port}")
    server.start()
    try:
        yield servicer
    finally:
        servicer.held.set()
        server.stop(None).wait()


@dataclass
class Reply:
    """A response that was read to its end."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> dict[str, Any]:
        document: dict[str, Any] = json.loads(self.body)
        return document


class Gateway:
    """A running gateway: its process and its address."""

    def __init__(self, process: processes.Process, address: str) -> None:
        self.process = process
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


def post(connection: HTTPConnection, image: bytes = b"picture", **headers: str) -> Reply:
    """Post a raw picture on this connection."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    connection.request("POST", "/predict", image, {"Content-Type": "image/jpeg", **named})
    return read(connection.getresponse())


def read(response: HTTPResponse) -> Reply:
    """Read a response to its end."""
    return Reply(response.status, dict(response.getheaders()), response.read())


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


COMMAND = [sys.executable, "-m", "gunicorn", "-c", "gateway/gunicorn.conf.py"]


@contextlib.contextmanager
def gateway(target: str, **environ: str) -> Iterator[Gateway]:
    """A gateway of one worker before this backend, ready to answer."""
    settings = {
        "FACET_HTTP_ADDRESS": "127.0.0.1:0",
        "FACET_HTTP_WORKERS": "1",
        "FACET_BACKEND": target,
        **environ,
    }
    with processes.running(COMMAND, **settings) as process:
        running = Gateway(process, process.wait_for("ready")["http_address"])
        assert running.get("/healthz").status == 200
        yield running


def wait_for_status(gateway: Gateway, path: str, status: int) -> Reply:
    """Ask until this is the answer."""
    give_up = time.monotonic() + processes.PATIENCE
    while (reply := gateway.get(path)).status != status:
        assert time.monotonic() < give_up, f"{path} still answers {reply.status}: {reply.body!r}"
        time.sleep(0.05)
    return reply
