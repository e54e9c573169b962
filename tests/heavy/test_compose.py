"""The compose file, brought up by podman-compose with the secrets that docs/running.md makes."""

import contextlib
import shlex
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.heavy.conftest import Note
from tests.support.client_environment import CLIENTS, interpreter
from tests.support.endpoints import http_request
from tests.support.facet import free_port
from tests.support.image import shell, typed
from tests.support.keys import bearer
from tests.support.pictures import ASTRONAUT
from tests.support.podman import Container, Podman
from tests.support.processes import ROOT, wait_until

SECRETS = (
    "mkdir -p deploy/secrets/",
    "facet keys create gateway",
    "facet keys create prometheus",
    "openssl req -x509 -newkey rsa:2048 -nodes -days 365",
    "cp deploy/secrets/backend/backend.pem",
    "chgrp -R 10001 deploy/secrets",
)
"""How the commands begin that make them."""


class Project:
    """A copy of deploy/ with secrets, and what is started of it."""

    def __init__(self, folder: Path, podman: Podman) -> None:
        self.folder = folder
        keys = typed("running.md", "export FACET_API_KEYS_FILE=$PWD/deploy").partition("$PWD/")[2]
        self.http = f"127.0.0.1:{free_port()}"
        environ = {
            **podman.environ,
            "FACET_API_KEYS_FILE": str(folder / keys),
            "FACET_PORT": self.http.partition(":")[2],
            # Of one that is called as a program it would not be in the environment of the tests.
            "PATH": f"{interpreter('podman_compose').parent}:{podman.environ['PATH']}",
        }
        self._podman = Podman(folder, environ)
        shutil.copytree(ROOT / "deploy", folder / "deploy", ignore=shutil.ignore_patterns("secrets"))
        for begin in SECRETS:
            shell(typed("running.md", begin), folder, self._podman)

    def compose(self, *arguments: str) -> None:
        """Call podman-compose as the page does, with these arguments."""
        program = typed("running.md", "podman-compose").partition(" up ")[0]
        shell(f"{program} {shlex.join(arguments)}", self.folder, self._podman)

    def new_key(self) -> str:
        """The key that the page makes for its reader."""
        shell(f"{typed('running.md', 'facet keys create me')} > me.key", self.folder, self._podman)
        return (self.folder / "me.key").read_text().strip()

    def secret(self, name: str) -> str:
        """What a file of the secrets has."""
        return (self.folder / "deploy" / "secrets" / name).read_text().strip()

    def container(self, service: str) -> Container:
        """That of a service."""
        return Container(self._podman, f"facet_{service}_1")

    def predict(self, secret: str) -> int:
        """The status with which the gateway answers a picture."""
        headers = {"Content-Type": "image/*", **(bearer(secret) if secret else {})}
        return http_request(self.http, "POST", "/predict", ASTRONAUT.read_bytes(), headers)[0]


@pytest.fixture(scope="module")
def project(
    podman: Podman,
    image: float,  # noqa: ARG001
    tmp_path_factory: pytest.TempPathFactory,
    version: Note,
    figure: Note,
) -> Iterator[Project]:
    """Both services, up."""
    version("podman", podman("--version").split()[-1])
    version("podman-compose", CLIENTS["podman_compose"][0].partition("==")[2])
    made = Project(tmp_path_factory.mktemp("compose"), podman)
    with contextlib.ExitStack() as stack:
        stack.callback(made.compose, "down", "--volumes")
        began = time.monotonic()
        made.compose("up", "--detach")
        for service in ("backend", "gateway"):
            wait_until(made.container(service).healthy, f"{service} is healthy")
        figure("`podman-compose up`, until both are healthy", f"{time.monotonic() - began:.1f} s")
        yield made


def test_faces_are_found_by_who_has_a_key(project: Project) -> None:
    """One that is made while it serves; the gateway calls the backend with a key of its own, by TLS."""
    assert project.predict("") == 401
    secret = project.new_key()
    wait_until(lambda: project.predict(secret) == 200, "the key counts")
    assert project.container("backend").logged("request", key="me", gateway="gateway", status="OK")


def test_metrics_are_told_to_the_key_of_prometheus_alone(project: Project) -> None:
    """At the places, and by the key, that Prometheus's configuration has."""
    configuration = yaml.safe_load((project.folder / "deploy/prometheus/compose.yml").read_text())
    secret = project.secret("prometheus/prometheus.key")
    for job in configuration["scrape_configs"]:
        [target] = job["static_configs"][0]["targets"]
        code = (
            "import sys, urllib.request as r\n"
            f"print(r.urlopen(r.Request('http://{target}/metrics', headers={bearer(secret)!r})).status)\n"
            f"r.urlopen('http://{target}/metrics')"
        )
        done = project.container("gateway").call("python", "-c", code)
        assert done.stdout.strip() == "200", done.stderr
        assert "HTTP Error 401" in done.stderr


def test_both_are_read_only_without_capabilities_and_limited(project: Project) -> None:
    """As the file says."""
    for service, cpus, memory in (("backend", 2, 2), ("gateway", 1, 1)):
        container = project.container(service)
        assert container.call("touch", "/opt/facet/x").returncode != 0
        status = Path(f"/proc/{container.pid}/status").read_text()
        assert "CapBnd:\t0000000000000000" in status
        assert "NoNewPrivs:\t1" in status
        host = container.podman(
            "inspect", container.name, "--format", "{{.HostConfig.NanoCpus}} {{.HostConfig.Memory}}"
        )
        assert host.split() == [str(cpus * 10**9), str(memory * 2**30)]


def test_the_project_stops_in_order(project: Project) -> None:
    """Both end with 0."""
    project.compose("stop")
    for service in ("gateway", "backend"):
        assert project.container(service).state("ExitCode") == "0", project.container(service).output()
