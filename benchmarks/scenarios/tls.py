"""TLS: what encryption and certificates of both ends add to a call."""

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks import pairs, servers
from benchmarks.progress import step
from benchmarks.registry import Column, Figures, Goal, Report, Scenario, table
from benchmarks.stats import describe, milliseconds
from tests.support.certificates import Authority

WORKERS = 1
SIZES = (100_000, 1_000_000)
"""Bytes of a picture."""
ADDED_MS = 0.3
"""The goal, of a picture of 100 KB."""

METHOD = f"""
One client, one call at a time over one connection to each of three backends of {WORKERS} worker, whose
detector answers at once: one that speaks mutual TLS, with ECDSA certificates, and two that speak none. All
are called in turn; the figure is the difference of the medians of the first and the second. The third is
the control: what it differs by from the second, its equal, is what the measurement cannot tell. Pictures are
uncompressed PNG files. A new connection's handshake is not among it.
"""


def run(quick: bool, repeats: int) -> Figures:
    """Measure all in turn, for each size."""
    rounds = 200 if quick else 1000
    runs: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(prefix="facet-bench-") as folder, _served(Path(folder)) as services:
        for number in range(repeats):
            for size in SIZES:
                seconds = rounds * (0.006 + size * 3e-8) + 2
                with step(f"tls: {size:,} bytes, run {number + 1} of {repeats}", seconds):
                    tls, plain, control = pairs.measure(services, size, rounds)
                runs.append(
                    {
                        "bytes": size,
                        "tls": describe(tls),
                        "plain": describe(plain),
                        "control": describe(control),
                        "added_ms": milliseconds(median(tls) - median(plain)),
                        "control_ms": milliseconds(median(control) - median(plain)),
                    }
                )
    return {"parameters": {"workers": WORKERS, "rounds": rounds}, "runs": runs}


@contextlib.contextmanager
def _served(folder: Path) -> Iterator[list[tuple[str, ...]]]:
    """The backends, as `pairs` has services."""
    authority = Authority(folder)
    server, client = authority.issue("server"), authority.issue("client")
    environ = {
        "FACET_TLS_CERT_FILE": str(server.cert),
        "FACET_TLS_KEY_FILE": str(server.key),
        "FACET_TLS_CLIENT_CA_FILE": str(authority.cert),
    }
    files = map(str, (authority.cert, client.cert, client.key))
    with contextlib.ExitStack() as stack:
        services: list[tuple[str, ...]] = []
        for settings in (environ, {}, {}):
            _, address = stack.enter_context(
                servers.facet(WORKERS, sleeping=True, **servers.PATIENT, **settings)
            )
            services.append(("grpc", address, *(files if settings else ())))
        yield services


def report(figures: Figures) -> Report:
    """The difference of the medians, for each size."""
    small, _ = SIZES
    added = median(run["added_ms"] for run in figures["runs"] if run["bytes"] == small)
    columns: dict[str, Column] = {
        "picture": lambda run: f"{run['bytes'] // 1000} KB",
        "TLS p50 ms": "tls.p50_ms",
        "plain p50 ms": "plain.p50_ms",
        "TLS p99 ms": "tls.p99_ms",
        "plain p99 ms": "plain.p99_ms",
        "added to p50, ms": "added_ms",
        "by the control, ms": "control_ms",
    }
    runs = sorted(figures["runs"], key=lambda run: int(run["bytes"]))
    what = f"mutual TLS adds to the p50 of a lone call of {small // 1000} KB"
    return Report([Goal(what, added, ADDED_MS, unit="ms")], [table(runs, columns)])


SCENARIO = Scenario("What TLS adds to a call", METHOD, run, report, repeats=3)
