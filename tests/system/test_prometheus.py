"""What is delivered for Prometheus and Grafana, tried with a real Prometheus, backend and gateway."""

import contextlib
import json
import os
import re
import signal
import subprocess
import urllib.parse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support import gateway_process
from tests.support.admin import Managed, managed
from tests.support.endpoints import http_request
from tests.support.facet import free_port
from tests.support.gateway_process import Gateway
from tests.support.pictures import ASTRONAUT
from tests.support.processes import ROOT, running, wait_until
from tests.support.tools import tool
from utils.errors import FacetError
from utils.service_client import ServiceClient

FOLDER = ROOT / "deploy" / "prometheus"
DASHBOARD = json.loads((ROOT / "deploy" / "grafana" / "facet.json").read_text())
PACKAGE = "prometheus"
INTERVAL = "1s"


def promtool(*arguments: str, stdin: bytes = b"") -> None:
    """Run it; it accepts what it is given."""
    command = [tool("promtool", PACKAGE), *arguments]
    done = subprocess.run(command, cwd=FOLDER, input=stdin, capture_output=True, check=False, timeout=60)
    assert done.returncode == 0, (done.stdout + done.stderr).decode()


def rules(kind: str) -> list[str]:
    """The names of the rules of a kind: alert or record."""
    groups = yaml.safe_load((FOLDER / "alerts.yml").read_text())["groups"]
    return [rule[kind] for group in groups for rule in group["rules"] if kind in rule]


def test_the_examples_are_valid() -> None:
    """The configurations, and the rules that they name."""
    promtool("check", "config", "prometheus.yml")
    promtool("check", "config", "--syntax-only", "compose.yml")  # whose key is there in its container alone


def test_each_alert_fires_where_it_should_and_no_other() -> None:
    """Of each there are two tests, one in which it fires and one in which it does not."""
    promtool("test", "rules", "alerts_test.yml")
    tests = yaml.safe_load((FOLDER / "alerts_test.yml").read_text())["tests"]
    asked = [one for test in tests for one in test["alert_rule_test"]]
    firing = {one["alertname"] for one in asked if one["exp_alerts"]}
    quiet = {one["alertname"] for one in asked if not one["exp_alerts"]}
    assert firing == quiet == {*rules("alert")}


@dataclass
class Prometheus:
    """A running one."""

    address: str

    def ask(self, path: str, **parameters: str) -> Any:  # noqa: ANN401
        """What its API answers."""
        query = urllib.parse.urlencode(parameters)
        status, _, body = http_request(self.address, "GET", f"/api/v1/{path}?{query}")
        assert status == 200, body
        return json.loads(body)["data"]

    def query(self, expression: str) -> list[Any]:
        """The samples of an expression now."""
        result: list[Any] = self.ask("query", query=expression)["result"]
        return result


@contextlib.contextmanager
def prometheus(folder: Path, backend: str, gateway: str) -> Iterator[Prometheus]:
    """One that has the delivered rules, and scrapes these two often."""
    config = (FOLDER / "prometheus.yml").read_text()
    config = config.replace("127.0.0.1:8002", backend).replace("127.0.0.1:8003", gateway)
    config = config.replace("interval: 15s", f"interval: {INTERVAL}")
    config = config.replace("alerts.yml", str(FOLDER / "alerts.yml"))
    (folder / "prometheus.yml").write_text(config)
    address = f"127.0.0.1:{free_port()}"
    command = [
        tool("prometheus", PACKAGE),
        f"--config.file={folder / 'prometheus.yml'}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address={address}",
    ]
    with running(command, folder) as process:
        made = Prometheus(address)

        def scrapes() -> bool:
            assert process.alive(), process.log()
            with contextlib.suppress(OSError, AssertionError):
                return len(made.query("up == 1")) == 2
            return False

        wait_until(scrapes, "both are scraped")
        yield made


@dataclass
class Watched:
    """All that runs."""

    prometheus: Prometheus
    backend: Managed
    gateway: Gateway

    def load(self) -> None:
        """Have something of everything that is counted happen."""
        for path in ("/", "/nothing", "/models"):
            self.gateway.get(path)
        assert self.gateway.predict(ASTRONAUT.read_bytes()).status == 200
        assert self.gateway.predict(b"no picture").status == 415
        with ServiceClient(self.backend.backend.address, timeout=30) as client:
            client.predict("echo", {"text": "a"})
            with contextlib.suppress(FacetError):
                client.predict("echo", {"text": 5})


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    """A backend and a gateway that Prometheus has scraped under load, the death of a process included."""
    folder = tmp_path_factory.mktemp("prometheus")
    with contextlib.ExitStack() as stack:
        backend = stack.enter_context(managed(folder, FACET_MODELS="face_detection,echo"))
        environ = {"FACET_HTTP_METRICS_ADDRESS": "127.0.0.1:0"}
        gateway = stack.enter_context(gateway_process.gateway(backend.backend.address, **environ))
        metrics = gateway.ready["http_metrics_address"]
        seeing = stack.enter_context(prometheus(folder, backend.address, metrics))
        made = Watched(seeing, backend, gateway)
        made.load()
        [victim] = backend.backend.ready_model_workers()
        os.kill(victim, signal.SIGKILL)
        counted = 'facet_http_requests_total{reason="UNSUPPORTED_IMAGE_FORMAT"}'
        wait_until(lambda: bool(seeing.query(counted)), "the load is scraped")
        for _ in range(5):
            made.load()
        wait_until(lambda: bool(seeing.query(f"rate({counted}[20s]) > 0")), "more of it is")
        yield made


def targets() -> list[tuple[str, str]]:
    """Each query of the dashboard, by its panel."""
    return [
        (panel["title"], target["expr"])
        for panel in DASHBOARD["panels"]
        for target in panel.get("targets", ())
    ]


def test_every_query_of_the_dashboard_has_an_answer(watched: Watched) -> None:
    """After load, with whatever model is chosen."""
    asked = [
        (title, expression.replace("$__rate_interval", "20s").replace("$model", ".*"))
        for title, expression in targets()
    ]
    assert len(asked) > 40
    for title, query in asked:
        wait_until(lambda query=query: bool(watched.prometheus.query(query)), f"{title}: {query}", 30)  # type: ignore[misc]


def test_the_choices_of_the_dashboard_are_there(watched: Watched) -> None:
    """The models that can be chosen are those that are served."""
    [variable] = [one for one in DASHBOARD["templating"]["list"] if one["type"] == "query"]
    [(name, label)] = re.findall(r"label_values\((\w+), (\w+)\)", variable["query"])
    found = {one["metric"].get(label) for one in watched.prometheus.query(name)}
    assert found >= {"face_detection", "echo"}


def test_every_rule_can_be_evaluated(watched: Watched) -> None:
    """Each recorded expression has values, and no alert is in error."""
    for name in rules("record"):
        wait_until(lambda name=name: bool(watched.prometheus.query(name)), f"{name} is recorded")  # type: ignore[misc]
    groups = watched.prometheus.ask("rules")["groups"]
    assert [rule["name"] for group in groups for rule in group["rules"] if rule.get("lastError")] == []


@pytest.mark.parametrize("which", ["backend", "gateway"])
def test_metrics_are_as_prometheus_would_have_them(watched: Watched, which: str) -> None:
    """By names, units and help."""
    addresses = {
        "backend": watched.backend.address,
        "gateway": watched.gateway.ready["http_metrics_address"],
    }
    _, _, body = http_request(addresses[which], "GET", "/metrics")
    promtool("check", "metrics", stdin=body)
