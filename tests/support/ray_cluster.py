"""A cluster of Ray on this machine that serves Facet by deploy/ray.yaml, in an environment of its own."""

import contextlib
import functools
import hashlib
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import grpc
import yaml
from grpc_health.v1 import health_pb2, health_pb2_grpc

from tests.support import wheels
from tests.support.client_environment import NotInstalled
from tests.support.facet import free_port
from tests.support.processes import ROOT, Process, alive, children, running, wait_until

_LOCKS = [ROOT / "locks" / f"requirements-{name}.txt" for name in ("serve", "ray")]
_UV_INSTALL = (sys.executable, "-m", "uv", "pip", "install", "--quiet", "--compile-bytecode")
"""Compiled at once: Ray gives its agent 15 seconds to start."""
_INSTALL_SECONDS = 600
START_SECONDS = 300
"""In which a cluster starts, or Facet on it: its processes import much, one after the other."""
_OTHER_PORTS = (
    "ray-client-server",
    "dashboard-agent-listen",
    "dashboard-agent-grpc",
    "metrics-export",
    "runtime-env-agent",
)
_OBJECTS = 100_000_000
"""Bytes of memory for objects; calls need none of it."""


@functools.cache
def environment(*, make: bool = True) -> Path:
    """The `bin` of an environment with the locked packages and Facet's wheels of now.

    Args:
        make: Whether the environment is made where there is none, which takes 750 MB.

    Raises:
        NotInstalled: There is none, or its packages cannot be had.
    """
    tag = hashlib.sha256(sys.version.encode() + b"".join(lock.read_bytes() for lock in _LOCKS)).hexdigest()
    folder = ROOT / ".cache" / "clients" / f"ray-{tag[:8]}"
    python, done = folder / "bin" / "python", folder / "done"
    install = [*_UV_INSTALL, "--python", str(python)]
    if not done.exists():
        if not make:
            raise NotInstalled("Ray is not installed; `make test-heavy NAME=ray` installs it in .cache.")
        _run(sys.executable, "-m", "venv", "--clear", str(folder))
        _run(*install, "--require-hashes", *(f"--requirement={lock}" for lock in _LOCKS))
        done.touch()
    sources = _sources()
    if done.read_text() != sources:
        with tempfile.TemporaryDirectory(prefix="facet-wheels-") as built:
            wheels.build(Path(built))
            _run(*install, "--no-deps", "--reinstall", *map(str, Path(built).glob("dist/*.whl")))
        done.write_text(sources)
    return python.parent


