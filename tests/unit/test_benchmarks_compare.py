"""The comparison of two builds: which numbers stand beside each other, and whose servers are started."""

from pathlib import Path
from typing import Any

from benchmarks import servers
from benchmarks.compare import compared, numbers
from benchmarks.processes import TREE


def figures(p99: float, failed: int = 0) -> dict[str, Any]:
    """Of one round."""
    run = {"service": "facet", "bytes": 1000, "latency": {"p99_ms": p99}, "failed": failed}
    other = {**run, "service": "plain", "latency": {"p99_ms": 1}, "failed": 0}
    return {"parameters": {"workers": 4}, "runs": [run, other]}


def test_a_number_is_named_by_its_place_and_by_its_run() -> None:
    """So that the runs of a scenario are not mixed up."""
    assert dict(numbers(figures(5.0)))["runs service=facet bytes=1000 latency p99_ms"] == 5.0
    assert list(numbers({"per_second": [1, 2]})) == [("per_second 1", 1), ("per_second 2", 2)]


def test_ratios_are_of_the_same_round_and_what_never_differs_is_left_out() -> None:
    """A machine that is slow in one round is so for all builds."""
    found = {
        "a": [figures(10), figures(100), figures(10)],
        "b": [figures(20), figures(200), figures(30)],
        "control": [figures(10), figures(100), figures(11)],
    }
    [row] = compared(found)
    assert row["number"] == "runs service=facet bytes=1000 latency p99_ms"
    assert (row["a"], row["b"], row["control"]) == (10, 30, 11)
    assert row["ratios"] == {"b": 2, "control": 1}


def test_there_is_no_ratio_to_nothing() -> None:
    """Failures of one build alone."""
    [row] = compared({"a": [figures(1)], "b": [figures(1, failed=3)], "control": [figures(1)]})
    assert (row["a"], row["b"], row["ratios"]["b"]) == (0, 3, None)


def test_servers_are_those_of_the_checkout_that_is_measured(tmp_path: Path) -> None:
    """They run in its folder, so that their modules are its own."""
    (tmp_path / "whose.py").write_text(
        "import json, os; print(json.dumps({'message': 'ready', 'folder': os.getcwd()}))"
    )
    token = TREE.set(tmp_path)
    try:
        with servers.module("whose") as process:
            assert process.wait_for("ready")["folder"] == str(tmp_path)
    finally:
        TREE.reset(token)
