"""Roofline: how much of the machine's own matrix product a detection reaches, stage by stage."""

from collections.abc import Callable, Sequence
from statistics import median
from typing import Any

from benchmarks import work
from benchmarks.arena import Answer, Arena, Cell, arena
from benchmarks.contenders import GEMM, GEMM_AVX2, GEMM_AVX512, GEMMS, NATIVE
from benchmarks.peers.gemm import SIDE
from benchmarks.progress import step
from benchmarks.registry import Bar, BarPlot, Figures, Goal, Report, Scenario, Table
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
        name: {"candidates": answer["candidates"], "levels": len(answer["levels"]), "gflop": _gflop(answer)}
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
        "stages_ms": _by_stage(lambda stage: [answer["stages"][stage] for answer in answers]),
        "sampling_ms": _by_stage(lambda stage: [answer["sampling"][stage] for answer in answers]),
    }


def _by_stage(seconds: Callable[[str], list[float]]) -> dict[str, float]:
    return {stage: milliseconds(median(seconds(stage))) for stage in STAGES}


def _gflop(answer: Answer) -> dict[str, float]:
    counted = work.by_stage(answer["levels"], answer["candidates"])
    return {stage: 2 * count / 1e9 for stage, count in counted.items()}


class _Reached:
    """What the figures say of one instruction set.

    Every share is the median over the rounds of what a round reached of its own matrix product.
    """

    def __init__(self, figures: Figures, name: str) -> None:
        self.name = name
        self.done = figures["work"][name]
        self._gflop: dict[str, float] = self.done["gflop"]
        self._rounds = [(run["gflops"], run["detections"][name]) for run in figures["runs"]]

    def _median(self, of_round: Callable[[dict[str, float], dict[str, Any]], float]) -> float:
        """The median over the rounds, each given as its matrix products and this one's detections."""
        return median(of_round(*one) for one in self._rounds)

    def whole(self, gemm: str = GEMM) -> float:
        """The share of the whole detection."""
        gflop = sum(self._gflop.values())
        return self._median(lambda rates, took: gflop / took["whole_ms"] * 1000 / rates[gemm])

    def engine(self) -> float:
        """The share of the engine alone."""
        return self._share(STAGES)

    def stage(self, stage: str) -> float:
        """The share of one stage."""
        return self._share([stage])

    def own(self) -> str:
        """The share of the matrix product with the same instructions, where that was measured."""
        gemm = f"gemm {self.name.partition(' ')[2]}"
        return _percent(self.whole(gemm)) if gemm in self._rounds[0][0] else ""

    def whole_ms(self) -> float:
        """What a detection takes."""
        return self._median(lambda _, took: took["whole_ms"])

    def stage_ms(self, stage: str) -> float:
        """What a stage takes."""
        return self._median(lambda _, took: took["stages_ms"][stage])

    def sampling_ms(self, stage: str) -> float:
        """The most that pyramid or crops take of it."""
        return self._median(lambda _, took: took["sampling_ms"][stage])

    def floor_ms(self, stage: str) -> float:
        """What its multiply-adds would take at the rate of the matrix product."""
        return self._median(lambda rates, _: self._gflop[stage] / rates[GEMM] * 1000)

    def pipeline_ms(self) -> float:
        """What the engine leaves of a detection."""
        return self._median(lambda _, took: took["whole_ms"] - sum(took["stages_ms"].values()))

    def _share(self, stages: Sequence[str]) -> float:
        gflop = sum(self._gflop[stage] for stage in stages)
        return self._median(
            lambda rates, took: gflop / sum(took["stages_ms"][stage] for stage in stages) * 1000 / rates[GEMM]
        )


def report(figures: Figures) -> Report:
    """Shares of the matrix product, and what each stage takes beyond its floor."""
    reached = [_Reached(figures, name) for name in figures["work"]]
    if not reached:
        return Report([], [], note="The native engine was not there, so nothing was measured.")
    best, where = reached[0], f"{CELL[1]} x {CELL[2]}, {CELL[0]} faces"
    return Report(
        goals=[
            Goal(f"whole detection, {where}, share of fp32 GEMM ({best.name})", best.whole(), GOAL, True, "%")
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


def _summary(reached: Sequence[_Reached]) -> Table:
    head = (
        "engine",
        "ms",
        "whole detection",
        "the engine alone",
        "whole, of GEMM with the same instructions",
    )
    rows: list[tuple[object, ...]] = [
        (one.name, f"{one.whole_ms():.2f}", _percent(one.whole()), _percent(one.engine()), one.own())
        for one in reached
    ]
    return Table(head, rows, "Shares of GEMM:")


def _stages(one: _Reached) -> Table:
    rows: list[tuple[object, ...]] = [
        (
            _NAMES[stage],
            f"{one.done['gflop'][stage]:.3f}",
            *(f"{ms:.2f}" for ms in (one.stage_ms(stage), one.floor_ms(stage), one.sampling_ms(stage))),
            _percent(one.stage(stage)),
        )
        for stage in STAGES
    ]
    rows.append(("pipeline", "", f"{one.pipeline_ms():.2f}", "", "", ""))
    crops = one.done["candidates"]
    caption = (
        f"*{one.name}*: {one.done['levels']} levels, {crops['refinement']} crops for R-Net, "
        f"{crops['output']} for O-Net."
    )
    return Table(
        ("stage", "GFLOP", "ms", "ms at GEMM's rate", "sampling, ms at most", "share"), rows, caption
    )


def _plot(reached: Sequence[_Reached]) -> BarPlot:
    bars = [
        Bar(f"{one.name}, {what}", round(share * 100, 1), one.name)
        for one in reached
        for what, share in [
            *((_NAMES[stage], one.stage(stage)) for stage in STAGES),
            ("engine alone", one.engine()),
            ("whole detection", one.whole()),
        ]
    ]
    return BarPlot(
        "Share of the machine's fp32 matrix product", "% of GEMM's rate", bars, ("goal", GOAL * 100)
    )


def _note(best: _Reached) -> str:
    """What each stage takes, its floor, and what it does besides multiplying."""
    stages = [
        f"- {_NAMES[stage]}: {best.stage_ms(stage):.2f} ms against {best.floor_ms(stage):.2f}; "
        f"{_SAMPLED[stage]} at most {best.sampling_ms(stage):.2f} of it. {_BESIDES[stage]}"
        for stage in STAGES
    ]
    pipeline = (
        f"- The pipeline: {best.pipeline_ms():.2f} ms, {best.pipeline_ms() / best.whole_ms():.0%} of the "
        "detection, with nothing to count: boxes, sorting and suppression. Most of it is NumPy, whose calls "
        "cost some microseconds each, however few boxes there are."
    )
    head = f"What {best.name} takes, against the time of its multiply-adds at GEMM's rate:\n"
    return "\n".join([head, *stages, pipeline])


def _percent(share: float) -> str:
    return f"{share * 100:.1f} %"


SCENARIO = Scenario(
    "How much of the machine's own matrix product a detection reaches", METHOD, run, report, repeats=10
)
