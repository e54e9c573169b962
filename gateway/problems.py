"""Failures as RFC 9457 problem documents: the one place where an exception becomes an HTTP answer."""

import logging
import math

import orjson
from flask import Response
from werkzeug.exceptions import HTTPException, InternalServerError, MethodNotAllowed, NotFound

from gateway import exchange
from utils import errors
from utils.errors import FacetError
from utils.logs import fields

CONTENT_TYPE = "application/problem+json"

_log = logging.getLogger("gateway")


def answer(error: Exception) -> Response:
    """What the caller is told of any exception that a request ended with."""
    failure = _failure(error)
    here = exchange.current()
    here.note(reason=failure.reason, cause=failure.cause or None)
    response = Response(
        document(failure, here.request_id), status=failure.http_status, content_type=CONTENT_TYPE
    )
    if failure.retry_after is not None:
        response.headers["Retry-After"] = str(max(1, math.ceil(failure.retry_after)))
    if isinstance(error, MethodNotAllowed) and error.valid_methods is not None:
        response.headers["Allow"] = ", ".join(sorted(error.valid_methods))
    return response


def document(failure: FacetError, request_id: str) -> bytes:
    """What the caller of this request is told of a failure."""
    members = {
        "type": f"urn:facet:problem:{failure.reason.lower().replace('_', '-')}",
        "title": failure.title,
        "status": failure.http_status,
        "detail": failure.detail,
        "reason": failure.reason,
        "request_id": request_id,
        "message": failure.detail,
    }
    if failure.field is not None:
        members["field"] = failure.field
    return orjson.dumps(members)


def unexpected(error: Exception, request_id: str) -> errors.InternalError:
    """Write an exception that is a fault of ours into the log, where alone it belongs."""
    _log.error("request failed", exc_info=error, extra=fields(request_id=request_id))
    return errors.InternalError()


def _failure(error: Exception) -> FacetError:
    if isinstance(error, FacetError):
        return error
    if isinstance(error, NotFound):
        return errors.RouteNotFound(
            "There is nothing at this path. POST /predict finds faces; GET / says more."
        )
    if isinstance(error, MethodNotAllowed):
        return errors.MethodNotAllowed(
            "This path does not take this HTTP method; Allow names those it takes."
        )
    if isinstance(error, HTTPException) and not isinstance(error, InternalServerError):
        return errors.MalformedRequest(error.description or "The request cannot be read.")
    return unexpected(error, exchange.current().request_id)
