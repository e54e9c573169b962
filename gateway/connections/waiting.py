"""Connections that wait for their clients, each for a limited time, and threads that wait for them.

All idle threads wait in the kernel for all connections at once (epoll). One that becomes readable wakes one
thread, the one that was busy last, and is nobody else's until that thread lets it wait again or closes it.
"""

import select
import threading
from collections.abc import Callable

from gateway.connections.connection import Connection

_NOTHING = select.EPOLLONESHOT
_READABLE = select.EPOLLIN | select.EPOLLONESHOT
_WRITABLE = select.EPOLLOUT | select.EPOLLONESHOT

SeeTo = Callable[[Connection], None]
"""Sees to a connection that is the caller's own."""


class Waiting:
    """All connections of a process that nobody sees to just now. Times are of the monotonic clock."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._lock = threading.Lock()
        # In the order in which they began to wait.
        self._connections: dict[int, tuple[Connection, SeeTo, SeeTo, bool]] = {}

    def add(self, conn: Connection) -> None:
        """Make a new connection known. The kernel forgets it when it is closed."""
        self._epoll.register(conn.sock, _NOTHING)

    def put(
        self,
        conn: Connection,
        until: float,
        see_to: SeeTo,
        see_to_late: SeeTo,
        *,
        writable: bool = False,
        idle: bool = False,
    ) -> None:
        """Let a connection wait; it is the caller's no longer.

        Args:
            conn: The connection.
            until: When it has waited long enough.
            see_to: What is done when its client has sent something, or has left.
            see_to_late: What is done when it has waited long enough.
            writable: It waits for no more than a free thread, and for its client to take an answer.
            idle: It has nothing to lose but itself: no request has begun, and no answer is on its way.
        """
        conn.sock.setblocking(False)
        conn.timeout = until
        number = conn.sock.fileno()
        with self._lock:
            self._epoll.modify(number, _WRITABLE if writable else _READABLE)
            self._connections[number] = (conn, see_to, see_to_late, idle)

    def take(self) -> tuple[Connection, SeeTo] | None:
        """Wait for a connection, and take it with what is to be done; None where it has just been taken."""
        for number, _ in self._epoll.poll(maxevents=1):
            with self._lock:
                found = self._connections.pop(number, None)
            return found and found[:2]
        return None

    def take_late(self, now: float) -> list[tuple[Connection, SeeTo]]:
        """Take the connections that have waited long enough, with what is to be done."""
        with self._lock:
            late = [number for number, (conn, *_) in self._connections.items() if conn.timeout <= now]
            found = [self._connections.pop(number) for number in late]
        return [(conn, see_to_late) for conn, _, see_to_late, _ in found]

    def take_idle(self) -> Connection | None:
        """Take the idle connection that has waited longest; None where there is none."""
        with self._lock:
            for number, (conn, *_, idle) in self._connections.items():
                if idle:
                    del self._connections[number]
                    return conn
        return None

    def hasten_idle(self, until: float) -> None:
        """Let connections wait until then at most, but those whose head has begun, which have their time."""
        with self._lock:
            for conn, *_ in self._connections.values():
                if not conn.head:
                    conn.timeout = min(conn.timeout, until)
