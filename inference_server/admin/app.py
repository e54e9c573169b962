"""The admin process's HTTP application: who may ask it, how it tells of failures, and the routes."""

from flask import Flask, Response, g, request

from inference_server.admin.application import READS, new_application
from inference_server.admin.model_routes import ModelRoutes
from inference_server.admin.service_routes import ServiceRoutes
from inference_server.admin.supervisor_client import Execute
from inference_server.dispatch.stats import SharedStats
from utils.api_keys import METRICS
from utils.errors import Code, FacetError, MalformedRequest
from utils.guard import Guard
from utils.problems import CONTENT_TYPE, document, header_fields

_OPEN = "healthz"
"""The route that anybody may ask: it says nothing of the backend."""
_METRICS = "metrics"
"""The route for which a key of a scope of its own does."""


def create_app(execute: Execute, guard: Guard, stats: SharedStats) -> Flask:
    """The application.

    Args:
        execute: Asks the supervisor.
        stats: What all processes share.
        guard: Refuses requests.
    """
    app = new_application("inference_server.admin", lambda: _check(guard), _tell)
    ServiceRoutes(execute, stats).add_to(app)
    ModelRoutes(execute).add_to(app)
    return app


def _check(guard: Guard) -> None:
    """Refuse what is not to be answered."""
    guard.check_page(request.headers)
    if request.endpoint != _OPEN:
        guard.check_host(request.headers)
        authorization, looks = request.headers.get("Authorization"), request.method in READS
        guard.admit(
            g.caller, authorization, looks=looks, also=METRICS if request.endpoint == _METRICS else ""
        )
    if request.method not in READS:
        guard.check_content(request.mimetype)
    if request.query_string:
        raise MalformedRequest("The path has a query; accepted: none")


def _tell(failure: FacetError, error: Exception) -> Response:
    """A problem document."""
    response = Response(document(failure, g.request_id), failure.http_status, content_type=CONTENT_TYPE)
    response.headers.update(header_fields(failure, error))
    if failure.code is Code.UNAUTHENTICATED and request.method in READS:  # a browser asks its reader
        response.headers.add("WWW-Authenticate", 'Basic realm="Facet: the key as password"')
    return response
