"""gunicorn's threaded worker, in which nobody can hold a thread without sending a request.

gunicorn gives a connection to a thread as soon as it is accepted, waits there for its head and later its
body for as long as the client likes, and closes connections on its main thread, waiting for the client
there. Here the main thread collects heads and lets connections linger, never waiting for any of them; a
thread gets a connection whose head is complete, and a total time for its body and for its answer.

A worker that is told to stop goes on for `drain_seconds`, ending each connection with its answer; then it
takes what has already connected, stops listening, and finishes.

    accepted ─► idle ─► head ─► thread ─┬─► idle          the client may keep its connection
                 │       │              └─► lingering ─► closed
              after      after 5 s, with 408 ──┘
              75 s: closed
"""

import errno
import math
import os
import selectors
import socket
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from functools import partial
from types import FrameType
from typing import TYPE_CHECKING, Any

from gunicorn.glogging import Logger as GunicornLogger
from gunicorn.workers.gthread import STOP_KEEPALIVE_LINGER, ThreadWorker

from gateway.connection import HEAD_SECONDS, MAX_HEAD_BYTES, Client, Connection
from gateway.draining import Application, Farewell

if TYPE_CHECKING:
    from gateway.refusals import Refusals

BODY_SECONDS = 10.0
"""From the end of the head to the end of the body; less where the request itself has less."""
LINGER_SECONDS = 5.0
"""For a client to finish sending and to read its answer before the connection is cut."""

_NOTIFY_SECONDS = 1.0  # the master waits for `timeout`, 30 s
_PIECE = 8 * 1024
_DRAINED_PIECE = 256 * 1024
_NO_ROOM = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}


