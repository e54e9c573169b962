"""`python -m benchmarks [NAME...] [--quick]`: measure, and show what was found. No name: everything.

With --against TREE each scenario is measured with the servers of this checkout, of the other one and of this
one again, in turn; the ratios are printed and kept in .cache/comparisons (benchmarks/compare.py).

Otherwise the figures go to benchmarks/results/NAME.json, and benchmarks/README.md is rendered from all of
them. With --quick both go to .cache/benchmarks instead: its figures show that the scenario works, not how
fast Facet is.
"""

import argparse
import shutil
import signal
import sys
import time
from pathlib import Path
from typing import NoReturn

from benchmarks import machine, render, results
from benchmarks.compare import compare
from benchmarks.registry import NAMES, scenario
from tests.support.processes import ROOT

QUICK = ROOT / ".cache" / "benchmarks"
_ENDS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""Signals by which it is told to end."""


def main() -> int:
    """Run what the arguments say; gives 0 where everything was measured."""
    parser = argparse.ArgumentParser(prog="benchmarks", description=__doc__.partition("\n")[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(NAMES))
    parser.add_argument("--quick", action="store_true", help="in seconds, into .cache/benchmarks")
    parser.add_argument("--render", action="store_true", help="only write README.md from the results")
    parser.add_argument("--against", type=Path, metavar="TREE", help="compare with another checkout")
    parser.add_argument("--rounds", type=int, help="how often --against measures each build")
    arguments = parser.parse_args()
    for signum in _ENDS:
        signal.signal(signum, _end)
    unknown = set(arguments.names) - set(NAMES)
    if unknown:
        parser.error(f"no scenario {', '.join(sorted(unknown))}; there are {', '.join(NAMES)}")
    if arguments.against:
        if not (arguments.against / "benchmarks").is_dir():
            parser.error(f"no checkout of Facet is at {arguments.against}")
        compare(
            arguments.against.resolve(), arguments.names or NAMES, arguments.rounds, quick=arguments.quick
        )
        return 0
    folder = QUICK if arguments.quick else results.FOLDER
    if arguments.quick and not arguments.render:
        # Figures of an older form of a scenario could not be rendered.
        shutil.rmtree(QUICK, ignore_errors=True)
    if not arguments.render:
        for name in arguments.names or NAMES:
            measure(name, folder, quick=arguments.quick)
    print(f"Written: {render.write(folder)}")
    return 0


def _end(signum: int, _: object) -> NoReturn:
    """End, and what was started first; to be told again, as by `timeout`, does not cut that short."""
    for each in _ENDS:
        signal.signal(each, signal.SIG_IGN)
    sys.exit(128 + signum)


def measure(name: str, folder: Path, *, quick: bool) -> None:
    """Run one scenario and keep its figures."""
    told = scenario(name)
    print(f"\n=== {name}: {told.title}", flush=True)
    where, neighbours, started = machine.describe(), machine.Neighbours(), time.monotonic()
    figures = told.run(quick, 1 if quick else told.repeats)
    how = {
        "scenario": name,
        "quick": quick,
        "seconds": round(time.monotonic() - started),
        "cpus_taken_by_others": neighbours.share(),
    }
    results.save(folder, name, {**how, **where, **figures})
    for goal in told.report(figures).goals:
        print(f"    {render.goal_line(goal)}")


if __name__ == "__main__":
    sys.exit(main())
