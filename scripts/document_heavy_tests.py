"""Write docs/heavy-tests.md from tests/heavy/results. With --check, only say whether it is fresh."""

import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "heavy-tests.md"
RESULTS = ROOT / "tests" / "heavy" / "results"

HEAD = """# Heavy tests

What takes minutes, or a machine that it can change, is tried by hand:

    make test-heavy                 # all of it
    make test-heavy NAME="image"    # a part, by the name of its file in tests/heavy

It has to be root on Debian, and says which packages it lacks. It writes what it found into
`tests/heavy/results`, and this page from that: what ran, when, where, and how it ended. A part that was not
run again keeps what was found before.
"""


def page(results: dict[str, dict[str, Any]]) -> str:
    """The page's text, of results by their names."""
    return HEAD + "".join(_part(name, found) for name, found in sorted(results.items()))


def _part(name: str, found: dict[str, Any]) -> str:
    return (
        f"\n## {found['title'].rstrip('.')}\n\n{_where(found)}\n\n"
        + _table("what was measured", found.get("figures", {}))
        + f"| rule of `tests/heavy/test_{name}.py` | outcome |\n|---|---|\n"
        + "".join(f"| {_cell(rule)} | {outcome} |\n" for rule, outcome in _outcomes(found).items())
    )


def _outcomes(found: dict[str, Any]) -> dict[str, str]:
    """The outcome of each rule; of one that several tests have, how many had which."""
    counts: dict[str, Counter[str]] = {}
    for test in found["tests"].values():
        counts.setdefault(test["rule"], Counter())[test["outcome"]] += 1
    return {rule: _counted(outcomes) for rule, outcomes in counts.items()}


def _counted(outcomes: Counter[str]) -> str:
    if outcomes.total() == 1:
        return next(iter(outcomes))
    return ", ".join(f"{count} {outcome}" for outcome, count in sorted(outcomes.items()))


def _where(found: dict[str, Any]) -> str:
    """When, with what and on what it was tried, and how many tests had which outcome."""
    machine = found["machine"]
    outcomes = Counter(test["outcome"] for test in found["tests"].values())
    counted = _counted(outcomes)
    programs = "".join(f", {name} {version}" for name, version in found.get("versions", {}).items())
    changed = "" if machine["clean"] else " with changes"
    load = f", {machine['load']} processes at work" if "load" in machine else ""
    return (
        f"{machine['date']}, commit {machine['commit']}{changed}: **{counted}**. {machine['cpus']} CPUs "
        f"({machine['cpu']}){load}, {machine['memory_gib']} GiB, Linux {machine['kernel']}, "
        f"Python {machine['python']}{programs}."
    )


def _table(title: str, rows: dict[str, str]) -> str:
    if not rows:
        return ""
    lines = (f"| {_cell(name)} | {_cell(value)} |\n" for name, value in rows.items())
    return f"| {title} | |\n|---|---|\n{''.join(lines)}\n"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def main() -> int:
    """Write or compare; gives the exit status."""
    text = page({path.stem: json.loads(path.read_text()) for path in RESULTS.glob("*.json")})
    if "--check" not in sys.argv[1:]:
        PAGE.write_text(text)
    elif PAGE.read_text() != text:
        print("docs/heavy-tests.md is stale. Run `make docs` and commit the result.")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
