"""Web servers of a test's own: one that answers what the test says, and any other."""

import contextlib
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple


class Canned(NamedTuple):
    """An answer, whose headers are named in lower case; some of them have no effect."""

    status: int
    body: bytes
    headers: Mapping[str, str]


@dataclass
class Stub:
    """A running server.

    Attributes:
        address: Where it is.
        answers: To the next requests, one after the other.
        requests: The headers of those that came, named in lower case.
    """

    address: str = ""
    answers: list[Canned] = field(default_factory=list)
    requests: list[dict[str, str]] = field(default_factory=list)


@contextlib.contextmanager
def serving(handler: Callable[..., BaseHTTPRequestHandler]) -> Iterator[str]:
    """A web server of this handler; gives its origin."""
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


@contextlib.contextmanager
def http_stub(*answers: Canned) -> Iterator[Stub]:
    """A server with these answers to POST."""
    stub = Stub(answers=[*answers])

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            stub.requests.append({name.lower(): value for name, value in self.headers.items()})
            status, body, headers = stub.answers.pop(0)
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            for name in ("Content-Type", "Retry-After"):
                if value := headers.get(name.lower()):
                    self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_arguments: object) -> None:
            """Print nothing."""

    with serving(Handler) as origin:
        stub.address = origin.removeprefix("http://")
        yield stub
