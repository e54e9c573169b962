"""Pods of rendered Deployments, played by podman: without a cluster, each with an address of its own.

Of what is rendered these are changed, because podman does otherwise than a kubelet: ports, which it would
publish on this machine; probes, of which it knows none by gRPC and asks others by a program that the image
lacks, so tests ask them from outside, as a kubelet does; volumes, whose folders it would make for root
alone; and names, which a cluster's DNS would resolve.
"""

import contextlib
import copy
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from tests.support.kubernetes import Object, Rendered
from tests.support.podman import Container, Podman

PROBES = ("startupProbe", "readinessProbe", "livenessProbe")


@dataclass(frozen=True)
class PlayedPod:
    """A pod that runs.

    Attributes:
        container: Its only one.
        address: Its number, at which this machine can reach it.
        probes: What the manifest says of them, by their kinds.
    """

    container: Container
    address: str
    probes: dict[str, Object]


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
        played_container = Container(podman, f"{name}-pod-0-{container['name']}")
        yield PlayedPod(played_container, _address(podman, name), probes)
    finally:
        podman("kube", "down", str(file))


def _give_folder(folder: Path, volume: Object) -> None:
    """As a kubelet makes an emptyDir: whoever is in the pod can write there."""
    del volume["emptyDir"]
    folder.mkdir(parents=True)
    folder.chmod(0o777)
    volume["hostPath"] = {"path": str(folder), "type": "Directory"}


def _address(podman: Podman, name: str) -> str:
    infra = podman("pod", "inspect", "--format", "{{.InfraContainerID}}", f"{name}-pod-0")
    [network] = json.loads(podman("inspect", infra))[0]["NetworkSettings"]["Networks"].values()
    address: str = network["IPAddress"]
    return address
