"""What a scrape gives, for tests to compare."""

import contextlib
import http.client
from collections.abc import Mapping
from dataclasses import dataclass

from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

from tests.support.processes import PATIENCE, wait_until
from utils.settings import parse_address

Sample = tuple[str, frozenset[tuple[str, str]]]


@dataclass(frozen=True)
class Scrape:
    """One scrape.

    Attributes:
        families: By their names, those of counters without _total.
        samples: Values by name and labels.
    """

    families: Mapping[str, Metric]
    samples: Mapping[Sample, float]

    def value(self, name: str, **labels: str) -> float:
        """The sum of the samples of this name that have these labels."""
        wanted = set(labels.items())
        return sum(value for (one, has), value in self.samples.items() if one == name and wanted <= has)

    def counters(self) -> dict[Sample, float]:
        """The samples that may not fall."""
        growing = {"counter", "histogram"}
        names = {
            sample.name
            for family in self.families.values()
            if family.type in growing
            for sample in family.samples
        }
        return {sample: value for sample, value in self.samples.items() if sample[0] in names}


def scraped(text: str) -> Scrape:
    """A scrape in the text format of Prometheus."""
    families = {family.name: family for family in text_string_to_metric_families(text)}
    samples: dict[Sample, float] = {}
    for family in families.values():
        for sample in family.samples:
            key = sample.name, frozenset(sample.labels.items())
            assert key not in samples, f"{key} is there twice"
            samples[key] = sample.value
    return Scrape(families, samples)


def scrape(address: str, headers: Mapping[str, str] | None = None) -> Scrape:
    """Scrape the process at an address, with these header fields."""
    where = parse_address(address)
    connection = http.client.HTTPConnection(where.host, where.port, timeout=PATIENCE)
    with contextlib.closing(connection):
        connection.request("GET", "/metrics", headers=dict(headers or {}))
        response = connection.getresponse()
        text = response.read().decode()
    assert response.status == 200, text
    return scraped(text)


def wait_for_value(address: str, expected: float, name: str, **labels: str) -> Scrape:
    """Scrape until a value is that: what is answered is counted a moment later."""
    found: list[Scrape] = []

    def is_there() -> bool:
        found.append(scrape(address))
        return found[-1].value(name, **labels) == expected

    wait_until(is_there, f"{name} {labels} is {expected}")
    return found[-1]


def fallen(before: Scrape, after: Scrape) -> list[Sample]:
    """The counters that are less than they were, or gone."""
    now = after.counters()
    return [sample for sample, value in before.counters().items() if now.get(sample, -1.0) < value]
