"""The life of a client's connection, seen to by whichever request thread is idle.

    accepted ─► idle ─► head ─► request ─┬─► idle          the client may keep its connection
                 │       │               └─► lingering ─► closed
              after      after 5 s, with 408 ──┘
              75 s, or 10 s before its first request, or where there is no room for another one: closed

No thread waits for any one client, but where it reads a body and sends an answer, each of which has a total
time; and none sees to a request before its client has taken most of the answers to those before.
"""

import logging
import os
import socket
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from gateway.connections import limits
from gateway.connections.connection import Connection
from gateway.connections.waiting import SeeTo, Waiting

if TYPE_CHECKING:
    from gateway.connections.refusals import Refusals

logger = logging.getLogger(__name__)

_PIECE = 8 * 1024
_DRAINED_PIECE = 256 * 1024


class Lifecycle:
    """Connections between `begin` and their end.

    Args:
        keepalive: Seconds that a connection may be idle.
        refusals: What is answered where the application is not asked.
        handle: Answers the request whose head is complete; whether its client may send another one.
        on_closed: Called when a connection has ended.
    """

    def __init__(
        self,
        keepalive: float,
        refusals: "Refusals",
        handle: Callable[[Connection], bool],
        on_closed: Callable[[], None],
    ) -> None:
        self._keepalive = keepalive
        self._refusals = refusals
        self._handle = handle
        self._on_closed = on_closed
        self._waiting = Waiting()
        self._leaving = False

    def begin(self, conn: Connection) -> None:
        """Watch a new connection: it gets a thread when it has sent a request.

        Raises:
            OSError: The system has no room for the watch; the connection is closed.
        """
        try:
            self._waiting.add(conn)
            self._await_head(conn)
        except OSError:
            self._close(conn)
            raise

    def serve(self) -> None:
        """See to one connection after another, for as long as the process lives; what its threads do."""
        try:
            while True:
                self.serve_next()
        except BaseException:
            # With its threads gone one by one, a process would be healthy until the last.
            logger.exception("a request thread died")
            os._exit(1)

    def serve_next(self) -> None:
        """Wait for a connection whose client has sent something, or has left, and see to it."""
        taken = self._waiting.take()
        if taken is not None:
            self._see_to(*taken)

    def see_to_late(self) -> None:
        """See to connections that have waited long enough."""
        for conn, on_late in self._waiting.take_late(time.monotonic()):
            self._see_to(conn, on_late)

    def make_room(self) -> None:
        """Close the connection that has been idle longest, if any is: its client has sent nothing since."""
        while (conn := self._waiting.take_idle()) is not None:
            # A head that no thread had time for yet makes it none of the idle.
            self._see_to(conn, self._on_late_head)
            if conn.sock.fileno() < 0:
                return

    def leave(self) -> None:
        """Let no idle connection wait longer than limits.LAST_SECONDS from now on."""
        self._leaving = True
        self._cap_idle()

    def _see_to(self, conn: Connection, see_to: SeeTo) -> None:
        try:
            see_to(conn)
        except BaseException:  # whatever it was, the thread is needed
            logger.exception("a connection ended by a fault")
            self._close(conn)

    # --- idle, and the head of a request ---

    def _await_head(self, conn: Connection, *, again: bool = False) -> None:
        """Let a client send its next request, or the rest of its head; who only goes on gains no time."""
        leaving = self._leaving
        if conn.head:
            until = conn.sock.head_began + limits.HEAD_SECONDS
        else:
            until = time.monotonic() + self._idle_seconds(conn)
            if again:
                until = min(until, conn.timeout)
        self._waiting.put(conn, until, self._on_head, self._on_late_head, idle=not conn.head)
        if self._leaving and not leaving:  # the end may have come just before it began to wait
            self._cap_idle()

    def _idle_seconds(self, conn: Connection) -> float:
        if self._leaving:
            return limits.LAST_SECONDS
        return self._keepalive if conn.initialized else limits.FIRST_SECONDS

    def _cap_idle(self) -> None:
        self._waiting.hasten_idle(time.monotonic() + limits.LAST_SECONDS)

    def _on_head(self, conn: Connection) -> None:
        """Collect the head of a request, and answer it when it is complete."""
        piece = conn.sock.recv_now(_PIECE)
        if piece == b"":
            self._close(conn)
        elif piece is not None and conn.extend_head(piece):
            if conn.sock.takes_more():
                self._answer(conn)
            else:
                self._await_thread(conn)
        elif len(conn.head) > limits.MAX_HEAD_BYTES:
            self._refuse(conn, self._refusals.too_large(conn))
        else:
            self._await_head(conn, again=True)

    def _on_late_head(self, conn: Connection) -> None:
        """Wait no longer for a head, unless it has come and no thread had time for it."""
        piece = conn.sock.recv_now(limits.MAX_HEAD_BYTES)
        if piece and conn.extend_head(piece):
            self._await_thread(conn)
        elif piece == b"" or not conn.head:
            self._close(conn)
        elif conn.sock.head_began + limits.HEAD_SECONDS <= time.monotonic():
            self._refuse(conn, self._refusals.too_slow(conn))
        else:
            self._await_head(conn)

    # --- the request ---

    def _answer(self, conn: Connection) -> None:
        """Answer a request."""
        if not self._handle(conn):
            self._linger(conn)
            return
        # The client may have sent ahead.
        piece = conn.parser.unreader.take_buffered()
        if piece and conn.extend_head(piece):
            self._await_thread(conn)
        else:
            self._await_head(conn)

    def _await_thread(self, conn: Connection) -> None:
        """Let a request whose head has come wait for its turn behind the others."""
        until = time.monotonic() + limits.ANSWER_SECONDS
        self._waiting.put(conn, until, self._answer, self._on_late_turn, writable=True)

    def _on_late_turn(self, conn: Connection) -> None:
        """Give up a client that takes no answer; where no thread had time, it is not the client's fault."""
        if conn.sock.takes_more():
            self._await_thread(conn)
        else:
            logger.info("answers not taken")
            self._close(conn)

    def _refuse(self, conn: Connection, answer: bytes) -> None:
        """Answer a request whose head cannot be waited for, and end the connection."""
        conn.head.clear()
        conn.sock.send_now(answer)
        self._linger(conn)

    # --- the end ---

    def _linger(self, conn: Connection) -> None:
        """End a connection so that its client can read the answer, though it may still be sending.

        Closing a socket that has unread data resets the connection, and the answer is lost.
        """
        try:
            conn.sock.shutdown(socket.SHUT_WR)
        except OSError:
            self._close(conn)
            return
        until = time.monotonic() + (limits.LAST_SECONDS if self._leaving else limits.LINGER_SECONDS)
        self._waiting.put(conn, until, self._on_leftover, self._close)

    def _on_leftover(self, conn: Connection) -> None:
        """Throw away what the client still sends, until it ends."""
        if conn.sock.recv_now(_DRAINED_PIECE) == b"":
            self._close(conn)
        else:
            self._waiting.put(conn, conn.timeout, self._on_leftover, self._close)

    def _close(self, conn: Connection) -> None:
        conn.close()
        self._on_closed()
