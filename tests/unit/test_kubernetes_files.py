"""deploy/kubernetes as files: what is written by a script is fresh, and Kubernetes' own schemas accept it."""

import copy
import os
import re
from collections.abc import Callable
from pathlib import Path

import kubernetes_validate
import pytest
import yaml

from scripts.render_kubernetes import ALERTS, FOLDER, RENDERED, RULES, NoKubectl, render, rendered_file, rules
from tests.support.kubernetes import Object, Rendered
from tests.support.processes import ROOT
from utils.settings import Settings

PAGE = ROOT / "docs" / "kubernetes.md"
RELEASES = ["1.28", "1.32", "1.37"]
"""Of Kubernetes."""
OPERATORS = {"ServiceMonitor", "PrometheusRule"}
"""Kinds that are the Prometheus operator's, for which Kubernetes has no schemas."""


def backend() -> Object:
    """A Deployment that can be changed."""
    return copy.deepcopy(Rendered("base").of("Deployment")["facet-backend"])


def container(deployment: Object) -> Object:
    """Its only one."""
    [found] = deployment["spec"]["template"]["spec"]["containers"]
    assert isinstance(found, dict)
    return found


@pytest.mark.parametrize("name", RENDERED)
def test_the_rendered_yaml_is_what_kustomize_makes_of_the_sources(name: str) -> None:
    """Byte for byte; `make manifests` writes it."""
    try:
        made = render(RENDERED[name])
    except NoKubectl as error:
        pytest.skip(str(error))
    assert rendered_file(name).read_text() == made


def test_the_example_of_an_overlay_changes_image_models_and_namespace(tmp_path: Path) -> None:
    """That of the documentation, in a folder elsewhere."""
    [text] = re.findall(r"```yaml\n(# facet/kustomization.yaml\n.*?)```", PAGE.read_text(), re.DOTALL)
    ours = os.path.relpath(FOLDER, tmp_path)
    (tmp_path / "kustomization.yaml").write_text(text.replace("../deploy/kubernetes", ours))
    try:
        made = [*yaml.safe_load_all(render(tmp_path))]
    except NoKubectl as error:
        pytest.skip(str(error))
    assert {one["metadata"]["namespace"] for one in made} == {"facet"}
    [settings] = [one["data"] for one in made if one["kind"] == "ConfigMap"]
    assert Settings.from_environ(settings).models == ("face_detection", "scores")
    for one in made:
        if one["kind"] == "Deployment":
            assert container(one)["image"] == "registry.example.org/facet:1"


def test_each_folder_with_a_kustomization_is_part_of_a_rendered_file() -> None:
    """Overlays and the base by themselves, components by one that has all."""
    overlays = {path.parent for path in FOLDER.glob("overlays/*/kustomization.yaml")}
    assert {FOLDER / "base", *overlays} == {*RENDERED.values()}
    complete = yaml.safe_load((RENDERED["complete"] / "kustomization.yaml").read_text())
    components = {path.parent.name for path in FOLDER.glob("components/*/kustomization.yaml")}
    assert {path.rpartition("/")[2] for path in complete["components"]} == components


def test_the_alerts_of_the_cluster_are_those_of_prometheus() -> None:
    """`make manifests` writes them."""
    assert RULES.read_text() == rules()
    assert yaml.safe_load(rules())["spec"] == yaml.safe_load(ALERTS.read_text())


@pytest.mark.parametrize("release", RELEASES)
@pytest.mark.parametrize("name", RENDERED)
def test_each_object_is_accepted_by_the_schemas_of_kubernetes(name: str, release: str) -> None:
    """Strictly: members that are not known are refused."""
    for one in Rendered(name).objects:
        if one["kind"] in OPERATORS:
            with pytest.raises(kubernetes_validate.SchemaNotFoundError):
                kubernetes_validate.validate(one, release, strict=True)
        else:
            assert kubernetes_validate.validate(one, release, strict=True) == release


def misspelled(deployment: Object) -> None:
    """A member that there is not."""
    container(deployment)["readynessProbe"] = container(deployment).pop("readinessProbe")


def wrong_type(deployment: Object) -> None:
    """A text for a number."""
    deployment["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] = "45"


def number_for_a_setting(deployment: Object) -> None:
    """All variables are texts."""
    container(deployment)["env"] = [{"name": "FACET_WORKERS", "value": 2}]


def at_the_wrong_level(deployment: Object) -> None:
    """What belongs to the container, said of the pod."""
    pod = deployment["spec"]["template"]["spec"]
    pod["securityContext"]["readOnlyRootFilesystem"] = True


def without_what_is_needed(deployment: Object) -> None:
    """A probe without its port."""
    del container(deployment)["readinessProbe"]["grpc"]["port"]


@pytest.mark.parametrize("release", RELEASES)
@pytest.mark.parametrize(
    "mistake",
    [misspelled, wrong_type, number_for_a_setting, at_the_wrong_level, without_what_is_needed],
)
def test_a_mistake_in_a_manifest_is_refused(mistake: Callable[[Object], None], release: str) -> None:
    """So the test above would see it."""
    deployment = backend()
    mistake(deployment)
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(deployment, release, strict=True)


def test_what_no_cluster_has_had_says_so() -> None:
    """In its own file and in the documentation."""
    for text in (RENDERED["autoscaling"] / "kustomization.yaml", PAGE):
        assert "NOT RUN" in text.read_text(), text


def test_each_overlay_and_component_is_documented() -> None:
    """By its folder."""
    page = PAGE.read_text()
    for file in FOLDER.glob("*/*/kustomization.yaml"):
        assert f"`{file.parent.relative_to(FOLDER)}`" in page, file
