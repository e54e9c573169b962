"""The gateway itself: whether it lives, and whether it can be used."""

import orjson
from flask import Flask, Response

from gateway.readiness import Readiness
from gateway.routes.backend_calls import require_ready


class ServiceRoutes:
    """The views, and what they share."""

    def __init__(self, readiness: Readiness) -> None:
        self._readiness = readiness

    def add_to(self, app: Flask) -> None:
        """Give the application its paths."""
        app.add_url_rule("/healthz", view_func=self.healthz)
        app.add_url_rule("/readyz", view_func=self.readyz)

    def healthz(self) -> Response:
        """Say that this process lives. It asks nobody."""
        return _status("ok")

    def readyz(self) -> Response:
        """Say whether requests may be sent here: the backend serves, and this gateway does not go away."""
        require_ready(self._readiness)
        return _status("ready")


def _status(status: str) -> Response:
    return Response(orjson.dumps({"status": status}), content_type="application/json")
