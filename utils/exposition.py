"""Metrics in the text formats of Prometheus and OpenMetrics, for processes that are asked for them."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import NamedTuple

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.exposition import choose_encoder
from prometheus_client.utils import floatToGoString

from utils.counters import Counter, Family, Histogram

BOUND = "le"
"""The label of a bucket's upper bound."""


@dataclass(frozen=True, slots=True)
class Gauge:
    """What goes up and down.

    Attributes:
        name: As it is exported.
        about: What it says.
        labels: By which its values differ.
    """

    name: str
    about: str
    labels: tuple[str, ...] = ()

    def metric(self, values: Mapping[tuple[str, ...], float]) -> Metric:
        """It, with these values by those of the labels."""
        made = GaugeMetricFamily(self.name, self.about, labels=self.labels)
        for labels, value in values.items():
            made.add_metric(labels, value)
        return made


class Exposition(NamedTuple):
    """What is answered: a body, and its type."""

    body: bytes
    content_type: str


class _Registry:
    """What prometheus_client writes."""

    def __init__(self, metrics: Iterable[Metric]) -> None:
        self._metrics = metrics

    def collect(self) -> Iterator[Metric]:
        yield from self._metrics


def write(metrics: Iterable[Metric], accept: str) -> Exposition:
    """Write metrics in the form that who asks for them likes best.

    Args:
        metrics: What is written.
        accept: The header field of the request.
    """
    encode, content_type = choose_encoder(accept)
    return Exposition(encode(_Registry(metrics)), content_type)


def metric(
    family: Family, labels: Sequence[str], counted: Iterable[tuple[Sequence[str], Sequence[int]]]
) -> Metric:
    """What was counted, as a family of metrics.

    Args:
        family: What it is.
        labels: Of its blocks.
        counted: Values of these labels, and the family's words.
    """
    return (
        _counter(family, labels, counted)
        if isinstance(family, Counter)
        else _histogram(family, labels, counted)
    )


def _counter(
    family: Counter, labels: Sequence[str], counted: Iterable[tuple[Sequence[str], Sequence[int]]]
) -> Metric:
    made = CounterMetricFamily(family.name, family.about, labels=(*labels, *family.labels))
    for values, words in counted:
        for own, word in zip(family.values, words, strict=True):
            if word or not family.sparse:
                made.add_metric((*values, *own), word * family.unit)
    return made


def _histogram(
    family: Histogram, labels: Sequence[str], counted: Iterable[tuple[Sequence[str], Sequence[int]]]
) -> Metric:
    made = HistogramMetricFamily(family.name, family.about, labels=labels)
    bounds = [*map(floatToGoString, family.bounds), "+Inf"]
    for values, words in counted:
        *buckets, total = words
        if any(buckets) or not family.sparse:
            made.add_metric(values, list(zip(bounds, accumulate(buckets), strict=True)), total * family.unit)
    return made
