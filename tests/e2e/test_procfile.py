"""Rules of the service as a whole: the Procfile's processes, `make serve`, their start, faults and end."""

import json
import os
import signal
import socket
import sys
from pathlib import Path

from tests.support.doors import HTTP_DOORS, answers, http_request, post_raw
from tests.support.facet import PATHS, ROOMY, facet, free_port, gateway, inference
from tests.support.pictures import ASTRONAUT
from tests.support.processes import alive, children, running, wait_until

SERVE = [sys.executable, "-m", "scripts.serve"]


def descendants(pid: int) -> set[int]:
    """Process ids of the children of a process, and theirs."""
    found = set(children(pid))
    for child in list(found):
        found |= descendants(child)
    return found


def test_a_gateway_starts_without_a_backend_and_finds_it_later() -> None:
    """Until then it lives, is not ready, and answers 503 with a time to come back; then it recovers."""
    backend = f"127.0.0.1:{free_port()}"
    with gateway(FACET_BACKEND=backend) as (_, http):
        assert http_request(http, "GET", "/healthz")[0] == 200
        status, headers, body = http_request(http, "GET", "/readyz")
        assert (status, headers["retry-after"]) == (503, "1")
        assert json.loads(body)["reason"] == "BACKEND_UNAVAILABLE"
        assert post_raw(http, ASTRONAUT.read_bytes(), {}).http_status == 503
        with inference(FACET_GRPC_ADDRESS=backend):
            wait_until(lambda: answers(http, "/readyz", 200), "ready")
            # Each process of the gateway finds the backend by itself, within a second of the other.
            wait_until(lambda: len(post_raw(http, ASTRONAUT.read_bytes(), {}).faces or []) == 1, "a face")
        wait_until(lambda: answers(http, "/readyz", 503), "not ready again")


def test_a_killed_worker_is_not_noticed_through_the_gateway() -> None:
    """Every request is answered with the face; the service goes on with a replacement."""
    with facet() as service:
        for victim in children(service.inference.pid):
            for _ in range(5):
                assert len(post_raw(service.http, ASTRONAUT.read_bytes(), {}).faces or []) == 1
            os.kill(victim, signal.SIGKILL)
            for _ in range(5):
                assert len(post_raw(service.http, ASTRONAUT.read_bytes(), {}).faces or []) == 1
            service.inference.wait_for("worker ready")


def test_no_gateway_process_loads_numpy_or_pillow() -> None:
    """It decodes nothing, so it stays small."""
    with facet() as service:
        for door in HTTP_DOORS.values():
            assert door(service.http, ASTRONAUT.read_bytes(), {}).faces
        processes = [service.gateway.pid, *children(service.gateway.pid)]
        assert len(processes) == 3
        for pid in processes:
            maps = Path(f"/proc/{pid}/maps").read_text()
            for name in ("numpy", "PIL", "onnx", "tensorflow"):
                assert name not in maps


def test_make_serve_says_when_and_where_faces_can_be_detected_and_ctrl_c_ends_it_all() -> None:
    """The two addresses are printed; afterwards no process and no socket is left, and the status is 0."""
    http, grpc = f"127.0.0.1:{free_port()}", f"127.0.0.1:{free_port()}"
    settings = {"FACET_HTTP_ADDRESS": http, "FACET_GRPC_ADDRESS": grpc, **PATHS, **ROOMY}
    with running(SERVE, **settings) as process:
        wait_until(lambda: "Facet detects faces now." in process.lines, "the announcement")
        wait_until(lambda: any(f"http://{http}/predict" in line for line in process.lines), "HTTP address")
        wait_until(lambda: any(line.endswith(grpc) for line in process.lines), "gRPC address")
        assert len(post_raw(http, ASTRONAUT.read_bytes(), {}).faces or []) == 1
        family = descendants(process.pid)
        assert len(family) >= 7
        process.send_group(signal.SIGINT)
        assert process.wait(20) == 0
        assert not any(alive(pid) for pid in family)
        assert not any("SIGKILL" in line for line in process.lines)
    for address in (http, grpc):
        with socket.socket() as probe:
            host, port = address.split(":")
            assert probe.connect_ex((host, int(port))) != 0


def test_make_serve_names_the_busy_port_and_the_setting_that_changes_it() -> None:
    """Before anything is started."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        busy = f"127.0.0.1:{other.getsockname()[1]}"
        idle = f"127.0.0.1:{free_port()}"
        for name, second in (
            ("FACET_HTTP_ADDRESS", "FACET_GRPC_ADDRESS"),
            ("FACET_GRPC_ADDRESS", "FACET_HTTP_ADDRESS"),
        ):
            with running(SERVE, **{name: busy, second: idle}, **PATHS) as process:
                assert process.wait() == 1
                assert len(process.lines) == 1
                assert busy in process.lines[0]
                assert name in process.lines[0]
