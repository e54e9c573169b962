"""Failures as RFC 9457 problem documents: what every HTTP endpoint answers with."""

import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import orjson
from werkzeug.exceptions import HTTPException, MethodNotAllowed, NotFound

from utils import errors
from utils.errors import FacetError, shown

CONTENT_TYPE = "application/problem+json"
SAFE_FIELDS: Mapping[str, str] = MappingProxyType(
    {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
)
"""Header fields of every answer, of any HTTP endpoint: nobody keeps it, unless it says otherwise itself, and
no browser takes it for another type than it says."""


def document(failure: FacetError, name: str, **others: str) -> bytes:
    """What the caller of the request of this id is told of a failure, with these other members."""
    return orjson.dumps(members(failure, name, **others))


def members(failure: FacetError, name: str, **others: str) -> dict[str, Any]:
    """The same, as what there is to be written."""
    told: dict[str, Any] = {
        "type": f"urn:facet:problem:{failure.reason.lower().replace('_', '-')}",
        "title": failure.title,
        "status": failure.http_status,
        "detail": failure.detail,
        "reason": failure.reason,
        "request_id": name,
        "message": failure.detail,
        **others,
    }
    if failure.field is not None:
        told["field"] = failure.field
    return told


def retry_after(seconds: float) -> int:
    """A delay as Retry-After has it."""
    return max(1, math.ceil(seconds))


def header_fields(failure: FacetError, error: Exception | None = None) -> dict[str, str]:
    """Header fields of its answer that say what would help.

    Args:
        failure: What the caller is told.
        error: What was raised.
    """
    named = {}
    if failure.retry_after is not None:
        named["Retry-After"] = str(retry_after(failure.retry_after))
    if failure.code is errors.Code.UNAUTHENTICATED:
        named["WWW-Authenticate"] = "Bearer"
    if isinstance(error, MethodNotAllowed):
        named["Allow"] = _methods(error)
    return named


def failure_of(error: HTTPException, method: str, elsewhere: str) -> FacetError:
    """What is meant by an exception of Werkzeug's, which is no fault of ours.

    Args:
        error: The exception.
        method: Of the request.
        elsewhere: What a caller is told who asked for a path where nothing is.
    """
    if isinstance(error, NotFound):
        return errors.RouteNotFound(f"There is nothing at this path. {elsewhere}")
    if isinstance(error, MethodNotAllowed):
        return errors.MethodNotAllowed(
            f"This path does not take {shown(method)}; accepted: {_methods(error)}."
        )
    return errors.MalformedRequest(error.description or "The request cannot be read.")


def _methods(error: MethodNotAllowed) -> str:
    return ", ".join(sorted(error.valid_methods or ()))
