"""One process of the gateway, from its start to its end: gunicorn's worker with uvicorn's server inside.

A worker that is told to stop goes on for `drain_seconds`, ending each connection with its answer; then it
takes what has already connected, stops listening, and finishes.
"""

import asyncio
import functools
import mmap
import os
import signal
import time
from math import inf
from types import FrameType
from typing import Any, Never

import uvicorn
import uvloop
from gunicorn.workers.base import Worker as BaseWorker

from gateway.server.listener import Listener
from utils.settings import Settings

_LOOK_SECONDS = 0.1
_NOTIFY_SECONDS = 1.0
"""Of the master's patience, which is 30 s."""


class ShutdownFlag:
    """Whether the whole gateway is about to stop, which a worker cannot tell from its own signal.

    It gets the same signal where it alone is replaced.
    """

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, 1)  # the same after a fork

    def is_set(self) -> bool:
        """Whether gunicorn's master was told to stop."""
        return self._memory[0] == 1

    def install(self, server: Any) -> None:  # noqa: ANN401 - gunicorn's
        """Have the master set it, once its own handlers are in place."""

        def stop(signum: int, frame: FrameType | None) -> None:
            if os.getpid() == server.pid:  # a new worker has this handler, too, until it sets its own
                self._memory[0] = 1
            server.signal(signum, frame)

        signal.signal(signal.SIGTERM, stop)


class Server(uvicorn.Server):
    """uvicorn's server without its listeners and its handlers of signals."""

    def __init__(self, config: uvicorn.Config, most_connections: int) -> None:
        super().__init__(config)
        self._most_connections = most_connections
        self._listeners: list[Listener] = []

    async def serve(self, sockets: Any = None) -> None:  # noqa: ANN401 - uvicorn's
        """Serve until `should_exit`, and until the last connection has ended."""
        self._listeners = [Listener(sock, self._protocol, self._has_room) for sock in sockets]
        await self._serve([])

    async def shutdown(self, sockets: Any = None) -> None:  # noqa: ANN401 - uvicorn's
        """Take who has connected, stop listening, and wait until all are answered."""
        for listener in self._listeners:
            listener.close()
        await super().shutdown(sockets)

    def _protocol(self) -> asyncio.Protocol:
        make: Any = self.config.http_protocol_class
        protocol: asyncio.Protocol = make(config=self.config, server_state=self.server_state, app_state={})
        return protocol

    def _has_room(self, arriving: int) -> bool:
        """Whether there may be another connection, where need be in the place of the one idle longest."""
        connections: Any = self.server_state.connections
        if len(connections) + arriving < self._most_connections:
            return True
        idlest = min(connections, key=lambda connection: connection.idle_since)
        if idlest.idle_since == inf:
            return False
        connections.discard(idlest)
        idlest.transport.abort()
        return True


class Worker(BaseWorker):  # type: ignore[misc]
    """The worker class of gateway/gunicorn.conf.py, which sets the attributes.

    Attributes:
        settings: What the operator decided.
        shutdown_flag: Whether the whole gateway stops.
    """

    settings: Settings
    shutdown_flag: ShutdownFlag

    @classmethod
    def check_config(cls, cfg: Any, _log: Any) -> None:  # noqa: ANN401 - gunicorn's
        """Refuse what this worker does not speak.

        Raises:
            RuntimeError: gunicorn is to speak TLS.
        """
        if cfg.is_ssl:
            raise RuntimeError("The gateway speaks plain HTTP; let a proxy before it speak TLS.")

    def run(self) -> Never:
        """Serve until told to stop."""
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(self._run())
        # Not by the interpreter's own end, which waits for threads whose callers have left.
        os._exit(0)

    async def _run(self) -> None:
        # After the fork, as the application: a reload brings new code of both.
        from gateway.server.adapter import Adapter  # noqa: PLC0415
        from gateway.server.connection import Limits  # noqa: PLC0415
        from gateway.server.protocol import Protocol  # noqa: PLC0415

        settings = self.settings
        self._limits = Limits(settings.keepalive_seconds)
        adapter = Adapter(
            self.wsgi,
            getattr(self.wsgi, "body_rules", lambda _environ: None),
            threads=self.cfg.threads,
            budget=settings.body_budget_bytes,
            pause=settings.body_pause_seconds,
            stopping=self.shutdown_flag.is_set,
        )
        protocol: Any = functools.partial(Protocol, limits=self._limits)
        config = uvicorn.Config(
            adapter,
            http=protocol,
            ws="none",
            lifespan="off",
            interface="asgi3",
            proxy_headers=False,
            server_header=False,
            log_config=None,
            access_log=False,
        )
        self._server = Server(config, self.cfg.worker_connections)
        self._leave_at = self._end_at = inf
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, self._drain)
        for signum in signal.SIGINT, signal.SIGQUIT:
            loop.add_signal_handler(signum, os._exit, 0)
        async with asyncio.TaskGroup() as tasks:  # in which a fault of one ends the other
            watching = tasks.create_task(self._watch())
            await self._server.serve([listener.sock for listener in self.sockets])
            watching.cancel()

    def _drain(self) -> None:
        """Begin to leave; the signal may come more than once."""
        self._limits.closing = True
        self._leave_at = min(self._leave_at, time.monotonic() + self.settings.drain_seconds)

    async def _watch(self) -> None:
        """Look after what takes its time, this process included."""
        notify_at = 0.0
        state: Any = self._server.server_state
        while True:
            now = time.monotonic()
            for connection in list(state.connections):
                connection.check(now)
            if now >= notify_at:
                self.notify()
                notify_at = now + _NOTIFY_SECONDS
            # Without a master, the port is left to the next one.
            if os.getppid() != self.ppid or state.total_requests >= self.max_requests:
                self._leave_at = min(self._leave_at, now)
            if now >= self._leave_at and not self._server.should_exit:
                self._limits.closing = self._server.should_exit = True
                self._end_at = now + self.settings.grace_seconds
            if now >= self._end_at:
                os._exit(0)
            await asyncio.sleep(_LOOK_SECONDS)
