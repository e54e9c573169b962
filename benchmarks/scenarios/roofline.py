"""Roofline: how much of the machine's own matrix product a detection reaches, stage by stage."""

from collections.abc import Iterator, Sequence
from statistics import median
from typing import Any

from benchmarks import work
from benchmarks.arena import Arena, Cell, arena
from benchmarks.contenders import GEMM, GEMM_AVX2, GEMM_AVX512, GEMMS, NATIVE
from benchmarks.peers.gemm import SIDE
from benchmarks.progress import step
from benchmarks.registry import Bar, BarPlot, Column, Figures, Goal, Report, Scenario, Table, table
from benchmarks.shares import NAMES, percent, reached
from benchmarks.staged import STAGES
from benchmarks.stats import milliseconds

CELL: Cell = ("many", 640, 480)
GOAL = 1.05
_AVX2 = NATIVE[1]
_BEST_OF = 5
_DETECTIONS = 5

METHOD = f"""
*Work* is the multiply-adds of the networks' direct convolutions at {CELL[1]} x {CELL[2]} with many faces,
counted from the shapes of their layers, the levels of the pyramid, and the crops that R-Net and O-Net are
really given (`benchmarks/work.py`; two operations each). Divided by the time of a detection, from pixels to
faces, and by the machine's own fp32 rate (`np.matmul`, {SIDE} x {SIDE}, one thread, best of {_BEST_OF}) it
gives the share that is reached. Each round measures the matrix product and then {_DETECTIONS} detections with
each instruction set, so that both meet the same clock and the same neighbours; figures are medians over the
rounds of a round's median.

The work is the same for every engine; the multiplications that are done for it are not. Winograd's
F(m x m, 3 x 3) gives m x m outputs of a 3 x 3 convolution by (m + 2)^2 multiplications instead of 9 m^2, so
a share may exceed 100 %. The kernels themselves say which algorithm computes a layer. Its multiplications are
counted by whole tiles, and without the additions of its transforms.

Pyramid, crops, activations, pools and everything between the networks take time and are no work; the tables
say what each takes. *P-Net* is timed with the
pyramid, *R-Net* and *O-Net* with their crops; *pipeline* is what is left of the detection: boxes, sorting
and suppression. *Sampling* is the pyramid or the crops by themselves, written out to memory, so
the most that they take within their stage. *The engine alone* leaves the pipeline out.

The matrix product is OpenBLAS's, with the kernels that it takes for this CPU: goals are judged by these.
Beside it are its kernels for AVX-512 and for AVX2, where the CPU runs them.
"""

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
    done = {name: _work(answer) for name, answer in seen.items()}
    return {"parameters": {"cell": CELL, "absent": contenders.absent}, "work": done, "runs": runs}


def _work(answer: dict[str, Any]) -> dict[str, Any]:
    """What is done for a detection, whole and by layer."""
    # A build that does not say how it computes does so directly.
    counts = work.by_layer(answer["levels"], answer["candidates"], answer.get("tiles"))
    return {
        "candidates": answer["candidates"],
        "levels": len(answer["levels"]),
        "gflop": work.gflop(counts),
        "layers": [count._asdict() for count in counts],
    }


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


def report(figures: Figures) -> Report:
    """Shares of the matrix product, and what each stage takes beyond its floor."""
    found = [reached(figures, name) for name in figures["work"]]
    if not found:
        return Report([], [], note="The native engine was not there, so nothing was measured.")
    return Report(
        goals=[_goal(one, figures["cpu"]) for one in found if one is found[0] or one["name"] == _AVX2],
        tables=[_rates(figures), _summary(found), *map(_stages, found), *_layers(found)],
        plots={"roofline": _plot(found)},
        note=_note(found[0]),
    )


def _goal(one: dict[str, Any], cpu: str) -> Goal:
    what = (
        f"work over time, {CELL[1]} x {CELL[2]}, {CELL[0]} faces, share of fp32 GEMM ({one['name']} on {cpu})"
    )
    return Goal(what, one["whole"], GOAL, at_least=True, unit="%", why="the tables say what each stage takes")


def _rates(figures: Figures) -> Table:
    runs = figures["runs"]
    rates = {_KERNELS[name]: [run["gflops"][name] for run in runs] for name in runs[0]["gflops"]}
    rows: list[tuple[object, ...]] = [
        (name, f"{median(rate):.1f}", f"{min(rate):.1f} to {max(rate):.1f}") for name, rate in rates.items()
    ]
    return Table(("OpenBLAS's kernels", "GFLOP/s, median of the rounds", "all rounds"), rows)


def _summary(found: Sequence[dict[str, Any]]) -> Table:
    columns: dict[str, Column] = {
        "engine": "name",
        "ms": ("whole_ms", ".2f"),
        "whole detection": lambda one: percent(one["whole"]),
        "the engine alone": lambda one: percent(one["engine"]),
        "whole, of GEMM with the same instructions": "own",
        "multiplications, of the work's": "multiplied",
    }
    return table(found, columns, "Work over time, as a share of GEMM:")


def _stages(one: dict[str, Any]) -> Table:
    columns: dict[str, Column] = {
        "stage": "name",
        "GFLOP": "gflop",
        "ms": ("ms", ".2f"),
        "ms at GEMM's rate": "floor_ms",
        "sampling, ms at most": "sampling_ms",
        "share": lambda stage: percent(stage["share"]),
        "multiplications, of the work's": "multiplied",
    }
    crops = one["done"]["candidates"]
    caption = (
        f"*{one['name']}*: {one['done']['levels']} levels, {crops['refinement']} crops for R-Net, "
        f"{crops['output']} for O-Net."
    )
    rows = table(one["stages"], columns, caption)
    rows.rows.append(("pipeline", "", f"{one['pipeline_ms']:.2f}", "", "", "", ""))
    return rows


def _layers(found: Sequence[dict[str, Any]]) -> Iterator[Table]:
    """The algorithm of each layer, and its multiplications as a share of the work's, by instruction set."""
    told = {one["name"]: one["done"]["layers"] for one in found if "layers" in one["done"]}
    if not told:  # figures of an earlier form
        return
    layers = next(iter(told.values()))
    rows: list[tuple[object, ...]] = [
        (
            f"{NAMES[layer['stage']]}, {layer['layer']}",
            f"{2 * layer['work'] / 1e9:.3f}",
            *(_algorithm(own[number]) for own in told.values()),
        )
        for number, layer in enumerate(layers)
    ]
    caption = "The algorithm of each layer, and its multiplications as a share of the work's:"
    yield Table(("layer", "GFLOP", *told), rows, caption)


def _algorithm(layer: dict[str, Any]) -> str:
    tile = layer["tile"]
    name = "direct" if tile == work.DIRECT else f"F({tile} x {tile})"
    return f"{name}, {percent(layer['multiplications'] / max(layer['work'], 1))}"


def _plot(found: Sequence[dict[str, Any]]) -> BarPlot:
    bars = [
        Bar(f"{one['name']}, {what}", round(share * 100, 1), one["name"])
        for one in found
        for what, share in [
            *((stage["name"], stage["share"]) for stage in one["stages"]),
            ("engine alone", one["engine"]),
            ("whole detection", one["whole"]),
        ]
    ]
    title = "Work over time, as a share of GEMM"
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


SCENARIO = Scenario(
    "How much of the machine's own matrix product a detection reaches", METHOD, run, report, repeats=10
)
