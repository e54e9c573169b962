"""gunicorn's threaded worker, in which nobody can hold a thread without sending a request.

gunicorn gives a connection to a thread as soon as it is accepted, waits there for its head and later its
body for as long as the client likes, and closes connections on its main thread, waiting for the client
there. Here the main thread accepts connections, and looks for those whose time is over; all else is done by
the threads of gateway/connections/lifecycle.py.

A worker that is told to stop goes on for `drain_seconds`, ending each connection with its answer; then it
takes what has already connected, stops listening, and finishes.
"""

import math
import os
import threading
import time
from types import FrameType
from typing import TYPE_CHECKING, Any

from gunicorn.glogging import Logger as GunicornLogger
from gunicorn.workers.gthread import ThreadWorker

from gateway.connections.connection import Client, Connection
from gateway.connections.lifecycle import Lifecycle
from gateway.draining import Application, Farewell

if TYPE_CHECKING:
    from gateway.connections.refusals import Refusals

_LOOK_SECONDS = 0.1
_NOTIFY_SECONDS = 1.0  # the master waits for `timeout`, 30 s
_COMPLAIN_SECONDS = 1.0


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
        self._notify_at = self._look_at = self._accept_at = self._complain_at = 0.0

    @classmethod
    def check_config(cls, cfg: Any, log: Any) -> None:  # noqa: ANN401 - gunicorn's
        """Refuse what this worker does not speak.

        Raises:
            RuntimeError: gunicorn is to speak TLS.
        """
        super().check_config(cfg, log)
        if cfg.is_ssl:
            raise RuntimeError("The gateway speaks plain HTTP; let a proxy before it speak TLS.")

    def run(self) -> None:
        """Serve until told to stop."""
        self._life = Lifecycle(self.cfg.keepalive, self.refusals, self.handle, self._count_closed)
        for _ in range(self.cfg.threads):
            threading.Thread(target=self._life.serve, name="requests", daemon=True).start()
        super().run()
        if self.nr_conns:
            # Their grace is over, and Python cannot end well while threads are at work.
            os._exit(0)

    def load_wsgi(self) -> None:
        """Load the application, and let it know when the whole gateway stops."""
        # As the application itself: not before the fork, and anew after a reload.
        from gateway.connections.refusals import Refusals  # noqa: PLC0415

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
            Whether there may be another one.
        """
        try:
            sock, client = listener.accept()
        except ConnectionAbortedError:
            return True  # the client has left already
        except BlockingIOError:
            return False  # a sibling was faster
        except OSError as error:
            self._accept_later(error)  # it waits in the backlog
            return False
        owned = Client(sock.family, sock.type, sock.proto, fileno=sock.detach())
        conn = Connection(self.cfg, owned, client, listener.getsockname())
        with self._counting:
            self.nr_conns += 1
        try:
            self._life.begin(conn)
        except OSError as error:
            self._accept_later(error)
            return False
        return True

    def _accept_later(self, error: OSError) -> None:
        """Accept nobody for a moment: the listener stays readable, and would be asked again at once."""
        now = time.monotonic()
        if now >= self._complain_at:
            self._complain_at = now + _COMPLAIN_SECONDS
            self.log.error("connection not accepted: %s", error.strerror)
        self._accept_at = now + _LOOK_SECONDS
        super().set_accept_enabled(False)

    def handle_request(self, req: Any, conn: Connection) -> Any:  # noqa: ANN401 - gunicorn's
        """Answer a request whose head was read.

        Where there are so many connections that new ones would soon find no room, this one ends with it.
        """
        # gunicorn would invite the body here, whatever is answered.
        conn.sock.asks, req._expected_100_continue = req._expected_100_continue, False
        if self._leave_at < math.inf or self.nr_conns > self.max_keepalived:
            req.force_close()
        return super().handle_request(req, conn)

    def handle_error(self, req: Any, client: Client, addr: Any, exc: Exception) -> None:  # noqa: ANN401, ARG002
        """Answer a request that the application has not answered; its connection ends."""
        client.send_now(self.refusals.unreadable(exc, client))

    def murder_keepalived(self, force: bool = False) -> None:  # noqa: ARG002 - gunicorn's
        """Where there is no room for another connection, end an idle one; the late are `murder_pending`'s."""
        if self.alive and self.nr_conns >= self.worker_connections:
            self._life.make_room()

    def murder_pending(self) -> None:
        """See to connections that have waited long enough, not at every turn of the loop."""
        now = time.monotonic()
        if now >= self._look_at:
            self._look_at = now + _LOOK_SECONDS
            self._life.see_to_late()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begin to leave; the signal may come more than once."""
        if not self.drain_seconds:
            super().handle_exit(sig, frame)
        elif self._leave_at == math.inf:
            self._leave_at = time.monotonic() + self.drain_seconds
            self.method_queue.defer(lambda: None)  # wakes the main thread

    def is_parent_alive(self) -> bool:
        """Whether there is a master; without one it is time to leave, and to leave the port to the next."""
        alive: bool = super().is_parent_alive()
        self.alive = self.alive and alive
        return alive

    def wait_for_and_dispatch_events(self, timeout: float) -> None:
        """Serve for a moment; `alive` ends when it is time to leave."""
        if self.alive:
            now = time.monotonic()
            until = self._leave_at if self._accept_at <= now else min(self._leave_at, self._accept_at)
            timeout = max(0.0, min(timeout, until - now))
        else:
            timeout = min(timeout, _LOOK_SECONDS)  # those whose time is over must not hold up the end
        super().wait_for_and_dispatch_events(timeout)
        if time.monotonic() >= self._leave_at:
            self.alive = False

    def set_accept_enabled(self, enabled: bool) -> None:
        """Listen or not; who leaves closes its listeners, so that nobody waits there for an answer."""
        if enabled and time.monotonic() < self._accept_at:
            return
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

    def _cap_keepalive(self, deadline: float) -> None:  # noqa: ARG002 - gunicorn's
        self._life.leave()

    def _count_closed(self) -> None:
        with self._counting:
            room = self.nr_conns < self.worker_connections
            self.nr_conns -= 1
        if not (room and self._accepting):
            self.method_queue.defer(lambda: None)  # wakes the main thread, which may accept again


class Logger(GunicornLogger):  # type: ignore[misc]
    """gunicorn's log without its access log: the gateway itself writes a line for each request."""

    def access(self, *_: Any) -> None:  # noqa: ANN401 - gunicorn's
        """Write nothing."""
