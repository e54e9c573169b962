"""Containers for tests, run by podman, and the image that they are made of."""

import contextlib
import os
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.support.processes import Line, parse, wait_until
from tests.support.tools import tool

PROGRAMS = {
    "podman": "podman",
    "runc": "runc",
    "catatonit": "catatonit",
    "iptables": "iptables",
    "mmdebstrap": "mmdebstrap",
}
"""The packages of Debian that they need, by a program of each; besides those without one in PATH, below."""

HELPERS = {"netavark": "/usr/lib/podman/netavark", "aardvark-dns": "/usr/lib/podman/aardvark-dns"}

# runc and cgroupfs work without systemd, too, as in a small virtual machine. The limits of processes and
# files are named because podman's own may be above those of the machine.
_CONFIGURATION = """
[containers]
default_ulimits = ["nofile=16384:16384", "nproc=16384:16384"]
log_driver = "k8s-file"
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
[network]
network_backend = "netavark"
"""


@dataclass(frozen=True)
class Podman:
    """Calls podman.

    Attributes:
        folder: Where it is run: its monitor leaves files there.
        environ: The variables with which podman, and what calls it, is to be run.
    """

    folder: Path
    environ: dict[str, str]

    def __call__(self, *arguments: str | Path, seconds: float = 120) -> str:
        """What a command prints; fails where the command does."""
        done = self.run(*arguments, seconds=seconds)
        assert done.returncode == 0, f"podman {' '.join(map(str, arguments))}: {done.stderr}"
        return done.stdout.strip()

    def run(self, *arguments: str | Path, seconds: float = 120) -> subprocess.CompletedProcess[str]:
        """A command, which may fail."""
        return subprocess.run(
            [tool("podman", "podman"), *map(str, arguments)],
            cwd=self.folder,
            env=self.environ,
            capture_output=True,
            text=True,
            check=False,
            timeout=seconds,
        )

    @contextlib.contextmanager
    def container(
        self, name: str, *options: str | Path, image: str = "facet", command: tuple[str, ...] = ()
    ) -> Iterator["Container"]:
        """A container that runs, and is removed in the end."""
        # Health checks are run by the tests: podman leaves it to systemd to repeat them.
        self("run", "--detach", "--name", name, *options, image, *command)
        try:
            yield Container(self, name)
        finally:
            self.run("rm", "--force", "--time", "0", "--volumes", name)


@dataclass(frozen=True)
class Container:
    """A container, by its name."""

    podman: Podman
    name: str

    def state(self, field: str) -> str:
        """A field of its state, such as Pid, which is that of its first process on this machine."""
        return self.podman("inspect", self.name, "--format", f"{{{{.State.{field}}}}}")

    @property
    def pid(self) -> int:
        return int(self.state("Pid"))

    def address(self, port: int) -> str:
        """Where this machine reaches a port that is published."""
        return self.podman("port", self.name, str(port)).splitlines()[0]

    def output(self) -> str:
        """All that it has printed."""
        done = self.podman.run("logs", self.name)
        return done.stdout + done.stderr

    def logged(self, message: str, **values: object) -> list[Line]:
        """Its log lines with this message and these fields."""
        lines = map(parse, self.output().splitlines())
        return [
            line
            for line in lines
            if line.get("message") == message and all(line.get(key) == value for key, value in values.items())
        ]

    def wait_for(self, message: str, **values: object) -> Line:
        """Its first log line with this message and these fields."""

        def found() -> bool:
            assert self.state("Status") == "running", self.output()
            return bool(self.logged(message, **values))

        wait_until(found, f"a line {message!r} {values} of {self.name}")
        return self.logged(message, **values)[0]

    def call(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Run a command in it."""
        return self.podman.run("exec", self.name, *command)

    def healthy(self) -> bool:
        """Whether its health check says so now."""
        return self.podman.run("healthcheck", "run", self.name).returncode == 0

    def signal(self, name: str) -> None:
        """Send a signal to its first process."""
        self.podman("kill", "--signal", name, self.name)

    def stop(self) -> tuple[int, float]:
        """Stop it as podman does, with a minute's patience: its exit status, and the seconds that it took."""
        began = time.monotonic()
        self.podman("stop", "--time", "60", self.name)
        return int(self.state("ExitCode")), time.monotonic() - began


def configured(folder: Path) -> Podman:
    """Podman as the tests use it; skips where something is not installed.

    Args:
        folder: For its configuration.
    """
    for program, package in PROGRAMS.items():
        tool(program, package)
    for package, path in HELPERS.items():
        tool(path, package)
    configuration = folder / "containers.conf"
    configuration.write_text(_CONFIGURATION)
    environ = {**os.environ, "CONTAINERS_CONF": str(configuration), "BUILDAH_ISOLATION": "chroot"}
    return Podman(folder, environ)
