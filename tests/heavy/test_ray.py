"""Facet served by Ray: the contract of every endpoint, a replica killed and one drained under load."""

import os
import signal
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from scripts.locks import pins
from tests.e2e import test_endpoints as contract
from tests.heavy.conftest import Note
from tests.support.client_environment import NotInstalled
from tests.support.endpoints import answers, post_raw
from tests.support.facet import Facet, gateway
from tests.support.pictures import ASTRONAUT
from tests.support.processes import alive, wait_until
from tests.support.ray_cluster import START_SECONDS, Cluster, cluster, environment

CALLERS = 4

LEFT_OUT = {
    "TorchServe": "TorchServe's gRPC is a server of its own in a backend; Ray has one gRPC port",
    "test_a_trace_context_travels_from_the_caller_to_the_workers_log": "Ray keeps the log of replicas",
}
"""Rows of the contract that Ray has not: an endpoint, or a rule."""

globals().update({name: rule for name, rule in vars(contract).items() if name.startswith("test_")})

pytestmark = pytest.mark.timeout(1800)


@pytest.fixture(scope="module")
def ray(version: Note) -> Iterator[Cluster]:
    """A cluster that serves Facet by two replicas."""
    try:
        environment()
    except NotInstalled as error:
        pytest.skip(str(error))
    [pin] = (pin for pin in pins("requirements-ray.txt") if pin.name == "ray")
    version("Ray", pin.version)
    with cluster(2, FACET_TIMEOUT_SECONDS="60", FACET_MAX_TIMEOUT_SECONDS="120") as started:
        started.deploy(2)
        yield started


@pytest.fixture(scope="module")
def service(ray: Cluster) -> Iterator[Facet]:
    """Our gateway before it."""
    settings = {"FACET_BACKEND": ray.grpc, "FACET_TORCHSERVE_HTTP_ADDRESS": "127.0.0.1:0"}
    with gateway(**settings) as (web, http):
        yield Facet(web, ray.process, http, ray.grpc, frozenset(LEFT_OUT))


@pytest.fixture(autouse=True)
def _left_out(request: pytest.FixtureRequest) -> None:
    """Skip what Ray has not, by its name."""
    row = getattr(request.node, "callspec", None)
    for name in (request.node.originalname, row.params.get("endpoint") if row else None):
        if name in LEFT_OUT:
            pytest.skip(f"{name}: {LEFT_OUT[name]}")


class Load:
    """Callers of the gateway that ask again and again, and count what they are answered."""

    def __init__(self, service: Facet) -> None:
        self.counts: Counter[str] = Counter()
        self._service = service
        self._stopped = threading.Event()

    def __enter__(self) -> "Load":
        self._pool = ThreadPoolExecutor(CALLERS)
        self._calls = [self._pool.submit(self._call) for _ in range(CALLERS)]
        self.wait(CALLERS)
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self._pool.shutdown()
        for call in self._calls:
            call.result()

    def wait(self, more: int) -> None:
        """Wait until so many more have been answered."""
        wanted = self.counts.total() + more
        wait_until(lambda: self.counts.total() >= wanted, f"{more} answers", START_SECONDS)

    def _call(self) -> None:
        picture = ASTRONAUT.read_bytes()
        while not self._stopped.is_set():
            answer = post_raw(self._service.http, picture, {}, 60)
            self.counts[answer.reason or f"{len(answer.faces or [])} face"] += 1


def test_the_gateway_is_ready_when_a_replica_serves(service: Facet) -> None:
    """By the health that Ray passes on."""
    assert answers(service.http, "/readyz", 200)


def test_a_replica_that_is_killed_fails_no_request(ray: Cluster, service: Facet, figure: Note) -> None:
    """Through the gateway, which asks again; Ray starts another one."""
    victim, *_ = before = ray.replicas()
    with Load(service) as load:
        os.kill(victim, signal.SIGKILL)
        load.wait(100)
        wait_until(
            lambda: len({*ray.replicas()} - {*before}) == 1, "Ray starts another replica", START_SECONDS
        )
        load.wait(100)
    assert [*load.counts] == ["1 face"], load.counts
    figure("answered while a replica was killed and replaced", f"{load.counts.total()}, 0 failed")


def test_a_replica_that_drains_fails_no_request(ray: Cluster, service: Facet, figure: Note) -> None:
    """Where an operator lowers their number."""
    before = ray.replicas()
    with Load(service) as load:
        ray.deploy(1)
        load.wait(50)
    assert sum(map(alive, before)) == 1
    assert [*load.counts] == ["1 face"], load.counts
    figure("answered while one of two replicas drained", f"{load.counts.total()}, 0 failed")


def test_what_ray_has_no_room_for_is_refused_as_by_a_full_queue(ray: Cluster, service: Facet) -> None:
    """Whose proxy refuses it; the others are served."""
    ray.deploy(1, max_ongoing_requests=1, max_queued_requests=1)
    with Load(service) as load:
        wait_until(lambda: load.counts["QUEUE_FULL"] > 0, "a request is refused", START_SECONDS)
        load.wait(20)
    assert {*load.counts} == {"1 face", "QUEUE_FULL"}, load.counts
