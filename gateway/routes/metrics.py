"""GET /metrics: what all processes of the gateway have counted; another application, at its own address."""

from collections.abc import Iterator
from typing import Final

from flask import Flask, Response, request
from prometheus_client.core import Metric

from gateway.context import current
from gateway.counters import HttpCounters
from utils.api_keys import METRICS
from utils.exposition import Gauge, metric, write
from utils.guard import Guard
from utils.version import VERSION

GAUGES: Final = (
    Gauge("facet_http_processes", "Processes of the gateway."),
    Gauge("facet_http_connections", "Connections of clients."),
    Gauge("facet_http_in_flight", "Requests from the end of their heads to the end of their answers."),
    Gauge("facet_http_permits_free", "Calls of the backend for which there is room now."),
    Gauge("facet_http_held_bytes", "Bytes of bodies that are held."),
)
"""How all processes are together, as `gateway.counters.Now` has it."""
BUILD_INFO: Final = Gauge("facet_http_build_info", "1, with the release.", ("version",))


class MetricsRoutes:
    """The view.

    Args:
        guard: Refuses requests.
    """

    def __init__(self, guard: Guard) -> None:
        self._guard = guard

    def add_to(self, app: Flask) -> None:
        """Give the application its path."""
        app.before_request(self._check)
        app.add_url_rule("/metrics", view_func=self.metrics)

    def _check(self) -> None:
        self._guard.check_page(request.headers)
        self._guard.check_host(request.headers)
        caller, authorization = current().arrival.caller, request.headers.get("Authorization")
        self._guard.admit(caller, authorization, looks=True, also=METRICS)

    def metrics(self) -> Response:
        """Give the metrics, for Prometheus and its like."""
        counters = current().arrival.counters
        assert counters is not None  # of the server that has the address
        body, content_type = write(metrics_of(counters), request.headers.get("Accept", ""))
        return Response(body, content_type=content_type)


def metrics_of(counters: HttpCounters) -> Iterator[Metric]:
    """What all processes have counted, and how they are."""
    for family, label, words in counters.totals():
        yield metric(family, (label,), words)
    for gauge, value in zip(GAUGES, counters.now(), strict=True):
        yield gauge.metric({(): value})
    yield BUILD_INFO.metric({(VERSION,): 1.0})
