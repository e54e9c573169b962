"""Accepts connections while there is room for them; others wait in the backlog.

uvloop's own server stops listening for good at the first error of accept.
"""

import asyncio
import logging
import socket
import time
from collections.abc import Callable

from utils.logs import fields

logger = logging.getLogger("gateway")

_PAUSE_SECONDS = 0.1
_COMPLAIN_SECONDS = 1.0
_AT_ONCE = 64


class Listener:
    """One listening socket, on the event loop.

    Args:
        sock: The socket; other processes may have it, too.
        protocol: Makes a protocol for a new connection.
        has_room: Whether there may be another connection, beside so many that are accepted already.
    """

    def __init__(
        self, sock: socket.socket, protocol: Callable[[], asyncio.Protocol], has_room: Callable[[int], bool]
    ) -> None:
        self._sock, self._protocol, self._has_room = sock, protocol, has_room
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
            if not self._has_room(self._arriving):
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

    def _connected(self) -> asyncio.Protocol:
        self._arriving -= 1
        return self._protocol()

    def close(self) -> None:
        """Take who has connected, and stop listening."""
        while self._accept():
            pass
        self._loop.remove_reader(self._sock)
        self._sock.close()
