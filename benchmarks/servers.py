"""The servers that are measured, each started for a scenario and ended with it."""

import contextlib
import signal
import socket
from collections.abc import Iterator, Sequence

from benchmarks.processes import TREE, environment, python
from inference_server.detector.choice import EngineUnavailable, choose
from inference_server.supervision.address import reserve
from tests.support.facet import free_port
from tests.support.processes import Process, running, wait_until
from utils.settings import Address, parse_address

PATIENT = {
    # Nothing is refused: what is measured is waiting.
    "FACET_QUEUE_SECONDS": "600",
    "FACET_TIMEOUT_SECONDS": "120",
    "FACET_MAX_TIMEOUT_SECONDS": "120",
    # Both are far above what a stalled virtual machine takes.
    "FACET_HANG_SECONDS": "60",
}
"""Settings of a backend whose queue is as long as need be."""

# As a worker of Facet has it.
_ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


def available(engines: Sequence[str]) -> list[str]:
    """Those of the engines that can run here."""
    return [engine for engine in engines if _can_run(engine)]


def _can_run(engine: str) -> bool:
    try:
        choose(engine)
    except EngineUnavailable:
        return False
    return True


@contextlib.contextmanager
def facet(workers: int, *, sleeping: bool, **environ: str) -> Iterator[tuple[Process, str]]:
    """Facet's backend, ready, and its address."""
    name = "benchmarks.sleeping_backend" if sleeping else "inference_server"
    settings = {"FACET_GRPC_ADDRESS": "127.0.0.1:0", "FACET_WORKERS": str(workers), **environ}
    with module(name, **settings) as process:
        yield process, process.wait_for("ready")["grpc_address"]
        stop(process)


@contextlib.contextmanager
def plain(workers: int, *, sleeping: bool) -> Iterator[str]:
    """As many processes of the plain service on one port; gives its address."""
    command = ("benchmarks.peers.plain", "--detector", "sleeping" if sleeping else "real")
    with _on_one_port(workers, *command, **_ONE_THREAD) as (_, address):
        yield address


@contextlib.contextmanager
def facet_and_plain(workers: int, *, sleeping: bool) -> Iterator[dict[str, str]]:
    """Facet's backend, which refuses nothing, and the plain service: addresses by name."""
    with (
        facet(workers, sleeping=sleeping, **PATIENT) as (_, ours),
        plain(workers, sleeping=sleeping) as other,
    ):
        yield {"facet": ours, "plain": other}


@contextlib.contextmanager
def article_backend(processes: int) -> Iterator[tuple[list[Process], str]]:
    """As many processes of the article's backend on one port, ready, and their address."""
    quiet = {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": ""}
    with _on_one_port(processes, "benchmarks.peers.article.backend", **quiet) as started:
        yield started


@contextlib.contextmanager
def _on_one_port(count: int, *command: str, **environ: str) -> Iterator[tuple[list[Process], str]]:
    """As many processes of a module that listens where `--address` says, ready, and their address."""
    reservation = reserve(Address("127.0.0.1", 0), "--address")
    command = (*command, "--address", str(reservation.address))
    with contextlib.ExitStack() as stack:
        stack.callback(reservation.close)
        processes = [stack.enter_context(module(*command, **environ)) for _ in range(count)]
        for process in processes:
            process.wait_for("ready")
        yield processes, str(reservation.address)


@contextlib.contextmanager
def module(*command: str, **environ: str) -> Iterator[Process]:
    """A module of the measured checkout as a process."""
    tree = TREE.get()
    with running([python(tree), "-m", *command], tree, **{**environment(tree), **environ}) as process:
        yield process


@contextlib.contextmanager
def article_gateway(backend: str) -> Iterator[tuple[Process, str]]:
    """The article's gateway before a backend, listening, and its address."""
    with _flask_peer("benchmarks.peers.article.gateway", backend, "--workers", "2") as started:
        yield started


@contextlib.contextmanager
def bare_gateway(backend: str, threads: int) -> Iterator[tuple[Process, str]]:
    """One process of the bare gateway before a backend, listening, and its address."""
    options = ("--worker-class", "gthread", "--threads", str(threads), "--keep-alive", "75")
    with _flask_peer("benchmarks.peers.bare_gateway", backend, *options) as started:
        yield started


@contextlib.contextmanager
def _flask_peer(name: str, backend: str, *options: str) -> Iterator[tuple[Process, str]]:
    address = f"127.0.0.1:{free_port()}"
    options = (*options, "--bind", address, "--no-control-socket")
    with module("gunicorn", *options, f"{name}:create_app()", TARGET=backend) as process:
        wait_until(lambda: _listens(address) or not process.alive(), f"{name} listens")
        assert process.alive(), process.log()
        yield process, address
        stop(process)


def _listens(address: str) -> bool:
    where = parse_address(address)
    with socket.socket() as probe:
        return probe.connect_ex((where.host, where.port)) == 0


@contextlib.contextmanager
def gateway(backend: str, **environ: str) -> Iterator[tuple[Process, str]]:
    """Facet's gateway before a backend, one process of it, and its address."""
    settings = {
        "FACET_HTTP_ADDRESS": f"127.0.0.1:{free_port()}",
        "FACET_HTTP_WORKERS": "1",
        "FACET_BACKEND": backend,
        **environ,
    }
    with module("gateway", **settings) as process:
        yield process, process.wait_for("ready")["http_address"]
        stop(process)


def stop(process: Process) -> None:
    """End a service as its operator does."""
    process.send(signal.SIGTERM)
    process.wait()
