"""Traces of requests: what the rest of Facet knows of them.

Nothing is traced by the classes below. Where the operator wants traces, `start` gives a tracer of
`utils.otlp`, the only module that imports OpenTelemetry.
"""

import os
import random
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Final

from utils.settings import InvalidSetting, Settings

FLUSH_SECONDS: Final = 2.0
"""That the end of a process may be late by, for spans that are not exported yet."""

_PACKAGES = ("opentelemetry-sdk", "opentelemetry-exporter-otlp-proto-http")
_SAMPLED: Final = 1
"""The bit of a trace context's flags."""

Value = str | int | float | bool


class Span:
    """A part of a request's time; this one is of a request that is not traced."""

    __slots__ = ()

    @property
    def traceparent(self) -> str:
        """The trace context of what happens on its behalf; empty where it is not traced."""
        return ""

    def child(self, name: str, *, began: float | None = None) -> "Span":  # noqa: ARG002
        """Begin a part of it.

        Args:
            name: Of the kind of part.
            began: When it did, of the monotonic clock; None: now.
        """
        return self

    def stages(self, began: float, milliseconds: Iterable[tuple[str, float]]) -> None:
        """Add parts that are over already, each of which began when the one before it ended.

        Args:
            began: When the first one did, of the monotonic clock.
            milliseconds: Their names, and how long they took.
        """

    def note(self, values: Mapping[str, Value]) -> None:
        """Add attributes. They must not have text of a caller's."""

    def fail(self, reason: str, *, fault: bool) -> None:
        """Note that it ends with a failure.

        Args:
            reason: Of the failure.
            fault: Whether it is the fault of who answered, and not of the caller.
        """

    def end(self, name: str = "", *, ended: float | None = None) -> None:
        """End it; one that is not ended is never exported.

        Args:
            name: The name that it has in the end; empty for the one that it began with.
            ended: When it did, of the monotonic clock; None: now.
        """


NO_SPAN: Final = Span()


class Tracer:
    """Decides which requests are traced, and begins their spans; this one traces none."""

    def serve(self, traceparent: str, began: float) -> tuple[Span, str]:  # noqa: ARG002
        """Begin the span of a request that this process answers.

        Args:
            traceparent: The caller's trace context, empty where there is none.
            began: When the request came, of the monotonic clock.

        Returns:
            The span, and the trace context of the request from here on.
        """
        return NO_SPAN, traceparent

    def call(self, traceparent: str, name: str) -> Span:  # noqa: ARG002
        """Begin the span of a call that this process makes.

        Args:
            traceparent: The trace context of the request for which it is made.
            name: Of what is called.
        """
        return NO_SPAN

    def close(self) -> None:
        """Have the spans exported that have ended, within FLUSH_SECONDS."""


NO_TRACER: Final = Tracer()


class Sampler:
    """Which requests are traced: as their callers have decided, else by chance; never more than a number.

    Args:
        ratio: Of the requests whose callers say nothing.
        per_second: How many requests may be traced in a second, whoever wants it.
        clock: Of seconds.
    """

    def __init__(self, ratio: float, per_second: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._ratio, self._per_second, self._clock = ratio, per_second, clock
        self._lock = threading.Lock()
        self._left, self._looked = per_second, clock()

    def samples(self, traceparent: str) -> bool:
        """Whether a request with this trace context, or with none, is traced."""
        wanted = is_sampled(traceparent) if traceparent else random.random() < self._ratio  # noqa: S311
        return wanted and self._take()

    def _take(self) -> bool:
        with self._lock:
            now = self._clock()
            gained = (now - self._looked) * self._per_second
            self._left, self._looked = min(self._left + gained, self._per_second), now
            if self._left < 1:
                return False
            self._left -= 1
            return True


def is_sampled(traceparent: str) -> bool:
    """Whether a trace context says that its trace is recorded; an empty one does not."""
    return bool(int(traceparent[-2:] or "0", 16) & _SAMPLED)


def unsampled(traceparent: str) -> str:
    """The trace context of a request that is not traced here, so that nobody traces it behind this process.

    Args:
        traceparent: The caller's, empty where there is none; one that is not sampled stays as it is.
    """
    if traceparent and not is_sampled(traceparent):
        return traceparent
    trace = traceparent[3:35] or f"{random.getrandbits(128):032x}"
    return f"00-{trace}-{random.getrandbits(64):016x}-00"


def flush_seconds(settings: Settings) -> float:
    """By how much a process may end later for its spans."""
    return 0.0 if settings.traces_endpoint is None else FLUSH_SECONDS


def check_packages(settings: Settings) -> None:
    """Refuse to trace without the packages for it.

    Raises:
        InvalidSetting: They are not installed.
    """
    if settings.traces_endpoint is None:
        return
    from importlib.metadata import PackageNotFoundError, version  # noqa: PLC0415 - for this alone

    for package in _PACKAGES:
        try:
            version(package)
        except PackageNotFoundError as error:
            raise InvalidSetting(
                f"FACET_TRACES_ENDPOINT is set, but the package {package} is not installed; install it by "
                "pip install --require-hashes -r locks/requirements-tracing.txt"
            ) from error


def start(settings: Settings, service: str) -> Tracer:
    """What traces the requests of this process, as its settings say; after any fork.

    Args:
        settings: The operator's.
        service: What the process is a part of.
    """
    if settings.traces_endpoint is None or os.environ.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return NO_TRACER
    from utils.otlp import OtlpTracer  # noqa: PLC0415 - loads what is there only where it is wanted

    sampler = Sampler(settings.traces_ratio, settings.traces_per_second)
    return OtlpTracer(settings.traces_endpoint, service, sampler)
