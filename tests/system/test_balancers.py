"""Two machines behind each balancer that deploy/ has a file for: restarted, killed, taken away and added.

All under load, by clients over HTTP and gRPC that never try again, whose every answer is compared.
"""

import contextlib
import io
import signal
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

import pytest

from tests.soak.endpoints import Caller
from tests.soak.load import Load, Tally
from tests.soak.photos import Photo, photo
from tests.support.balancers import ENVOY, HAPROXY, NGINX, Balancer, Kind, Machines, balancer
from tests.support.facet import free_port
from tests.support.machines import GrpcOnce, GrpcPlain, HttpOnce, HttpOnceEach, Machine, Server, two_machines
from tests.support.pictures import head
from tests.support.processes import wait_until

CALLERS = 4
"""Of each kind; each has one request under way."""
SOME = 20
"""Requests."""
SAMPLE = 100
TENTH = 0.1
A_MINUTE = 60.0


@dataclass
class Site:
    """Two machines behind a balancer."""

    balancer: Balancer
    machines: tuple[Machine, Machine]
    picture: Photo

    @property
    def backends(self) -> list[Server]:
        return [machine.backend for machine in self.machines]

    @property
    def gateways(self) -> list[Server]:
        return [machine.gateway for machine in self.machines]


@dataclass
class Traffic:
    """The load of a test: clients over gRPC, and clients over HTTP."""

    grpc: Load
    http: Load
    of_grpc: Tally
    of_http: Tally

    def go_on(self, requests: int = SOME) -> None:
        """Wait until so many more have been answered over each."""
        self.grpc.go_on(requests)
        self.http.go_on(requests)


@pytest.fixture(scope="module")
def port() -> int:
    """Where the balancers speak gRPC, one after the other."""
    return free_port()


@pytest.fixture(scope="module")
def machines(port: int) -> Iterator[tuple[Machine, Machine]]:
    """Two machines, which outlive the balancers."""
    with two_machines(f"127.0.0.1:{port}") as both:
        yield both


@pytest.fixture(scope="module", params=[NGINX, HAPROXY, ENVOY], ids=lambda kind: kind.name)
def site(
    request: pytest.FixtureRequest,
    port: int,
    machines: tuple[Machine, Machine],
    picture: Photo,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Site]:
    """The machines behind each balancer."""
    kind: Kind = request.param
    with balancer(kind, tmp_path_factory.mktemp(kind.name), addresses(*machines), port) as running:
        yield Site(running, machines, picture)


def addresses(*machines: Machine) -> Machines:
    """Of these machines."""
    return Machines(
        [machine.gateway.address for machine in machines], [machine.backend.address for machine in machines]
    )


@pytest.fixture(scope="module")
def picture() -> Photo:
    """A small one, which is computed quickly, in a file that is too long for haproxy's buffers."""
    file = io.BytesIO()
    head().resize((80, 100)).save(file, "PNG")
    return photo("head", file.getvalue() + bytes(100_000))


@contextlib.contextmanager
def load(site: Site, over_http: Callable[[str], Caller] = HttpOnce) -> Iterator[Traffic]:
    """Clients of the balancer."""

    def clients(connect: Callable[[str], Caller], address: str, tally: Tally) -> Load:
        return Load([partial(connect, address)] * CALLERS, [site.picture], tally, pause=0.01)

    of_grpc, of_http = Tally(), Tally()
    # nginx ends connections when it is reloaded, and says by GOAWAY which calls it has not looked at.
    over_grpc = GrpcPlain if site.balancer.kind is NGINX else GrpcOnce
    with (
        clients(over_grpc, site.balancer.grpc, of_grpc) as grpc,
        clients(over_http, site.balancer.http, of_http) as http,
    ):
        yield Traffic(grpc, http, of_grpc, of_http)


def lost(tally: Tally) -> list[str]:
    """What was wrong with the requests that were not answered with the right faces."""
    assert tally.sent >= SOME
    count = tally.wrong + tally.failed + tally.refused + tally.gone + len(tally.crashed)
    return [*tally.troubles, *["refused"] * (count - len(tally.troubles))]


