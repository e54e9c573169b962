"""The rendered YAML of deploy/kubernetes, as tests ask for it."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from scripts.render_kubernetes import rendered_file
from tests.support.processes import ROOT
from utils.settings import Settings

Object = dict[str, Any]
NAME = "app.kubernetes.io/name"


@dataclass(frozen=True)
class Pod:
    """What a Deployment makes.

    Attributes:
        name: Of the Deployment.
        labels: Of the pod.
        spec: Of the pod.
        container: Its only one.
        environ: The container's variables: the image's, those of the ConfigMap, and its own.
    """

    name: str
    labels: dict[str, str]
    spec: Object
    container: Object
    environ: dict[str, str]

    @property
    def settings(self) -> Settings:
        """As the process reads them."""
        return Settings.from_environ(self.environ)

    @property
    def ports(self) -> dict[str, int]:
        """Those of the container, by their names."""
        return {port["name"]: port["containerPort"] for port in self.container["ports"]}


class Rendered:
    """All objects of one of the rendered files.

    Args:
        name: Of the file in deploy/kubernetes/rendered, without .yaml.
    """

    def __init__(self, name: str) -> None:
        self.objects: list[Object] = list(yaml.safe_load_all(rendered_file(name).read_text()))

    def of(self, kind: str) -> dict[str, Object]:
        """The objects of a kind by their names."""
        return {one["metadata"]["name"]: one for one in self.objects if one["kind"] == kind}

    def pods(self) -> dict[str, Pod]:
        """Those of all Deployments, by the names of these."""
        return {name: self._pod(name, one["spec"]["template"]) for name, one in self.of("Deployment").items()}

    def selected(self, labels: Mapping[str, str]) -> list[Pod]:
        """The pods that have these labels."""
        return [pod for pod in self.pods().values() if labels.items() <= pod.labels.items()]

    def _pod(self, name: str, template: Object) -> Pod:
        [container] = template["spec"]["containers"]
        environ = dict(image_environ())
        for source in container.get("envFrom", []):
            environ |= self.of("ConfigMap")[source["configMapRef"]["name"]]["data"]
        for one in container.get("env", []):
            # A variable that names another gets its value, if that stands before it.
            given = one.get("value", "10.0.0.7")
            environ[one["name"]] = re.sub(r"\$\((\w+)\)", lambda found: environ[found[1]], given)
        return Pod(name, template["metadata"]["labels"], template["spec"], container, environ)


def image_environ() -> dict[str, str]:
    """The settings that deploy/Dockerfile gives the image."""
    text = (ROOT / "deploy" / "Dockerfile").read_text().replace("${PREFIX}", "/opt/facet")
    return dict(re.findall(r"\b(FACET_\w+)=(\S+)", text))
