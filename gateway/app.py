"""The composition root: settings and client in, a Flask application out."""

import os

from flask import Flask

from gateway import exchange, problems
from gateway.routes import Backend, Routes
from utils.service_client import ServiceClient
from utils.settings import Settings


def build(settings: Settings | None = None, client: Backend | None = None) -> Flask:
    """As `gateway.create_app`."""
    if settings is None:
        settings = Settings.from_environ(os.environ)
    if client is None:
        client = ServiceClient(
            settings.backend,
            timeout=settings.timeout_seconds,
            max_image_bytes=settings.max_image_bytes,
        )
    app = Flask("gateway", static_folder=None)
    # A path with two slashes is another path, not one to be redirected with its body.
    app.url_map.merge_slashes = False
    app.before_request(exchange.begin)
    app.after_request(exchange.end)
    app.register_error_handler(Exception, problems.answer)
    Routes(client, settings).add_to(app)
    return app
