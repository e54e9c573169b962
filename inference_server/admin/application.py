"""What every application of the admin process has: an id, a check and a log line for each request."""

import logging
import time
from collections.abc import Callable

from flask import Flask, Response, g, request
from werkzeug.exceptions import HTTPException, InternalServerError

from inference_server.catalogue.request_log import begin_request, log_request
from utils.access import Caller
from utils.errors import FacetError, InternalError
from utils.logs import fields
from utils.metadata import request_id
from utils.problems import SAFE_FIELDS, failure_of

logger = logging.getLogger(__name__)

READS = ("GET", "HEAD", "OPTIONS")
_LONGEST_PATH = 200
_ELSEWHERE = "GET /statusz describes the backend; docs/management.md has the other paths."

Tell = Callable[[FacetError, Exception], Response]
"""The answer that tells of a failure, and of what was raised."""


def new_application(name: str, check: Callable[[], None], tell: Tell) -> Flask:
    """An application without routes, which checks, answers and logs its requests.

    Args:
        name: Its own.
        check: Raises what a request is refused with.
        tell: Makes the answer of a failure.
    """
    app = Flask(name, static_folder=None)
    app.url_map.merge_slashes = False
    app.before_request(_begin)
    app.before_request(check)
    app.after_request(_end)
    app.register_error_handler(Exception, lambda error: _answer(error, tell))
    return app


def _begin() -> None:
    begin_request()
    g.began = time.monotonic()
    g.request_id = request_id(request.headers.get("X-Request-ID"))
    g.failure = None
    g.caller = Caller()


def _answer(error: Exception, tell: Tell) -> Response:
    """The answer to whatever a request ended with."""
    if isinstance(error, FacetError):
        failure = error
    elif isinstance(error, HTTPException) and not isinstance(error, InternalServerError):
        failure = failure_of(error, request.method, _ELSEWHERE)
    else:
        logger.error("management request failed", exc_info=error, extra=fields(request_id=g.request_id))
        failure = InternalError()
    g.failure = failure
    return tell(failure, error)


def _end(response: Response) -> Response:
    """Name the request in its answer, and write its line."""
    response.headers["X-Request-ID"] = g.request_id
    response.headers.update(SAFE_FIELDS)
    log_request(
        g.began,
        g.failure,
        reads=request.method in READS,
        request_id=g.request_id,
        method=request.method,
        path=repr(request.path)[1:-1][:_LONGEST_PATH],
        status=response.status_code,
        key=g.caller.name or None,
    )
    return response
