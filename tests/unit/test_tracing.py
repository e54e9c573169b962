"""Rules of which requests are traced, and of the trace context of those that are not."""

import threading
from collections import Counter

import pytest

from utils.metadata import trace_context
from utils.settings import Settings
from utils.tracing import NO_SPAN, NO_TRACER, Sampler, is_sampled, start, unsampled

ID, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
WANTED, UNWANTED = f"00-{ID}-{SPAN}-01", f"00-{ID}-{SPAN}-00"


class Clock:
    """One that a test sets."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.mark.parametrize(("flags", "wanted"), [("00", False), ("01", True), ("02", False), ("ff", True)])
def test_one_bit_of_a_trace_context_says_that_it_is_sampled(flags: str, wanted: bool) -> None:
    """The lowest one of its flags."""
    assert is_sampled(f"00-{ID}-{SPAN}-{flags}") is wanted
    assert not is_sampled("")


@pytest.mark.parametrize("ratio", [0.0, 1.0])
def test_a_caller_decides_and_else_the_ratio(ratio: float) -> None:
    """Whatever the ratio is."""
    sampler = Sampler(ratio, 1000)
    assert sampler.samples(WANTED)
    assert not sampler.samples(UNWANTED)
    assert sampler.samples("") is bool(ratio)


def test_the_ratio_is_a_share_of_those_without_a_caller_that_decides() -> None:
    """About, for it is by chance: 4,500 to 5,500 of 10,000 is ten standard deviations wide on each side."""
    sampler = Sampler(0.5, 20_000)
    assert 4_500 < sum(sampler.samples("") for _ in range(10_000)) < 5_500


def test_no_more_than_so_many_are_traced_in_a_second() -> None:
    """Whoever wants it; what was not used is not saved for later."""
    clock = Clock()
    sampler = Sampler(1.0, 3, clock)
    assert [sampler.samples(WANTED) for _ in range(4)] == [True, True, True, False]
    clock.now += 1 / 3 + 1e-9
    assert [sampler.samples("") for _ in range(2)] == [True, False]
    clock.now += 60
    assert sum(sampler.samples(WANTED) for _ in range(10)) == 3


def test_the_limit_holds_over_threads() -> None:
    """Of which the gateway has many."""
    sampler = Sampler(1.0, 50, Clock())
    counts: Counter[bool] = Counter()

    def ask() -> None:
        answers = Counter(sampler.samples(WANTED) for _ in range(100))
        counts.update(answers)

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert counts[True] == 50


def test_what_is_not_traced_here_is_traced_nowhere_behind() -> None:
    """A caller's trace keeps its id, under a new span, where it was wanted; one without a caller gets one."""
    assert unsampled(UNWANTED) == UNWANTED
    refused = unsampled(WANTED)
    assert (refused[3:35], is_sampled(refused), refused[36:52] == SPAN) == (ID, False, False)
    made = {unsampled("") for _ in range(3)}
    assert len(made) == 3
    assert not any(map(is_sampled, made))
    for context in (refused, *made):
        assert trace_context(context) == context


def test_without_a_collector_nothing_is_traced_and_a_context_stays_as_it_came() -> None:
    """Nor is anything where OpenTelemetry's own switch is off."""
    assert start(Settings(), "a service") is NO_TRACER
    assert NO_TRACER.serve(WANTED, 0.0) == (NO_SPAN, WANTED)
    assert NO_TRACER.call(WANTED, "a call") is NO_SPAN
    assert NO_SPAN.child("a part") is NO_SPAN


def test_opentelemetrys_own_switch_turns_traces_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """Which its SDK would else obey after a trace was begun."""
    monkeypatch.setenv("OTEL_SDK_DISABLED", "true")
    assert start(Settings(traces_endpoint="http://127.0.0.1:4318"), "a service") is NO_TRACER
