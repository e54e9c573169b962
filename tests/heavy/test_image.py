"""The container's image, built and run by podman: read-only, without capabilities, within limits."""

import io
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from packaging.utils import canonicalize_name
from PIL import Image

from scripts.locks import SERVE, applies, pins
from tests.heavy.conftest import Note
from tests.support.endpoints import call_grpc, post_raw
from tests.support.image import typed
from tests.support.pictures import ASTRONAUT
from tests.support.podman import Container, Podman
from tests.support.processes import children, state, wait_until
from utils.version import VERSION

pytestmark = pytest.mark.usefixtures("image")

UNPRIVILEGED = ("--read-only", "--cap-drop=all", "--security-opt=no-new-privileges")
LIMITS = ("--memory=768m", "--memory-swap=768m", "--cpus=1")
NETWORK = "facet-heavy"
MOUNT_POINTS = {"/etc", "/dev", "/proc", "/run", "/sys", "/tmp", "/var", "/var/tmp", "/run/.containerenv"}  # noqa: S108
"""What podman itself makes in a container."""

GATEWAY = ("python", "-m", "facet_serving.gateway")


@dataclass(frozen=True)
class Service:
    """A backend and a gateway, each in a container."""

    backend: Container
    gateway: Container

    def finds_a_face(self) -> bool:
        """By HTTP and by gRPC."""
        picture = ASTRONAUT.read_bytes()
        http, grpc = self.gateway.address(8000), self.backend.address(50051)
        return [
            len(answer.faces or []) for answer in (post_raw(http, picture, {}), call_grpc(grpc, picture, {}))
        ] == [
            1,
            1,
        ]


@pytest.fixture(scope="module")
def service(podman: Podman, image: float, figure: Note, version: Note) -> Iterator[Service]:
    """Both, as docs/running.md runs them, with less rights and within limits."""
    version("podman", podman("--version").split()[-1])
    figure("`make image`, with what an earlier one had left", f"{image:.0f} s")
    podman("network", "create", NETWORK)
    common = ("--network", NETWORK, *UNPRIVILEGED, *LIMITS)
    web = ("--tmpfs=/tmp", "--publish=127.0.0.1::8000", "--env=FACET_BACKEND=facet-backend:50051")
    check = "--health-cmd=python -m facet_serving.utils.probe gateway"
    try:
        began = time.monotonic()
        served = ("--publish=127.0.0.1::50051", "--volume=/var/lib/facet")
        with podman.container("facet-backend", *common, *served) as backend:
            backend.wait_for("ready")
            figure("the backend's start, from `podman run` to ready", f"{time.monotonic() - began:.1f} s")
            began = time.monotonic()
            with podman.container("facet-gateway", *common, *web, check, command=GATEWAY) as gateway:
                wait_until(gateway.healthy, "the gateway is healthy")
                figure("the gateway's, to healthy", f"{time.monotonic() - began:.1f} s")
                yield Service(backend, gateway)
    finally:
        podman.run("network", "rm", "--force", NETWORK)


def status(container: Container, field: str) -> str:
    """A field of proc(5)'s status of its first process."""
    lines = Path(f"/proc/{container.pid}/status").read_text().splitlines()
    return next(line.split(maxsplit=1)[1] for line in lines if line.startswith(f"{field}:"))


def family(pid: int) -> list[int]:
    """The ids of all processes below one, as this machine numbers them, zombies included."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(path.read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
        if parent == pid:
            found += [int(path.parent.name), *family(int(path.parent.name))]
    return found


def has_no_zombies(container: Container) -> bool:
    """Whether each process that has ended was waited for."""
    return "Z" not in map(state, family(container.pid))


def ready_workers(backend: Container) -> int:
    """How many workers have become ready so far, the admin process aside."""
    return len(backend.logged("worker ready", process=None))


def test_the_image_says_what_it_is_and_how_it_runs(podman: Podman, figure: Note) -> None:
    """Labels of OCI, a user by number, a health check, a signal by which it stops."""
    [found] = json.loads(podman("image", "inspect", f"facet:{VERSION}"))
    labels = {name.rpartition(".")[2]: value for name, value in found["Labels"].items()}
    assert labels.keys() >= {"title", "description", "licenses", "version", "revision"}
    assert labels["version"] == VERSION
    assert found["Config"]["StopSignal"] == "SIGTERM"
    assert found["Healthcheck"]["Test"] == ["CMD", "python", "-m", "facet_serving.utils.probe"]
    assert found["User"] == "10001:10001"
    [base] = json.loads(podman("image", "inspect", typed("install.md", "podman import").split()[-1]))
    figure("size of the image", f"{found['Size'] / 1e6:.0f} MB")
    figure("of it the base, Debian with Python", f"{base['Size'] / 1e6:.0f} MB")


def test_the_image_has_the_packages_of_the_lock_and_no_compiler(podman: Podman) -> None:
    """Besides them Facet itself, and pip, by which `facet models fetch` downloads."""
    run = ("run", "--rm", "--no-healthcheck", "--network=none", "facet")
    installed = {
        canonicalize_name(one["name"]): one["version"]
        for one in json.loads(podman(*run, "pip", "list", "--format=json"))
    }
    locked = {pin.name: pin.version for pin in pins(SERVE) if applies(pin.requirement)}
    assert {pin: installed.get(canonicalize_name(pin)) for pin in locked} == locked
    assert installed.keys() - locked.keys() == {"facet-serving", "facet-native", "pip"}
    assert podman.run(*run, "which", "cc", "gcc", "g++", "c++", "cmake", "ninja", "make", "ld").stdout == ""


def test_it_runs_read_only_without_root_and_without_capabilities(service: Service) -> None:
    """A face is found through both endpoints, and both are healthy."""
    assert service.finds_a_face()
    for container in (service.backend, service.gateway):
        wait_until(container.healthy, f"{container.name} is healthy")
        assert status(container, "Uid").split() == ["10001"] * 4
        assert {int(status(container, field), 16) for field in ("CapEff", "CapPrm", "CapBnd")} == {0}
        assert status(container, "NoNewPrivs") == "1"
        assert container.call("touch", "/opt/facet/x").returncode != 0
    engine = service.backend.logged("engine")[0]
    assert engine["engine"] == "native"


def test_there_are_as_many_workers_as_the_limit_of_cpus_gives(service: Service) -> None:
    """One here, on however many CPUs the machine has."""
    assert service.backend.logged("ready")[0]["workers"] == 1


def test_facet_is_a_command_in_the_container_and_changes_what_its_volume_keeps(service: Service) -> None:
    """As the image's user, to whom the volume belongs."""
    said = service.backend.call("facet", "status")
    assert said.returncode == 0, said.stderr
    assert service.backend.call("touch", "/var/lib/facet/x").returncode == 0
    assert not service.backend.logged("state folder not usable")


