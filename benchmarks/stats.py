"""Numbers about latencies: percentiles, their curve, and the latencies of an ideal central queue."""

import heapq
import math
import statistics
from collections.abc import Iterable, Sequence

CURVE = (0.0, 0.25, 0.5, 0.75, 0.9, 0.95, 0.98, 0.99, 0.995, 0.998, 0.999)
"""The shares of requests at which a curve of latencies is kept."""


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest of the values that at least this share of them do not exceed."""
    ranked = sorted(values)
    return ranked[max(math.ceil(share * len(ranked)), 1) - 1]


def describe(seconds: Sequence[float]) -> dict[str, float]:
    """Latencies in a few numbers: how many, and mean, p50, p90, p99, p99.9 and maximum in milliseconds."""
    if not seconds:
        return {"count": 0}
    return {
        "count": len(seconds),
        "mean_ms": milliseconds(statistics.fmean(seconds)),
        "p50_ms": milliseconds(percentile(seconds, 0.5)),
        "p90_ms": milliseconds(percentile(seconds, 0.9)),
        "p99_ms": milliseconds(percentile(seconds, 0.99)),
        "p999_ms": milliseconds(percentile(seconds, 0.999)),
        "max_ms": milliseconds(max(seconds)),
    }


def curve(seconds: Sequence[float]) -> list[float]:
    """Milliseconds at each share of `CURVE`."""
    return [milliseconds(percentile(seconds, share)) for share in CURVE]


def milliseconds(seconds: float) -> float:
    """Seconds as milliseconds, rounded to microseconds."""
    return round(seconds * 1000, 3)


def central_queue(arrivals: Iterable[float], services: Iterable[float], servers: int) -> list[float]:
    """Latencies where one queue feeds all servers, in order, and nothing else takes any time.

    Args:
        arrivals: When each request comes, in seconds and ascending.
        services: How long each is served, in seconds.
        servers: How many are served at once.
    """
    free = [-math.inf] * servers
    latencies = []
    for arrival, service in zip(arrivals, services, strict=True):
        end = max(arrival, heapq.heappop(free)) + service
        heapq.heappush(free, end)
        latencies.append(end - arrival)
    return latencies
