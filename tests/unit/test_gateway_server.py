"""Rules of the gateway's server that no client can see."""

import inspect
import time
from importlib.metadata import version

import httptools
import pytest
import uvicorn
from flask.testing import FlaskClient
from gunicorn.workers.base import Worker
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState
from werkzeug.test import TestResponse

from gateway.arrival import Arrival
from tests.support.gateway_fakes import FakeBackend, app_for

USED = {
    HttpToolsProtocol: {
        "connection_made", "connection_lost", "data_received", "eof_received", "on_message_begin", "on_url",
        "on_header", "on_headers_complete", "on_body", "on_message_complete", "on_response_complete",
        "shutdown", "expect_100_continue",
        "transport", "flow", "parser", "cycle", "pipeline", "url", "headers", "scope", "server_state",
        "app_state", "loop", "timeout_keep_alive", "_unset_keepalive_if_required",
    },
    RequestResponseCycle: {
        "receive", "send", "body", "more_body", "keep_alive", "response_complete", "message_event",
        "chunked_encoding", "expected_content_length", "disconnected",
    },
    FlowControl: {"resume_reading", "read_paused", "drain"},
    ServerState: {"connections", "tasks", "total_requests", "default_headers"},
    uvicorn.Config: {"load"},
    Worker: {"run", "notify", "alive", "ppid", "sockets", "cfg", "wsgi", "max_requests"},
    httptools.HttpRequestParser: {"feed_data", "get_method", "get_http_version", "should_upgrade"},
}  # fmt: skip
"""What gateway/server uses of other packages, beyond what their documents promise."""


@pytest.mark.parametrize("theirs", USED, ids=lambda theirs: theirs.__name__)
def test_what_is_used_of_other_packages_is_there(theirs: type) -> None:
    """An update that renames something fails here before it fails in production."""
    source = "" if theirs is httptools.HttpRequestParser else inspect.getsource(theirs)
    missing = {name for name in USED[theirs] if not hasattr(theirs, name) and f"self.{name}" not in source}
    assert not missing - {"wsgi"}


def test_the_packages_are_those_that_were_read() -> None:
    """Each other version is to be read before it is pinned."""
    assert (version("uvicorn"), version("httptools")) == ("0.54.0", "0.9.0")


@pytest.mark.parametrize(("header", "since"), [("2", "head"), (None, "body")])
def test_the_time_of_a_request_runs_while_it_waits_for_a_thread(header: str | None, since: str) -> None:
    """From the end of its head where the caller names a time, else from the end of its body."""
    backend = FakeBackend()
    client = app_for(backend, FACET_TIMEOUT_SECONDS="2").test_client()
    now = time.monotonic()
    assert _predict(client, header, Arrival(head_ended=now - 1, body_ended=now - 0.5)).status_code == 200
    [timeout] = backend.timeouts
    assert timeout is not None
    assert timeout <= (1 if since == "head" else 1.5)
    ended = {"head": now - 3, "body": now - 1}
    reply = _predict(client, header, Arrival(head_ended=ended["head"], body_ended=ended["body"]))
    assert reply.status_code == (504 if since == "head" else 200)


def _predict(client: FlaskClient, timeout: str | None, arrival: Arrival) -> TestResponse:
    environ: dict[str, object] = {}
    arrival.add_to(environ)
    headers = {} if timeout is None else {"X-Request-Timeout": timeout}
    return client.post(
        "/predict", data=b"x", content_type="image/jpeg", headers=headers, environ_overrides=environ
    )
