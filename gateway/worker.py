"""gunicorn's threaded worker, in which nobody can hold a thread without sending a request.

gunicorn gives a connection to a thread as soon as it is accepted, waits there for its head and later its
body for as long as the client likes, and closes connections on its main thread, waiting for the client
there. Here all threads together wait for all connections (gateway/waiting.py), collect heads, and let
connections linger, without waiting for any one of them; the thread to which a head becomes complete answers
the request, with a total time for its body and for its answer. The main thread accepts connections and sees
to those whose time is over.

A worker that is told to stop goes on for `drain_seconds`, ending each connection with its answer; then it
takes what has already connected, stops listening, and finishes.

    accepted ─► idle ─► head ─► request ─┬─► idle          the client may keep its connection
                 │       │               └─► lingering ─► closed
              after      after 5 s, with 408 ──┘
              75 s: closed
"""

import errno
import math
import os
import socket
import threading
import time
from types import FrameType
from typing import TYPE_CHECKING, Any

from gunicorn.glogging import Logger as GunicornLogger
from gunicorn.workers.gthread import STOP_KEEPALIVE_LINGER, ThreadWorker

from gateway.connection import ANSWER_SECONDS, HEAD_SECONDS, MAX_HEAD_BYTES, Client, Connection
from gateway.draining import Application, Farewell
from gateway.waiting import SeeTo, Waiting

if TYPE_CHECKING:
    from gateway.refusals import Refusals

BODY_SECONDS = 10.0
"""From the end of the head to the end of the body; less where the request itself has less."""
LINGER_SECONDS = 5.0
"""For a client to finish sending and to read its answer before the connection is cut."""

_LOOK_SECONDS = 0.1
_NOTIFY_SECONDS = 1.0  # the master waits for `timeout`, 30 s
_PIECE = 8 * 1024
_DRAINED_PIECE = 256 * 1024
_NO_ROOM = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}