def _sources() -> str:
    """What the wheels are made of, as one word."""
    read = hashlib.sha256()
    for package in ("facet_serving", "native", *wheels.NAMES):
        for path in sorted((ROOT / package).rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts:
                read.update(bytes(path.relative_to(ROOT)) + path.read_bytes())
    return read.hexdigest()


def _run(*command: str) -> None:
    environ = {**os.environ, "UV_COMPILE_BYTECODE_TIMEOUT": str(_INSTALL_SECONDS)}
    made = subprocess.run(
        command, env=environ, check=False, capture_output=True, text=True, timeout=_INSTALL_SECONDS
    )
    if made.returncode != 0:
        raise NotInstalled(f"Ray cannot be installed: {made.stderr.strip()[-500:]}")


def environ(folder: Path) -> dict[str, str]:
    """Of Ray's processes: they keep their token in a folder, and tell nobody of themselves."""
    return {
        "HOME": str(folder),
        "PATH": f"{environment()}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": "",
        "PYTHONSAFEPATH": "1",
        "RAY_AUTH_MODE": "token",
        "RAY_COLOR_PREFIX": "0",
        "RAY_USAGE_STATS_ENABLED": "0",
        # A machine that is busy with other tests takes its time.
        "RAY_agent_register_timeout_ms": f"{START_SECONDS}000",
    }


@dataclass(frozen=True)
class Cluster:
    """One that runs.

    Attributes:
        process: Its head, whose descendants all others are.
        address: Of its head, for Ray's commands.
        grpc: Of its gRPC proxy, where Facet is served once it is deployed.
        http_port: Of its HTTP proxy, which nobody uses.
        folder: Of its configuration.
        environ: Of its commands.
    """

    process: Process
    address: str
    grpc: str
    http_port: int
    folder: Path
    environ: dict[str, str]

    def deploy(self, replicas: int, **options: int) -> None:
        """Have Facet served by so many replicas, with other options of Ray's, and wait until it is."""
        config = yaml.safe_load((ROOT / "deploy" / "ray.yaml").read_text())
        config["grpc_options"]["port"] = int(self.grpc.rpartition(":")[2])
        config["http_options"]["port"] = self.http_port
        [application] = config["applications"]
        application["deployments"][0] |= {"num_replicas": replicas, **options}
        path = self.folder / "ray.yaml"
        path.write_text(yaml.safe_dump(config))
        self.run("serve", "run", "--non-blocking", "--address", self.address, str(path))
        wait_until(lambda: len(self.replicas()) == replicas, f"{replicas} replicas run", START_SECONDS)
        wait_until(self.serves, "Facet is served by Ray", START_SECONDS)

    def run(self, *command: str) -> None:
        """Run one of Ray's commands."""
        made = subprocess.run(
            command,
            cwd=self.folder,
            env={**os.environ, **self.environ},
            check=False,
            capture_output=True,
            text=True,
            timeout=START_SECONDS,
        )
        assert made.returncode == 0, made.stdout + made.stderr

    def serves(self) -> bool:
        """Whether its health says so."""
        with grpc.insecure_channel(self.grpc) as channel:
            check = health_pb2_grpc.HealthStub(channel).Check
            try:
                reply = check(health_pb2.HealthCheckRequest(), timeout=10)
            except grpc.RpcError:
                return False
        return bool(reply.status == health_pb2.HealthCheckResponse.SERVING)

    def replicas(self) -> list[int]:
        """Process ids of the replicas."""
        return [pid for pid in self.processes() if _command(pid).startswith("ray::ServeReplica")]

    def processes(self) -> list[int]:
        """Process ids of all that belongs to it, its head included."""
        return descendants(self.process.pid)


@contextlib.contextmanager
def cluster(cpus: int, **settings: str) -> Iterator[Cluster]:
    """A cluster of one node that says it has so many CPUs; all of its processes end with this.

    Args:
        cpus: Ray counts them, and uses what there is.
        settings: Of Facet's replicas.
    """
    # Ray has sockets below its folder, whose paths may have no more than 107 bytes.
    with tempfile.TemporaryDirectory(prefix="ray-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        own = {
            **environ(folder),
            "FACET_LOG_FORMAT": "json",
            "FACET_CACHE_DIR": f"{folder}/models",
            **settings,
        }
        subprocess.run(
            ["ray", "get-auth-token", "--generate"],
            env={**os.environ, **own},
            check=True,
            capture_output=True,
            timeout=START_SECONDS,
        )
        port = free_port()
        with running(_head(folder, cpus, port), folder, **own) as process:
            started = Cluster(
                process, f"127.0.0.1:{port}", f"127.0.0.1:{free_port()}", free_port(), folder, own
            )
            try:
                wait_until(
                    lambda: "Ray runtime started" in process.log() or not process.alive(),
                    "Ray has started",
                    START_SECONDS,
                )
                assert process.alive(), process.log()
                yield started
            finally:
                _end(started)


def _head(folder: Path, cpus: int, port: int) -> list[str]:
    # Of 127.0.0.1 Ray would make the address by which others reach the machine.
    return [
        *("ray", "start", "--head", "--block", "--node-ip-address=127.0.0.2", f"--port={port}"),
        *("--include-dashboard=false", "--disable-usage-stats", f"--temp-dir={folder}"),
        *(f"--num-cpus={cpus}", f"--object-store-memory={_OBJECTS}"),
        # Ports that are not named are waited for, and not for long.
        *(f"--{name}-port={free_port()}" for name in _OTHER_PORTS),
    ]


def _end(started: Cluster) -> None:
    """Stop it as an operator does; fails, and kills, where a process is left."""
    family = started.processes()
    if started.process.alive():
        started.process.send(signal.SIGTERM)
    try:
        started.process.wait()
        wait_until(lambda: not any(map(alive, family)), "all of Ray's processes have ended")
    finally:
        for pid in filter(alive, family):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def descendants(pid: int) -> list[int]:
    """A process and all that descend from it."""
    return [pid, *(found for child in children(pid) for found in descendants(child))]


def _command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")
    except OSError:
        return ""
