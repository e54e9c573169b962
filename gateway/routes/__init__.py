"""The paths of the gateway, one module for each resource. A view is: parse, call, answer.

faces           POST /predict and /predict/annotated
batches         POST /predict/batch
models          /models and what is below it
oip             the Open Inference Protocol, /v2 and what is below it
description     /openapi.json, the page /docs, and the release
service         the gateway's health
page            / for people: a page, and its files
torchserve      TorchServe's inference API, which is another application
metrics         what the processes have counted, another application, too
backend_calls   what views share that call the backend
model_calls     what views share that call models
"""

import re

from flask import Flask

from gateway.access import Need
from gateway.arrival import BodyRule, Environ
from gateway.backend import Backend
from gateway.context import RequestContext
from gateway.problems import ErrorAnswer, problem
from gateway.readiness import Readiness
from gateway.routes import batches, faces, models, oip
from gateway.routes.backend_calls import Permits
from gateway.routes.batches import BatchRoutes
from gateway.routes.faces import FaceRoutes
from gateway.routes.model_calls import ModelCalls
from gateway.routes.models import ModelRoutes
from gateway.routes.oip import InferenceProtocolRoutes
from gateway.routes.page import PageRoutes
from gateway.routes.service import ServiceRoutes
from utils.api_keys import MANAGE, PREDICT
from utils.errors import FacetError
from utils.settings import Settings


def add_routes(
    app: Flask, backend: Backend, permits: Permits, calls: ModelCalls, readiness: Readiness
) -> None:
    """Give the main application all its paths."""
    FaceRoutes(backend, calls.settings, permits).add_to(app)
    BatchRoutes(backend, calls.settings, permits).add_to(app)
    ModelRoutes(calls).add_to(app)
    ServiceRoutes(readiness).add_to(app)
    PageRoutes().add_to(app)
    if calls.settings.oip:
        InferenceProtocolRoutes(calls, readiness).add_to(app)


def body_rule(environ: Environ, settings: Settings) -> BodyRule | None:
    """As `gateway.app.Gateway.body_rules`."""
    return (
        faces.body_rule(environ, settings)
        or batches.body_rule(environ, settings)
        or models.body_rule(environ, settings)
        or oip.body_rule(environ, settings)
    )


_OPEN = re.compile(
    r"/|/page(?:/.*)?|/docs(?:/.*)?|/openapi\.json|/version|/healthz|/readyz|/v2/health/(?:live|ready)"
)
"""Paths that need no key: what there is, and what probes ask."""


def need_of(environ: Environ) -> Need | None:
    """As `gateway.access.RequestAccess` has it; a path that there is not needs a key, too."""
    path = environ["PATH_INFO"]
    if _OPEN.fullmatch(path):
        return None
    if path == batches.PATH:
        return Need(PREDICT, counted=False)  # each of its pictures is
    return Need(MANAGE if oip.is_change(path) else PREDICT)


def error_answer(failure: FacetError, context: RequestContext) -> ErrorAnswer:
    """As `gateway.app.Gateway.error_format` of the main application."""
    answer = oip.error_answer if oip.is_of_protocol(context.environ) else problem
    return answer(failure, context)
