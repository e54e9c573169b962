"""Spans that are exported by OTLP over HTTP, with OpenTelemetry's SDK."""

import logging
import os
import socket
import threading
import time
from collections.abc import Iterable, Mapping, Sequence

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExportResult
from opentelemetry.sdk.trace.sampling import ALWAYS_ON
from opentelemetry.trace import NonRecordingSpan, SpanContext, SpanKind, StatusCode, TraceFlags

from utils.logs import fields
from utils.tracing import FLUSH_SECONDS, NO_SPAN, Sampler, Span, Tracer, Value, is_sampled, unsampled
from utils.version import VERSION

_PAUSE_MILLISECONDS = 1000
"""Between two exports; a process that is killed loses as much."""
_MOST_WAITING = 2048
_MOST_AT_ONCE = 512
_MOST_CHILDREN = 256
"""Parts of one span: a stream may have any number of items."""
_COMPLAINT_SECONDS = 60.0
_LONGEST_REASON = 300

logger = logging.getLogger(__name__)


class _Complaints(logging.Handler):
    """Tells of what goes wrong with exports in lines of ours, of which there are few.

    OpenTelemetry writes one for each attempt, and for each span that has no room.

    Attributes:
        any: Whether there were some since the last export that succeeded.
    """

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.any = False
        self._next = 0.0

    def emit(self, record: logging.LogRecord) -> None:
        self.any = True
        now = time.monotonic()
        if now >= self._next:
            self._next = now + _COMPLAINT_SECONDS
            logger.warning("spans not exported", extra=fields(reason=record.getMessage()[:_LONGEST_REASON]))


class _Exporter(OTLPSpanExporter):
    """Says when a collector takes spans again."""

    def __init__(self, url: str, complaints: _Complaints) -> None:
        super().__init__(url)
        self._complaints = complaints

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        result = super().export(spans)
        if result is SpanExportResult.SUCCESS:
            self._complaints.any = False
        return result


class _OtlpSpan(Span):
    """A span of the SDK's.

    Args:
        tracer: Begins others.
        span: It.
        offset: Nanoseconds from the monotonic clock to that of the world, the same for all of a request.
    """

    __slots__ = ("_children", "_offset", "_span", "_tracer")

    def __init__(self, tracer: trace.Tracer, span: trace.Span, offset: int) -> None:
        self._tracer, self._span, self._offset = tracer, span, offset
        self._children = 0

    @property
    def traceparent(self) -> str:
        context = self._span.get_span_context()
        return f"00-{context.trace_id:032x}-{context.span_id:016x}-01"

    def child(self, name: str, *, began: float | None = None) -> Span:
        if self._children >= _MOST_CHILDREN:
            return NO_SPAN
        self._children += 1
        context = trace.set_span_in_context(self._span)
        span = self._tracer.start_span(name, context, start_time=_nanoseconds(began) + self._offset)
        return _OtlpSpan(self._tracer, span, self._offset)

    def stages(self, began: float, milliseconds: Iterable[tuple[str, float]]) -> None:
        for name, took in milliseconds:
            ended = began + took / 1000
            self.child(name, began=began).end(ended=ended)
            began = ended

    def note(self, values: Mapping[str, Value]) -> None:
        self._span.set_attributes(values)

    def fail(self, reason: str, *, fault: bool) -> None:
        self._span.set_attribute("error.type", reason)
        if fault:
            self._span.set_status(StatusCode.ERROR)

    def end(self, name: str = "", *, ended: float | None = None) -> None:
        if name:
            self._span.update_name(name)
        self._span.end(_nanoseconds(ended) + self._offset)


class OtlpTracer(Tracer):
    """Traces requests, and exports their spans from a thread of its own.

    Args:
        endpoint: Of the collector, without the path.
        service: What this process is a part of.
        sampler: Decides which requests are traced.
    """

    def __init__(self, endpoint: str, service: str, sampler: Sampler) -> None:
        self._sampler, self._complaints = sampler, _Complaints()
        of_opentelemetry = logging.getLogger("opentelemetry")
        of_opentelemetry.handlers, of_opentelemetry.propagate = [self._complaints], False
        self._exporter = _Exporter(f"{endpoint}/v1/traces", self._complaints)
        self._processor = BatchSpanProcessor(
            self._exporter,
            max_queue_size=_MOST_WAITING,
            schedule_delay_millis=_PAUSE_MILLISECONDS,
            max_export_batch_size=_MOST_AT_ONCE,
        )
        provider = TracerProvider(ALWAYS_ON, _resource(service), shutdown_on_exit=False)
        provider.add_span_processor(self._processor)
        self._tracer = provider.get_tracer("facet", VERSION)

    def serve(self, traceparent: str, began: float) -> tuple[Span, str]:
        """As of Tracer."""
        if not self._sampler.samples(traceparent):
            return NO_SPAN, unsampled(traceparent)
        span = self._begin("request", SpanKind.SERVER, traceparent, began)
        return span, span.traceparent

    def call(self, traceparent: str, name: str) -> Span:
        """As of Tracer."""
        if not is_sampled(traceparent):
            return NO_SPAN
        return self._begin(name, SpanKind.CLIENT, traceparent, None)

    def close(self) -> None:
        """As of Tracer; a line in the log says where it could not."""
        if self._complaints.any:
            self._exporter.shutdown()  # type: ignore[no-untyped-call] # ends a pause before another attempt
        # The SDK waits for an export that is under way for as long as that takes.
        closing = threading.Thread(target=self._processor.shutdown, daemon=True)
        closing.start()
        closing.join(FLUSH_SECONDS)
        if closing.is_alive():
            reason = f"the collector has not taken them within {FLUSH_SECONDS:g} s"
            logger.warning("spans not exported", extra=fields(reason=reason))

    def _begin(self, name: str, kind: SpanKind, traceparent: str, began: float | None) -> _OtlpSpan:
        offset = time.time_ns() - time.monotonic_ns()
        start_time = _nanoseconds(began) + offset
        span = self._tracer.start_span(name, _parent(traceparent), kind, start_time=start_time)
        return _OtlpSpan(self._tracer, span, offset)


def _nanoseconds(moment: float | None) -> int:
    """A moment of the monotonic clock; None: now."""
    return time.monotonic_ns() if moment is None else int(moment * 1e9)


def _parent(traceparent: str) -> Context:
    """What a span begins in whose parent is elsewhere; without one it begins a trace."""
    if not traceparent:
        return Context()
    trace_id, span_id = int(traceparent[3:35], 16), int(traceparent[36:52], 16)
    sampled = TraceFlags(TraceFlags.SAMPLED)
    parent = SpanContext(trace_id, span_id, is_remote=True, trace_flags=sampled)
    return trace.set_span_in_context(NonRecordingSpan(parent), Context())


def _resource(service: str) -> Resource:
    """What made the spans, beside what OTEL_RESOURCE_ATTRIBUTES says."""
    instance = f"{socket.gethostname()}-{os.getpid()}"
    about = {"service.name": service, "service.version": VERSION, "service.instance.id": instance}
    return Resource.create(about)
