"""The shares of the machine's matrix product that the figures of roofline stand for."""

from collections.abc import Callable, Sequence
from statistics import median
from typing import Any

from benchmarks.contenders import GEMM
from benchmarks.registry import Figures
from benchmarks.staged import STAGES

NAMES = {"proposal": "P-Net", "refinement": "R-Net", "output": "O-Net"}


def reached(figures: Figures, name: str) -> dict[str, Any]:
    """What the figures of roofline say of one instruction set: medians over the rounds.

    Every share is of the matrix product of the same round.
    """
    done = figures["work"][name]
    gflop: dict[str, float] = done["gflop"]
    layers: list[dict[str, Any]] = done.get("layers", [])  # figures of an earlier form have none
    rounds = [(run["gflops"], run["detections"][name]) for run in figures["runs"]]

    def over_rounds(of_round: Callable[[dict[str, float], dict[str, Any]], float]) -> float:
        return median(of_round(*one) for one in rounds)

    def whole(gemm: str) -> float:
        return over_rounds(lambda rates, took: sum(gflop.values()) / took["whole_ms"] * 1000 / rates[gemm])

    def engine(stages: Sequence[str]) -> float:
        counted = sum(gflop[stage] for stage in stages)
        return over_rounds(
            lambda rates, took: (
                counted / sum(took["stages_ms"][stage] for stage in stages) * 1000 / rates[GEMM]
            )
        )

    def of_stage(stage: str) -> dict[str, Any]:
        return {
            "stage": stage,
            "name": NAMES[stage],
            "gflop": f"{gflop[stage]:.3f}",
            "ms": over_rounds(lambda _, took: took["stages_ms"][stage]),
            "floor_ms": f"{over_rounds(lambda rates, _: gflop[stage] / rates[GEMM] * 1000):.2f}",
            "sampling_ms": f"{over_rounds(lambda _, took: took['sampling_ms'][stage]):.2f}",
            "share": engine([stage]),
            "multiplied": _multiplied([layer for layer in layers if layer["stage"] == stage]),
        }

    own = f"gemm {name.partition(' ')[2]}"
    return {
        "name": name,
        "done": done,
        "whole": whole(GEMM),
        "own": percent(whole(own)) if own in rounds[0][0] else "",
        "engine": engine(STAGES),
        "multiplied": _multiplied(layers),
        "whole_ms": over_rounds(lambda _, took: took["whole_ms"]),
        "pipeline_ms": over_rounds(lambda _, took: took["whole_ms"] - sum(took["stages_ms"].values())),
        "stages": [of_stage(stage) for stage in STAGES],
    }


def _multiplied(layers: Sequence[dict[str, Any]]) -> str:
    """The multiplications of some layers as a share of the work's."""
    work_of_them = sum(layer["work"] for layer in layers)
    return percent(sum(layer["multiplications"] for layer in layers) / work_of_them) if work_of_them else ""


def percent(share: float) -> str:
    """With one decimal."""
    return f"{share * 100:.1f} %"
