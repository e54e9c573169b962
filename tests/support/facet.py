"""The whole of Facet as the Procfile starts it, on free ports, for end-to-end tests."""

import contextlib
import os
import socket
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.support.processes import ROOT, Process, running
from utils.errors import BackendUnavailable
from utils.service_client import ServiceClient


def procfile() -> dict[str, list[str]]:
    """The Procfile's commands by name, to be run by a shell as a Procfile runner does."""
    lines = (ROOT / "Procfile").read_text().splitlines()
    commands = dict(line.split(":", 1) for line in lines if line)
    return {name: ["/bin/sh", "-c", command.strip()] for name, command in commands.items()}


def free_port() -> int:
    """A port that nothing listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


PATHS = {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
"""So that the Procfile's commands are those of this environment."""

ROOMY = {
    "FACET_WORKERS": "2",
    # A machine that is busy with other tests must not look like a full queue, nor like a late answer.
    "FACET_QUEUE_SECONDS": "60",
    "FACET_TIMEOUT_SECONDS": "60",
    "FACET_MAX_TIMEOUT_SECONDS": "120",
}

TORCHSERVE = {
    "FACET_TORCHSERVE_ADDRESS": "127.0.0.1:0",
    "FACET_TORCHSERVE_HTTP_ADDRESS": "127.0.0.1:0",
}


@dataclass(frozen=True)
class Facet:
    """A running gateway and backend, and their addresses, two of which are those of `TORCHSERVE`.

    Attributes:
        lacks: Names of endpoints that it has not.
    """

    gateway: Process
    inference: Process
    http: str
    grpc: str
    lacks: frozenset[str] = frozenset()

    @property
    def torchserve(self) -> str:
        """Where the backend speaks TorchServe's protocol."""
        return str(self.inference.logged("ready")[0]["torchserve_address"])

    @property
    def torchserve_http(self) -> str:
        """Where the gateway does."""
        return str(self.gateway.logged("ready")[0]["torchserve_http_address"])


def without_native(folder: Path) -> dict[str, str]:
    """An environment whose processes find no native engine, as where there is no compiler."""
    missing = "raise ModuleNotFoundError(\"No module named 'facet_native'\", name='facet_native')\n"
    (folder / "facet_native.py").write_text(missing)
    paths = [str(folder), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {"PYTHONPATH": os.pathsep.join(paths)}


def found(client: ServiceClient, picture: bytes) -> int | None:
    """How many faces; None where there is no backend."""
    try:
        return len(client.detect(picture).faces)
    except BackendUnavailable:
        return None


@contextlib.contextmanager
def inference(**environ: str) -> Iterator[tuple[Process, str]]:
    """The Procfile's backend, ready, and its address."""
    settings = {"FACET_GRPC_ADDRESS": "127.0.0.1:0", **PATHS, **ROOMY, **environ}
    with running(procfile()["inference"], **settings) as process:
        yield process, process.wait_for("ready")["grpc_address"]


@contextlib.contextmanager
def gateway(**environ: str) -> Iterator[tuple[Process, str]]:
    """The Procfile's gateway, listening, and its address."""
    settings = {"FACET_HTTP_ADDRESS": "127.0.0.1:0", **PATHS, **ROOMY, **environ}
    with running(procfile()["web"], **settings) as process:
        yield process, process.wait_for("ready")["http_address"]


@contextlib.contextmanager
def facet(**environ: str) -> Iterator[Facet]:
    """Both, talking to each other."""
    with (
        inference(**environ) as (backend, grpc),
        gateway(**{"FACET_BACKEND": grpc, **environ}) as (web, http),
    ):
        yield Facet(web, backend, http, grpc)
