"""Two machines behind each balancer for which deploy/ has a file: they are restarted, killed, taken away and added.

All under load, by clients over HTTP and gRPC that never try again, whose every answer is compared.
"""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial

import pytest

from tests.soak.endpoints import Caller
from tests.soak.load import Load, Tally
from tests.soak.photos import photos
from tests.support.balancers import ENVOY, HAPROXY, NGINX, Balancer, Kind, Machines, balancer
from tests.support.facet import free_port
from tests.support.machines import GrpcOnce, HttpOnce, Machine, Server, two_machines
from tests.support.processes import wait_until

CALLERS = 4
"""Of each kind; each has one request under way."""
SOME = 20
"""Requests."""
SHARE = 0.05
"""By which a server's share of the requests may be above or below a half: a tenth of its own."""
SECONDS_TO_JOIN = 60


@dataclass
class Site:
    """Two machines behind a balancer."""

    balancer: Balancer
    machines: tuple[Machine, Machine]

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
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Site]:
    """The machines behind each balancer."""
    kind: Kind = request.param
    with balancer(kind, tmp_path_factory.mktemp(kind.name), addresses(*machines), port) as running:
        yield Site(running, machines)


def addresses(*machines: Machine) -> Machines:
    """Of these machines."""
    return Machines(
        [machine.gateway.address for machine in machines], [machine.backend.address for machine in machines]
    )


@contextlib.contextmanager
def load(site: Site) -> Iterator[Traffic]:
    """Clients of the balancer, by pictures that are too long for haproxy's buffers."""
    pictures = [replace(photo, data=photo.data + bytes(100_000)) for photo in photos(2)]

    def clients(connect: Callable[[str], Caller], address: str, tally: Tally) -> Load:
        return Load([partial(connect, address)] * CALLERS, pictures, tally, pause=0.01)

    of_grpc, of_http = Tally(), Tally()
    with (
        clients(GrpcOnce, site.balancer.grpc, of_grpc) as grpc,
        clients(HttpOnce, site.balancer.http, of_http) as http,
    ):
        yield Traffic(grpc, http, of_grpc, of_http)


def troubles(tally: Tally) -> list[str]:
    """Of the requests that were not answered rightly."""
    assert tally.wrong == 0, tally
    lost = tally.failed + tally.refused + tally.gone + len(tally.crashed)
    return [*tally.troubles, *["refused"] * (lost - len(tally.troubles))]


def wait_for_its_share(server: Server, others: Server) -> None:
    """Wait until a server has as many requests as the other one."""
    before = server.served
    wait_until(lambda: server.served >= before + SOME, "it is called", SECONDS_TO_JOIN)
    shares(server, others)


def shares(*servers: Server, of: Callable[[], None] | None = None) -> list[float]:
    return []


def test_servers_restarted_in_turn_lose_no_request(site: Site) -> None:
    """Each waits for the other one's return; the gateways call the backends through the balancer, too."""
    with load(site) as traffic:
        for server in (*site.backends, *site.gateways):
            traffic.go_on()
            server.restart()
            wait_until(lambda server=server: server.served >= SOME, "it is called")  # type: ignore[misc]
    assert troubles(traffic.of_grpc) == []
    assert troubles(traffic.of_http) == []
