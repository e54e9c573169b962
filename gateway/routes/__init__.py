"""The paths of the gateway, one module for each resource. A view is: parse, call, answer.

faces           POST /predict
models          /models and what is below it
service         the gateway itself: / and its health
backend_calls   what views share that call the backend
"""

from flask import Flask

from gateway.arrival import BodyRule, Environ
from gateway.backend import Backend
from gateway.routes import faces, models
from gateway.routes.backend_calls import Permits
from gateway.routes.faces import FaceRoutes
from gateway.routes.models import ModelRoutes
from gateway.routes.service import ServiceRoutes
from utils.settings import Settings


def add_routes(app: Flask, backend: Backend, settings: Settings) -> None:
    """Give the application all its paths."""
    permits = Permits(settings)
    FaceRoutes(backend, settings, permits).add_to(app)
    ModelRoutes(backend, settings, permits).add_to(app)
    ServiceRoutes(backend).add_to(app)


def body_rule(environ: Environ, settings: Settings) -> BodyRule | None:
    """As `gateway.app.Gateway.body_rules`."""
    return faces.body_rule(environ, settings) or models.body_rule(environ, settings)
