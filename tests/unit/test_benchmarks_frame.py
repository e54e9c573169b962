"""The frame of the benchmarks: what stands in README.md is what was measured."""

import json
import random
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from benchmarks import render, results
from benchmarks.__main__ import measure
from benchmarks.load import poisson
from benchmarks.registry import NAMES, Goal, Report, Scenario, Table, scenario
from benchmarks.stats import central_queue, describe, percentile

PLOTS = render.plots(results.FOLDER)
STALE = "run python -m benchmarks --render"


def test_readme_is_what_the_results_render_to() -> None:
    """Nothing in it was typed."""
    assert (results.FOLDER / "README.md").read_text() == render.readme(results.FOLDER), STALE


def test_every_plot_belongs_to_a_result() -> None:
    """None is left of a scenario that was renamed."""
    assert set(PLOTS) == set(results.FOLDER.glob("plots/*.svg"))


@pytest.mark.parametrize("path", PLOTS, ids=lambda path: path.stem)
def test_a_plot_shows_what_its_result_says(path: Path) -> None:
    """By the data that the file carries, so that no library is needed to tell."""
    shown = ET.parse(path).findtext(".//{http://purl.org/dc/elements/1.1/}description")  # noqa: S314 - our own
    assert shown == PLOTS[path].data(), STALE


@pytest.mark.parametrize("name", NAMES)
def test_every_scenario_says_what_it_is_and_how_it_is_measured(name: str) -> None:
    """Both stand in README.md."""
    told = scenario(name)
    assert told.title
    assert len(told.method) > 100


def test_a_result_says_where_when_and_with_what_it_was_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The JSON has it, and README.md shows it."""

    def report(figures: dict[str, float]) -> Report:
        goals = [Goal("answer", figures["answer"], 42, why="x"), Goal("missed", 2, 1, why="of the weather")]
        return Report(goals, [Table(("a",), [(figures["answer"],)])])

    counted = Scenario("A title", "A method", lambda quick, _: {"answer": 41 if quick else 43}, report)
    monkeypatch.setattr("benchmarks.__main__.scenario", lambda _: counted)
    monkeypatch.setattr("benchmarks.render.scenario", lambda _: counted)
    measure("balance", tmp_path, quick=True)
    saved = json.loads((tmp_path / "results" / "balance.json").read_text())
    assert saved["answer"] == 41
    assert {"date", "commit", "clean", "cpu", "cpu_flags", "cpus", "kernel", "python", "seconds"} <= set(
        saved
    )
    assert saved["packages"]["grpcio"]
    assert 0 <= saved["cpus_taken_by_others"] <= 1
    text = render.write(tmp_path).read_text()
    assert f"| [balance](#balance) | answer | ≤ 42.00 | 41.00 | met | {saved['commit']} |" in text
    assert "| missed | ≤ 1.00 | 2.00 | **not met**: of the weather |" in text
    assert saved["cpu"] in text


@pytest.mark.parametrize(
    ("goal", "met"),
    [
        (Goal("p99", 1.10, 1.10), True),
        (Goal("p99", 1.11, 1.10), False),
        (Goal("throughput", 0.97, 0.97, at_least=True), True),
        (Goal("throughput", 0.96, 0.97, at_least=True), False),
    ],
)
def test_a_goal_is_met_at_its_limit_and_not_beyond(goal: Goal, met: bool) -> None:
    """Whether the limit is the most or the least."""
    assert goal.met is met


def test_a_missed_goal_stands_out() -> None:
    """In bold, with figure and limit."""
    assert render.goal_line(Goal("p99", 2, 1, unit="ms")) == "p99: 2.00 ms (goal ≤ 1.00 ms): **not met**"


def test_percentile_is_a_value_that_the_share_does_not_exceed() -> None:
    """No value is made up between two that were measured."""
    values = list(range(100, 0, -1))
    assert [percentile(values, share) for share in (0.0, 0.5, 0.99, 1.0)] == [1, 50, 99, 100]
    assert describe([0.001, 0.003])["max_ms"] == 3.0


def test_ideal_queue_serves_in_order_and_leaves_nobody_idle() -> None:
    """Cases worked out by hand."""
    assert central_queue([0, 0, 0, 5], [2, 1, 1, 1], 2) == [2, 1, 2, 1]
    assert central_queue([0, 0, 0], [1, 1, 1], 1) == [1, 2, 3]


def test_ideal_queue_of_one_server_waits_as_theory_says() -> None:
    """M/M/1 at half load: twice the mean service time."""
    requests = poisson(0.5, 200_000, 1, lambda rng: rng.expovariate(1), seed=1)
    latencies = central_queue([r.at for r in requests], [r.sleep or 0 for r in requests], 1)
    assert describe(latencies)["mean_ms"] == pytest.approx(2000, rel=0.05)


def test_arrivals_are_the_same_for_the_same_seed_and_spread_over_channels() -> None:
    """So that all that is compared meets the same load."""
    first, again, other = (poisson(100, 5000, 8, random.Random.random, seed) for seed in (1, 1, 2))
    assert first == again != other
    assert first[-1].at == pytest.approx(50, rel=0.1)
    assert {request.channel for request in first} == set(range(8))
