"""A real backend with its admin process, and how a test asks that over HTTP."""

import contextlib
import http.client
import json
import socket
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.model_backend import Backend, model_backend
from tests.support.processes import PATIENCE, alive, wait_until

JSON = {"Content-Type": "application/json"}


class UnixConnection(http.client.HTTPConnection):
    """HTTP by a socket file."""

    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=PATIENCE)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(PATIENCE)
        self.sock.connect(self._path)


def connection(address: str) -> http.client.HTTPConnection:
    """A connection to what FACET_ADMIN_ADDRESS can name."""
    if address.startswith("unix:"):
        return UnixConnection(address.removeprefix("unix:"))
    return http.client.HTTPConnection(address, timeout=PATIENCE)


@dataclass(frozen=True)
class Answer:
    """What came back."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:  # noqa: ANN401
        return json.loads(self.body)

    @property
    def problem(self) -> tuple[int, str, str | None]:
        """Status, reason and field of a problem document."""
        assert self.headers["content-type"] == "application/problem+json"
        return self.status, self.json["reason"], self.json.get("field")


@dataclass
class Managed:
    """A running backend and the address of its admin process."""

    backend: Backend
    address: str

    def ask(
        self,
        method: str,
        path: str,
        body: object = None,
        headers: Mapping[str, str] = JSON,
    ) -> Answer:
        """One request over a connection of its own; a body that is no bytes is sent as JSON."""
        content = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        with contextlib.closing(connection(self.address)) as made:
            made.request(method, path, content, dict(headers))
            response = made.getresponse()
            return Answer(response.status, {k.lower(): v for k, v in response.getheaders()}, response.read())

    def status(self) -> dict[str, Any]:
        """The backend's status, as JSON."""
        answer = self.ask("GET", "/statusz", headers={"Accept": "application/json"})
        assert answer.status == 200
        status: dict[str, Any] = answer.json
        return status

    def processes(self, group: str) -> list[dict[str, Any]]:
        """The processes of a group that are ready."""
        [found] = [one for one in self.status()["groups"] if one["name"] == group]
        return [process for process in found["processes"] if process["state"] == "ready"]

    def pid(self) -> int:
        """The admin process's own id, when there is one, and no other that is told to end."""
        wait_until(lambda: len(self.processes("admin")) == 1, "one admin process")
        [process] = self.processes("admin")
        pid: int = process["pid"]
        return pid

    def wait_for_another(self, pid: int) -> None:
        """Wait until another admin process has taken the place of this one."""
        ready = self.backend.process
        wait_until(
            lambda: any(
                line["worker"] != pid
                for line in ready.logged("worker ready")
                if line.get("process") == "admin" and alive(line["worker"])
            ),
            "another admin process is ready",
        )


@contextlib.contextmanager
def managed(folder: Path, **environ: str) -> Iterator[Managed]:
    """A backend of two workers with its admin process, whose state and store lie in this folder."""
    settings = {"FACET_ADMIN_ADDRESS": "127.0.0.1:0", **environ}
    with model_backend(folder, **settings) as backend:
        [ready] = backend.process.logged("ready")
        yield Managed(backend, ready["admin_address"])
