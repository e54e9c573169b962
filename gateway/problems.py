"""Failures as HTTP answers: the one place where an exception becomes one.

In what form is the application's: an RFC 9457 problem document where it says nothing else.
"""

import logging
from collections.abc import Callable
from http.client import responses
from typing import NamedTuple

from flask import Response, request
from werkzeug.exceptions import HTTPException, InternalServerError

from gateway.arrival import Environ
from gateway.context import REQUEST_ID, RequestContext, current
from gateway.counters import NO_ROUTE
from utils import errors
from utils.errors import FacetError
from utils.logs import fields
from utils.problems import CONTENT_TYPE, SAFE_FIELDS, document, failure_of, header_fields

_ELSEWHERE = "POST /predict finds faces, GET /models lists models; GET / says more."

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
    response.headers.update(_fields_of(failure, error))
    return response


def problem(failure: FacetError, context: RequestContext, **others: str) -> ErrorAnswer:
    """A failure as a problem document, with these other members."""
    body = document(failure, context.request_id, **others)
    return ErrorAnswer(failure.http_status, CONTENT_TYPE, body)


def refusal(
    error: Exception, environ: Environ, error_format: ErrorFormat = problem, route: str = NO_ROUTE
) -> tuple[str, list[tuple[str, str]], bytes]:
    """The answer to a request that the application is not asked for; writes its one line into the log.

    Args:
        error: What the caller is told, if it is a FacetError; others are faults of ours.
        environ: Its WSGI environment, which has nothing but the arrival where its head could not be read.
        error_format: How the application tells it.
        route: The template of its path; NO_ROUTE where there is none.

    Returns:
        Status line, header fields and body.
    """
    context = RequestContext.of(environ)
    context.route = route
    failure = error if isinstance(error, FacetError) else unexpected(error, context.request_id)
    context.note(reason=failure.reason, cause=failure.cause or None)
    status, content_type, body = error_format(failure, context)
    context.log_writer(status)()
    headers = {
        "Content-Type": content_type,
        "Content-Length": str(len(body)),
        "Connection": "close",
        REQUEST_ID: context.request_id,
        **SAFE_FIELDS,
        **context.quota_fields(),
        **_fields_of(failure),
    }
    return f"{status} {responses.get(status, '')}", [*headers.items()], body


def _fields_of(failure: FacetError, error: Exception | None = None) -> dict[str, str]:
    named = header_fields(failure, error)
    if isinstance(failure, errors.UnsupportedContentEncoding):
        named["Accept-Encoding"] = failure.accepted
    return named


def unexpected(error: Exception, name: str | None = None) -> errors.InternalError:
    """Write an exception that is a fault of ours into the log, where alone it belongs."""
    _log.error("request failed", exc_info=error, extra=fields(request_id=name))
    return errors.InternalError()


def _failure(error: Exception) -> FacetError:
    if isinstance(error, FacetError):
        return error
    if isinstance(error, HTTPException) and not isinstance(error, InternalServerError):
        return failure_of(error, request.method, _ELSEWHERE)
    return unexpected(error, current().request_id)