def test_a_reload_replaces_the_workers(service: Service) -> None:
    """By SIGHUP to the container; it serves on."""
    before = ready_workers(service.backend)
    service.backend.signal("HUP")
    service.backend.wait_for("worker ready", release=1, process=None)
    assert ready_workers(service.backend) == before + 1
    assert service.finds_a_face()


def test_a_killed_worker_is_replaced_and_leaves_no_zombie(service: Service) -> None:
    """As the container's first process the supervisor waits for its own."""
    before = ready_workers(service.backend)
    victim = service.backend.logged("worker ready", process=None)[-1]["worker"]
    assert service.backend.call("python", "-c", f"import os; os.kill({victim}, 9)").returncode == 0
    service.backend.wait_for("worker crashed", worker=victim)
    wait_until(lambda: ready_workers(service.backend) > before, "another worker is ready")
    assert service.finds_a_face()
    wait_until(lambda: has_no_zombies(service.backend), "no zombie is left")


@pytest.mark.parametrize("which", ["backend", "gateway"])
def test_the_first_process_waits_for_orphans_of_others(service: Service, which: str) -> None:
    """The kernel makes them its children."""
    container: Container = getattr(service, which)
    orphan = "import os, time\nif os.fork() == 0:\n    time.sleep(0.5)\n    os._exit(0)\n"
    first = container.pid
    before = {*children(first)}
    assert container.call("python", "-c", orphan).returncode == 0
    wait_until(lambda: {*children(first)} == before and has_no_zombies(container), "it was waited for")


def test_a_picture_that_needs_more_than_the_memory_limit_ends_a_worker_and_not_the_container(
    podman: Podman,
) -> None:
    """The kernel kills the worker alone; another one serves on."""
    big = io.BytesIO()
    Image.open(ASTRONAUT).convert("RGB").resize((4900, 4900)).save(big, "JPEG", quality=80)
    options = (*UNPRIVILEGED, "--memory=120m", "--memory-swap=120m", "--cpus=1", "--publish=127.0.0.1::50051")
    with podman.container("facet-small", *options) as backend:
        backend.wait_for("ready")
        address, first = backend.address(50051), backend.pid
        refused = call_grpc(address, big.getvalue(), {})
        assert refused.reason in {"BACKEND_UNAVAILABLE", "WORKER_CRASHED"}
        assert backend.wait_for("worker crashed")["how"] == "killed by SIGKILL"
        wait_until(lambda: call_grpc(address, ASTRONAUT.read_bytes(), {}).reason is None, "a face is found")
        assert backend.pid == first
        assert backend.stop()[0] == 0


def test_a_wrong_setting_ends_the_container_with_one_line(podman: Podman) -> None:
    """And with the status that says so."""
    done = podman.run(
        "run", "--rm", "--no-healthcheck", "--network=none", "--env=FACET_WORKERS=none", "facet"
    )
    assert done.returncode == 1
    said = done.stdout + done.stderr
    assert "FACET_WORKERS" in said
    assert "Traceback" not in said


def test_both_stop_in_order_and_have_written_nothing(podman: Podman, service: Service, figure: Note) -> None:
    """By SIGTERM, with 0."""
    for container in (service.gateway, service.backend):
        code, seconds = container.stop()
        assert code == 0, container.output()
        figure(f"the stop of {container.name.removeprefix('facet-')}", f"{seconds:.1f} s")
        changed = podman("diff", container.name).splitlines()
        assert [line for line in changed if line.split()[1] not in MOUNT_POINTS] == []
