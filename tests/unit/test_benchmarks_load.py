"""The load of the benchmarks: what is sent when, and what is made of the answers."""

import time

import pytest
import uvloop

from benchmarks.load import Request, Row
from benchmarks.pacing import pace
from benchmarks.pictures import blank
from benchmarks.scenarios import balance, overload, tail
from inference_server.images import decode


def row(at: float, ended: float, code: str = "OK", worker: int = 1, service: float = 0.02) -> Row:
    """A call that was sent when it was due."""
    return Row(at, at, ended, code, worker, 1, service)


def test_nothing_is_begun_before_its_moment_and_nothing_is_left_out() -> None:
    """In order, also what was late from the beginning or is due at the same moment."""
    start = time.monotonic()
    moments = [start - 1, start, start + 0.01, start + 0.01, start + 0.03]
    begun: list[tuple[int, float]] = []
    uvloop.run(pace(moments, lambda number: begun.append((number, time.monotonic()))))
    assert [number for number, _ in begun] == list(range(5))
    assert all(when >= moments[number] for number, when in begun)
    uvloop.run(pace([], lambda _: None))


def test_a_blank_picture_is_about_as_large_as_was_asked_for() -> None:
    """So that its way through the service costs what a photograph's does."""
    picture = blank(100_000)
    assert len(picture) == pytest.approx(100_000, rel=0.02)
    pixels, _ = decode(picture, 10**6)
    assert pixels.shape[2] == 3


def test_balance_counts_throughput_as_a_share_of_detectors_that_are_never_idle() -> None:
    """Four detectors that take 20 ms, 50 answers a second each, are all that is possible."""
    rows = [
        row(0.02 * number, 0.02 * (number + 1) - 0.001, worker=worker)
        for number in range(100)
        for worker in range(4)
    ]
    figures = balance.figures_of(rows, 2.0)
    assert figures["of_ideal"] == pytest.approx(1, rel=0.01)
    assert figures["busiest_over_mean"] == 1.0


def test_tail_compares_with_an_ideal_that_serves_as_long_as_the_detectors_did() -> None:
    """Requests that take exactly their service, far apart, are as good as ideal."""
    requests = [Request(float(number), 0, 0, 0.02) for number in range(10)]
    figures = tail.figures_of(requests, [row(r.at, r.at + 0.03, service=0.03) for r in requests], 0.001)
    assert figures["p99_over_ideal"] == pytest.approx(1, abs=1e-3)
    assert figures["p99_over_nominal"] == pytest.approx(1.5, abs=1e-3)


@pytest.mark.parametrize(
    ("code", "seconds", "refusal"),
    [
        ("RESOURCE_EXHAUSTED", 0.9, True),
        ("DEADLINE_EXCEEDED", 0.01, True),
        ("DEADLINE_EXCEEDED", 0.9, False),
        ("OK", 0.01, False),
        ("UNAVAILABLE", 0.01, False),
    ],
)
def test_a_refusal_comes_at_once_and_a_late_failure_does_not(
    code: str, seconds: float, refusal: bool
) -> None:
    """With a deadline of a second."""
    assert overload.is_refusal(row(0, seconds, code), 1.0) is refusal
