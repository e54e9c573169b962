"""What surrounds every call: its id, the translation of errors, and one log line."""

import asyncio
import inspect
import logging
import time
from collections.abc import Awaitable, Callable, Container, Mapping
from contextlib import aclosing
from contextvars import ContextVar
from typing import Any, NamedTuple, Protocol

import grpc

from inference_server.api.access import CallAccess, current_caller
from inference_server.api.call_counters import CallCounters
from inference_server.api.messages import MessageReceiver, service_of
from inference_server.api.spans import begin_call, end_call, fail
from utils.credentials import peer_name
from utils.errors import (
    Cancelled,
    Code,
    DeadlineExceeded,
    FacetError,
    InternalError,
    ModelFailed,
    ModelNotReady,
)
from utils.key_counters import NO_KEY
from utils.logs import fields
from utils.metadata import REQUEST_ID, TRACEPARENT, trace_context
from utils.metadata import request_id as accept_request_id
from utils.status import encode_error, error_metadata
from utils.tracing import NO_TRACER, Tracer

logger = logging.getLogger("inference_server.requests")

request_id: ContextVar[str] = ContextVar("request_id", default="")
"""The id of the call that the current task answers."""

traceparent: ContextVar[str] = ContextVar("traceparent", default="")
"""The call's trace context: that which it came with, where no traces are made; empty where there is none."""

_DEADLINE_SKEW_SECONDS = 0.05
"""The caller's own clock began before ours, and gRPC rounds the time up that it sends."""
_NO_RETRY = ("grpc-retry-pushback-ms", "-1")
"""Has gRPC not try again by itself, soon and at the cost of the budget that all calls of a channel share."""
_STATUS_CODES = {code.value[0]: code for code in grpc.StatusCode}
_notes: ContextVar[dict[str, Any]] = ContextVar("notes")
_queue: ContextVar[int | None] = ContextVar("queue", default=None)


def note(**values: Any) -> None:  # noqa: ANN401 - anything a log line can hold
    """Add fields to the log line of the current call."""
    _notes.get().update(values)


def discard_notes() -> None:
    """Add what the current task notes from now on to no log line: it answers one of many items of a call."""
    _notes.set({})


def note_queue(queue: int) -> None:
    """Have the current call counted for the version that this queue is of."""
    _queue.set(queue)


class Answer(NamedTuple):
    """The code and the text with which a call ends that failed."""

    code: Code
    text: str


class CallPolicy(Protocol):
    """Which calls a server lets in, and how it tells of errors."""

    def check(self, metadata: Mapping[str, Any]) -> None:
        """Raise what a call is refused with for what it came with, before its message is received."""

    def answer(self, failure: FacetError) -> Answer:
        """How a caller is told of a failure."""


class FacetPolicy:
    """Facet's: every call is let in, and errors are told as they are."""

    def check(self, metadata: Mapping[str, Any]) -> None:
        """Refuse nothing."""

    def answer(self, failure: FacetError) -> Answer:
        """The error's own code and detail."""
        return Answer(failure.code, failure.detail)


