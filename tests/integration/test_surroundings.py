"""Rules of both processes in surroundings that are not the usual ones."""

import contextlib
import os
import signal
import socket
import struct
import sys
from pathlib import Path

import pytest

from tests.support import gateway_process
from tests.support.facet import ROOMY, found, free_port
from tests.support.pictures import ASTRONAUT
from tests.support.processes import children, running, state, wait_until
from utils.service_client import ServiceClient

BACKEND = [sys.executable, "-m", "inference_server"]
ONE_WORKER = {**ROOMY, "FACET_WORKERS": "1", "FACET_HTTP_WORKERS": "1"}

SUBREAPER = """
import ctypes, os, subprocess, sys
PR_SET_CHILD_SUBREAPER = 36
assert ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0
subprocess.run(["sh", "-c", 'cat "$0" > /dev/null &', sys.argv[1]], check=True)
os.execv(sys.argv[2], sys.argv[2:])
"""


SQUATTER = """
import socket, sys, time
lock = socket.socket(socket.AF_UNIX)
lock.bind("\\0" + sys.argv[1])
if sys.argv[2]:
    lock.listen()
print("held", flush=True)
time.sleep(600)
"""


def shell(script: str, command: list[str]) -> list[str]:
    """A command line that runs a command after, or within, a line of a shell."""
    return ["sh", "-c", script, "sh", *command]


def connects(host: str, port: int) -> bool:
    """Whether somebody listens there."""
    try:
        socket.create_connection((host, port), timeout=10).close()
    except OSError:
        return False
    return True


def has_ipv6() -> bool:
    """Whether this machine has IPv6."""
    with contextlib.suppress(OSError), socket.create_server(("::1", 0), family=socket.AF_INET6):
        return True
    return False


@pytest.mark.parametrize(("closed", "numbers"), [("2>&-", [2]), ("<&- >&- 2>&-", [0, 1, 2])])
def test_both_processes_run_without_standard_streams(closed: str, numbers: list[int]) -> None:
    """And no other file of theirs gets a stream's number."""
    grpc, http = f"127.0.0.1:{free_port()}", f"127.0.0.1:{free_port()}"
    addresses = {"FACET_GRPC_ADDRESS": grpc, "FACET_HTTP_ADDRESS": http, "FACET_LOG_FORMAT": ""}
    start = f'exec "$@" {closed}'
    with (
        running(shell(start, BACKEND), **ONE_WORKER, **addresses) as backend,
        running(shell(start, gateway_process.COMMAND), **ONE_WORKER, **addresses) as web,
        ServiceClient(grpc, timeout=30) as client,
    ):
        wait_until(lambda: found(client, ASTRONAUT.read_bytes()) == 1, "the backend serves")
        gateway = gateway_process.Gateway(web, http)
        wait_until(lambda: connects(*gateway.address), "the gateway listens")
        assert gateway.predict(ASTRONAUT.read_bytes()).status == 200
        for pid in (backend.pid, *backend.children(), web.pid, *web.children()):
            files = {os.readlink(f"/proc/{pid}/fd/{number}") for number in numbers}  # noqa: PTH115
            assert files == {"/dev/null"}
        for process in (web, backend):
            process.send(signal.SIGTERM)
            assert process.wait() == 0


def test_a_wrong_setting_ends_both_without_standard_error() -> None:
    """With the usual status, though nobody reads why; the probe, too."""
    for command in (BACKEND, gateway_process.COMMAND, [sys.executable, "-m", "utils.probe"]):
        with running(shell('exec "$@" 2>&-', command), FACET_WORKERS="many") as process:
            assert process.wait() == 1
            assert process.lines == []


def test_the_backend_reaps_orphans_and_still_sees_how_its_workers_end(
    tmp_path: Path,
) -> None:
    """As the first process of a container."""
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    command = [sys.executable, "-c", SUBREAPER, str(fifo), *BACKEND]
    with running(command, FACET_GRPC_ADDRESS="127.0.0.1:0", **ONE_WORKER) as process:
        worker = process.wait_for("worker ready")["worker"]
        [orphan] = set(children(process.pid)) - {worker}
        fifo.open("w").close()  # which `cat` has waited for, and ends at
        wait_until(lambda: state(orphan) == "", "it has ended and was reaped")
        os.kill(worker, signal.SIGKILL)
        assert process.wait_for("worker crashed", worker=worker)["how"] == "killed by SIGKILL"
        process.wait_for("worker ready")
        process.send(signal.SIGTERM)
        assert process.wait() == 0


