"""Two gateways behind a real nginx with the configuration that we recommend, restarted in turn."""

import contextlib
import re
import signal
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from gateway.forms.inputs import input_form
from gateway.forms.model_inputs import model_form
from tests.soak.endpoints import HttpCaller
from tests.soak.identities import Account
from tests.soak.load import Load, Tally
from tests.soak.photos import photos
from tests.support import facet
from tests.support.balancers import NGINX, Machines, balancer
from tests.support.endpoints import answers, http_request, post_raw
from tests.support.facet import free_port, inference
from tests.support.pictures import ASTRONAUT
from tests.support.processes import ROOT, Process, wait_until
from utils.settings import Settings


@contextlib.contextmanager
def gateway(port: int, backend: str) -> Iterator[Process]:
    """A gateway on this port, ready."""
    address = f"127.0.0.1:{port}"
    settings = {"FACET_HTTP_ADDRESS": address, "FACET_BACKEND": backend, "FACET_DRAIN_SECONDS": "1"}
    with facet.gateway(**settings) as (process, _):
        wait_until(lambda: answers(address, "/readyz", 200), "the gateway is ready")
        yield process


def behind(ports: list[int], backend: str) -> Machines:
    """What is behind nginx: gateways on these ports, and the backend."""
    return Machines([f"127.0.0.1:{port}" for port in ports], [backend])


def test_gateways_restarted_in_turn_behind_nginx_lose_no_request(tmp_path: Path) -> None:
    """Each is stopped, and the next when the first serves again, under load with every answer compared."""
    ports = [free_port(), free_port()]
    tally = Tally()
    with inference() as (_, backend), contextlib.ExitStack() as stack:
        processes = [stack.enter_context(gateway(port, backend)) for port in ports]
        nginx = stack.enter_context(balancer(NGINX, tmp_path, behind(ports, backend)))
        # The load ends before any gateway does.
        with Load([partial(HttpCaller, nginx.http, Account())] * 4, photos(12), tally) as load:
            # To the master alone, as an init system does, and to all of a group, as a Procfile runner does.
            for tell in (Process.send, Process.send_group):
                for index, port in enumerate(ports):
                    load.go_on(20)
                    tell(processes[index], signal.SIGTERM)
                    wait_until(partial(answers, f"127.0.0.1:{port}", "/readyz", 503), "it says so")
                    assert processes[index].wait() == 0
                    load.go_on(20)
                    processes[index] = stack.enter_context(gateway(port, backend))
    assert tally.sent >= 160
    assert (tally.failed, tally.wrong, tally.refused, tally.gone) == (0, 0, 0, 0), tally
    assert tally.crashed == []


def test_nginx_lets_every_body_pass_that_a_gateway_takes() -> None:
    """By the default limits of an image, of another model's input, and of a batch."""
    text = (ROOT / "deploy" / "nginx.conf").read_text()
    size, of_batch = re.findall(r"client_max_body_size (\d+)m;", text)  # and that of gRPC is none
    assert Settings().max_batch_bytes < int(of_batch) * 1024**2
    for kind in ("application/json", "multipart/form-data; boundary=B", None):
        for coding in (None, "gzip"):
            assert input_form(kind, coding, str, Settings().max_image_bytes).limit <= int(size) * 1024**2
    for coding in (None, "gzip"):
        form = model_form("application/json", coding, str, Settings().max_request_bytes)
        assert form.limit <= int(size) * 1024**2


def test_nginx_asks_the_other_gateway_when_one_has_no_backend(tmp_path: Path) -> None:
    """A 503 is not the caller's business while somebody can answer."""
    ports = [free_port(), free_port()]
    with inference() as (_, backend), contextlib.ExitStack() as stack:
        stack.enter_context(gateway(ports[0], backend))
        lonely = {"FACET_HTTP_ADDRESS": f"127.0.0.1:{ports[1]}", "FACET_BACKEND": f"127.0.0.1:{free_port()}"}
        stack.enter_context(facet.gateway(**lonely))
        http = stack.enter_context(balancer(NGINX, tmp_path, behind(ports, backend))).http
        assert [http_request(http, "GET", "/readyz")[0] for _ in range(4)] == [200] * 4
        for _ in range(4):
            assert len(post_raw(http, ASTRONAUT.read_bytes(), {}).faces or []) == 1
