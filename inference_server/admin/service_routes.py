"""The backend as a whole, for operators: how it is, its end, what it logs."""

from http import HTTPStatus

from flask import Flask, Response, request

from inference_server.admin.bodies import command, json_response
from inference_server.admin.metrics import BackendMetrics
from inference_server.admin.statusz import page
from inference_server.admin.supervisor_client import Execute
from inference_server.catalogue.commands import Drain, SetLogLevel, Status
from inference_server.dispatch.stats import SharedStats


class ServiceRoutes:
    """The views, and what they share.

    Args:
        execute: Asks the supervisor.
        stats: What all processes share.
    """

    def __init__(self, execute: Execute, stats: SharedStats) -> None:
        self._execute = execute
        self._metrics = BackendMetrics(execute, stats)

    def add_to(self, app: Flask) -> None:
        """Give the application its paths."""
        app.add_url_rule("/healthz", view_func=self.healthz)
        app.add_url_rule("/metrics", view_func=self.metrics)
        app.add_url_rule("/statusz", view_func=self.statusz)
        app.add_url_rule("/drain", view_func=self.drain, methods=["POST"])
        app.add_url_rule("/log-level", view_func=self.log_level)
        app.add_url_rule("/log-level", view_func=self.set_log_level, methods=["PUT"])

    def healthz(self) -> Response:
        """Say that this process lives. It asks nobody."""
        return json_response({"status": "ok"})

    def metrics(self) -> Response:
        """Give the metrics, for Prometheus and its like."""
        body, content_type = self._metrics.exposition(request.headers.get("Accept", ""))
        return Response(body, content_type=content_type)

    def statusz(self) -> Response:
        """Describe the backend: for a person, or as JSON for who prefers that."""
        status = self._execute(Status())
        kinds = ["text/html", "application/json"]
        if request.accept_mimetypes.best_match(kinds) == "application/json":
            return json_response(status)
        return page(status)

    def drain(self) -> Response:
        """Have the backend finish what it has accepted, and end."""
        return json_response(self._execute(command(Drain)), HTTPStatus.ACCEPTED)

    def log_level(self) -> Response:
        """Say what is logged."""
        return json_response({"level": self._execute(Status())["log_level"]})

    def set_log_level(self) -> Response:
        """Change what is logged, by all processes of the backend."""
        return json_response(self._execute(command(SetLogLevel)))
