"""deploy/compose.yaml without containers: what it says, the profile included that no test runs."""

import json
import re
from typing import Any

import pytest
import yaml

from tests.support.processes import ROOT
from utils.settings import Settings, variable

FOLDER = ROOT / "deploy"
TEXT = (FOLDER / "compose.yaml").read_text()
SERVICES = yaml.safe_load(TEXT)["services"]
OURS = ("backend", "gateway")
PAGE = (ROOT / "docs" / "running.md").read_text()


def settings(service: str) -> Settings:
    """As the processes of a service read them."""
    return Settings.from_environ(
        {name: str(value) for name, value in SERVICES[service]["environment"].items()}
    )


def mounts(service: str) -> dict[str, str]:
    """What of this folder a service sees, by where it sees it."""
    pairs = (volume.split(":") for volume in SERVICES[service]["volumes"])
    return {pair[1]: pair[0].removeprefix("./") for pair in pairs if pair[0].startswith("./")}


def seconds(text: str) -> float:
    """Of a duration such as 40s."""
    return float(re.fullmatch(r"(\d+)s", text)[1])  # type: ignore[index]


@pytest.mark.parametrize("service", OURS)
def test_a_service_of_ours_has_settings_that_it_can_have_and_few_rights(service: str) -> None:
    """And is waited for above drain and grace."""
    known = {variable(setting) for setting in Settings.__dataclass_fields__}
    said = SERVICES[service]
    assert said["environment"].keys() <= known
    assert (said["image"], said["read_only"], said["cap_drop"]) == ("facet", True, ["ALL"])
    assert said["security_opt"] == ["no-new-privileges:true"]
    chosen = settings(service)
    assert seconds(said["stop_grace_period"]) > chosen.drain_seconds + chosen.grace_seconds


def test_only_the_gateway_is_published_on_this_machine() -> None:
    """Of what runs without the profile."""
    assert "ports" not in SERVICES["backend"]
    assert SERVICES["gateway"]["ports"] == ["127.0.0.1:${FACET_PORT:-8000}:8000"]


@pytest.mark.parametrize("service", OURS)
def test_each_secret_is_a_file_that_the_page_makes(service: str) -> None:
    """Where the service sees it, and nothing can change it."""
    named = [value for name, value in SERVICES[service]["environment"].items() if name.endswith("_FILE")]
    assert named
    for path in named:
        folder, _, name = path.rpartition("/")
        assert f"{folder}:ro" in " ".join(SERVICES[service]["volumes"])
        made = f"deploy/{mounts(service)[folder]}/{name}"
        copied = "cp deploy/secrets/backend/backend.pem deploy/secrets/gateway\n"
        assert made in PAGE or (made == "deploy/secrets/gateway/backend.pem" and copied in PAGE)


def test_the_gateway_calls_the_backend_by_the_name_in_its_certificate() -> None:
    """That the page has made for it."""
    host = SERVICES["gateway"]["environment"]["FACET_BACKEND"].partition(":")[0]
    assert host in SERVICES
    assert f"subjectAltName=DNS:{host} " in PAGE
    assert SERVICES["backend"]["environment"]["FACET_BACKEND_TLS_NAME"] == host


def test_the_profile_of_monitoring_is_parsed_and_says_that_it_was_not_run() -> None:
    """Its services are those with a profile, and the files that they see are there."""
    monitoring = {name for name, said in SERVICES.items() if said.get("profiles") == ["monitoring"]}
    assert monitoring == SERVICES.keys() - {*OURS} == {"prometheus", "grafana"}
    for service in monitoring:
        for path in mounts(service).values():
            assert path.startswith("secrets/") or (FOLDER / path).is_file(), path
    assert "was not run" in TEXT
    assert "have not run that" in PAGE


def test_prometheus_asks_both_services_where_they_tell_their_metrics() -> None:
    """By names under which they may be called, with the same rules as on one machine."""
    asked, alone = (
        yaml.safe_load((FOLDER / "prometheus" / f"{name}.yml").read_text())
        for name in ("compose", "prometheus")
    )
    assert asked["rule_files"] == alone["rule_files"]
    jobs: dict[str, Any] = {job["job_name"]: job for job in asked["scrape_configs"]}
    assert jobs.keys() == {job["job_name"] for job in alone["scrape_configs"]}
    for service, name in (("backend", "admin_address"), ("gateway", "http_metrics_address")):
        [target] = jobs[f"facet-{service}"]["static_configs"][0]["targets"]
        port = getattr(settings(service), name).port
        assert target == f"{service}:{port}"
        assert SERVICES[service]["environment"]["FACET_ADMIN_HOSTS"] == service
        key = jobs[f"facet-{service}"]["authorization"]["credentials_file"]
        assert f"deploy/{mounts('prometheus')[key.rpartition('/')[0]]}/{key.rpartition('/')[2]}" in PAGE


def test_grafana_is_told_of_prometheus_and_of_the_dashboard() -> None:
    """Whose place in the container is the one of its provider."""
    [source] = yaml.safe_load((FOLDER / "grafana" / "datasources.yml").read_text())["datasources"]
    assert source["url"] == "http://prometheus:9090"
    assert source["type"] == "prometheus"
    [provider] = yaml.safe_load((FOLDER / "grafana" / "dashboards.yml").read_text())["providers"]
    [place] = [place for place, path in mounts("grafana").items() if path.endswith("facet.json")]
    assert place.startswith(f"{provider['options']['path']}/")
    assert json.loads((FOLDER / mounts("grafana")[place]).read_text())["uid"] == "facet"
