"""A collector of traces for tests: what OTLP over HTTP sends it, it keeps."""

import contextlib
import gzip
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tests.support.processes import wait_until

SERVER, CLIENT, INTERNAL = 2, 3, 1
"""Kinds of spans."""
ERROR = 2
"""The status of a span that has ended with a fault."""


@dataclass(frozen=True)
class Span:
    """A span as it came, with ids in hex, and times in nanoseconds since 1970."""

    service: str
    trace: str
    id: str
    parent: str
    name: str
    kind: int
    began: int
    ended: int
    status: int
    attributes: dict[str, Any]


class Collector:
    """What has come so far, and how what comes is answered: by `status`, once `open` is set."""

    def __init__(self) -> None:
        self.status = 200
        self.open = threading.Event()
        self.open.set()
        self.spans: list[Span] = []
        self.exports = 0
        self._port = 0
        self._stack = contextlib.ExitStack()
        self.listen()

    @property
    def url(self) -> str:
        """Where it listens, or has listened."""
        return f"http://127.0.0.1:{self._port}"

    def listen(self) -> None:
        """Begin to take exports, where it has listened before, if it has."""
        server = ThreadingHTTPServer(("127.0.0.1", self._port), partial(_Handler, self))
        self._port = server.server_port
        serving = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        serving.start()
        for end in (server.server_close, serving.join, server.shutdown):
            self._stack.callback(end)

    def leave(self) -> None:
        """Listen no more."""
        self._stack.close()

    def take(self, body: bytes) -> None:
        """Keep the spans of an export."""
        self.exports += 1
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            service = _values(resource.resource.attributes)["service.name"]
            for scope in resource.scope_spans:
                self.spans += [_span(service, span) for span in scope.spans]

    def of(self, trace: str) -> list[Span]:
        """The spans of a trace that have come."""
        return [span for span in list(self.spans) if span.trace == trace]

    def wait_for(self, trace: str, *paths: str) -> dict[str, Span]:
        """The spans of a trace, once there are these and no others, each within its parent's time.

        Args:
            trace: Its id.
            *paths: The names of each span and its parents, such as `request > call`; as often as there are
                such spans.

        Returns:
            A span for each path.
        """
        wanted = sorted(paths)
        try:
            wait_until(lambda: sorted(map(self._path, self.of(trace))) == wanted, "spans")
        except AssertionError:
            assert sorted(map(self._path, self.of(trace))) == wanted  # which shows what there is
        spans = self.of(trace)
        by_id = {span.id: span for span in spans}
        for span in spans:
            parent = by_id.get(span.parent, span)
            assert parent.began <= span.began <= span.ended <= parent.ended, (parent, span)
        return {self._path(span): span for span in spans}

    def _path(self, span: Span) -> str:
        parents = [one for one in self.of(span.trace) if one.id == span.parent]
        return " > ".join([*map(self._path, parents), span.name])


def _values(attributes: Any) -> dict[str, Any]:  # noqa: ANN401 - repeated KeyValue
    return {one.key: getattr(one.value, str(one.value.WhichOneof("value"))) for one in attributes}


def _span(service: str, span: Any) -> Span:  # noqa: ANN401 - a span of OTLP
    return Span(
        service,
        span.trace_id.hex(),
        span.span_id.hex(),
        span.parent_span_id.hex(),
        span.name,
        span.kind,
        span.start_time_unix_nano,
        span.end_time_unix_nano,
        span.status.code,
        _values(span.attributes),
    )


class _Handler(BaseHTTPRequestHandler):
    def __init__(self, collecting: Collector, *arguments: Any) -> None:  # noqa: ANN401 - as its base has them
        self._collecting = collecting
        super().__init__(*arguments)

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self._collecting.open.wait()
        assert self.path == "/v1/traces"
        if self._collecting.status == 200:
            packed = self.headers.get("Content-Encoding") == "gzip"
            self._collecting.take(gzip.decompress(body) if packed else body)
        with contextlib.suppress(ConnectionError):  # who sent it has ended
            self.send_response(self._collecting.status)
            self.send_header("Content-Length", "0")
            self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@contextlib.contextmanager
def collector() -> Iterator[Collector]:
    """One that listens."""
    collecting = Collector()
    try:
        yield collecting
    finally:
        collecting.open.set()
        collecting.leave()
