"""The spans of a worker, where calls are traced: calls, their items, and where the time of each went."""

import asyncio
import re
from collections.abc import Coroutine, Mapping
from contextvars import ContextVar
from http import HTTPStatus
from typing import Any, TypeVar

from utils.errors import Cancelled, FacetError, InternalError
from utils.tracing import NO_SPAN, Span, Tracer

_span: ContextVar[Span] = ContextVar("span", default=NO_SPAN)
"""Of the call, or the item of one, that the current task answers."""

_MODELS_OWN = re.compile(r"[^/]+(_predict(?:_stream)?)$")
"""Methods with a name of a model in them, which may be any text of a caller's."""
_STAGES = (
    ("queue_ms", "queue"),
    ("decode_ms", "decode"),
    ("detect_ms", "predict"),
    ("predict_ms", "predict"),
    ("extras_ms", "extras"),
)
"""Fields of the log line with times, one after the other, and what is done in them."""
_NUMBERS = ("bytes", "width", "height", "faces", "batch", "items", "failed")
"""Fields of the log line that are attributes, too."""

Answer = TypeVar("Answer")


def begin_call(tracer: Tracer, traceparent: str, began: float) -> str:
    """Begin the span of the current call; gives its trace context from here on.

    Args:
        tracer: Decides whether there is one.
        traceparent: The trace context that it came with.
        began: When it came, of the monotonic clock.
    """
    span, context = tracer.serve(traceparent, began)
    _span.set(span)
    return context


def end_call(
    method: str, code: str, failure: FacetError | None, ended: float, log_fields: Mapping[str, Any]
) -> None:
    """End the span of the current call.

    Args:
        method: The full one, with slashes.
        code: The name of the gRPC status.
        failure: With which it ends.
        ended: When it did, of the monotonic clock.
        log_fields: What its line in the log says.
    """
    span = _span.get()
    if span is NO_SPAN:
        return
    name = _MODELS_OWN.sub(r"*\1", method.removeprefix("/"))
    span.note({"rpc.system.name": "grpc", "rpc.method": name, "rpc.response.status_code": code})
    _note_numbers(span, log_fields)
    if failure is not None:
        fail(failure)
    span.end(name, ended=ended)


def fail(failure: FacetError) -> None:
    """Note the failure that the current call, or item of one, is answered with."""
    _span.get().fail(failure.reason, fault=failure.http_status >= HTTPStatus.INTERNAL_SERVER_ERROR)


async def as_item(answering: Coroutine[Any, Any, Answer]) -> Answer:
    """Answer one of the items of a call, in a task of its own, within a span of its own."""
    span = _span.get().child("item")
    _span.set(span)
    try:
        return await answering
    except asyncio.CancelledError:
        span.fail(Cancelled.reason, fault=False)
        raise
    except Exception as error:
        fail(error if isinstance(error, FacetError) else InternalError())
        raise
    finally:
        span.end()


def add_stages(model: str, received: float, log_fields: Mapping[str, Any]) -> None:
    """Add to the current span where the time of an input went that was answered.

    Args:
        model: Its key.
        received: When the input came, of the monotonic clock.
        log_fields: What the process says of it that has answered it.
    """
    span = _span.get()
    if span is NO_SPAN:
        return
    span.note({"facet.model": model})
    _note_numbers(span, log_fields)
    span.stages(received, [(name, log_fields[key]) for key, name in _STAGES if key in log_fields])


def _note_numbers(span: Span, log_fields: Mapping[str, Any]) -> None:
    span.note({f"facet.{name}": log_fields[name] for name in _NUMBERS if name in log_fields})
