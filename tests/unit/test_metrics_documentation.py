"""docs/metrics.md is complete: who meets a metric finds it there, and what is there exists."""

import re
from collections.abc import Iterable

import pytest
import yaml
from prometheus_client import Metric

from gateway.counters import HttpCounters
from gateway.routes.metrics import metrics_of
from inference_server.admin.metrics import BackendMetrics
from inference_server.dispatch.stats import SharedStats
from tests.support.control_socket import described
from tests.support.dispatch import shared_stats
from tests.support.processes import ROOT
from utils.counters import Table
from utils.exposition import BOUND

PAGE = (ROOT / "docs" / "metrics.md").read_text()
Row = tuple[str, str, tuple[str, ...], str]


def rows(section: str) -> list[Row]:
    """The rows of a section's table: name, type, labels, meaning."""
    [text] = re.findall(rf"## {section}\n(.*?)(?=\n## )", PAGE, re.DOTALL)
    found = re.findall(r"^\| `(facet_\w+)` \| (\w+) \| (.*?) ?\| (.*) \|$", text, re.MULTILINE)
    return [(name, kind, tuple(re.findall(r"`(\w+)`", labels)), about) for name, kind, labels, about in found]


def exported(metrics: Iterable[Metric]) -> list[Row]:
    """The same of what is exported."""
    made = []
    for metric in metrics:
        labels = {tuple(name for name in sample.labels if name != BOUND) for sample in metric.samples}
        assert len(labels) == 1, f"{metric.name} has samples of other labels, or none: {labels}"
        name = f"{metric.name}_total" if metric.type == "counter" else metric.name
        made.append((name, metric.type, labels.pop(), metric.documentation))
    return made


def count_everything(table: Table, rows_: int, series: Iterable[int]) -> None:
    """Have no word that is 0, so that nothing is left out."""
    for row in range(rows_):
        for one in series:
            words = table.block(row, one)
            for place in range(len(words)):
                words[place] = 1


def backend() -> list[Row]:
    """What a backend exports that has a model besides."""
    stats: SharedStats = shared_stats(queues=2)
    counters = stats.counters
    for table in (counters.received, counters.computed, counters.supervised):
        count_everything(table, 1, range(3))
    counters.keys.words(0)["shop"][0] = 1
    counters.assign(1, 2)
    process = {"slot": 0, "state": "ready", "memory_bytes": 1}
    status = {
        "state": "ready",
        "started": 1.0,
        "memory_bytes": 1,
        "release": 0,
        "engine": "native",
        "instruction_set": "avx2",
        "groups": [{"name": "workers", "wanted": 1, "processes": [process]}],
        "models": [described("echo", "1.0", queue=1)],
    }
    return exported(BackendMetrics(lambda _: status, stats).metrics())


def gateway() -> list[Row]:
    """What a gateway exports that has answered something."""
    counters = HttpCounters.unshared([""], keyed=True)
    counters.count("", "", 0.1, 1)
    return exported(metrics_of(counters))


@pytest.mark.parametrize(
    ("section", "metrics"), [("Of the backend", backend()), ("Of the gateway", gateway())]
)
def test_every_metric_is_documented_as_it_is(section: str, metrics: list[Row]) -> None:
    """With its type, its labels in their order, and its meaning."""
    assert len(metrics) > 5
    assert sorted(rows(section)) == sorted(metrics)


def test_every_alert_is_documented() -> None:
    """And no other."""
    groups = yaml.safe_load((ROOT / "deploy" / "prometheus" / "alerts.yml").read_text())["groups"]
    alerts = [rule["alert"] for group in groups for rule in group["rules"] if "alert" in rule]
    assert re.findall(r"^\| `(Facet\w+)` \|", PAGE, re.MULTILINE) == alerts
