"""Rules of the pods of deploy/kubernetes: settings, ports, probes, rights and volumes fit what runs there."""

import json
import re
from collections.abc import Iterator

import pytest

from inference_server.api.infer import InferenceService
from scripts.render_kubernetes import RENDERED
from tests.support.facet import procfile
from tests.support.gateway_fakes import FakeBackend, app_for
from tests.support.kubernetes import NAME, Object, Pod, Rendered, image_environ
from tests.support.processes import ROOT
from utils.settings import Settings, variable

ALL = {name: Rendered(name) for name in RENDERED}
PODS = [pytest.param(pod, id=f"{name}-{pod.name}") for name in RENDERED for pod in ALL[name].pods().values()]
BACKEND, GATEWAY = "facet-backend", "facet-gateway"
NOT_OURS = {"POD_IP"}
"""Variables that others are made of."""
DOCKERFILE = (ROOT / "deploy" / "Dockerfile").read_text()
PROBES = ("startupProbe", "readinessProbe", "livenessProbe")
TEMPORARY, SHARED = "/tmp", "/dev/shm"  # noqa: S108 - in a container
UNITS = {"Mi": 1024**2, "Gi": 1024**3}

each_pod = pytest.mark.parametrize("pod", PODS)


def size(text: str) -> int:
    """An amount of memory, in bytes."""
    return int(text[:-2]) * UNITS[text[-2:]]


def volumes(pod: Pod) -> Iterator[tuple[str, Object]]:
    """Where each volume is mounted, and what it is."""
    made = {volume["name"]: volume for volume in pod.spec["volumes"]}
    mounts = pod.container["volumeMounts"]
    assert {mount["name"] for mount in mounts} == made.keys()
    for mount in mounts:
        yield mount["mountPath"], made[mount["name"]]


@each_pod
def test_each_variable_is_a_setting_with_a_value_that_it_can_have(pod: Pod) -> None:
    """And each is given once."""
    known = {variable(setting) for setting in Settings.__dataclass_fields__}
    assert pod.environ.keys() - NOT_OURS <= known
    names = [one["name"] for one in pod.container.get("env", [])]
    assert len({*names}) == len(names)
    assert isinstance(pod.settings, Settings)


@each_pod
def test_the_ports_are_where_the_process_listens_and_are_the_defaults(pod: Pod) -> None:
    """On all addresses of the pod. What listens on loopback addresses has no port."""
    of_backend = {"grpc": "grpc_address", "metrics": "admin_address"}
    of_gateway = {"http": "http_address", "metrics": "http_metrics_address"}
    for port, setting in (of_backend if pod.name == BACKEND else of_gateway).items():
        address, default = getattr(pod.settings, setting), getattr(Settings(), setting)
        assert address.port == default.port
        open_to_others = address.host == "0.0.0.0"
        assert open_to_others or (port == "metrics" and address == default)
        assert pod.ports.get(port) == (address.port if open_to_others else None)


@each_pod
def test_the_pod_may_end_after_its_process(pod: Pod) -> None:
    """Which drains, and then lets requests finish; with seconds to spare."""
    settings = pod.settings
    assert settings.drain_seconds == 5
    assert pod.spec["terminationGracePeriodSeconds"] >= settings.drain_seconds + settings.grace_seconds + 10


@each_pod
def test_the_process_is_the_images_own_or_that_of_the_procfile(pod: Pod) -> None:
    """As the wheel has it, which is what the image has. Its own process is the backend."""
    assert "command" not in pod.container
    if pod.name == GATEWAY:
        command = " ".join(pod.container["args"])
        assert command.replace("facet_serving.", "") in procfile()["web"][-1]
    else:
        assert "args" not in pod.container


@each_pod
def test_the_probes_ask_what_is_answered(pod: Pod) -> None:
    """Health by gRPC for a service that has one, routes of the gateway, or the image's program by TLS."""
    routes = {rule.rule for rule in app_for(FakeBackend()).url_map.iter_rules()}
    for name in PROBES:
        probe = pod.container[name]
        if pod.name == GATEWAY:
            path = {"readinessProbe": "/readyz"}.get(name, "/healthz")
            assert probe["httpGet"] == {"path": path, "port": "http"}
            assert path in routes
        elif pod.settings.tls_cert_file:
            assert json.dumps(probe["exec"]["command"]) in DOCKERFILE, "the health check of the image"
            assert probe["timeoutSeconds"] > 2, "above the time that the program waits"
            assert pod.settings.backend_tls_ca_file
        else:
            assert probe["grpc"] == {"port": pod.settings.grpc_address.port, "service": InferenceService.name}
        kinds = {"exec", "grpc", "httpGet", "tcpSocket"}
        assert len(kinds & probe.keys()) == 1


@each_pod
def test_a_start_has_time_and_a_pod_that_is_late_is_not_ended_at_once(pod: Pod) -> None:
    """A worker may take 60 s to start; one that hangs is replaced by the supervisor long before."""
    start, ready, live = (pod.container[name] for name in PROBES)
    assert start["periodSeconds"] * start["failureThreshold"] > 60
    assert live["periodSeconds"] * live["failureThreshold"] > 10 * pod.settings.hang_seconds
    assert ready["periodSeconds"] * ready["failureThreshold"] < 15


