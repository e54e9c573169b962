"""The HTTP server: waitress, whose loop is turned from outside, and whose refusals are problem documents."""

import contextlib
import socket
import time
from collections.abc import Callable
from http.client import responses
from typing import Any

from flask import Flask
from waitress import create_server, wasyncore
from waitress.channel import HTTPChannel
from waitress.parser import HTTPRequestParser, ParsingError, TransferEncodingNotImplemented
from waitress.task import ErrorTask, ThreadedTaskDispatcher

from inference_server.admin.supervisor_client import THREADS
from inference_server.catalogue.request_log import begin_request, log_request
from utils import errors
from utils.metadata import request_id
from utils.problems import CONTENT_TYPE, SAFE_FIELDS, document

MAX_BODY_BYTES = 1 << 20
_LONGEST_HEAD = 65536
_CONNECTIONS = 100
_IDLE_SECONDS = 60
_QUIET_SECONDS = 0.5
"""By a connection that was quiet for so long no request is on its way."""
_MOST_DISCARDED = 32 << 20

_REFUSALS: dict[int, Callable[[str], errors.FacetError]] = {
    413: lambda _: errors.BodyTooLarge(f"The body has more bytes than accepted: {MAX_BODY_BYTES}"),
    431: lambda _: errors.HeadTooLarge(f"The head has more bytes than accepted: {_LONGEST_HEAD}"),
    500: lambda _: errors.InternalError(),
    501: errors.UnsupportedTransferCoding,
}
"""By the status that waitress would answer with, and what it would say."""


class HttpServer:
    """Serves applications at sockets that listen, by threads of its own, while `turn` is called.

    Every method is the main thread's.
    """

    def __init__(self) -> None:
        self._map: dict[int, Any] = {}
        self._servers: list[Any] = []
        self._threads = ThreadedTaskDispatcher()
        self._threads.set_thread_count(THREADS)

    def add(self, application: Flask, listener: socket.socket) -> None:
        """Serve an application at a socket that listens."""
        server: Any = create_server(
            application,
            map=self._map,
            _dispatcher=self._threads,
            sockets=[listener],
            connection_limit=_CONNECTIONS,
            channel_timeout=_IDLE_SECONDS,
            log_socket_errors=False,
            max_request_header_size=_LONGEST_HEAD,
            max_request_body_size=MAX_BODY_BYTES,
            ident=None,
        )
        server.channel_class = _Channel
        self._servers.append(server)

    def watch(self, watched: Any) -> None:  # noqa: ANN401 - as waitress has it
        """Turn this, too: an object as `wasyncore.dispatcher` is one."""
        self._map[watched.fileno()] = watched

    def turn(self, seconds: float) -> None:
        """Handle what has come, and wait for it so long at most."""
        self._make_room()
        wasyncore.poll2(seconds, self._map)

    def _make_room(self) -> None:
        """Close the connection that is quiet for longest where no other would be taken."""
        if len(self._map) < _CONNECTIONS:
            return
        quiet = [channel for channel in self._channels if not channel.requests]
        if quiet:
            min(quiet, key=lambda channel: channel.last_activity).handle_close()

    @property
    def _channels(self) -> list[Any]:
        return [channel for server in self._servers for channel in server.active_channels.values()]

    def stop_accepting(self) -> None:
        """Take no further connections; what has come is answered, and ends its connection."""
        for server in self._servers:
            self._map.pop(server.socket.fileno(), None)
            server.adj.closing = True

    @property
    def idle(self) -> bool:
        """Whether no request is answered, and none may be on its way by a connection that is there."""
        since = time.time() - _QUIET_SECONDS
        return not any(
            channel.requests or channel.total_outbufs_len or channel.last_activity > since
            for channel in self._channels
        )


class _Refusal(ErrorTask):  # type: ignore[misc] # waitress has no types
    """The answer to a request of which no application is told."""

    def execute(self) -> None:
        begin_request()
        self.channel.refused = True
        error, name = self.request.error, request_id(None)
        failure = _REFUSALS.get(error.code, errors.MalformedRequest)(
            f"The request cannot be read: {error.body}"
        )
        log_request(time.monotonic(), failure, reads=False, request_id=name, status=failure.http_status)
        body = document(failure, name)
        self.status = f"{failure.http_status} {responses[failure.http_status]}"
        self.response_headers += [("Content-Type", CONTENT_TYPE), *SAFE_FIELDS.items()]
        self.set_close_on_finish()
        self.content_length = len(body)
        self.write(body)


class _Parser(HTTPRequestParser):  # type: ignore[misc]
    """The head of a request, whose body ends where every proxy would say that it ends."""

    def parse_header(self, header_plus: bytes) -> None:
        lines = header_plus.split(b"\r\n")[1:]
        if any(line.startswith((b" ", b"\t")) for line in lines):
            raise ParsingError("A line of the head is folded")
        named = [line.lower().partition(b":") for line in lines]
        codings = [value.strip(b" \t") for name, _, value in named if name == b"transfer-encoding"]
        if codings not in ([], [b"chunked"]):
            raise TransferEncodingNotImplemented("accepted: chunked, once")
        super().parse_header(header_plus)
        if "TRANSFER_ENCODING" in self.headers or (self.chunked and "CONTENT_LENGTH" in self.headers):
            raise ParsingError("Transfer-Encoding is there beside Content-Length, or in HTTP/1.0")
        if getattr(self.adj, "closing", False):
            self.headers["CONNECTION"] = "close"


class _Channel(HTTPChannel):  # type: ignore[misc]
    """A connection.

    After a refusal it is read on, up to a limit, until the client has closed it. Closed at once,
    while bytes of a body come, it would be reset, and the client might never read why.
    """

    parser_class = _Parser
    error_task_class = _Refusal
    refused = False
    _left_to_discard = 0

    def handle_close(self) -> None:
        if self.refused:
            self.refused = self.will_close = False
            self._left_to_discard = _MOST_DISCARDED
            with contextlib.suppress(OSError):  # the client has gone
                self.socket.shutdown(socket.SHUT_WR)
                return
        super().handle_close()

    def received(self, data: bytes) -> bool:
        if not self._left_to_discard:
            return bool(super().received(data))
        self._left_to_discard = max(self._left_to_discard - len(data), 0)
        if not self._left_to_discard:
            self.handle_close()
        return False
