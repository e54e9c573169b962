"""Logs and traces."""

import sys
from dataclasses import dataclass

from utils.settings.kinds import BY_BOTH, RATIO, URL, one_of, setting, whole


def _log_format() -> str:
    return "text" if sys.stderr.isatty() else "json"


@dataclass(frozen=True, kw_only=True)
class ObservabilitySettings:
    """Logs and traces."""

    log_format: str = setting(
        one_of("text", "json"),
        BY_BOTH,
        "Form of the log lines on standard error.",
        factory=_log_format,
        shown="text on a terminal, else json",
    )
    traces_endpoint: str | None = setting(
        URL,
        BY_BOTH,
        "Collector to which traces are exported by OTLP over HTTP, at /v1/traces below this URL; needs the "
        "packages of locks/requirements-tracing.txt.",
        shown="off: no traces",
    )
    traces_ratio: float = setting(
        RATIO,
        BY_BOTH,
        "Share of the requests that are traced where their callers' `traceparent` does not decide.",
        default=0.01,
    )
    traces_per_second: int = setting(
        whole(1, 10_000),
        BY_BOTH,
        "Requests that each process traces in a second at most, whoever wants it.",
        default=100,
    )
