"""Roofline: how much of the machine's own matrix product a detection reaches, stage by stage."""

from collections.abc import Callable, Sequence
from statistics import median
from typing import Any

from benchmarks import work
from benchmarks.arena import Arena, Cell, arena
from benchmarks.contenders import GEMM, GEMM_AVX2, GEMM_AVX512, GEMMS, NATIVE
from benchmarks.peers.gemm import SIDE
from benchmarks.progress import step
from benchmarks.registry import Bar, BarPlot, Column, Figures, Goal, Report, Scenario, Table, table
from benchmarks.staged import STAGES
from benchmarks.stats import milliseconds

CELL: Cell = ("many", 640, 480)
GOAL = 0.7
_BEST_OF = 5
_DETECTIONS = 5

METHOD = f"""
The networks' multiply-adds at {CELL[1]} x {CELL[2]} with many faces, counted from the shapes of their layers,
the levels of the pyramid, and the crops that R-Net and O-Net are really given (`benchmarks/work.py`; two
operations each). Divided by the time of a detection, from pixels to faces, and by the machine's own fp32
rate (`np.matmul`, {SIDE} x {SIDE}, one thread, best of {_BEST_OF}) they give the share that is
reached. Each round measures the matrix product and then {_DETECTIONS} detections with each instruction set,
so that both meet the same clock and the same neighbours; figures are medians over the rounds of a round's
median.

Only multiply-adds count. Pyramid, crops, activations, pools and everything between the networks take time
and add nothing, so 100 % is out of reach, and the tables say what each takes. *P-Net* is timed with the
pyramid, *R-Net* and *O-Net* with their crops; *pipeline* is what is left of the detection: boxes, sorting
and suppression. *Sampling* is the pyramid or the crops by themselves, written out to memory, so
the most that they take within their stage. *The engine alone* leaves the pipeline out.

The matrix product is OpenBLAS's, with the kernels that it takes for this CPU: the goal is judged by these.
Beside it are its kernels for AVX-512 and for AVX2, where the CPU runs them.
"""

_NAMES = {"proposal": "P-Net", "refinement": "R-Net", "output": "O-Net"}
_KERNELS = {GEMM: "that it chooses", GEMM_AVX512: "for AVX-512", GEMM_AVX2: "for AVX2"}
_SAMPLED = {"proposal": "the pyramid is", "refinement": "crops are", "output": "crops are"}
_BESIDES = {
    "proposal": "Its first convolution has three input channels, so that only 27 multiply-adds pay for a "
    "value's loads, activation and pool; and rows of small levels fill their last vectors in part.",
    "refinement": "Its first layer has three input channels, too, and 28 outputs in 32 lanes; maps of 9 and "
    "3 pixels a side leave registers idle at their edges.",
    "output": "Its layers have 32 outputs and more, so that lanes are full; it adds pools and edges.",
}


def run(_quick: bool, repeats: int) -> Figures:
    """Measure matrix products and detections in turn."""
    runs: list[dict[str, Any]] = []
    with arena([*NATIVE, *GEMMS]) as contenders:
        ours = [name for name in NATIVE if name in contenders.names]
        gemms = [name for name in GEMMS if name in contenders.names]
        seen = {name: contenders.ask(name, draw=CELL, stages=True) for name in ours}
        with step("roofline: matrix products and detections in turn", 6.0 * repeats):
            for _ in range(repeats):
                rates = {name: _rate(contenders, name) for name in gemms}
                detections = {name: _detections(contenders, name) for name in ours}
                runs.append({"gflops": rates, "detections": detections})
    done = {
        name: {
            "candidates": answer["candidates"],
            "levels": len(answer["levels"]),
            "gflop": work.gflop(answer["levels"], answer["candidates"]),
        }
        for name, answer in seen.items()
    }
    return {"parameters": {"cell": CELL, "absent": contenders.absent}, "work": done, "runs": runs}


def _rate(contenders: Arena, name: str) -> float:
    """GFLOP/s of the best of some matrix products."""
    seconds: float = min(contenders.ask(name, draw=CELL)["seconds"] for _ in range(_BEST_OF))
    return round(2 * SIDE**3 / seconds / 1e9, 2)


def _detections(contenders: Arena, name: str) -> dict[str, Any]:
    """Milliseconds of some detections, whole and by stage: medians."""
    answers = [contenders.ask(name, draw=CELL, stages=True) for _ in range(_DETECTIONS)]
    return {
        "whole_ms": milliseconds(median(answer["seconds"] for answer in answers)),
        **{
            f"{what}_ms": {
                stage: milliseconds(median(answer[what][stage] for answer in answers)) for stage in STAGES
            }
            for what in ("stages", "sampling")
        },
    }


