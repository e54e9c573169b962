"""docs/heavy-tests.md: what the results say, failures included."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from scripts.document_heavy_tests import PAGE, RESULTS, page
from tests.support.processes import ROOT

FOUND: dict[str, Any] = {
    "title": "The image.",
    "machine": {
        "date": "2026-01-02 03:04 UTC",
        "commit": "abcdef0",
        "clean": False,
        "cpu": "a CPU",
        "cpus": 2,
        "load": 3,
        "memory_gib": 4.0,
        "kernel": "6.1",
        "python": "3.11.2",
    },
    "versions": {"podman": "4.3.1"},
    "figures": {"size": "400 MB"},
    "tests": {
        "test_a": {"rule": "A rule. Of it.", "outcome": "passed", "seconds": 1.0},
        "test_b": {"rule": "A | rule.", "outcome": "failed", "seconds": 1.0},
        "test_c[1]": {"rule": "Of many.", "outcome": "passed", "seconds": 1.0},
        "test_c[2]": {"rule": "Of many.", "outcome": "passed", "seconds": 1.0},
        "test_c[3]": {"rule": "Of many.", "outcome": "skipped", "seconds": 1.0},
    },
}
"""Results as tests/heavy/conftest.py writes them."""

TRIAL = '''
"""Of a trial."""

import pytest


def test_one_rule(figure, version):
    """Said again."""
    figure("size", "3 MB")
    version("podman", "4")


def test_other(): ...
'''


def test_the_page_says_when_where_and_with_what_outcome() -> None:
    """Of each test, and what was measured."""
    told = page({"image": FOUND})
    assert "\n## The image\n" in told
    assert "2026-01-02 03:04 UTC, commit abcdef0 with changes: **1 failed, 3 passed, 1 skipped**." in told
    assert "2 CPUs (a CPU), 3 processes at work, 4.0 GiB, Linux 6.1, Python 3.11.2, podman 4.3.1." in told
    lines = {"| size | 400 MB |", "| A rule. Of it. | passed |", "| A \\| rule. | failed |"}
    assert lines | {"| Of many. | 2 passed, 1 skipped |"} <= {*told.splitlines()}


def test_the_page_is_that_of_the_results() -> None:
    """As they are committed."""
    results = {path.stem: json.loads(path.read_text()) for path in RESULTS.glob("*.json")}
    assert PAGE.read_text() == page(results)


def run(folder: Path, *arguments: str) -> Path:
    """Run a trial of two heavy tests; gives the file of its results."""
    heavy = folder / "tests" / "heavy"
    heavy.mkdir(parents=True, exist_ok=True)
    (heavy / "conftest.py").write_bytes((ROOT / "tests" / "heavy" / "conftest.py").read_bytes())
    (heavy / "test_trial.py").write_text(TRIAL)
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-o", f"pythonpath={ROOT}"]
    subprocess.run([*command, heavy, *arguments], cwd=folder, check=True, capture_output=True, timeout=60)
    return heavy / "results" / "trial.json"


def test_results_are_written_of_a_whole_module_where_that_is_asked_for(tmp_path: Path) -> None:
    """With the rule of each test, and what the tests noted."""
    assert not run(tmp_path).exists()
    assert not run(tmp_path, "--write-results", "-k", "other").exists()
    found = json.loads(run(tmp_path, "--write-results").read_text())
    assert found["title"] == "Of a trial."
    assert (found["figures"], found["versions"]) == ({"size": "3 MB"}, {"podman": "4"})
    assert {name: test["outcome"] for name, test in found["tests"].items()} == {
        "test_one_rule": "passed",
        "test_other": "passed",
    }
    assert found["tests"]["test_one_rule"]["rule"] == "One rule. Said again."
