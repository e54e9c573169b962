"""The composition root: settings and client in, a Flask application out."""

import os
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

from flask import Flask, request
from werkzeug.exceptions import NotFound

from gateway import context, problems
from gateway.arrival import BodyRule, Environ
from gateway.backend import Backend
from gateway.routes import add_routes, body_rule
from utils.service_client import ServiceClient
from utils.settings import Settings


class Gateway(Flask):
    """The Flask application, which tells its server what bodies it accepts."""

    def __init__(self, settings: Settings) -> None:
        super().__init__("gateway", static_folder=None)
        self._settings = settings

    def body_rules(self, environ: Environ) -> BodyRule | None:
        """The rule for the body of a request; None where none is wanted.

        Raises:
            FacetError: The head says already why the request cannot be answered.
        """
        return body_rule(environ, self._settings)


def build(settings: Settings | None = None, client: Backend | None = None) -> Flask:
    """As `gateway.create_app`."""
    if settings is None:
        settings = Settings.from_environ(os.environ)
    if client is None:
        client = ServiceClient(
            settings.backend,
            timeout=settings.timeout_seconds,
            max_image_bytes=settings.max_image_bytes,
            max_request_bytes=settings.max_request_bytes,
        )
    app = Gateway(settings)
    # A path with two slashes is another path, not one to be redirected with its body.
    app.url_map.merge_slashes = False
    app.wsgi_app = _rooted(app.wsgi_app)  # type: ignore[method-assign, assignment] # as Flask has it
    app.before_request(context.begin)
    app.before_request(_refuse_other_slashes)
    app.after_request(context.end)
    app.register_error_handler(Exception, partial(problems.answer, backend=settings.backend))
    add_routes(app, client, settings)
    return app


_Application = Callable[[dict[str, Any], Any], Iterable[bytes]]


def _rooted(application: _Application) -> _Application:
    """Take an empty path for the root, as HTTP does; Flask would redirect it, past every handler."""

    def rooted(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:  # noqa: ANN401 - WSGI's
        environ["PATH_INFO"] = environ["PATH_INFO"] or "/"
        return application(environ, start_response)

    return rooted


def _refuse_other_slashes() -> None:
    """Refuse a path that does not begin with one slash, which Werkzeug puts right, but no proxy does."""
    path = request.environ["PATH_INFO"]
    if not path.startswith("/") or path.startswith("//"):
        raise NotFound
