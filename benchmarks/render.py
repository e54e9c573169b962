"""README.md and plots, from the figures alone: the same JSON gives the same bytes."""

import re
from pathlib import Path
from typing import Any

from benchmarks import results
from benchmarks.registry import Goal, Plot, Report, Table, scenario

_INTRODUCTION = """\
# Benchmarks

What Facet promises in numbers, and what was measured. Everything below is rendered from `results/*.json`
by `python -m benchmarks --render`; nothing in it was typed.

    make bench                          every scenario
    make bench NAME="balance tail"      some of them
    make bench NAME=accuracy FACES_DIR=/photographs/WIDER
    python -m benchmarks tail --quick   in seconds, into .cache/benchmarks: shows that it works, no figures
    python -m benchmarks hop tail --against ../other    two builds in one run

*engine*, *roofline* and *accuracy* measure detectors, each in a process of its own and on one thread: what
is compared is computing. *memory* and *start* measure the backend's processes, and the others its service:
what a request meets on its way. *accuracy* needs labelled photographs, which the project may not ship.

Facet and what it is compared with run in turn in the same minutes on the same machine. Load is sent over
loopback by processes of their own. In an open loop each request has its time beforehand, and its latency
counts from that time even if the client or a full connection kept it from being sent (no coordinated
omission). The line below each scenario says what other programs took of the CPUs meanwhile, and by how
much scheduling preferred the run to them (a negative nice): the figures of a machine that was not quiet are
pessimistic, latencies most of all.

`--against TREE` compares this checkout (A) with another one (B), such as a `git worktree` of an earlier
commit. Each round measures a scenario once with A, once with B and once more with A as a control (A'), in
an order that turns round; `--rounds N` says how many rounds there are. It prints the medians of each
number, and of the ratios B / A and A' / A within a round: a difference that A' shows too is noise. All
figures go to `.cache/comparisons/NAME.json`, and nothing of them to this page. The servers of B run in its
folder, with its own `benchmarks/` and, where it has one, in its own `.venv`; else in that of A, the
compiled engine included. Clients are always those of A. Where a scenario offers a share of what it has
measured (*mixed*, *overload*), it does so for each build by that build's own capacity.

A compiled engine in `.cache/native` of B comes before that of either `.venv`; the comparison begins with
checksums of both engines. So this compares two of them without a second environment:

    git worktree add ../other COMMIT
    .venv/bin/python -m pip install --no-deps --target ../other/.cache/native ../other/native
    python -m benchmarks engine roofline memory start service --against ../other

Under *engine* the line `geometric_mean_ms native ...` then says how many times as long B takes over all
pictures, and the lines `cells cell=...` say so of each.
"""


def write(folder: Path) -> Path:
    """Write README.md and plots beside the results in this folder; gives the former's path."""
    path = folder / "README.md"
    path.write_text(readme(folder))
    for file, plot in plots(folder).items():
        from benchmarks.plots import draw  # noqa: PLC0415 - the tests render README.md without matplotlib

        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(draw(plot))
    return path


def readme(folder: Path) -> str:
    """README.md of the results of a folder."""
    found = results.load(folder)
    reports = {name: scenario(name).report(result) for name, result in found.items()}
    sections = [_INTRODUCTION, _goals(found, reports)]
    return "\n".join([*sections, *(_section(name, found[name], report) for name, report in reports.items())])


def plots(folder: Path) -> dict[Path, Plot]:
    """What the plots of the results of a folder show, by the paths of their files."""
    reports = [scenario(name).report(result) for name, result in results.load(folder).items()]
    return {
        folder / "plots" / f"{name}.svg": plot for report in reports for name, plot in report.plots.items()
    }


def goal_line(goal: Goal) -> str:
    """A goal in one line of text."""
    return f"{goal.what}: {_number(goal.figure, goal.unit)} (goal {_limit(goal)}): {_met(goal)}"


def table(content: Table) -> str:
    """A table in Markdown."""
    lines = [_row(content.head), _row("---" for _ in content.head), *map(_row, content.rows)]
    return "\n".join([*([content.caption, ""] if content.caption else []), *lines, ""])


def _goals(found: dict[str, dict[str, Any]], reports: dict[str, Report]) -> str:
    rows: list[tuple[object, ...]] = [
        (
            f"[{name}](#{name})",
            goal.what,
            _limit(goal),
            _number(goal.figure, goal.unit),
            _met(goal) if goal.met or not goal.why else f"{_met(goal)}: {goal.why}",
            found[name]["commit"],
        )
        for name, report in reports.items()
        for goal in report.goals
    ]
    head = ("scenario", "what", "goal", "measured", "", "at commit")
    return "## Goals\n\n" + table(Table(head, rows))


def _section(name: str, result: dict[str, Any], report: Report) -> str:
    told = scenario(name)
    parts = [f"## {name}", "", f"**{told.title}**", "", told.method.strip(), "", *map(table, report.tables)]
    parts += [f"![{_words(plot)}](plots/{plot}.svg)\n" for plot in report.plots]
    parts += [report.note.strip() + "\n"] if report.note else []
    return "\n".join([*parts, _origin(name, result), ""])


def _origin(name: str, result: dict[str, Any]) -> str:
    """Where, when and with what the figures of a scenario were measured."""
    packages = ", ".join(f"{package} {number}" for package, number in result["packages"].items())
    tree = "" if result["clean"] else " with changes that were not committed"
    flags = " ".join(result["cpu_flags"])
    quick = " `--quick`" if result["quick"] else ""
    return (
        f"<sub>`python -m benchmarks {name}`{quick}, {result['date']}, {result['seconds']} s, commit "
        f"{result['commit']}{tree}; {result['cpus']} x {result['cpu']} ({flags}), "
        f"{result['memory_gib']:g} GiB, Linux {result['kernel']}; Python "
        f"{result['python']}, {packages}; nice {result['nice']}, other programs took "
        f"{result['cpus_taken_by_others']:.0%} of the CPUs meanwhile.</sub>"
    )


def _limit(goal: Goal) -> str:
    return f"{'≥' if goal.at_least else '≤'} {_number(goal.limit, goal.unit)}"


def _met(goal: Goal) -> str:
    return "met" if goal.met else "**not met**"


def _number(value: float, unit: str) -> str:
    if unit == "%":
        return f"{value * 100:.1f} %"
    return f"{value:.2f}{unit}" if unit == "x" else f"{value:.2f} {unit}".strip()


def _row(cells: Any) -> str:  # noqa: ANN401 - whatever can be written
    return "| " + " | ".join(str(cell) for cell in cells) + " |"


def _words(name: str) -> str:
    return re.sub(r"[-_]", " ", name)
