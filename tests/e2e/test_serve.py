"""Rules of `make serve`: what it announces, what it refuses, and how it ends."""

import re
import shlex
import signal
import socket
import sys

from cli.serve import commands
from tests.support.endpoints import http_request, post_raw
from tests.support.facet import PATHS, ROOMY, free_port, procfile
from tests.support.metrics import scrape
from tests.support.pictures import ASTRONAUT
from tests.support.processes import alive, children, running, wait_until

SERVE = [sys.executable, "-m", "cli", "serve"]


def descendants(pid: int) -> set[int]:
    """Process ids of the children of a process, and theirs."""
    found = set(children(pid))
    for child in list(found):
        found |= descendants(child)
    return found


def test_make_serve_says_when_and_where_faces_can_be_detected_and_ctrl_c_ends_it_all() -> None:
    """The addresses are printed; afterwards no process and no socket is left, and the status is 0."""
    http, metrics, grpc, admin = (f"127.0.0.1:{free_port()}" for _ in range(4))
    addresses = {"FACET_HTTP_ADDRESS": http, "FACET_GRPC_ADDRESS": grpc, "FACET_ADMIN_ADDRESS": admin}
    settings = {"FACET_HTTP_METRICS_ADDRESS": metrics, **addresses, **PATHS, **ROOMY}
    with running(SERVE, **settings) as process:
        wait_until(lambda: "Facet detects faces now." in process.lines, "the announcement")
        wait_until(lambda: any(f"http://{http}/predict" in line for line in process.lines), "HTTP address")
        wait_until(lambda: any(line.endswith(grpc) for line in process.lines), "gRPC address")
        wait_until(lambda: any(line.endswith(f"http://{admin}/statusz") for line in process.lines), "admin")
        assert len(post_raw(http, ASTRONAUT.read_bytes(), {}).faces or []) == 1
        # One that is still booting has nothing to finish, and is killed.
        wait_until(lambda: any('"grpc_address"' in line for line in process.lines), "all workers are ready")
        family = descendants(process.pid)
        assert len(family) >= 8
        assert http_request(admin, "GET", "/statusz")[0] == 200
        assert scrape(admin).value("facet_faces_total") == 1
        assert scrape(metrics).value("facet_http_requests_total", route="/predict", status="200") == 1
        process.send_group(signal.SIGINT)
        assert process.wait(20) == 0
        assert not any(alive(pid) for pid in family)
        assert [line for line in process.lines if "SIGKILL" in line] == []
        # The runner puts no time of its own before that of each line.
        assert not any(re.match(r"\d\d:\d\d:\d\d ", line) for line in process.lines)
    for address in addresses.values():
        with socket.socket() as probe:
            host, port = address.split(":")
            assert probe.connect_ex((host, int(port))) != 0


def test_make_serve_names_the_busy_port_and_the_setting_that_changes_it() -> None:
    """Before anything is started."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        busy = f"127.0.0.1:{other.getsockname()[1]}"
        idle = f"127.0.0.1:{free_port()}"
        names = [f"FACET_{which}_ADDRESS" for which in ("HTTP", "GRPC", "ADMIN", "ADMIN_GRPC")]
        for name in names:
            addresses = {**dict.fromkeys(names, idle), name: busy}
            with running(SERVE, **addresses, **PATHS) as process:
                assert process.wait() == 1
                assert len(process.lines) == 1
                assert process.lines[0].startswith("facet: ADDRESS_IN_USE: ")
                assert busy in process.lines[0]
                assert name in process.lines[0]


def test_the_procfile_runs_what_make_serve_does() -> None:
    """For those who have a runner of their own."""
    of_file = {name: shlex.split(command[-1])[2:] for name, command in procfile().items()}
    assert of_file == {name: command[1:] for name, command in commands().items()}