def unevenness(site: Site, traffic: Traffic) -> float:
    """How uneven the shares of the gateways, or of the backends, are: from 0 to 1, where one has all."""
    before = [server.served for server in (*site.backends, *site.gateways)]
    traffic.go_on(SAMPLE)
    after = [server.served for server in (*site.backends, *site.gateways)]
    counts = [now - then for now, then in zip(after, before, strict=True)]
    return max(abs(one - other) / (one + other) for one, other in (counts[:2], counts[2:]))


def called(server: Server) -> None:
    """Wait until a server has had some more requests."""
    enough = server.served + SOME
    wait_until(lambda: server.served >= enough, f"{server.address} is called", A_MINUTE)


def waits(load: Load) -> bool:
    """Whether none of the clients is answered for a while."""
    before = load.answered
    time.sleep(0.3)
    return load.answered == before


@contextlib.contextmanager
def left_out(site: Site, traffic: Traffic, machine: Machine) -> Iterator[None]:
    """While it is stopped, nginx, which asks no machine whether it serves, does not have it in its file."""
    if site.balancer.kind is not NGINX:
        yield
        return
    site.balancer.change(addresses(*(other for other in site.machines if other is not machine)))
    wait_until(lambda: unevenness(site, traffic) == 1, "one machine has all requests", A_MINUTE)
    try:
        yield
    finally:
        site.balancer.change(addresses(*site.machines))


def at_once(tasks: Iterable[Callable[[], None]]) -> None:
    """Do all of these, each in a thread of its own."""
    with ThreadPoolExecutor() as threads:
        for done in [threads.submit(task) for task in tasks]:
            done.result()


def test_two_machines_have_the_same_share(site: Site) -> None:
    """Within a tenth: gateways of the requests over HTTP, and backends of all that are computed."""
    with load(site) as traffic:
        for server in (*site.backends, *site.gateways):  # of which one that has just begun may not know yet
            called(server)
        assert unevenness(site, traffic) <= TENTH


def test_machines_restarted_in_turn_lose_no_request(site: Site) -> None:
    """Their backends and gateways at once; the gateways call the backends through the balancer, too."""
    with load(site, HttpOnceEach if site.balancer.kind is NGINX else HttpOnce) as traffic:
        for machine in site.machines:
            traffic.go_on()
            with left_out(site, traffic, machine):
                at_once([machine.backend.restart, machine.gateway.restart])
            called(machine.backend)
            called(machine.gateway)
    assert lost(traffic.of_grpc) == []
    assert lost(traffic.of_http) == []


def test_servers_that_are_killed_lose_what_they_have_at_most(site: Site) -> None:
    """Envoy sends calls over gRPC and requests over HTTP to the other one, nginx the latter, haproxy none."""
    kept = {NGINX: {"http"}, HAPROXY: set(), ENVOY: {"http", "grpc"}}[site.balancer.kind]
    first, second = site.machines
    with load(site) as traffic:
        for server, callers in ((first.backend, traffic.grpc), (second.gateway, traffic.http)):
            traffic.go_on()
            server.process.send_group(signal.SIGSTOP)
            wait_until(partial(waits, callers), "all callers wait for it")
            server.kill()
            traffic.go_on()
            server.start()
            called(server)
    assert len(lost(traffic.of_grpc)) <= (0 if "grpc" in kept else CALLERS)
    assert len(lost(traffic.of_http)) <= (0 if "http" in kept else CALLERS)


def test_a_machine_that_is_added_has_its_share_within_a_minute(site: Site) -> None:
    """Nothing is lost by that, nor when one is taken away; who takes it away waits before stopping it."""
    _, stays = site.machines
    with load(site, HttpOnceEach) as traffic:
        traffic.go_on()
        site.balancer.change(addresses(stays))
        wait_until(lambda: unevenness(site, traffic) == 1, "one machine has all requests", A_MINUTE)
        site.balancer.change(addresses(*site.machines))
        wait_until(lambda: unevenness(site, traffic) <= TENTH, "the other one has its share", A_MINUTE)
    assert lost(traffic.of_grpc) == []
    assert lost(traffic.of_http) == []
