"""What the figures of engine, roofline, memory and accuracy are read as."""

from typing import Any

import pytest

from benchmarks.contenders import GEMM, GEMM_AVX2, PACKAGE
from benchmarks.peers.gemm import SIDE
from benchmarks.scenarios import accuracy, engine, memory, roofline

# A matrix product of 100 GFLOP/s.
_GEMM_MS = 2 * SIDE**3 / 100e6
_SLOWER = "native avx2"
_BEST = "native avx512"


def _took(milliseconds: float) -> dict[str, Any]:
    return {"ms": milliseconds, "best_ms": milliseconds, "cpus": 1.0, "faces": 1}


def _engine_figures(cpu: str) -> dict[str, Any]:
    """Two pictures of 7 and 14 GFLOP: 100 and 200 ms at 70 % of GEMM."""
    times = {
        PACKAGE: 800.0,
        "onnx": 200.0,
        _BEST: 50.0,
        _SLOWER: 100.0,
        GEMM: _GEMM_MS,
        GEMM_AVX2: 2 * _GEMM_MS,
    }
    cells = [
        {
            "cell": ["few", 640, 480],
            "gflop": gflop,
            "contenders": {name: _took(ms) for name, ms in times.items()},
        }
        for gflop in (7.0, 14.0)
    ]
    versions = dict.fromkeys(times, "1")
    asked = {
        "cpu": cpu,
        "cpu_flags": ["avx2", "avx512f"],
        "versions": versions,
        "absent": {"YuNet": "no model"},
    }
    return {"parameters": asked, "cells": cells}


def test_on_a_xeon_the_native_engine_is_judged_by_what_its_prototype_reached() -> None:
    """14 with AVX-512, 9 with AVX2, whatever the matrix product does."""
    goals = engine.report(_engine_figures("Intel(R) Xeon(R) Processor")).goals
    assert [goal.limit for goal in goals] == [2.0, 14.0, 9.0]
    assert [goal.figure for goal in goals] == pytest.approx([4.0, 16.0, 8.0])


def test_on_another_cpu_it_is_judged_by_what_a_share_of_gemm_gives_there() -> None:
    """Worked out by hand: 8 and 4 times; half of it where the matrix product takes twice as long."""
    _, best, slower = engine.report(_engine_figures("AMD EPYC")).goals
    assert best.limit == pytest.approx(32**0.5)
    assert slower.limit == pytest.approx(32**0.5 / 2)
    assert "AMD EPYC" in best.what


def test_builds_are_compared_by_the_geometric_mean_of_a_contenders_times() -> None:
    """A picture that takes twice as long weighs as much as one that takes half."""
    cells = [{"contenders": {_BEST: _took(milliseconds)}} for milliseconds in (10.0, 40.0)]
    assert engine._mean_times(cells) == {_BEST: 20.0}


def test_who_was_left_out_stands_in_the_report() -> None:
    """With the reason."""
    assert "YuNet was left out: no model." in engine.report(_engine_figures("AMD EPYC")).note


def _roofline_figures() -> dict[str, Any]:
    """P-Net at half of GEMM, R-Net at twice it, O-Net at a quarter, and as long again in the pipeline."""
    stages = {"proposal": 20.0, "refinement": 5.0, "output": 40.0}
    detection = {"whole_ms": 130.0, "stages_ms": stages, "sampling_ms": dict.fromkeys(stages, 1.0)}
    run = {"gflops": {GEMM: 100.0, GEMM_AVX2: 50.0}, "detections": {_SLOWER: detection}}
    layers = [
        {"stage": "proposal", "layer": "3 x 3, 3 to 10", "tile": 1, "work": 600, "multiplications": 600},
        {
            "stage": "refinement",
            "layer": "3 x 3, 28 to 48",
            "tile": 3,
            "work": 900,
            "multiplications": 300,
        },
    ]
    done = {
        "candidates": {"refinement": 1, "output": 1},
        "levels": 1,
        "gflop": dict.fromkeys(stages, 1.0),
        "layers": layers,
    }
    return {"parameters": {"absent": {}}, "cpu": "AMD EPYC", "work": {_SLOWER: done}, "runs": [run, run]}


def test_a_share_is_the_counted_work_over_time_and_gemm() -> None:
    """The whole detection is what the goal is about; the engine alone stands beside it."""
    report = roofline.report(_roofline_figures())
    assert report.goals[0].figure == pytest.approx(3 / 13)
    _rates, summary, stages, _layers = report.tables
    assert summary.rows == [(_SLOWER, "130.00", "23.1 %", "46.2 %", "46.2 %", "60.0 %")]
    assert [row[5] for row in stages.rows] == ["50.0 %", "200.0 %", "25.0 %", ""]
    assert stages.rows[-1][2] == "65.00"


def test_multiplications_stand_beside_the_work_and_change_no_share() -> None:
    """By stage and by layer, with the algorithm; older figures have none."""
    figures = _roofline_figures()
    report = roofline.report(figures)
    assert [row[-1] for row in report.tables[2].rows] == ["100.0 %", "33.3 %", "", ""]
    assert [row[2] for row in report.tables[3].rows] == ["direct, 100.0 %", "F(3 x 3), 33.3 %"]
    del figures["work"][_SLOWER]["layers"]
    older = roofline.report(figures)
    assert older.goals == report.goals
    assert len(older.tables) == 3


def test_both_vector_instruction_sets_have_a_goal_that_names_the_machine() -> None:
    """The best one here and AVX2 are to do more work than GEMM; the base is not judged."""
    figures = _roofline_figures()
    for name in (_BEST, _SLOWER, "native base"):
        figures["work"] = {**figures["work"], name: figures["work"][_SLOWER]}
        for run in figures["runs"]:
            run["detections"][name] = run["detections"][_SLOWER]
    figures["work"] = dict(sorted(figures["work"].items(), key=lambda item: item[0] != _BEST))
    goals = roofline.report(figures).goals
    assert [goal.limit for goal in goals] == [1.05, 1.05]
    assert [name in goal.what for name, goal in zip((_BEST, _SLOWER), goals, strict=True)] == [True, True]
    assert all("AMD EPYC" in goal.what for goal in goals)


def test_without_the_native_engine_a_share_is_not_claimed() -> None:
    """There is no goal then, and the report says why."""
    report = roofline.report({"parameters": {"absent": {}}, "work": {}, "runs": []})
    assert not report.goals
    assert report.note


def test_memory_is_judged_by_the_larger_worker() -> None:
    """After pictures of many sizes, and after a large one."""
    stages = [("ready", 40), ("sizes", 90), ("large", 230), ("small", 100)]
    found = [{"stage": stage, "pss_mb": [10.0, float(most)], "peak_mb": 300.0} for stage, most in stages]
    sizes = {"native": {"first_ms": 10.0, "again_ms": 10.0, "ratio": 1.05}}
    figures = {"parameters": {"sizes": 100}, "runs": {"native": found}, "new_sizes": sizes}
    assert [(goal.figure, goal.met) for goal in memory.report(figures).goals] == [
        (90, True),
        (230, False),
        (1.05, True),
    ]


def test_accuracy_without_photographs_says_so() -> None:
    """And how to name some."""
    report = accuracy.report({"parameters": {"versions": {}, "absent": {}}, "sets": []})
    assert "FACES_DIR" in report.note