class Worker(ThreadWorker):  # type: ignore[misc]
    """The worker class of gateway/gunicorn.conf.py.

    gunicorn's own thread pool and queues of connections stay empty.

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
        self._counting = threading.Lock()
        self._leave_at = math.inf
        self._notify_at = self._look_at = 0.0

    @classmethod
    def check_config(cls, cfg: Any, log: Any) -> None:  # noqa: ANN401 - gunicorn's
        """Refuse what this worker does not speak.

        Raises:
            RuntimeError: gunicorn is to speak TLS.
        """
        super().check_config(cfg, log)
        if cfg.is_ssl:
            raise RuntimeError("The gateway speaks plain HTTP; let a proxy before it speak TLS.")

    def init_process(self) -> None:
        """Begin to serve, in the new process."""
        self._waiting = Waiting()
        super().init_process()

    def run(self) -> None:
        """Serve until told to stop."""
        for _ in range(self.cfg.threads):
            threading.Thread(target=self._serve, name="requests", daemon=True).start()
        super().run()
        if self.nr_conns:
            # Their grace is over, and Python cannot end well while threads are at work.
            os._exit(0)

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
        owned = Client(sock.family, sock.type, sock.proto, fileno=sock.detach())
        conn = Connection(self.cfg, owned, client, listener.getsockname())
        with self._counting:
            self.nr_conns += 1
        self._waiting.add(conn)
        self._await_head(conn)
        return True

    def handle_request(self, req: Any, conn: Connection) -> Any:  # noqa: ANN401 - gunicorn's
        """Answer a request whose head was read; the body's time begins.

        Where there are so many connections that new ones would soon find no room, this one ends with it.
        """
        conn.sock.read_until = time.monotonic() + BODY_SECONDS
        if self._leave_at < math.inf or self.nr_conns > self.max_keepalived:
            req.force_close()
        return super().handle_request(req, conn)

    def handle_error(self, req: Any, client: Client, addr: Any, exc: Exception) -> None:  # noqa: ANN401, ARG002
        """Answer a request that the application has not answered; its connection ends."""
        client.send_now(self.refusals.unreadable(exc, client))

    def murder_keepalived(self, force: bool = False) -> None:
        """See to connections that have waited long enough; all of them are `murder_pending`'s."""

    def murder_pending(self) -> None:
        """See to connections that have waited long enough, not at every turn of the loop."""
        now = time.monotonic()
        if now >= self._look_at:
            self._look_at = now + _LOOK_SECONDS
            for conn, on_late in self._waiting.take_late(now):
                self._see_to(conn, on_late)

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
        else:
            timeout = min(timeout, _LOOK_SECONDS)  # those whose time is over must not hold up the end
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

    def _serve(self) -> None:
        """See to one connection after another, for as long as the process lives."""
        try:
            while True:
                taken = self._waiting.take()
                if taken is not None:
                    self._see_to(*taken)
        except BaseException:
            # With its threads gone one by one, a process would be healthy until the last.
            self.log.exception("a request thread died")
            os._exit(1)

    def _see_to(self, conn: Connection, see_to: SeeTo) -> None:
        try:
            see_to(conn)
        except BaseException:  # whatever it was, the thread is needed
            self.log.exception("a connection ended by a fault")
            self._close(conn)

    def _await_head(self, conn: Connection) -> None:
        """Let a client send its next request, or the rest of its head."""
        now, alive = time.monotonic(), self.alive
        if conn.head:
            until = conn.sock.head_began + HEAD_SECONDS
        else:
            until = now + (self.cfg.keepalive if alive else STOP_KEEPALIVE_LINGER)
        self._waiting.put(conn, until, self._on_head, self._on_late_head)
        if alive and not self.alive:  # the end may have come just before it began to wait
            self._cap_keepalive(now + STOP_KEEPALIVE_LINGER)

    def _on_head(self, conn: Connection) -> None:
        """Collect the head of a request, and answer it when it is complete."""
        piece = conn.sock.recv_now(_PIECE)
        if piece == b"":
            self._close(conn)
        elif piece is not None and conn.extend_head(piece):
            self._answer(conn)
        elif len(conn.head) > MAX_HEAD_BYTES:
            self._refuse(conn, self.refusals.too_large(conn))
        else:
            self._await_head(conn)

    def _on_late_head(self, conn: Connection) -> None:
        """Wait no longer for a head, unless it has come and no thread had time for it."""
        piece = conn.sock.recv_now(MAX_HEAD_BYTES)
        if piece and conn.extend_head(piece):
            self._await_thread(conn)
        elif piece == b"" or not conn.head:
            self._close(conn)
        elif conn.sock.head_began + HEAD_SECONDS <= time.monotonic():
            self._refuse(conn, self.refusals.too_slow(conn))
        else:
            self._await_head(conn)

    def _answer(self, conn: Connection) -> None:
        """Answer a request."""
        if not self.handle(conn):
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
        until = time.monotonic() + ANSWER_SECONDS
        self._waiting.put(conn, until, self._answer, self._on_late_turn, writable=True)

    def _on_late_turn(self, conn: Connection) -> None:
        """Give up a client that takes no answer; where no thread had time, it is not the client's fault."""
        if conn.sock.takes_more():
            self._await_thread(conn)
        else:
            self._close(conn)

    def _refuse(self, conn: Connection, answer: bytes) -> None:
        """Answer a request whose head cannot be waited for, and end the connection."""
        conn.head.clear()
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
            return
        seconds = LINGER_SECONDS if self.alive else STOP_KEEPALIVE_LINGER
        self._waiting.put(conn, time.monotonic() + seconds, self._on_leftover, self._close)

    def _on_leftover(self, conn: Connection) -> None:
        """Throw away what the client still sends, until it ends."""
        if conn.sock.recv_now(_DRAINED_PIECE) == b"":
            self._close(conn)
        else:
            self._waiting.put(conn, conn.timeout, self._on_leftover, self._close)

    def _cap_keepalive(self, deadline: float) -> None:
        # Not those whose head has begun: they have their own time.
        self._waiting.hasten(deadline, lambda conn: not conn.head)

    def _close(self, conn: Connection) -> None:
        conn.close()
        with self._counting:
            room = self.nr_conns < self.worker_connections
            self.nr_conns -= 1
        if not (room and self._accepting):
            self.method_queue.defer(lambda: None)  # wakes the main thread, which may accept again


class Logger(GunicornLogger):  # type: ignore[misc]
    """gunicorn's log without its access log: the gateway itself writes a line for each request."""

    def access(self, *_: Any) -> None:  # noqa: ANN401 - gunicorn's
        """Write nothing."""
