"""Failures as HTTP answers: the one place where an exception becomes one.

In what form is the application's: an RFC 9457 problem document where it says nothing else.
"""

import logging
import math
from collections.abc import Callable
from http.client import responses
from typing import NamedTuple

import orjson
from flask import Response, request
from werkzeug.exceptions import HTTPException, InternalServerError, MethodNotAllowed, NotFound

from gateway.arrival import Environ
from gateway.context import REQUEST_ID, RequestContext, current
from gateway.forms import compression
from utils import errors
from utils.errors import FacetError, shown
from utils.logs import fields

CONTENT_TYPE = "application/problem+json"

_log = logging.getLogger("gateway")


class ErrorAnswer(NamedTuple):
    """What the caller of a failed request gets, beside header fields."""

    status: int
    content_type: str
    body: bytes


ErrorFormat = Callable[[FacetError, RequestContext], ErrorAnswer]
"""How an application tells a failure."""


def answer(error: Exception, backend: str, error_format: ErrorFormat) -> Response:
    """What the caller is told of any exception that a request ended with.

    The backend's address is for the log alone: callers may be strangers.
    """
    failure = _failure(error)
    context = current()
    context.note(
        reason=failure.reason,
        cause=failure.cause or None,
        backend=backend if isinstance(failure, errors.BackendUnavailable) else None,
    )
    status, content_type, body = error_format(failure, context)
    response = Response(body, status=status, content_type=content_type)
    response.headers.update(_fields_of(failure))
    if isinstance(error, MethodNotAllowed):
        response.headers["Allow"] = _methods(error)
    return response


def problem(failure: FacetError, context: RequestContext, **others: str) -> ErrorAnswer:
    """A failure as a problem document, with these other members."""
    members = {
        "type": f"urn:facet:problem:{failure.reason.lower().replace('_', '-')}",
        "title": failure.title,
        "status": failure.http_status,
        "detail": failure.detail,
        "reason": failure.reason,
        "request_id": context.request_id,
        "message": failure.detail,
        **others,
    }
    if failure.field is not None:
        members["field"] = failure.field
    return ErrorAnswer(failure.http_status, CONTENT_TYPE, orjson.dumps(members))


def refusal(
    error: Exception, environ: Environ, error_format: ErrorFormat = problem
) -> tuple[str, list[tuple[str, str]], bytes]:
    """The answer to a request that the application is not asked for; writes its one line into the log.

    Args:
        error: What the caller is told, if it is a FacetError; others are faults of ours.
        environ: Its WSGI environment, which has nothing but the arrival where its head could not be read.
        error_format: How the application tells it.

    Returns:
        Status line, header fields and body.
    """
    context = RequestContext.of(environ)
    failure = error if isinstance(error, FacetError) else unexpected(error, context.request_id)
    context.note(reason=failure.reason)
    status, content_type, body = error_format(failure, context)
    context.log_writer(status)()
    headers = {
        "Content-Type": content_type,
        "Content-Length": str(len(body)),
        "Connection": "close",
        REQUEST_ID: context.request_id,
        **_fields_of(failure),
    }
    return f"{status} {responses.get(status, '')}", [*headers.items()], body


def _fields_of(failure: FacetError) -> dict[str, str]:
    """Header fields that say what would help."""
    named = {}
    if failure.retry_after is not None:
        named["Retry-After"] = str(max(1, math.ceil(failure.retry_after)))
    if isinstance(failure, errors.UnsupportedContentEncoding):
        named["Accept-Encoding"] = compression.ACCEPTED
    return named


def unexpected(error: Exception, name: str | None = None) -> errors.InternalError:
    """Write an exception that is a fault of ours into the log, where alone it belongs."""
    _log.error("request failed", exc_info=error, extra=fields(request_id=name))
    return errors.InternalError()


def _failure(error: Exception) -> FacetError:
    if isinstance(error, FacetError):
        return error
    if isinstance(error, NotFound):
        return errors.RouteNotFound(
            "There is nothing at this path. POST /predict finds faces, GET /models lists models; "
            "GET / says more."
        )
    if isinstance(error, MethodNotAllowed):
        return errors.MethodNotAllowed(
            f"This path does not take {shown(request.method)}; accepted: {_methods(error)}."
        )
    if isinstance(error, HTTPException) and not isinstance(error, InternalServerError):
        return errors.MalformedRequest(error.description or "The request cannot be read.")
    return unexpected(error, current().request_id)


def _methods(error: MethodNotAllowed) -> str:
    return ", ".join(sorted(error.valid_methods or ()))
