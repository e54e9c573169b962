"""Accepts connections while there is room for them; others wait in the backlog.

uvloop's own server stops listening for good at the first error of accept.
"""

import asyncio
import logging
import socket
import time
from collections.abc import Callable
from typing import Any

from utils.logs import fields

logger = logging.getLogger("gateway")

_PAUSE_SECONDS = 0.1
_COMPLAIN_SECONDS = 1.0
_AT_ONCE = 64
_IDLE_SECONDS = 0.5
"""A connection that was idle for less may have a request on its way."""


class Listener:
    """One listening socket, on the event loop.

    Args:
        sock: The socket; other processes may have it, too.
        protocol: Makes a gateway.server.protocol.Protocol for a new connection.
        connections: Those that there are, which know themselves since when they have been idle.
        most: How many there may be.
    """

    def __init__(
        self,
        sock: socket.socket,
        protocol: Callable[[], asyncio.Protocol],
        connections: Any,  # noqa: ANN401 - uvicorn's
        most: int,
    ) -> None:
        self._sock, self._protocol, self._connections, self._most = sock, protocol, connections, most
        self._loop = asyncio.get_running_loop()
        self._tasks: set[asyncio.Task[object]] = set()
        self._arriving = 0
        self._complain_at = 0.0
        self._listen()

    def _listen(self) -> None:
        if self._sock.fileno() >= 0:
            self._loop.add_reader(self._sock, self._accept)

    def _pause(self) -> None:
        self._loop.remove_reader(self._sock)
        self._loop.call_later(_PAUSE_SECONDS, self._listen)

    def _accept(self) -> bool:
        """Take some of those who wait; gives whether there may be more."""
        for _ in range(_AT_ONCE):
            if not self._has_room():
                self._pause()
                return False
            try:
                connection, _ = self._sock.accept()
            except ConnectionAbortedError:  # the client has left already
                continue
            except BlockingIOError:
                return False
            except OSError as error:
                if time.monotonic() >= self._complain_at:
                    self._complain_at = time.monotonic() + _COMPLAIN_SECONDS
                    logger.error("connection not accepted", extra=fields(reason=error.strerror))
                self._pause()
                return False
            connection.setblocking(False)
            self._arriving += 1
            task: asyncio.Task[object] = self._loop.create_task(
                self._loop.connect_accepted_socket(self._connected, connection)
            )
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        return True

    def _has_room(self) -> bool:
        """Whether there may be another connection, where need be in the place of the one idle longest.

        One whose last answer is still being taken is not idle.
        """
        if len(self._connections) + self._arriving < self._most:
            return True
        idle = (each for each in self._connections if not each.transport.get_write_buffer_size())
        idlest = min(idle, key=lambda connection: connection.idle_since, default=None)
        if idlest is None or idlest.idle_since > time.monotonic() - _IDLE_SECONDS:
            return False
        self._connections.discard(idlest)
        idlest.transport.abort()
        return True

    def _connected(self) -> asyncio.Protocol:
        self._arriving -= 1
        return self._protocol()

    def __len__(self) -> int:
        """How many connections were accepted and are not known yet."""
        return len(self._tasks)

    def close(self) -> None:
        """Take who has connected, and stop listening."""
        while self._accept():
            pass
        self._loop.remove_reader(self._sock)
        self._sock.close()
