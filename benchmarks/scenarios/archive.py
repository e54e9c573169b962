"""Archive: `facet detect` over many files, beside plain processes that do nothing but detect."""

import contextlib
import os
import subprocess
import time
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import orjson

from benchmarks import servers
from benchmarks.pictures import assortment
from benchmarks.processes import TREE, python
from benchmarks.progress import step
from benchmarks.registry import Column, Figures, Goal, Report, Scenario, table

PROCESSES = 2
PICTURES, QUICK_PICTURES = 500, 40
GOAL = 0.95
_SECONDS = 600

METHOD = f"""
{PICTURES} photographs (drawn pictures, repeated, where there are none) in a folder, from the start of a
command to its end, each way in turn: {PROCESSES} plain processes, each with every second file, which read,
decode, detect and write a line, and nothing else; `facet detect --local --processes {PROCESSES}`, which
writes NDJSON; and `facet detect` through a service of {PROCESSES} workers that runs already. All must find
the same number of faces. The ratios are those of a round; their median counts.
"""


def run(quick: bool, repeats: int) -> Figures:
    """Measure the ways in turn."""
    kind, pictures = assortment(QUICK_PICTURES if quick else PICTURES)
    count = QUICK_PICTURES if quick else PICTURES
    with contextlib.ExitStack() as at_end:
        folder = Path(at_end.enter_context(TemporaryDirectory()))
        names = _write(folder, [pictures[number % len(pictures)] for number in range(count)])
        _, address = at_end.enter_context(servers.facet(PROCESSES, sleeping=False))
        runs = []
        for number in range(repeats):
            with step(f"archive: round {number + 1} of {repeats}", count * 0.05):
                runs.append(_round(folder, names, address))
    return {"parameters": {"processes": PROCESSES, "pictures": count, "of": kind}, "runs": runs}


def _write(folder: Path, pictures: list[bytes]) -> list[Path]:
    photos = folder / "photos"
    photos.mkdir()
    names = [photos / f"{number:04}.jpg" for number in range(len(pictures))]
    for name, picture in zip(names, pictures, strict=True):
        name.write_bytes(picture)
    return names


def _round(folder: Path, names: list[Path], address: str) -> dict[str, Any]:
    """Seconds of each way; the faces that all have found."""
    outputs = [folder / f"plain-{number}.ndjson" for number in range(PROCESSES)]
    commands = []
    for number, output in enumerate(outputs):
        listed = folder / f"list-{number}"
        listed.write_text("".join(f"{name}\n" for name in names[number::PROCESSES]))
        commands.append(["-m", "benchmarks.peers.plain_archive", str(listed), str(output)])
    found = {"plain": (_timed(commands), _faces(*outputs))}
    ways = {"local": ["--local", "--processes", str(PROCESSES)], "service": ["--address", address]}
    for way, options in ways.items():
        output = folder / f"{way}.ndjson"
        command = [
            "-m",
            "cli",
            "detect",
            *options,
            str(folder / "photos"),
            "--output",
            str(output),
            "--force",
        ]
        found[way] = (_timed([command]), _faces(output))
    if len({faces for _, faces in found.values()}) > 1:
        raise RuntimeError(f"the ways have not found the same faces: {found}")
    return {**{way: round(seconds, 3) for way, (seconds, _) in found.items()}, "faces": found["plain"][1]}


def _timed(commands: list[list[str]]) -> float:
    """Seconds until all of these, started together, have ended."""
    tree = TREE.get()
    environ = {**os.environ, "FACET_LOG_FORMAT": "text"}
    started = time.monotonic()
    with contextlib.ExitStack() as at_end:
        processes = []
        for command in commands:
            process = subprocess.Popen(
                [python(tree), *command], cwd=tree, env=environ, stderr=subprocess.DEVNULL
            )
            at_end.callback(process.wait)
            at_end.callback(process.kill)
            processes.append(process)
        for process in processes:
            process.wait(_SECONDS)
        return time.monotonic() - started


def _faces(*outputs: Path) -> int:
    lines = [orjson.loads(line) for output in outputs for line in output.read_bytes().splitlines()]
    return sum(len(line.get("results", ())) for line in lines)


def report(figures: Figures) -> Report:
    """The rounds, and the medians of their ratios."""
    runs, count = figures["runs"], figures["parameters"]["pictures"]
    columns: dict[str, Column] = {
        "plain processes s": ("plain", ".2f"),
        "`--local` s": ("local", ".2f"),
        "service s": ("service", ".2f"),
        "pictures/s, `--local`": lambda one: f"{count / one['local']:.0f}",
        "faces": "faces",
    }
    ratio = median(one["plain"] / one["local"] for one in runs)
    what = f"throughput of `facet detect --local`, of that of {PROCESSES} plain processes"
    return Report([Goal(what, ratio, GOAL, at_least=True, unit="x")], [table(runs, columns)])


SCENARIO = Scenario("Many files by one command", METHOD, run, report)
