"""Rules of what in deploy/kubernetes names pods: who selects whom, and who may connect to whom."""

from typing import Any

import pytest
import yaml

from scripts.render_kubernetes import RENDERED
from tests.support.kubernetes import NAME, Object, Rendered
from tests.support.processes import ROOT

ALL = {name: Rendered(name) for name in RENDERED}
BACKEND, GATEWAY = "facet-backend", "facet-gateway"
MONITORING = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}

each_file = pytest.mark.parametrize("rendered", ALL.values(), ids=ALL)


def pods_with(name: str) -> Object:
    """As a policy selects them."""
    return {"podSelector": {"matchLabels": {NAME: name}}}


def policies(rendered: Rendered, name: str) -> list[Object]:
    """The specifications of the policies for the pods of a Deployment."""
    found = [one["spec"] for one in rendered.of("NetworkPolicy").values()]
    return [spec for spec in found if spec["podSelector"]["matchLabels"] == {NAME: name}]


def ingress(rendered: Rendered, name: str) -> dict[int, list[Object] | None]:
    """By port who may connect to the pods of a Deployment; None is whoever can."""
    rules = [rule for spec in policies(rendered, name) for rule in spec["ingress"]]
    ports = [(port["port"], rule.get("from")) for rule in rules for port in rule["ports"]]
    assert len(dict(ports)) == len(ports), "policies add up, so two for one port would let both in"
    assert all(port["protocol"] == "TCP" for rule in rules for port in rule["ports"])
    return dict(ports)


@each_file
def test_a_deployment_selects_its_own_pods_alone(rendered: Rendered) -> None:
    """By a label that does not change from release to release."""
    for name, one in rendered.of("Deployment").items():
        labels = one["spec"]["selector"]["matchLabels"]
        assert labels == {NAME: name}
        assert [pod.name for pod in rendered.selected(labels)] == [name]


@each_file
def test_a_service_has_the_ports_of_the_pods_that_it_selects(rendered: Rendered) -> None:
    """Of one Deployment each."""
    services = rendered.of("Service")
    assert {BACKEND, GATEWAY} <= services.keys()
    for name, one in services.items():
        [pod] = rendered.selected(one["spec"]["selector"])
        assert pod.name == name.removesuffix("-metrics")
        for port in one["spec"]["ports"]:
            assert port["targetPort"] in pod.ports
            if name != GATEWAY:  # whose callers expect that of HTTP
                assert port["port"] == pod.ports[port["targetPort"]]


@each_file
def test_gateways_call_each_backend_by_the_headless_service(rendered: Rendered) -> None:
    """Behind one address all calls of a connection would go to one pod."""
    service = rendered.of("Service")[BACKEND]["spec"]
    assert service["clusterIP"] == "None"
    [port] = service["ports"]
    assert rendered.pods()[GATEWAY].settings.backend == f"dns:///{BACKEND}:{port['port']}"


@each_file
def test_disruptions_and_upgrades_take_one_pod_at_most(rendered: Rendered) -> None:
    """An upgrade takes none before another one is ready, and has been found by those who call it."""
    budgets = rendered.of("PodDisruptionBudget")
    assert budgets.keys() == rendered.of("Deployment").keys()
    for name, one in rendered.of("Deployment").items():
        assert budgets[name]["spec"]["maxUnavailable"] == 1
        assert budgets[name]["spec"]["selector"] == one["spec"]["selector"]
        assert one["spec"]["strategy"]["rollingUpdate"] == {"maxSurge": 1, "maxUnavailable": 0}
        found_after = {BACKEND: 2 * rendered.pods()[name].settings.connection_age_seconds, GATEWAY: 10}
        assert one["spec"]["minReadySeconds"] >= found_after[name]


@each_file
def test_only_gateways_and_labelled_clients_reach_the_backend(rendered: Rendered) -> None:
    """Every port of a pod has its policy; all others are closed."""
    for name, pod in rendered.pods().items():
        assert ingress(rendered, name).keys() == {*pod.ports.values()}
    clients = {"podSelector": {"matchLabels": {"facet-client": "true"}}}
    assert ingress(rendered, BACKEND)[50051] == [pods_with(GATEWAY), clients]
    assert ingress(rendered, GATEWAY)[8000] is None


@each_file
def test_only_monitoring_reaches_metrics(rendered: Rendered) -> None:
    """Where they can be reached from outside of the pod at all."""
    for name, pod in rendered.pods().items():
        if "metrics" in pod.ports:
            assert ingress(rendered, name)[pod.ports["metrics"]] == [MONITORING]


@each_file
def test_backends_call_nobody_and_gateways_only_backends_and_dns(rendered: Rendered) -> None:
    """At the port at which the backend is."""
    [backend] = [spec for spec in policies(rendered, BACKEND) if "Egress" in spec["policyTypes"]]
    assert backend.get("egress", []) == []
    [gateway] = [spec for spec in policies(rendered, GATEWAY) if "Egress" in spec["policyTypes"]]
    calls, dns = gateway["egress"]
    port = rendered.pods()[BACKEND].ports["grpc"]
    assert calls == {"to": [pods_with(BACKEND)], "ports": [{"protocol": "TCP", "port": port}]}
    assert {(one["protocol"], one["port"]) for one in dns["ports"]} == {("UDP", 53), ("TCP", 53)}
    assert all("Ingress" in spec["policyTypes"] for spec in policies(rendered, BACKEND))


def test_prometheus_finds_all_metrics_under_the_names_of_jobs_that_the_alerts_expect() -> None:
    """By the Services, with a key."""
    rendered = ALL["autoscaling"]
    [monitor] = rendered.of("ServiceMonitor").values()
    spec: dict[str, Any] = monitor["spec"]
    [expression] = spec["selector"]["matchExpressions"]
    assert expression["operator"] == "Exists"
    labelled = [(one["metadata"]["labels"], one["spec"]) for one in rendered.of("Service").values()]
    services = [(labels, service) for labels, service in labelled if expression["key"] in labels]
    jobs = {labels[spec["jobLabel"]] for labels, _ in services}
    config = yaml.safe_load((ROOT / "deploy" / "prometheus" / "prometheus.yml").read_text())
    assert jobs == {job["job_name"] for job in config["scrape_configs"]} == {BACKEND, GATEWAY}
    [endpoint] = spec["endpoints"]
    assert all([port["name"] for port in one["ports"]] == [endpoint["port"]] for _, one in services)
    assert (endpoint["path"], endpoint["authorization"]["credentials"]["name"]) == ("/metrics", "facet-keys")


def test_the_autoscaler_alone_says_how_many_backends_there_are() -> None:
    """Else each apply would set the number anew."""
    rendered = ALL["autoscaling"]
    [scaler] = rendered.of("HorizontalPodAutoscaler").values()
    target = scaler["spec"]["scaleTargetRef"]
    assert "replicas" not in rendered.of(target["kind"])[target["name"]]["spec"]
    assert rendered.of("Deployment")[GATEWAY]["spec"]["replicas"] == 2
    [metric] = scaler["spec"]["metrics"]
    name = metric["external"]["metric"]["name"]
    assert name in (ROOT / "docs" / "kubernetes.md").read_text()