@each_pod
def test_a_pod_has_no_rights(pod: Pod) -> None:
    """What the profile "restricted" of Pod Security asks for, a read-only root file system, and no token."""
    user, group = re.findall(r"(?m)^USER (\d+):(\d+)$", DOCKERFILE)[-1]
    assert pod.spec["securityContext"] == {
        "runAsNonRoot": True,
        "runAsUser": int(user),
        "runAsGroup": int(group),
        "fsGroup": int(group),
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    assert pod.container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert pod.spec["automountServiceAccountToken"] is pod.spec["enableServiceLinks"] is False


@each_pod
def test_what_may_be_written_is_bounded_and_the_rest_of_the_volumes_is_read_only(pod: Pod) -> None:
    """What is shared is in memory."""
    written = {path: volume["emptyDir"] for path, volume in volumes(pod) if "emptyDir" in volume}
    assert written.keys() == {TEMPORARY, SHARED}
    assert all("sizeLimit" in one for one in written.values())
    assert written[SHARED]["medium"] == "Memory"
    for mount in pod.container["volumeMounts"]:
        assert mount["mountPath"] in written or mount["readOnly"] is True
    assert pod.settings.state_dir is not None
    assert pod.settings.state_dir.is_relative_to(TEMPORARY)


@each_pod
def test_files_that_settings_name_are_in_secrets_that_only_the_process_can_read(
    pod: Pod,
) -> None:
    """By its group: a Secret's files are root's."""
    names = [variable(name) for name in Settings.__dataclass_fields__ if name.endswith("_file")]
    named = {pod.environ[name] for name in names if name in pod.environ}
    there = set()
    for path, volume in volumes(pod):
        if secret := volume.get("secret"):
            items = secret["items"]
            there |= {f"{path}/{item['path']}" for item in items}
            private = any(not item["key"].endswith(".crt") for item in items)
            assert secret.get("defaultMode") == (0o440 if private else None)
    assert there == named


@each_pod
def test_memory_and_cpus_are_bounded_and_reserved(pod: Pod) -> None:
    """The limit of CPUs is the number of workers; a gateway has room for its bodies and copies of them."""
    resources = pod.container["resources"]
    assert resources["requests"] == resources["limits"]
    assert resources["limits"]["cpu"].isdigit()
    settings = pod.settings
    if pod.name == GATEWAY:
        held = settings.http_workers * settings.body_budget_bytes
        assert size(resources["limits"]["memory"]) >= 2 * held


@each_pod
def test_pods_are_spread_over_nodes_and_zones(pod: Pod) -> None:
    """As far as there are some."""
    spread = pod.spec["topologySpreadConstraints"]
    assert {one["topologyKey"] for one in spread} == {"kubernetes.io/hostname", "topology.kubernetes.io/zone"}
    for one in spread:
        assert one["labelSelector"]["matchLabels"] == {NAME: pod.labels[NAME]}
        assert one["whenUnsatisfiable"] == "ScheduleAnyway"


def test_the_image_has_the_name_by_which_it_is_built() -> None:
    """An overlay gives it another one, that of a registry."""
    [built] = re.findall(r"(?m)^IMAGE \?= (.*)$", (ROOT / "Makefile").read_text())
    assert {pod.container["image"] for pod in ALL["base"].pods().values()} == {built}
    assert {pod.container["image"] for pod in ALL["complete"].pods().values()} == {
        "registry.example.org/facet:1"
    }


def test_backends_and_gateways_share_their_settings() -> None:
    """Those that must agree do, and what the image says stands."""
    for one in ALL.values():
        backend, gateway = one.pods()[BACKEND], one.pods()[GATEWAY]
        assert backend.container["envFrom"] == gateway.container["envFrom"]
        shared = {name for name in image_environ() if backend.environ[name] == gateway.environ[name]}
        assert shared == image_environ().keys()
        assert backend.settings.max_image_bytes == gateway.settings.max_image_bytes


def test_metrics_have_keys_and_the_host_by_which_a_pod_is_called() -> None:
    """Without keys neither process would start."""
    for name in ("complete", "autoscaling"):
        for pod in ALL[name].pods().values():
            assert pod.settings.api_keys_file
            assert pod.settings.admin_hosts == (pod.environ["POD_IP"],)


def test_models_come_from_a_volume_that_several_pods_can_read() -> None:
    """Which are served is said by a setting, so that all pods serve the same."""
    pod = ALL["complete"].pods()[BACKEND]
    store = str(pod.settings.model_store)
    [claim] = [volume["persistentVolumeClaim"] for path, volume in volumes(pod) if path == store]
    assert claim == {"claimName": "facet-models", "readOnly": True}
    assert all(one.settings.models for rendered in ALL.values() for one in rendered.pods().values())
