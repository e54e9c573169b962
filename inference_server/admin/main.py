"""The admin process: a loop that serves operators, shows that it turns, and listens to the supervisor."""

import gc
import os
import signal
import socket
import sys
import time
from collections.abc import Sequence
from typing import Any, Protocol

from inference_server.admin.app import create_app
from inference_server.admin.server import HttpServer
from inference_server.admin.supervisor_client import SupervisorClient
from inference_server.boot import EXIT_DIED, begin, fail
from inference_server.dispatch.row import WorkerStats
from inference_server.dispatch.shared import Shared
from inference_server.supervision.control import (
    Drain,
    Ready,
    RetirementRequested,
    SetLogLevel,
    Stop,
    WorkerDied,
    WorkerEnd,
)
from inference_server.tls_handover import taken_over
from utils.access import Access
from utils.guard import Guard
from utils.logs import set_level
from utils.settings import Address, Settings
from utils.tls import TlsFiles

_HEARTBEAT_SECONDS = 0.25


def main() -> None:
    """Run the admin process until it is told to stop."""
    arguments, settings, control = begin(
        "The admin process.",
        http_fd="the socket that listens for HTTP",
        grpc_address="host:port where it listens for gRPC; empty where it does not",
        torchserve_http_fd="the socket that listens for TorchServe's clients by HTTP; empty for none",
        torchserve_grpc_address="where it listens for those by gRPC; empty where it does not",
        supervisor_fd="the connection by which the supervisor is asked",
        newer={"tls_fd": "what the files of TLS held"},
    )
    try:
        shared = Shared.inherited(arguments.shared)
        client = SupervisorClient(socket.socket(fileno=int(arguments.supervisor_fd)))
        listener = socket.socket(fileno=int(arguments.http_fd))
        http, access = HttpServer(), Access.of(settings)
        guard = _guard(settings, access, listener)
        http.add(create_app(client.execute, guard, shared.stats), listener)
        others: list[Endpoint] = []
        tls = taken_over(settings, arguments.tls_fd)
        if arguments.grpc_address:
            others.append(_grpc_server(client, guard, arguments.grpc_address, tls))
        if arguments.torchserve_http_fd or arguments.torchserve_grpc_address:
            from inference_server.admin import torchserve_endpoints  # noqa: PLC0415 - most have no use for it

            torchserve = torchserve_endpoints.TorchServeEndpoints(client.execute, settings)
            if arguments.torchserve_http_fd:
                listener = socket.socket(fileno=int(arguments.torchserve_http_fd))
                http.add(torchserve.http(_guard(settings, access, listener)), listener)
            if arguments.torchserve_grpc_address:
                others.append(torchserve.grpc(arguments.torchserve_grpc_address, guard, tls))
    except Exception as error:  # noqa: BLE001 - whatever it is, the supervisor is told
        fail(control, error)
    Admin(http, others, client, control, shared.stats.rows[arguments.slot]).run()
    os._exit(0)  # threads may wait for the supervisor's answers, or for clients


def _grpc_server(client: SupervisorClient, guard: Guard, address: str, tls: TlsFiles | None) -> "Endpoint":
    from inference_server.admin import grpc_server  # noqa: PLC0415 - most have no use for it

    return grpc_server.GrpcServer(grpc_server.management_service(client.execute, guard), address, tls)


def _guard(settings: Settings, access: Access | None, listener: socket.socket) -> Guard:
    hosts = list(settings.admin_hosts)
    if listener.family != socket.AF_UNIX:
        # Without the port, in brackets where it is of IPv6.
        hosts.append(str(Address(listener.getsockname()[0], 0)).rpartition(":")[0])
    return Guard(hosts, access)


class Endpoint(Protocol):
    """Where operators ask."""

    def stop_accepting(self) -> None:
        """Take nothing new; what has come is answered."""

    @property
    def idle(self) -> bool:
        """Whether all of it is answered."""


class Admin:
    """The part of the admin process's life in which it serves.

    Args:
        http: The HTTP endpoint, whose loop is this process's.
        others: Other endpoints, which have threads of their own.
        client: Asks the supervisor.
        control: The supervisor's line to this process.
        row: Of this process among those that all share.
    """

    def __init__(
        self,
        http: HttpServer,
        others: Sequence[Endpoint],
        client: SupervisorClient,
        control: WorkerEnd,
        row: WorkerStats,
    ) -> None:
        self._http = http
        self._endpoints: Sequence[Endpoint] = (http, *others)
        self._client = client
        self._control = control
        self._row = row
        self._stopping = False

    def run(self) -> None:
        """Serve until told to stop; what is asked then is answered."""
        gc.collect()
        gc.freeze()
        signal.signal(signal.SIGTERM, lambda *_: self._control.send(RetirementRequested()))
        self._http.watch(_ControlReader(self._control, self._receive))
        self._row.heartbeat = time.monotonic()  # the last one is from before everything was imported
        self._control.send(Ready())
        while not (self._stopping and all(endpoint.idle for endpoint in self._endpoints)):
            self._row.heartbeat = time.monotonic()
            self._http.turn(_HEARTBEAT_SECONDS)

    def _receive(self) -> None:
        try:
            while (message := self._control.receive()) is not None:
                match message:
                    case Stop():
                        self._stop()
                    case Drain():  # the supervisor answers nothing any more
                        self._client.close()
                        self._stop()
                    case SetLogLevel(level):
                        set_level(level)
                    case WorkerDied():  # who dispatches is told
                        pass
        except EOFError:  # the supervisor is gone, and takes its children along
            os._exit(EXIT_DIED)

    def _stop(self) -> None:
        self._stopping = True
        for endpoint in self._endpoints:
            endpoint.stop_accepting()


class _ControlReader:
    """The line to the supervisor, as waitress's loop turns it."""

    accepting = False

    def __init__(self, control: WorkerEnd, receive: Any) -> None:  # noqa: ANN401
        self._control = control
        self.handle_read_event = self.handle_close = receive

    def fileno(self) -> int:
        return self._control.fileno()

    def readable(self) -> bool:
        return True

    def writable(self) -> bool:
        return False

    def handle_error(self) -> None:
        """Let what was raised end the loop, out of which waitress takes it."""
        error = sys.exception()
        assert error is not None
        raise error