@pytest.mark.parametrize("host", ["0.0.0.0", "[::]", "127.0.0.1"])
def test_the_ready_line_says_on_which_addresses_is_served(host: str) -> None:
    """For gRPC 0.0.0.0 means all addresses of IPv6, too."""
    if host == "[::]" and not has_ipv6():
        host = "127.0.0.1"
    with running(BACKEND, FACET_GRPC_ADDRESS=f"{host}:0", **ONE_WORKER) as process:
        shown, _, port = process.wait_for("ready")["grpc_address"].rpartition(":")
        assert shown == ("[::]" if host == "0.0.0.0" and has_ipv6() else host)
        assert connects("127.0.0.1", int(port))
        assert connects("::1", int(port)) == (shown == "[::]")


def refusal(address: str) -> str:
    """The one line with which a backend does not start on an address."""
    with running(BACKEND, FACET_GRPC_ADDRESS=address) as process:
        assert process.wait() == 1
        [line] = process.lines
        assert line.startswith(f"inference_server: FACET_GRPC_ADDRESS is {address}: ")
        return line


@pytest.mark.security(
    endpoint="processes",
    attack="Another process that holds the lock on the address, to keep Facet from starting",
    outcome=(
        "The start ends with one line that names the process and its user if it listens there, or else "
        "says how to find it"
    ),
)
@pytest.mark.parametrize("listens", [True, False])
def test_a_process_that_has_the_addresss_lock_is_named(listens: bool) -> None:
    """By what the kernel says of one that listens, and its command on one line; else by how it is found."""
    address = f"127.0.0.1:{free_port()}"
    command = [sys.executable, "-c", SQUATTER, f"facet:{address}", "listens" if listens else ""]
    with running(command) as squatter:
        wait_until(lambda: squatter.lines == ["held"], "it has the lock")
        line = refusal(address)
        assert f"@facet:{address} is held by " in line
        assert (f"process {squatter.pid} of user " in line) == ("import socket" in line) == listens
        assert ("`ss -xap`" in line) != listens


def test_another_backend_is_named_however_often_it_was_asked() -> None:
    """By its supervisor's process, and its command."""
    with running(BACKEND, FACET_GRPC_ADDRESS="127.0.0.1:0", **ONE_WORKER) as first:
        address = first.wait_for("ready")["grpc_address"]
        for _ in range(300):
            with socket.socket(socket.AF_UNIX) as asking:
                # Where many ask at once, they wait; a timeout of Python's would not.
                asking.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("ll", 10, 0))
                asking.connect(f"\0facet:{address}")
        line = refusal(address)
        assert f"process {first.pid} of user " in line
        assert "-m inference_server)" in line


def without_temporary_folder(command: list[str]) -> list[str]:
    """A command line whose process can write no file, and so finds no folder for temporary ones."""
    return shell('ulimit -f 0; exec "$@"', command)


def test_a_gateway_runs_where_no_temporary_folder_can_be_written() -> None:
    """Whatever gunicorn is told besides: its processes show that they live by files in memory."""
    environ = {"FACET_HTTP_ADDRESS": "127.0.0.1:0", "GUNICORN_CMD_ARGS": "--backlog=100", **ONE_WORKER}
    with running(without_temporary_folder(gateway_process.COMMAND), **environ) as process:
        gateway = gateway_process.Gateway(process, process.wait_for("ready")["http_address"])
        assert gateway.get("/healthz").status == 200
        [worker] = gateway.workers()
        files = [os.readlink(path) for path in Path(f"/proc/{worker}/fd").iterdir()]  # noqa: PTH115
        assert any(name.startswith("/dev/shm/wgunicorn-") for name in files)  # noqa: S108


def test_a_gateway_that_cannot_show_that_it_lives_does_not_start(tmp_path: Path) -> None:
    """One line says in which folder, and which setting names another."""
    environ = {
        "FACET_HTTP_ADDRESS": "127.0.0.1:0",
        "GUNICORN_CMD_ARGS": f"--worker-tmp-dir={tmp_path / 'missing'}",
    }
    with running(gateway_process.COMMAND, **environ) as process:
        assert process.wait() == 1
        assert f"facet gateway: no file can be made in {tmp_path / 'missing'}: " in process.lines[-1]
        assert "--worker-tmp-dir" in process.lines[-1]
        assert "raceback" not in process.log()
        assert not process.logged("ready")
