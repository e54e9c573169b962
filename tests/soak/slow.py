"""Slow callers of the gateway, on bare connections."""

import http.client
import json
import socket
import time
from collections.abc import Callable, Sequence

from tests.soak.photos import Faces, of_json

_PIECES = 10
_BETWEEN_SECONDS = 0.1


def slow_answers(
    connections: Sequence[socket.socket],
    request: bytes,
    *,
    until: Callable[[], bool] = lambda: True,
    ending: int | None = None,
) -> list[Faces]:
    """Send a request in pieces over each connection; gives the faces that each was answered with.

    Args:
        connections: To the gateway.
        request: With its head.
        until: The last piece is sent byte by byte as long as this is false.
        ending: How many connections send all of it, and are answered; by default all.
    """
    size = -(-len(request) // _PIECES)
    last = size * (_PIECES - 1)
    for start in range(0, last, size):
        _send_slowly(connections, request[start : start + size])
    while not until() and last < len(request) - 1:
        _send_slowly(connections, request[last : last + 1])
        last += 1
    answered = connections[:ending]
    _send_slowly(answered, request[last:])
    return [of_json(json.loads(body)["results"]) for _, body in map(_read, answered)]


def _send_slowly(connections: Sequence[socket.socket], piece: bytes) -> None:
    for connection in connections:
        connection.sendall(piece)
    time.sleep(_BETWEEN_SECONDS)  # this is what is slow


def stalled(connections: Sequence[socket.socket]) -> list[int]:
    """The statuses that connections are ended with."""
    return [_read(connection)[0] for connection in connections]


def _read(connection: socket.socket) -> tuple[int, bytes]:
    response = http.client.HTTPResponse(connection)
    response.begin()
    return response.status, response.read()
