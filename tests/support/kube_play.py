"""Pods of rendered Deployments, played by podman: without a cluster, each with an address of its own.

Of what is rendered these are changed, because podman does otherwise than a kubelet: ports, which it would
publish on this machine; probes, of which it knows none by gRPC and asks others by a program that the image
lacks, so tests ask them from outside, as a kubelet does; volumes, whose folders it would make for root
alone; and names, which a cluster's DNS would resolve.
"""

import contextlib
import copy
import json
import os
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from tests.support.kubernetes import Object, Rendered
from tests.support.tools import tool

PROBES = ("startupProbe", "readinessProbe", "livenessProbe")
PACKAGES = "podman buildah runc catatonit containernetworking-plugins iptables"

# runc, since crun refuses machines that have both versions of control groups; podman's own limits are above
# those that may be set within a container.
_CONFIGURATION = """[containers]
default_ulimits = ["nofile=4096:4096", "nproc=4096:4096"]
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
"""
_SECONDS = 120


class Podman:
    """The program, with what it needs to run on any machine.

    Args:
        folder: Where its configuration and what is played are written.
    """

    def __init__(self, folder: Path) -> None:
        self._program = tool("podman", PACKAGES)
        self.folder = folder
        configuration = folder / "containers.conf"
        configuration.write_text(_CONFIGURATION)
        self._environ = {**os.environ, "CONTAINERS_CONF": str(configuration)}

    def __call__(self, *arguments: str) -> str:
        """What a command of it writes to standard output; the command must succeed."""
        done = self.run(*arguments)
        assert done.returncode == 0, f"podman {' '.join(arguments)}: {done.stderr}"
        return done.stdout

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a command of it, however it ends."""
        command = [self._program, *arguments]
        return subprocess.run(
            command, env=self._environ, capture_output=True, text=True, check=False, timeout=_SECONDS
        )


@dataclass(frozen=True)
class PlayedPod:
    """A pod that runs.

    Attributes:
        podman: By which.
        address: Its number, at which this machine can reach it.
        container: The name of its container.
        probes: What the manifest says of them, by their kinds.
    """

    podman: Podman
    address: str
    container: str
    probes: dict[str, Object]

    def inside(self, *command: str) -> str:
        """What a command in the container writes; it must succeed."""
        return self.podman("exec", self.container, *command)

    def log(self) -> list[Object]:
        """Its lines."""
        done = self.podman.run("logs", self.container)
        return [json.loads(line) for line in (done.stdout + done.stderr).splitlines()]

    def stop(self, seconds: int) -> int:
        """Tell it to stop, and kill it after so many seconds; gives its exit status."""
        self.podman("stop", "--time", str(seconds), self.container)
        return int(self.podman("inspect", "--format", "{{.State.ExitCode}}", self.container))


@contextlib.contextmanager
def played(
    podman: Podman, rendered: Rendered, deployment: str, name: str, hosts: Sequence[tuple[str, str]] = ()
) -> Iterator[PlayedPod]:
    """One pod of a Deployment, which is removed at the end.

    Args:
        podman: Plays it.
        rendered: Has the Deployment, and the ConfigMaps that it names.
        deployment: Its name.
        name: What the pod is called, which must be free on this machine.
        hosts: Names and numbers that the pod shall know.
    """
    made = copy.deepcopy(rendered.of("Deployment")[deployment])
    made["metadata"]["name"] = name
    made["spec"]["replicas"] = 1
    spec = made["spec"]["template"]["spec"]
    spec["hostAliases"] = [{"ip": number, "hostnames": [host]} for host, number in hosts]
    [container] = spec["containers"]
    del container["ports"]
    probes = {kind: container.pop(kind) for kind in PROBES}
    for volume in spec["volumes"]:
        _give_folder(podman.folder / name / volume["name"], volume)
    file = podman.folder / f"{name}.yaml"
    file.write_text(yaml.safe_dump_all([*rendered.of("ConfigMap").values(), made]))
    try:
        podman("kube", "play", str(file))
        yield PlayedPod(podman, _address(podman, name), f"{name}-pod-0-{container['name']}", probes)
    finally:
        podman("kube", "down", str(file))


def _give_folder(folder: Path, volume: Object) -> None:
    """As a kubelet makes an emptyDir: whoever is in the pod can write there."""
    del volume["emptyDir"]
    folder.mkdir(parents=True)
    folder.chmod(0o777)
    volume["hostPath"] = {"path": str(folder), "type": "Directory"}


def _address(podman: Podman, name: str) -> str:
    infra = podman("pod", "inspect", "--format", "{{.InfraContainerID}}", f"{name}-pod-0").strip()
    [network] = json.loads(podman("inspect", infra))[0]["NetworkSettings"]["Networks"].values()
    address: str = network["IPAddress"]
    return address
