"""The spans of the gateway, where requests are traced: each request, and each call of the backend for it."""

from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Unpack

from gateway.backend import BackendClient
from utils.call_options import CallOptions
from utils.calls import Call, T
from utils.cancellation import Cancellation
from utils.errors import FacetError, InternalError
from utils.tracing import NO_SPAN, Tracer

if TYPE_CHECKING:
    from gateway.context import RequestContext

_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE"})
_OTHER_METHOD = "_OTHER"
_NUMBERS = ("body_bytes", "bytes", "width", "height", "faces", "items", "failed")
"""Fields of the log line that are attributes, too."""


def end_request(context: "RequestContext", status: int, ended: float) -> None:
    """End the span of a request.

    Args:
        context: The request's.
        status: Of its answer.
        ended: When that was made, of the monotonic clock.
    """
    span, arrival = context.span, context.arrival
    if span is NO_SPAN:
        return
    if arrival.body_ended > arrival.head_ended:
        span.child("receive body", began=arrival.head_ended).end(ended=arrival.body_ended)
    came_as = context.environ.get("REQUEST_METHOD")
    method = came_as if came_as in _METHODS else _OTHER_METHOD
    span.note({"http.request.method": method, "http.response.status_code": status})
    if context.route:
        span.note({"http.route": context.route})
    log_fields = context.log_fields
    span.note({f"facet.{name}": log_fields[name] for name in _NUMBERS if name in log_fields})
    if "reason" in log_fields:
        span.fail(log_fields["reason"], fault=status >= HTTPStatus.INTERNAL_SERVER_ERROR)
    span.end(f"{method} {context.route}".rstrip(), ended=ended)


class TracedClient(BackendClient):
    """A client whose calls have spans, where the requests are traced for which they are made.

    Args:
        tracer: Begins the spans.
        target: As of ServiceClient, and so are all others.
        **others: The same.
    """

    def __init__(self, tracer: Tracer, target: str, **others: Any) -> None:  # noqa: ANN401
        super().__init__(target, **others)
        self._tracer = tracer

    def _make(
        self, call: Call[T], *, cancellation: Cancellation | None = None, **options: Unpack[CallOptions]
    ) -> T:
        name = call.rpc.path.removeprefix("/")
        span = self._tracer.call(options.get("traceparent", ""), name)
        if span is NO_SPAN:
            return super()._make(call, cancellation=cancellation, **options)
        options["traceparent"] = span.traceparent
        span.note({"rpc.system.name": "grpc", "rpc.method": name})
        try:
            answer = super()._make(call, cancellation=cancellation, **options)
        except Exception as error:
            failure = error if isinstance(error, FacetError) else InternalError()
            span.note({"rpc.response.status_code": failure.code.name})
            span.fail(failure.reason, fault=True)
            raise
        else:
            span.note({"rpc.response.status_code": "OK"})
            return answer
        finally:
            span.end()