def _reached(figures: Figures, name: str) -> dict[str, Any]:
    """What the figures say of one instruction set: medians over the rounds.

    Every share is of the matrix product of the same round.
    """
    done = figures["work"][name]
    gflop: dict[str, float] = done["gflop"]
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
            "name": _NAMES[stage],
            "gflop": f"{gflop[stage]:.3f}",
            "ms": over_rounds(lambda _, took: took["stages_ms"][stage]),
            "floor_ms": f"{over_rounds(lambda rates, _: gflop[stage] / rates[GEMM] * 1000):.2f}",
            "sampling_ms": f"{over_rounds(lambda _, took: took['sampling_ms'][stage]):.2f}",
            "share": engine([stage]),
        }

    own = f"gemm {name.partition(' ')[2]}"
    return {
        "name": name,
        "done": done,
        "whole": whole(GEMM),
        "own": _percent(whole(own)) if own in rounds[0][0] else "",
        "engine": engine(STAGES),
        "whole_ms": over_rounds(lambda _, took: took["whole_ms"]),
        "pipeline_ms": over_rounds(lambda _, took: took["whole_ms"] - sum(took["stages_ms"].values())),
        "stages": [of_stage(stage) for stage in STAGES],
    }


def report(figures: Figures) -> Report:
    """Shares of the matrix product, and what each stage takes beyond its floor."""
    reached = [_reached(figures, name) for name in figures["work"]]
    if not reached:
        return Report([], [], note="The native engine was not there, so nothing was measured.")
    best, where = reached[0], f"{CELL[1]} x {CELL[2]}, {CELL[0]} faces"
    return Report(
        goals=[
            Goal(
                f"whole detection, {where}, share of fp32 GEMM ({best['name']})",
                best["whole"],
                GOAL,
                True,
                "%",
            )
        ],
        tables=[_rates(figures), _summary(reached), *map(_stages, reached)],
        plots={"roofline": _plot(reached)},
        note=_note(best),
    )


def _rates(figures: Figures) -> Table:
    runs = figures["runs"]
    rates = {_KERNELS[name]: [run["gflops"][name] for run in runs] for name in runs[0]["gflops"]}
    rows: list[tuple[object, ...]] = [
        (name, f"{median(rate):.1f}", f"{min(rate):.1f} to {max(rate):.1f}") for name, rate in rates.items()
    ]
    return Table(("OpenBLAS's kernels", "GFLOP/s, median of the rounds", "all rounds"), rows)


def _summary(reached: Sequence[dict[str, Any]]) -> Table:
    columns: dict[str, Column] = {
        "engine": "name",
        "ms": ("whole_ms", ".2f"),
        "whole detection": lambda one: _percent(one["whole"]),
        "the engine alone": lambda one: _percent(one["engine"]),
        "whole, of GEMM with the same instructions": "own",
    }
    return table(reached, columns, "Shares of GEMM:")


def _stages(one: dict[str, Any]) -> Table:
    columns: dict[str, Column] = {
        "stage": "name",
        "GFLOP": "gflop",
        "ms": ("ms", ".2f"),
        "ms at GEMM's rate": "floor_ms",
        "sampling, ms at most": "sampling_ms",
        "share": lambda stage: _percent(stage["share"]),
    }
    crops = one["done"]["candidates"]
    caption = (
        f"*{one['name']}*: {one['done']['levels']} levels, {crops['refinement']} crops for R-Net, "
        f"{crops['output']} for O-Net."
    )
    found = table(one["stages"], columns, caption)
    found.rows.append(("pipeline", "", f"{one['pipeline_ms']:.2f}", "", "", ""))
    return found


def _plot(reached: Sequence[dict[str, Any]]) -> BarPlot:
    bars = [
        Bar(f"{one['name']}, {what}", round(share * 100, 1), one["name"])
        for one in reached
        for what, share in [
            *((stage["name"], stage["share"]) for stage in one["stages"]),
            ("engine alone", one["engine"]),
            ("whole detection", one["whole"]),
        ]
    ]
    title = "Share of the machine's fp32 matrix product"
    return BarPlot(title, "% of GEMM's rate", bars, ("goal", GOAL * 100))


def _note(best: dict[str, Any]) -> str:
    """What each stage takes, its floor, and what it does besides multiplying."""
    stages = [
        f"- {one['name']}: {one['ms']:.2f} ms against {one['floor_ms']}; {_SAMPLED[one['stage']]} at most "
        f"{one['sampling_ms']} of it. {_BESIDES[one['stage']]}"
        for one in best["stages"]
    ]
    pipeline = (
        f"- The pipeline: {best['pipeline_ms']:.2f} ms, {best['pipeline_ms'] / best['whole_ms']:.0%} of the "
        "detection, with nothing to count: boxes, sorting and suppression. Most of it is NumPy, whose calls "
        "cost some microseconds each, however few boxes there are."
    )
    head = f"What {best['name']} takes, against the time of its multiply-adds at GEMM's rate:\n"
    return "\n".join([head, *stages, pipeline])


def _percent(share: float) -> str:
    return f"{share * 100:.1f} %"


SCENARIO = Scenario(
    "How much of the machine's own matrix product a detection reaches", METHOD, run, report, repeats=10
)
