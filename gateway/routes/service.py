"""The gateway itself: whether it lives, whether it can be used, and how."""

import orjson
from flask import Flask, Response, request

from gateway.forms.hints import curl_lines
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
        app.add_url_rule("/", view_func=self.index)

    def healthz(self) -> Response:
        """Say that this process lives. It asks nobody."""
        return _status("ok")

    def readyz(self) -> Response:
        """Say whether requests may be sent here: the backend serves, and this gateway does not go away."""
        require_ready(self._readiness)
        return _status("ready")

    def index(self) -> Response:
        """Say what this is, how to use it, and where to read on."""
        faces = "\n".join(f"    {line}" for line in curl_lines(request.host))
        text = (
            f"Facet finds faces:\n\n{faces}\n\n"
            f"and serves other models, of which it has a list:\n\n    curl http://{request.host}/models\n\n"
            f"All paths: http://{request.host}/docs\n\n"
            "Documentation: README.md and docs/ of the repository.\n"
        )
        return Response(text, content_type="text/plain; charset=utf-8")


def _status(status: str) -> Response:
    return Response(orjson.dumps({"status": status}), content_type="application/json")