class Worker(ThreadWorker):  # type: ignore[misc]
    """The worker class of gateway/gunicorn.conf.py.

    gunicorn's `keepalived_conns` are the idle connections and its `pending_conns` those whose head has
    begun; each queue has one time limit, so that its first connection is always the next to expire.

    Attributes:
        drain_seconds: How long it serves on when it is told to stop.
        farewell: What the master says when the whole gateway stops.
    """

    alive: bool
    wsgi: Application
    refusals: "Refusals"
    drain_seconds = 0.0
    farewell: Farewell | None = None

    def __init__(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - gunicorn's
        super().__init__(*args, **kwargs)
        self._lingering: deque[Connection] = deque()
        self._leave_at = math.inf
        self._notify_at = 0.0

    @classmethod
    def check_config(cls, cfg: Any, log: Any) -> None:  # noqa: ANN401 - gunicorn's
        """Refuse what this worker does not speak.

        Raises:
            RuntimeError: gunicorn is to speak TLS.
        """
        super().check_config(cfg, log)
        if cfg.is_ssl:
            raise RuntimeError("The gateway speaks plain HTTP; let a proxy before it speak TLS.")

    def load_wsgi(self) -> None:
        """Load the application, and let it know when the whole gateway stops."""
        # As the application itself: not before the fork, and anew after a reload.
        from gateway.refusals import Refusals  # noqa: PLC0415

        super().load_wsgi()
        self.refusals = Refusals(self.cfg)
        if self.farewell is not None:
            self.wsgi = self.farewell.tell(self.wsgi)

    def notify(self) -> None:
        """Show the master that this process lives: not at every turn of the loop, for it changes a file."""
        now = time.monotonic()
        if now >= self._notify_at:
            super().notify()
            self._notify_at = now + _NOTIFY_SECONDS

    def accept(self, listener: Any) -> bool:  # noqa: ANN401 - gunicorn's
        """Take a new connection and watch it: it gets a thread when it has sent a request.

        Returns:
            Whether there was one.
        """
        try:
            sock, client = listener.accept()
        except ConnectionAbortedError:
            return True  # the client has left already
        except BlockingIOError:
            return False  # a sibling was faster
        except OSError as error:
            if error.errno not in _NO_ROOM:
                raise
            self.log.error("connection not accepted: %s", error.strerror)
            return False  # it waits in the backlog until another one ends
        self.nr_conns += 1
        owned = Client(sock.family, sock.type, sock.proto, fileno=sock.detach())
        conn = Connection(self.cfg, owned, client, listener.getsockname())
        self._watch(conn, self.keepalived_conns, self.cfg.keepalive, self._on_head)
        return True

    def handle_request(self, req: Any, conn: Connection) -> Any:  # noqa: ANN401 - gunicorn's
        """Answer a request whose head was read; the body's time begins."""
        conn.sock.read_until = time.monotonic() + BODY_SECONDS
        if self._leave_at < math.inf:
            req.force_close()
        return super().handle_request(req, conn)

    def handle_error(self, req: Any, client: Client, addr: Any, exc: Exception) -> None:  # noqa: ANN401, ARG002
        """Answer a request that the application has not answered; its connection ends."""
        client.send_now(self.refusals.unreadable(exc, client))

    def finish_request(self, conn: Connection, fs: Future[Any]) -> None:
        """Watch a connection for its next request, or end it."""
        if fs.cancelled() or fs.exception() is not None or fs.result() is not True:
            self._linger(conn)
            return
        # The client may have sent ahead.
        piece = conn.parser.unreader.take_buffered()
        if conn.extend_head(piece):
            self.enqueue_req(conn)
        elif piece:
            self._watch(conn, self.pending_conns, HEAD_SECONDS, self._on_head)
        else:
            self._watch(conn, self.keepalived_conns, self.cfg.keepalive, self._on_head)

    def murder_pending(self) -> None:
        """End the connections whose head took too long, and those that lingered long enough."""
        for conn in self._expired(self.pending_conns):
            self._refuse(conn, self.refusals.too_slow(conn))
        for conn in self._expired(self._lingering):
            self._close(conn)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begin to leave; the signal may come more than once."""
        if not self.drain_seconds:
            super().handle_exit(sig, frame)
        elif self._leave_at == math.inf:
            self._leave_at = time.monotonic() + self.drain_seconds
            self.method_queue.defer(lambda: None)  # wakes the main thread

    def wait_for_and_dispatch_events(self, timeout: float) -> None:
        """Serve for a moment; `alive` ends when it is time to leave."""
        if self.alive:
            timeout = max(0.0, min(timeout, self._leave_at - time.monotonic()))
        super().wait_for_and_dispatch_events(timeout)
        if time.monotonic() >= self._leave_at:
            self.alive = False

    def set_accept_enabled(self, enabled: bool) -> None:
        """Listen or not; who leaves closes its listeners, so that nobody waits there for an answer."""
        super().set_accept_enabled(enabled)
        if self.alive or enabled:
            return
        for listener in self.sockets:
            if listener.sock is None:  # closed the last time
                continue
            while self.accept(listener):
                pass
            listener.close()

    def handle_quit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002 - a signal handler's
        """Stop at once, however long a thread would still wait for the backend."""
        os._exit(0)

    def _on_head(self, conn: Connection, waiting: deque[Connection], _: Client) -> None:
        """Collect the head of a request, and give the connection to a thread when it is complete."""
        piece = conn.sock.recv_now(_PIECE)
        if piece is None:
            return
        complete = conn.extend_head(piece)
        if piece and not complete and len(conn.head) <= MAX_HEAD_BYTES and waiting is self.pending_conns:
            return
        self._unwatch(conn, waiting)
        if not piece:
            self._close(conn)
        elif complete:
            self.enqueue_req(conn)
        elif len(conn.head) > MAX_HEAD_BYTES:
            self._refuse(conn, self.refusals.too_large(conn))
        else:
            self._watch(conn, self.pending_conns, HEAD_SECONDS, self._on_head)

    def _refuse(self, conn: Connection, answer: bytes) -> None:
        """Answer a request whose head cannot be waited for, and end the connection."""
        conn.sock.send_now(answer)
        self._linger(conn)

    def _linger(self, conn: Connection) -> None:
        """End a connection so that its client can read the answer, though it may still be sending.

        Closing a socket that has unread data resets the connection, and the answer is lost.
        """
        try:
            conn.sock.shutdown(socket.SHUT_WR)
        except OSError:
            self._close(conn)
        else:
            self._watch(conn, self._lingering, LINGER_SECONDS, self._on_leftover)

    def _on_leftover(self, conn: Connection, waiting: deque[Connection], _: Client) -> None:
        """Throw away what the client still sends, until it ends."""
        if conn.sock.recv_now(_DRAINED_PIECE) == b"":
            self._unwatch(conn, waiting)
            self._close(conn)

    def _watch(
        self,
        conn: Connection,
        waiting: deque[Connection],
        seconds: float,
        on_readable: Callable[[Connection, deque[Connection], Client], None],
    ) -> None:
        conn.sock.setblocking(False)
        conn.timeout = time.monotonic() + (seconds if self.alive else min(seconds, STOP_KEEPALIVE_LINGER))
        waiting.append(conn)
        self.poller.register(conn.sock, selectors.EVENT_READ, partial(on_readable, conn, waiting))

    def _unwatch(self, conn: Connection, waiting: deque[Connection]) -> None:
        waiting.remove(conn)
        self.poller.unregister(conn.sock)

    def _expired(self, waiting: deque[Connection]) -> Iterator[Connection]:
        now = time.monotonic()
        while waiting and waiting[0].timeout <= now:
            conn = waiting[0]
            self._unwatch(conn, waiting)
            yield conn

    def _cap_keepalive(self, deadline: float) -> None:
        super()._cap_keepalive(deadline)
        for conn in self._lingering:
            conn.timeout = min(conn.timeout, deadline)

    def _close(self, conn: Connection) -> None:
        self.nr_conns -= 1
        conn.close()


class Logger(GunicornLogger):  # type: ignore[misc]
    """gunicorn's log without its access log: the gateway itself writes a line for each request."""

    def access(self, *_: Any) -> None:  # noqa: ANN401 - gunicorn's
        """Write nothing."""
