"""What a scenario is, and all there are."""

import importlib
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple

NAMES = (
    "engine",
    "roofline",
    "memory",
    "large",
    "accuracy",
    "balance",
    "tail",
    "overload",
    "hop",
    "gateway",
    "start",
    "mixed",
    "service",
    "models",
    "batching",
    "protocols",
    "extras",
    "batch",
    "metrics",
    "identity",
    "tls",
    "tracing",
    "scale",
    "archive",
)

Figures = dict[str, Any]
"""What a run of a scenario found, as it is written to JSON."""


@dataclass(frozen=True)
class Goal:
    """A number to hold, and the number that was measured.

    Attributes:
        what: What was measured.
        figure: The number that was measured.
        limit: The number to hold.
        at_least: The limit is the least, not the most.
        unit: Follows both numbers.
        why: What is in the way where it is not met, by figures of the same run.
    """

    what: str
    figure: float
    limit: float
    at_least: bool = False
    unit: str = ""
    why: str = ""

    @property
    def met(self) -> bool:
        """Whether the number was held."""
        return self.figure >= self.limit if self.at_least else self.figure <= self.limit


@dataclass(frozen=True)
class Table:
    """Rows under a head."""

    head: tuple[str, ...]
    rows: list[tuple[object, ...]]
    caption: str = ""


Column = str | tuple[str, str] | Callable[[Any], object]
"""What a column shows of an item: a path of keys with dots between them, that and a format, or a function."""


def table(items: Iterable[Any], columns: Mapping[str, Column], caption: str = "") -> Table:
    """A row for each item, and a column for each name."""
    rows = [tuple(_cell(item, column) for column in columns.values()) for item in items]
    return Table(tuple(columns), rows, caption)


def _cell(item: Any, column: Column) -> object:  # noqa: ANN401 - of JSON
    if callable(column):
        return column(item)
    path, form = (column, "") if isinstance(column, str) else column
    for key in path.split("."):
        item = item[key]
    return format(item, form) if form else item


class Bar(NamedTuple):
    """A bar of a plot; those of one series have one colour."""

    name: str
    value: float
    series: str = ""


@dataclass(frozen=True)
class Plot:
    """What a plot shows, under a title."""

    title: str

    def data(self) -> str:
        """As JSON; the plot's file carries it."""
        return json.dumps(asdict(self), ensure_ascii=False)


@dataclass(frozen=True)
class BarPlot(Plot):
    """Horizontal bars.

    Attributes:
        axis: What the bars' values are, with their unit.
        bars: From top to bottom.
        mark: The name and the value of a line across the bars.
    """

    axis: str
    bars: list[Bar]
    mark: tuple[str, float] | None = None


@dataclass(frozen=True)
class LatencyPlot(Plot):
    """Latencies over the share of requests.

    Attributes:
        shares: Of the requests, ascending, from 0 and below 1.
        curves: Milliseconds at each share, by name.
    """

    shares: list[float]
    curves: dict[str, list[float]]


@dataclass(frozen=True)
class Report:
    """What the figures of a scenario say. Plots are by the names of their files."""

    goals: list[Goal]
    tables: list[Table]
    plots: Mapping[str, Plot] = field(default_factory=dict)
    note: str = ""


@dataclass(frozen=True)
class Scenario:
    """One thing that is measured.

    Attributes:
        title: A line about it.
        method: How it is measured, in Markdown.
        run: Measures; told whether quickly, it gives figures of the same form from fewer requests. It is also
            told how often to repeat what it measures, where it does.
        report: Reads the figures.
        repeats: How often that is, where it is not quick.
    """

    title: str
    method: str
    run: Callable[[bool, int], Figures]
    report: Callable[[Figures], Report]
    repeats: int = 1


def scenario(name: str) -> Scenario:
    """The scenario of this name."""
    module = importlib.import_module(f"benchmarks.scenarios.{name}")
    found = module.SCENARIO
    assert isinstance(found, Scenario)
    return found
