"""One process of the gateway, from its start to its end: gunicorn's worker around an event loop.

A worker that is told to stop goes on for `drain_seconds`, ending each connection with its answer; then it
takes what has already connected, stops listening, and finishes.
"""

import asyncio
import functools
import mmap
import os
import signal
import time
from collections.abc import Callable
from email.utils import formatdate
from math import inf
from types import FrameType
from typing import TYPE_CHECKING, Any, Never

import uvicorn
import uvloop
from gunicorn.workers.base import Worker as BaseWorker

from gateway.server.listener import Listener
from gateway.server.slots import Slots
from utils.settings import Settings
from utils.tracing import NO_TRACER

if TYPE_CHECKING:
    from gateway.counters import HttpCounters

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
        """Have the master set it, once its own handlers are in place, and never miss a SIGINT after that."""

        def stop(signum: int, frame: FrameType | None) -> None:
            if os.getpid() == server.pid:  # a new worker has this handler, too, until it sets its own
                self._memory[0] = 1
            server.signal(signum, frame)

        def stop_now(signum: int, frame: FrameType | None) -> None:
            # gunicorn forgets a signal that it takes from its queue together with the SIGTERM before it.
            if os.getpid() == server.pid and self.is_set():
                server.kill_workers(signal.SIGQUIT)
            server.signal(signum, frame)

        signal.signal(signal.SIGTERM, stop)
        for signum in signal.SIGINT, signal.SIGQUIT:
            signal.signal(signum, stop_now)


class Worker(BaseWorker):  # type: ignore[misc]
    """The worker class of gateway/gunicorn.conf.py, which sets the attributes.

    Attributes:
        settings: What the operator decided.
        slots: What all processes share, and `slot` is this one's; None where there was none left.
        shutdown_flag: Whether the whole gateway stops.
        listener_names: The listeners in their order, each by the setting that has its address. Those that
            the application has in its mapping `others` are answered by what it says, all else by itself.
    """

    settings: Settings
    slots: Slots
    slot: int | None
    shutdown_flag: ShutdownFlag
    listener_names: list[str]
    _notify_at, _leave_at = 0.0, inf

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
        loop = asyncio.get_running_loop()
        protocol_for = self._protocols()
        listeners = [
            Listener(
                each.sock, protocol_for(application), self._state.connections, self.cfg.worker_connections
            )
            for each, application in zip(self.sockets, self._applications(), strict=True)
        ]
        loop.add_signal_handler(signal.SIGTERM, self._drain)
        if not self.alive:  # told to stop while it booted
            self._drain()
        for signum in signal.SIGINT, signal.SIGQUIT:
            loop.add_signal_handler(signum, os._exit, 0)
        while time.monotonic() < self._leave_at:
            await self._look()
        self._state.closing = True
        end_at = time.monotonic() + self.settings.grace_seconds
        for listener in listeners:
            listener.close()
        for connection in list(self._state.connections):
            connection.shutdown()
        while time.monotonic() < end_at and (
            self._state.connections or self._state.tasks or any(map(len, listeners))
        ):
            await self._look()
        await asyncio.sleep(_LOOK_SECONDS)  # for the log's lines of the last answers
        await asyncio.to_thread(getattr(self.wsgi, "tracer", NO_TRACER).close)

    def _applications(self) -> list[Any]:
        """What answers the requests of each listener, in their order."""
        others = getattr(self.wsgi, "others", {})
        names = dict(enumerate(self.listener_names))
        return [others.get(names.get(index), self.wsgi) for index in range(len(self.sockets))]

    def _protocols(self) -> Callable[[Any], Callable[[], asyncio.Protocol]]:
        """What tells, for an application, what makes a protocol for each new connection."""
        # After the fork, as the application: a reload brings new code of both.
        from gateway.server.adapter import Adapter, state_for  # noqa: PLC0415
        from gateway.server.connection import State  # noqa: PLC0415
        from gateway.server.protocol import Protocol  # noqa: PLC0415

        self._adapter = adapter = Adapter(
            threads=self.cfg.threads,
            budget=self.settings.body_budget_bytes,
            pause=self.settings.body_pause_seconds,
            stopping=self.shutdown_flag.is_set,
        )
        config = uvicorn.Config(
            adapter,
            http=Protocol,
            ws="none",
            lifespan="off",
            interface="asgi3",
            proxy_headers=False,
            log_config=None,
            access_log=False,
            timeout_keep_alive=self.settings.keepalive_seconds,  # type: ignore[arg-type] # or a part of one
        )
        config.load()
        self._state = State()
        self._counters = self._state.counters = self._count()
        protocol = functools.partial(Protocol, config=config, server_state=self._state)
        return lambda application: functools.partial(protocol, app_state=state_for(application))

    def _count(self) -> "HttpCounters":
        from gateway.counters import NO_ROUTE, HttpCounters, fingerprint  # noqa: PLC0415 - as above

        applications = [self.wsgi, *getattr(self.wsgi, "others", {}).values()]
        templates = [each.routes() for each in applications if hasattr(each, "routes")]
        routes = sorted({NO_ROUTE}.union(*templates))
        slots = self.slots
        now = [slots.now(slot) for slot in range(slots.count)]
        keyed = self.settings.api_keys_file is not None
        return HttpCounters(slots.part(fingerprint(routes)), slots.count, self.slot, routes, now, keyed=keyed)

    def _show(self) -> None:
        """Let those who ask any process for metrics see how this one is."""
        permits_free = getattr(self.wsgi, "permits_free", lambda: 0)
        state = self._state
        held = self._adapter.held_bytes
        self._counters.show(1, len(state.connections), len(state.tasks), permits_free(), held)

    def _drain(self) -> None:
        """Begin to leave; the signal may come more than once."""
        self._state.closing = True
        self._leave_at = min(self._leave_at, time.monotonic() + self.settings.drain_seconds)

    async def _look(self) -> None:
        """Look after what takes its time, this process included; several times a second."""
        now = time.monotonic()
        self._show()
        if now >= self._notify_at:
            self._notify_at = now + _NOTIFY_SECONDS
            self.notify()
            date = formatdate(usegmt=True).encode()
            self._state.default_headers = [(b"date", date)]
        connections: Any = self._state.connections
        for connection in list(connections):
            connection.check(now)
        # Without a master, the port is left to the next one.
        if os.getppid() != self.ppid or self._state.total_requests >= self.max_requests:
            self._leave_at = min(self._leave_at, now)
        await asyncio.sleep(_LOOK_SECONDS)
