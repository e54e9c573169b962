"""Two builds in one run: this checkout (A), another one (B), and this one again as a control (A').

Each round measures a scenario once with each build, in the opposite order of the round before. As far as
A' / A is from 1, a difference is noise: B / A says something only where it is farther.

A number of a scenario is known by its place in the figures, and by what names the run that it belongs to.
"""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks import machine, render
from benchmarks.processes import TREE, compiled_engine
from benchmarks.registry import Column, Figures, Table, scenario, table
from tests.support.processes import ROOT

FOLDER = ROOT / ".cache" / "comparisons"
BUILDS = ("a", "b", "control")

# What tells the runs of a scenario apart.
_NAMES = (
    "service",
    "load",
    "timeout_s",
    "bytes",
    "engine",
    "endpoint",
    "clients",
    "picture",
    "min_face_size",
    "cell",
    "stage",
)
# Percentiles, most of which stand elsewhere, too.
_LEFT_OUT = ("curve_ms", "ideal_curve_ms", "shares")


def compare(other: Path, names: Sequence[str], rounds: int | None, *, quick: bool) -> None:
    """Measure the scenarios with each build in turn; print and keep what came of it.

    Args:
        other: The root of the other checkout.
        names: Of scenarios.
        rounds: How often each build is measured; by default as often as the scenario repeats itself.
        quick: With fewer requests.
    """
    trees = {"a": ROOT, "b": other, "control": ROOT}
    engines = {build: compiled_engine(tree) or "none" for build, tree in trees.items() if build != "control"}
    where = {
        "machine": machine.describe(),
        "other": {"tree": str(other), **machine.build(other)},
        "compiled_engines": engines,
    }
    print(f"The compiled engine of A: {engines['a']}, of B: {engines['b']}")
    for name in names:
        told, found = scenario(name), {build: list[Figures]() for build in BUILDS}
        count = rounds or (1 if quick else told.repeats)
        for number in range(count):
            for build in BUILDS[:: -1 if number % 2 else 1]:
                print(f"\n=== {name}: {build}, round {number + 1} of {count}", flush=True)
                found[build].append(measured(name, trees[build], quick=quick))
        ratios = compared(found)
        path = FOLDER / f"{name}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        result = {**where, "quick": quick, "numbers": ratios, "figures": found}
        path.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n")
        print(f"\n{render.table(shown(ratios))}\nWritten: {path}", flush=True)


def measured(name: str, tree: Path, *, quick: bool) -> Figures:
    """What a scenario finds once with the servers of a checkout, and what its goals are about."""
    token, told = TREE.set(tree), scenario(name)
    try:
        figures = told.run(quick, 1)
    finally:
        TREE.reset(token)
    goals = told.report({**machine.describe(), **figures}).goals
    return {"goals": {goal.what: goal.figure for goal in goals}, **figures}


def compared(found: dict[str, list[Figures]]) -> list[dict[str, Any]]:
    """Medians over the rounds of each number by build, and of its ratios within a round.

    A number that every build has in every round, such as a parameter, is left out.
    """
    rounds = {
        build: [dict(numbers(figures)) for figures in all_rounds] for build, all_rounds in found.items()
    }
    rows = []
    for name in rounds["a"][0]:
        values = {build: [one[name] for one in each if name in one] for build, each in rounds.items()}
        complete = all(len(each) == len(rounds["a"]) for each in values.values())
        if complete and len({value for each in values.values() for value in each}) > 1:
            medians = {build: median(each) for build, each in values.items()}
            ratios = {build: _ratio(values[build], values["a"]) for build in BUILDS[1:]}
            rows.append({"number": name, **medians, "ratios": ratios})
    return rows


def numbers(figures: Any, place: tuple[str, ...] = ()) -> Iterator[tuple[str, float]]:  # noqa: ANN401 - JSON
    """All numbers of some figures, by their names."""
    if isinstance(figures, dict):
        names = tuple(f"{name}={_text(figures[name])}" for name in _NAMES if name in figures)
        for key, value in figures.items():
            if key not in (*_NAMES, *_LEFT_OUT):
                yield from numbers(value, (*place, *names, key))
    elif isinstance(figures, list | tuple):
        for number, value in enumerate(figures, 1):
            own = () if isinstance(value, dict) else (str(number),)
            yield from numbers(value, (*place, *own))
    elif isinstance(figures, int | float) and not isinstance(figures, bool):
        yield " ".join(place), figures


def _text(value: object) -> str:
    return " ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def shown(rows: Sequence[dict[str, Any]]) -> Table:
    """The numbers of all builds beside each other."""
    columns: dict[str, Column] = {
        "number": "number",
        "A": ("a", ".4g"),
        "B": ("b", ".4g"),
        "A'": ("control", ".4g"),
        "B / A": lambda row: _times(row["ratios"]["b"]),
        "A' / A": lambda row: _times(row["ratios"]["control"]),
    }
    return table(rows, columns)


def _ratio(values: Sequence[float], others: Sequence[float]) -> float | None:
    """The median of the ratios round by round; none where a divisor is 0."""
    return median(one / other for one, other in zip(values, others, strict=True)) if all(others) else None


def _times(ratio: float | None) -> str:
    return "" if ratio is None else f"{ratio:.3f}"
