"""Identity: what checking a key, and counting a request against its limit, add to a request."""

import multiprocessing
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.progress import step
from benchmarks.registry import Column, Figures, Goal, Report, Scenario, table
from benchmarks.stats import percentile
from utils.access import Access, Caller
from utils.api_keys import PREDICT, new_key, write_keys
from utils.key_ring import KeyRing
from utils.rate_limits import RateLimits, limits_path

REQUESTS = 20_000
"""Checked without a pause, and as often not."""
KEYS = 100
COST_GOAL = 10.0
_ENDLESS = (1e6, 10**6)
"""A rate and a burst that nobody reaches."""

METHOD = f"""
A file of {KEYS} keys, half of which have a limit that is not reached. What gateway and workers do with the
`Authorization` of a request is done {REQUESTS:,} times, with a key that has no limit and with one that has,
and as often a function that does nothing is called, in turn. The figure is the median of the
differences, of processor time. *Beside other processes*: the time that passes while one request is counted,
of {REQUESTS:,}, while other processes count without a pause at the same place.
"""

Check = Callable[[], object]


def run(quick: bool, repeats: int) -> Figures:
    """Measure both."""
    rounds = 5 if quick else 50
    runs: list[dict[str, Any]] = []
    for number in range(repeats):
        with step(f"identity: run {number + 1} of {repeats}", rounds), _checks() as checks:
            costs = {name: _cost(check, rounds) for name, check in checks.items()}
            runs.append({"cost_us": costs, "beside": {str(others): _beside(others) for others in (0, 1, 3)}})
    return {"parameters": {"requests": REQUESTS, "rounds": rounds, "keys": KEYS}, "runs": runs}


@contextmanager
def _checks() -> Iterator[dict[str, Check]]:
    """What is measured, by its name."""
    made = [
        new_key(f"key-{number}", [PREDICT], *(_ENDLESS if number % 2 else (None, None)))
        for number in range(KEYS)
    ]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "keys.json"
        write_keys(path, [key for key, _ in made])
        limits = RateLimits(limits_path(path))
        try:
            access = Access(KeyRing(path), limits, (PREDICT,))
            yield {"key": _check(access, made[0][1]), "key and limit": _check(access, made[1][1])}
        finally:
            limits.close()
            limits_path(path).unlink()


def _check(access: Access, secret: str) -> Check:
    authorization = f"Bearer {secret}"
    return lambda: access.admit(Caller(), authorization, PREDICT)


def _cost(check: Check, rounds: int) -> float:
    """Microseconds of processor time that a call takes more than one of a function that does nothing."""
    differences = [_time(check) - _time(lambda: None) for _ in range(rounds)]
    return round(median(differences) / REQUESTS * 1e6, 3)


def _time(call: Check) -> float:
    started = time.process_time()
    for _ in range(REQUESTS):
        call()
    return time.process_time() - started


def _count(path: Path, begun: Any) -> None:  # noqa: ANN401 - an Event
    limits, (key, _) = RateLimits(path), new_key("other", [PREDICT], *_ENDLESS)
    begun.set()
    while True:
        limits.take(key)


def _beside(others: int) -> dict[str, float]:
    """Microseconds that counting takes while so many other processes count."""
    context = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        path = Path(folder) / "limits"
        limits, (key, _) = RateLimits(path), new_key("own", [PREDICT], *_ENDLESS)
        begun = [context.Event() for _ in range(others)]
        processes = [context.Process(target=_count, args=(path, event), daemon=True) for event in begun]
        try:
            for process, event in zip(processes, begun, strict=True):
                process.start()
                event.wait()
            took = []
            for _ in range(REQUESTS):
                started = time.perf_counter()
                limits.take(key)
                took.append(time.perf_counter() - started)
        finally:
            for process in processes:
                process.kill()
                process.join()
            limits.close()
    return {f"p{round(share * 100)}_us": round(percentile(took, share) * 1e6, 2) for share in (0.5, 0.99)}


def report(figures: Figures) -> Report:
    """Medians of all runs."""
    runs = figures["runs"]
    costs = {name: median(run["cost_us"][name] for run in runs) for name in runs[0]["cost_us"]}
    goals = [Goal("a key and its limit add to a request", costs["key and limit"], COST_GOAL, unit="µs")]
    own = [{"what": name, "us": cost} for name, cost in costs.items()]
    rows = [
        {"others": others, **{name: median(run["beside"][others][name] for run in runs) for name in found}}
        for others, found in runs[0]["beside"].items()
    ]
    columns: dict[str, Column] = {
        "other processes": "others",
        "p50 µs": ("p50_us", ".1f"),
        "p99 µs": ("p99_us", ".1f"),
    }
    return Report(
        goals,
        [
            table(own, {"checked": "what", "µs": ("us", ".2f")}),
            table(rows, columns, "Counting a request, beside other processes that do:"),
        ],
    )


SCENARIO = Scenario("What keys and their limits add to a request", METHOD, run, report, repeats=3)
