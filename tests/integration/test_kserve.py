"""deploy/kserve.yaml without a cluster: what it says, and both containers' processes with its variables."""

import json
from collections.abc import Iterator
from typing import Any

import grpc
import pytest
import yaml
from grpc_health.v1 import health_pb2, health_pb2_grpc

from tests.support import onnx_models
from tests.support.endpoints import answers, http_request
from tests.support.facet import Facet, gateway, inference, procfile
from tests.support.processes import ROOT, wait_until
from utils.settings import Settings, variable

[SERVICE] = yaml.safe_load_all((ROOT / "deploy" / "kserve.yaml").read_text())
PREDICTOR = SERVICE["spec"]["predictor"]
CONTAINERS = {container["name"]: container for container in PREDICTOR["containers"]}
BACKEND, GATEWAY = CONTAINERS["kserve-container"], CONTAINERS["transformer-container"]
KSERVE = {"STORAGE_URI", "PROTOCOL"}
"""Variables that are KServe's own."""


def environ(container: dict[str, Any]) -> dict[str, str]:
    """The variables of a container that are Facet's."""
    given = {one["name"]: one["value"] for one in container["env"]}
    return {name: value for name, value in given.items() if name not in KSERVE}


def settings(container: dict[str, Any]) -> Settings:
    """As its process reads them."""
    return Settings.from_environ(environ(container))


@pytest.mark.parametrize("name", CONTAINERS)
def test_each_variable_is_a_setting_with_a_value_that_it_can_have(name: str) -> None:
    """As texts, which is all that Kubernetes accepts."""
    known = {variable(setting) for setting in Settings.__dataclass_fields__}
    assert environ(CONTAINERS[name]).keys() <= known
    assert all(isinstance(value, str) for value in environ(CONTAINERS[name]).values())
    settings(CONTAINERS[name])


def test_ports_and_probes_are_where_the_processes_listen() -> None:
    """On all addresses of the pod: KServe sends requests to the ports of the second container."""
    served, web = settings(BACKEND).grpc_address, settings(GATEWAY).http_address
    assert {served.host, web.host} == {"0.0.0.0"}
    assert settings(GATEWAY).backend == f"127.0.0.1:{served.port}"
    ports = {port["name"]: port["containerPort"] for port in GATEWAY["ports"]}
    assert ports == {"http": web.port, "grpc": served.port}
    assert web.port == 8080
    assert BACKEND["readinessProbe"]["grpc"]["port"] == served.port
    assert "ports" not in BACKEND
    for probe in ("readinessProbe", "livenessProbe"):
        assert GATEWAY[probe]["httpGet"]["port"] == web.port


def test_models_come_from_where_kserve_puts_them() -> None:
    """By the protocol that the service says it speaks."""
    given = {one["name"]: one["value"] for one in BACKEND["env"]}
    assert (given["FACET_MODEL_STORE"], given["PROTOCOL"]) == ("/mnt/models", "v2")
    assert given["STORAGE_URI"].startswith("pvc://")
    assert not [one for one in GATEWAY["env"] if one["name"] == "STORAGE_URI"]


def test_the_pod_may_end_after_its_processes() -> None:
    """Which drain, and then let requests finish."""
    longest = max(one.drain_seconds + one.grace_seconds for one in map(settings, CONTAINERS.values()))
    assert PREDICTOR["terminationGracePeriodSeconds"] > longest
    assert all(one.drain_seconds > 0 for one in map(settings, CONTAINERS.values()))


@pytest.fixture(scope="module")
def pod(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Facet]:
    """Both processes with the variables of the file, but for a store and ports of this test."""
    store = tmp_path_factory.mktemp("mnt") / "models"
    folder = onnx_models.linear(store / environ(BACKEND)["FACET_MODELS"] / "1")
    (folder / "model.toml").write_text('kind = "onnx"\n')
    here = {"FACET_MODEL_STORE": str(store), "FACET_GRPC_ADDRESS": "127.0.0.1:0", "FACET_ADMIN_ADDRESS": ""}
    with (
        inference(**environ(BACKEND) | here) as (backend, address),
        gateway(**environ(GATEWAY) | {"FACET_HTTP_ADDRESS": "127.0.0.1:0", "FACET_BACKEND": address}) as (
            web,
            http,
        ),
    ):
        yield Facet(web, backend, http, address)


def test_the_gateways_command_is_that_of_the_procfile_as_the_wheel_has_it() -> None:
    """The image's own is the backend's."""
    assert " ".join(GATEWAY["args"]).replace("facet_serving.", "") in procfile()["web"][-1]
    assert "args" not in BACKEND


def test_probes_are_answered_and_the_model_by_the_protocol(pod: Facet) -> None:
    """As KServe's router asks for it."""
    for probe in ("readinessProbe", "livenessProbe"):
        path = GATEWAY[probe]["httpGet"]["path"]
        wait_until(lambda path=path: answers(pod.http, path, 200), f"{path} is answered")  # type: ignore[misc]
    with grpc.insecure_channel(pod.grpc) as channel:
        asked = health_pb2.HealthCheckRequest(service=BACKEND["readinessProbe"]["grpc"]["service"])
        answer = health_pb2_grpc.HealthStub(channel).Check(asked, timeout=30)
        assert answer.status == health_pb2.HealthCheckResponse.SERVING
    body = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 3], "data": [1, 2, 3]}]}
    status, _, content = http_request(
        pod.http,
        "POST",
        "/v2/models/scores/infer",
        json.dumps(body).encode(),
        {"Content-Type": "application/json"},
    )
    assert (status, json.loads(content)["outputs"][0]["data"]) == (200, [3, 5, 7])
