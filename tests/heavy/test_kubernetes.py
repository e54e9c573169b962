"""The pods of deploy/kubernetes/base, played by podman: two backends, and a gateway before them."""

import contextlib
import itertools
import json
import os
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from tests.heavy.conftest import Note
from tests.support.endpoints import answers, call_grpc, post_raw
from tests.support.kube_play import PROBES, PlayedPod, played
from tests.support.kubernetes import Rendered
from tests.support.pictures import ASTRONAUT
from tests.support.podman import Podman
from tests.support.processes import wait_until

pytestmark = pytest.mark.usefixtures("image")

PHOTO = ASTRONAUT.read_bytes()
PORT = 8000
WRITABLE = ("/tmp", "/dev/shm")  # noqa: S108 - in containers
READ_ONLY = ("/", "/etc", "/home", "/opt/facet", "/var/tmp")  # noqa: S108 - as above
CALLERS = 4
"""That call one after the other while a pod is told to stop."""


class Pods(NamedTuple):
    """What is played."""

    backends: tuple[PlayedPod, PlayedPod]
    gateway: PlayedPod

    @property
    def http(self) -> str:
        """The address of the gateway."""
        return f"{self.gateway.address}:{PORT}"


@pytest.fixture(scope="module")
def pods(podman: Podman, figure: Note, version: Note) -> Iterator[Pods]:
    """The gateway finds both backends under the name that the Service gives them in a cluster."""
    version("podman", podman("--version").split()[-1])
    rendered, names = Rendered("base"), (f"facet-test-{os.getpid()}-{number}" for number in itertools.count())
    with contextlib.ExitStack() as stack:
        started = time.monotonic()
        first, second = (
            stack.enter_context(played(podman, rendered, "facet-backend", next(names))) for _ in range(2)
        )
        hosts = [("facet-backend", pod.address) for pod in (first, second)]
        gateway = stack.enter_context(played(podman, rendered, "facet-gateway", next(names), hosts))
        made = Pods((first, second), gateway)
        for pod in (first, second, gateway):
            wait_until(lambda pod=pod: ready(pod), f"{pod.container.name} is ready")  # type: ignore[misc]
        figure("from the first pod until all three are ready", f"{time.monotonic() - started:.1f} s")
        yield made


def ready(pod: PlayedPod) -> bool:
    """What a kubelet would find."""
    return succeeds(pod, "readinessProbe")


def succeeds(pod: PlayedPod, kind: str) -> bool:
    """Ask as a kubelet does, from outside of the pod."""
    probe = pod.probes[kind]
    if "httpGet" in probe:
        return answers(f"{pod.address}:{PORT}", probe["httpGet"]["path"], 200)
    with grpc.insecure_channel(f"{pod.address}:{probe['grpc']['port']}") as channel:
        asked = health_pb2.HealthCheckRequest(service=probe["grpc"]["service"])
        try:
            answer = health_pb2_grpc.HealthStub(channel).Check(asked, timeout=probe.get("timeoutSeconds", 1))
        except grpc.RpcError:
            return False
        return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)


def test_a_face_is_found_through_the_gateway_and_by_a_client_of_a_backend(pods: Pods) -> None:
    """The same one."""
    [through] = post_raw(pods.http, PHOTO, {}).faces or []
    for backend in pods.backends:
        [direct] = call_grpc(f"{backend.address}:50051", PHOTO, {}).faces or []
        assert direct == pytest.approx(through, abs=1e-3)


def test_each_probe_of_the_manifests_succeeds(pods: Pods) -> None:
    """Asked over the network of the pods."""
    for pod in (*pods.backends, pods.gateway):
        assert [kind for kind in PROBES if not succeeds(pod, kind)] == []


def test_calls_of_a_gateway_are_spread_over_the_backends(pods: Pods) -> None:
    """By the addresses that the name of the Service has."""
    before = [requests(pod) for pod in pods.backends]
    for _ in range(20):
        assert post_raw(pods.http, PHOTO, {}).reason is None
    after = [requests(pod) for pod in pods.backends]
    assert all(now - earlier >= 5 for now, earlier in zip(after, before, strict=True))


def inside(pod: PlayedPod, *command: str) -> str:
    """What a command in its container writes; it must succeed."""
    done = pod.container.call(*command)
    assert done.returncode == 0, done.stderr
    return done.stdout


def requests(pod: PlayedPod) -> int:
    """Calls that it has answered."""
    return len(pod.container.logged("request"))


def test_a_process_has_no_rights_and_can_write_only_where_it_must(pods: Pods) -> None:
    """In /tmp and /dev/shm; it is a user without capabilities, and the runtime's seccomp profile holds."""
    for pod in (*pods.backends, pods.gateway):
        status = dict(line.split(":\t", 1) for line in inside(pod, "cat", "/proc/1/status").splitlines())
        assert {status[name] for name in ("CapEff", "CapPrm", "CapBnd")} == {"0" * 16}
        assert (status["NoNewPrivs"], status["Seccomp"]) == ("1", "2")
        assert status["Uid"].split() == ["10001"] * 4
        for folder in WRITABLE:
            inside(pod, "touch", f"{folder}/written")
        for folder in READ_ONLY:
            assert pod.container.call("touch", f"{folder}/written").returncode != 0


def test_there_are_as_many_workers_as_the_limit_of_cpus(pods: Pods) -> None:
    """Which the control group of the container says."""
    limits = Rendered("base").pods()["facet-backend"].container["resources"]["limits"]
    for pod in pods.backends:
        told = json.loads(inside(pod, "facet", "status", "--json"))
        [workers] = [group for group in told["groups"] if group["name"] == "workers"]
        assert workers["wanted"] == workers["ready"] == int(limits["cpu"])


def test_a_backend_that_ends_fails_no_call(pods: Pods, figure: Note) -> None:
    """It drains, ends with 0 within its time, and the other one does what comes."""
    backend, other = pods.backends
    ended = threading.Event()

    def call() -> list[str | None]:
        reasons = []
        while not ended.is_set():
            reasons.append(post_raw(pods.http, PHOTO, {}).reason)
        return reasons

    with ThreadPoolExecutor(CALLERS) as callers:
        calling = [callers.submit(call) for _ in range(CALLERS)]
        try:
            status, seconds = backend.container.stop()
        finally:
            ended.set()
    reasons = [reason for one in calling for reason in one.result()]
    assert len(reasons) > CALLERS
    assert (status, [reason for reason in reasons if reason is not None]) == (0, [])
    assert seconds > 5, "FACET_DRAIN_SECONDS"
    assert ready(pods.gateway)
    assert ready(other)
    figure("end of a backend, under load, drain included", f"{seconds:.1f} s")
    figure("calls through the gateway meanwhile, of which none failed", str(len(reasons)))


def test_a_gateway_ends_within_its_time(pods: Pods, figure: Note) -> None:
    """Not ready any more at once, while it still finds faces; and with 0."""
    with ThreadPoolExecutor(1) as other:
        stopping = other.submit(pods.gateway.container.stop)
        wait_until(lambda: answers(pods.http, "/readyz", 503), "the gateway is not ready")
        assert post_raw(pods.http, PHOTO, {}).reason is None
    status, seconds = stopping.result()
    assert status == 0
    assert seconds > 5, "FACET_DRAIN_SECONDS"
    figure("end of a gateway, drain included", f"{seconds:.1f} s")
