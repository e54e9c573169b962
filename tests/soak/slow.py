"""Slow callers of the gateway, on bare connections."""

import http.client
import json
import socket
import time
from collections.abc import Sequence

from tests.soak.photos import Faces, of_json

_PIECES = 10
_BETWEEN_SECONDS = 0.1


def slow_answers(connections: Sequence[socket.socket], request: bytes) -> list[Faces]:
    """Send a request in pieces over each connection; gives the faces that each was answered with."""
    size = -(-len(request) // _PIECES)
    for start in range(0, len(request), size):
        for connection in connections:
            connection.sendall(request[start : start + size])
        time.sleep(_BETWEEN_SECONDS)  # this is what is slow
    answers = [_read(connection) for connection in connections]
    return [of_json(json.loads(body)["results"]) for _, body in answers]


def stalled(connections: Sequence[socket.socket]) -> list[int]:
    """The statuses that connections are ended with."""
    return [_read(connection)[0] for connection in connections]


def _read(connection: socket.socket) -> tuple[int, bytes]:
    response = http.client.HTTPResponse(connection)
    response.begin()
    return response.status, response.read()
