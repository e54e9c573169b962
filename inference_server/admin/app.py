"""The admin process's HTTP application: what surrounds every request, and the routes."""

import logging
import time
from http import HTTPStatus

from flask import Flask, Response, g, request
from werkzeug.exceptions import HTTPException, InternalServerError

from inference_server.admin.guard import Guard
from inference_server.admin.model_routes import ModelRoutes
from inference_server.admin.service_routes import ServiceRoutes
from inference_server.admin.supervisor_client import Execute
from utils.errors import FacetError, InternalError, MalformedRequest, Unauthenticated
from utils.logs import fields
from utils.metadata import request_id
from utils.problems import CONTENT_TYPE, document, failure_of, header_fields

logger = logging.getLogger(__name__)

_READS = ("GET", "HEAD", "OPTIONS")
_OPEN = "healthz"
"""The route that anybody may ask: it says nothing of the backend."""
_LONGEST_PATH = 200
_ELSEWHERE = "GET /statusz describes the backend; docs/management.md has the other paths."


def create_app(execute: Execute, guard: Guard) -> Flask:
    """The application.

    Args:
        execute: Asks the supervisor.
        guard: Refuses requests.
    """
    app = Flask("inference_server.admin", static_folder=None)
    app.url_map.merge_slashes = False
    app.before_request(_begin)
    app.before_request(lambda: _check(guard))
    app.after_request(_end)
    app.register_error_handler(Exception, _answer)
    ServiceRoutes(execute).add_to(app)
    ModelRoutes(execute).add_to(app)
    return app


def _begin() -> None:
    g.began = time.monotonic()
    g.request_id = request_id(request.headers.get("X-Request-ID"))
    g.reason = None


def _check(guard: Guard) -> None:
    """Refuse what is not to be answered."""
    guard.check_page(request.headers)
    if request.endpoint != _OPEN:
        guard.check_host(request.headers)
        guard.check_token(request.headers.get("Authorization"))
    if request.method not in _READS:
        guard.check_content(request.mimetype)
    if request.query_string:
        raise MalformedRequest("The path has a query; accepted: none")


def _answer(error: Exception) -> Response:
    """A problem document for whatever a request ended with."""
    if isinstance(error, FacetError):
        failure = error
    elif isinstance(error, HTTPException) and not isinstance(error, InternalServerError):
        failure = failure_of(error, request.method, _ELSEWHERE)
    else:
        logger.error("management request failed", exc_info=error, extra=fields(request_id=g.request_id))
        failure = InternalError()
    g.reason = failure.reason
    response = Response(document(failure, g.request_id), failure.http_status, content_type=CONTENT_TYPE)
    response.headers.update(header_fields(failure, error))
    if isinstance(failure, Unauthenticated):
        response.headers["WWW-Authenticate"] = "Bearer"
    return response


def _end(response: Response) -> Response:
    """Name the request in its answer, and write its line: at DEBUG where it has only looked."""
    response.headers["X-Request-ID"] = g.request_id
    response.headers["Cache-Control"] = "no-store"
    response.headers["X-Content-Type-Options"] = "nosniff"
    looked = request.method in _READS and response.status_code < HTTPStatus.BAD_REQUEST
    level = logging.DEBUG if looked else logging.INFO
    if response.status_code == HTTPStatus.INTERNAL_SERVER_ERROR:
        level = logging.ERROR
    line = fields(
        request_id=g.request_id,
        method=request.method,
        path=repr(request.path)[1:-1][:_LONGEST_PATH],
        status=response.status_code,
        reason=g.reason,
        elapsed_ms=round((time.monotonic() - g.began) * 1000, 3),
    )
    logger.log(level, "management request", extra=line)
    return response