class CallInterceptor(grpc.aio.ServerInterceptor):
    """Surrounds every method of any kind: its messages are received within limits, its errors are ours.

    Args:
        own: Names of the services whose calls are logged; of others, health and reflection, only faults are.
        receiver: Of the messages.
        access: Checks the keys of calls; None where they need none.
        policy: Of the server; None for Facet's own.
        counters: Count the calls that are logged; None where nobody reads them.
        identified: Whether clients show a certificate, whose name is logged.
        tracer: Decides which of them are traced.
    """

    def __init__(
        self,
        own: Container[str],
        receiver: MessageReceiver,
        access: CallAccess | None = None,
        policy: CallPolicy | None = None,
        counters: CallCounters | None = None,
        *,
        identified: bool = False,
        tracer: Tracer = NO_TRACER,
    ) -> None:
        self._own = own
        self._receiver = receiver
        self._access = access or CallAccess(None)
        self._counters = counters or CallCounters.unshared()
        self._policy = policy or FacetPolicy()
        self._identified = identified
        self._tracer = tracer

    async def intercept_service(
        self, continuation: Callable[[Any], Awaitable[Any]], details: grpc.HandlerCallDetails
    ) -> Any:  # noqa: ANN401 - what grpc calls a handler has no type
        """Give grpc the handler of a call, surrounded."""
        handler = await continuation(details)
        if handler is None:
            return None

        # As if its messages were a stream: grpc receives what is none before it asks anybody. And they are
        # parsed in here, because grpc answers one that is no message with INTERNAL.
        async def surrounded(_messages: Any, context: Any) -> Any:  # noqa: ANN401
            return await self._answer(handler, details.method, context)

        streams = handler.response_streaming
        surround = grpc.stream_stream_rpc_method_handler if streams else grpc.stream_unary_rpc_method_handler
        return surround(surrounded, None, handler.response_serializer)

    async def _answer(self, handler: Any, method: str, context: Any) -> Any:  # noqa: ANN401
        metadata = dict(context.invocation_metadata() or ())
        request_id.set(accept_request_id(metadata.get(REQUEST_ID)))
        started = time.monotonic()
        tracer = self._tracer if service_of(method) in self._own else NO_TRACER
        traceparent.set(begin_call(tracer, trace_context(metadata.get(TRACEPARENT)), started))
        _notes.set({"peer": peer_name(context)} if self._identified else {})
        _queue.set(None)
        try:
            self._policy.check(metadata)
            items = handler.request_streaming and service_of(method) in self._own
            self._access.admit(method, metadata, counted=not items)
            reply = await self._run(handler, method, context)
        except asyncio.CancelledError:
            cancellation = _cancellation(context)
            self._log_soon(method, cancellation, cancellation.code, started)
            raise
        except grpc.aio.AbortError:  # by a service that is not ours, which has answered
            raise
        except Exception as error:  # noqa: BLE001 - the last place that can answer the caller
            failure = failure_of(error, method)
            code, text = self._policy.answer(failure)
            self._log_soon(method, failure, code, started)
            status = encode_error(failure)
            status.code, status.message = code.value, text
            trailing = (*error_metadata(status), (REQUEST_ID, request_id.get()))
            if isinstance(failure, (ModelNotReady, ModelFailed)):
                trailing = (*trailing, _NO_RETRY)
            del failure  # with this frame it would keep the message alive until a garbage collection
        else:
            context.set_trailing_metadata(((REQUEST_ID, request_id.get()),))
            self._log_soon(method, None, Code.OK, started)
            return reply
        return await context.abort(_STATUS_CODES[code.value], text, trailing)

    async def _run(self, handler: Any, method: str, context: Any) -> Any:  # noqa: ANN401
        """Receive, and have it answered; gives the answer where it is one message."""
        parse = handler.request_deserializer
        if handler.request_streaming:
            behaviour = handler.stream_stream or handler.stream_unary
            replies = behaviour(self._receiver.each(method, context, parse), context)
        else:
            behaviour = handler.unary_unary or handler.unary_stream
            # Nothing here holds the message any longer than its service does.
            replies = behaviour(await self._receiver.only(method, context, parse), context)
        if not inspect.isasyncgen(replies):
            return await replies
        async with aclosing(replies):  # at once, where the caller has left
            async for reply in replies:
                await context.write(reply)
        return None

    def _log_soon(self, method: str, failure: FacetError | None, code: Code, started: float) -> None:
        """Count it, and write the line, once this task has begun to send its answer, which need not wait."""
        if service_of(method) in self._own:
            asyncio.get_running_loop().call_soon(self._log, method, failure, code, started, time.monotonic())

    def _log(self, method: str, failure: FacetError | None, code: Code, started: float, ended: float) -> None:
        reason, seconds = None if failure is None else failure.reason, ended - started
        caller = current_caller()
        key = NO_KEY if caller.key is None else caller.key.name
        self._counters.called(service_of(method), _queue.get(), reason or "", seconds, key)
        end_call(method, code.name, failure, ended, _notes.get())
        logger.log(
            logging.ERROR if isinstance(failure, InternalError) else logging.INFO,
            "request",
            extra=fields(
                request_id=request_id.get(),
                traceparent=traceparent.get() or None,
                method=method,
                key=caller.name or None,
                gateway=caller.gateway or None,
                status=code.name,
                reason=reason,
                **_notes.get(),
                elapsed_ms=round(seconds * 1000, 3),
            ),
        )


def failure_of(error: Exception, method: str) -> FacetError:
    """What a caller is told: our own errors as they are; of anything else nothing, and the log all."""
    if not isinstance(error, FacetError):
        logger.error("call failed", exc_info=error, extra=fields(request_id=request_id.get(), method=method))
        error = InternalError()
    fail(error)
    return error


def _cancellation(context: Any) -> FacetError:  # noqa: ANN401
    """Why grpc cancelled a call: its caller gave it up, or its deadline passed."""
    remaining = context.time_remaining()
    if remaining is not None and remaining <= _DEADLINE_SKEW_SECONDS:
        return DeadlineExceeded("The request's time ran out.")
    return Cancelled("The caller went away.")
