"""The comparison of two builds: which numbers stand beside each other, and whose servers are started."""

from pathlib import Path
from typing import Any

from benchmarks import servers
from benchmarks.compare import compared, numbers
from benchmarks.processes import COMPILED, TREE, compiled_engine, started


def figures(p99: float, failed: int = 0) -> dict[str, Any]:
    """Of one round."""
    run = {"service": "facet", "bytes": 1000, "latency": {"p99_ms": p99}, "failed": failed}
    other = {**run, "service": "plain", "latency": {"p99_ms": 1}, "failed": 0}
    return {"parameters": {"workers": 4}, "runs": [run, other]}


def test_a_number_is_named_by_its_place_and_by_its_run() -> None:
    """So that the runs of a scenario are not mixed up."""
    assert dict(numbers(figures(5.0)))["runs service=facet bytes=1000 latency p99_ms"] == 5.0
    assert list(numbers({"per_second": [1, 2]})) == [("per_second 1", 1), ("per_second 2", 2)]


def test_pictures_and_stages_of_detectors_are_not_mixed_up() -> None:
    """Each has a number of its own."""
    cells = [{"cell": ("few", width, 240), "ms": width} for width in (320, 640)]
    stages = [{"stage": stage, "peak_mb": len(stage)} for stage in ("ready", "large one")]
    assert dict(numbers({"cells": cells, "native": stages})) == {
        "cells cell=few 320 240 ms": 320,
        "cells cell=few 640 240 ms": 640,
        "native stage=ready peak_mb": 5,
        "native stage=large one peak_mb": 9,
    }


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


WHOSE = """
import facet_native, json, os, sys
print(json.dumps({"message": "ready", "folder": os.getcwd(), "engine": facet_native.__file__}), flush=True)
"""


def test_servers_and_engine_are_those_of_the_checkout_that_is_measured(tmp_path: Path) -> None:
    """They run in its folder, so that modules are its own; so is the compiled engine, where it has one."""
    (tmp_path / "whose.py").write_text(WHOSE)
    engine = tmp_path / COMPILED / "facet_native.py"
    engine.parent.mkdir(parents=True)
    engine.write_text("")
    token = TREE.set(tmp_path)
    try:
        with servers.module("whose") as server:
            said = server.wait_for("ready")
    finally:
        TREE.reset(token)
    with started("whose", tree=tmp_path) as contender:
        assert contender.receive() == {key: said[key] for key in ("message", "folder", "engine")}
    assert (said["folder"], said["engine"]) == (str(tmp_path), str(engine))


def test_engines_are_told_apart_by_what_is_in_them(tmp_path: Path) -> None:
    """So that a comparison of one with itself is seen."""
    found = []
    for name, content in (("one", "first = 1"), ("two", "first = 2"), ("three", "first = 1")):
        folder = tmp_path / name / COMPILED
        folder.mkdir(parents=True)
        (folder / "facet_native.py").write_text(content)
        found.append(compiled_engine(tmp_path / name))
    assert found[0] == found[2] != found[1]
    (folder / "facet_native.py").write_text("raise ImportError")
    assert compiled_engine(tmp_path / "three") == ""
