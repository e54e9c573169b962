"""The supervisor: starts workers, replaces those that die, and stops them when it is told to.

It knows nothing of what a worker does, and loads no library that a worker needs: it is given a function
that starts one. Signals only put a number into a queue; everything happens in one loop, in one thread.

    reap -> read what workers say -> obey signals -> start or stop workers until there are as many as wanted
"""

import contextlib
import logging
import os
import queue
import selectors
import signal
import time
from collections.abc import Callable
from typing import Any

from inference_server.backoff import Backoff
from inference_server.recycling import Limits
from inference_server.watch import Death, Watch
from inference_server.worker_process import State, WorkerProcess, describe_exit
from utils.logs import fields

logger = logging.getLogger(__name__)

Spawn = Callable[[int, int, int], WorkerProcess]
"""Starts a worker, given its slot, its generation and its release."""

MAX_BOOT_FAILURES = 5
_BOOT_SECONDS = 60.0
_TICK_SECONDS = 0.5
_KILL_MARGIN_SECONDS = 1.0
"""What a worker that used its whole grace may need to close its sockets."""


class Supervisor:
    """Keeps a number of workers running until it is told to stop.

    Args:
        spawn: Starts a worker.
        workers: How many there shall be.
        slots: How many there may be at once, replacements beside those they replace included.
        watch: Sees which worker is hung, and remembers which died of what.
        limits: What a worker may reach before it is replaced.
        drain_seconds: Time between a worker's announcing that it goes away and its refusing calls.
        grace_seconds: Time that a stopping worker has to finish what it has.
        on_ready: Called once, when all workers are ready for the first time.
    """

    def __init__(
        self,
        spawn: Spawn,
        *,
        workers: int,
        slots: int,
        watch: Watch,
        limits: Limits = Limits(),
        drain_seconds: float = 0.0,
        grace_seconds: float = 25.0,
        on_ready: Callable[[], None] = lambda: None,
    ) -> None:
        self._spawn = spawn
        self._wanted = workers
        self._slots = slots
        self._watch = watch
        self._limits = limits
        self._patience = drain_seconds + grace_seconds + _KILL_MARGIN_SECONDS
        self._on_ready: Callable[[], None] | None = on_ready
        self._signals: queue.SimpleQueue[int] = queue.SimpleQueue()
        self._wake_read, self._wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._workers: list[WorkerProcess] = []
        self._stop_by: dict[int, float] = {}
        self._release = 0
        self._backoff = Backoff()
        self._boot_failures = 0
        self._stopping = False
        self._reason: str | None = None

    def notify(self, signum: int, _frame: object = None) -> None:
        """Handle a signal: remember it and wake the loop. Safe in a signal handler."""
        self._signals.put(signum)
        with contextlib.suppress(BlockingIOError):  # the pipe is full, so the loop will wake
            os.write(self._wake_write, b"\0")

    def run(self) -> str | None:
        """Supervise until told to stop; gives the reason of a failure, None after a clean stop."""
        try:
            self._fill()
            while self._workers or not self._stopping:
                self._wait()
                self._read()
                self._reap()
                self._obey()
                self._inspect()
                self._fill()
                self._enforce()
        finally:
            for worker in self._workers:
                worker.kill()
            os.close(self._wake_read)
            os.close(self._wake_write)
        return self._reason

    # --- the steps of the loop ---

    def _wait(self) -> None:
        """Sleep until a signal, a message or the death of a worker, or the next thing to be timed."""
        now = time.monotonic()
        timeout = min([_TICK_SECONDS, *(until - now for until in self._stop_by.values())])
        if self._backoff.wait(now):
            timeout = min(timeout, self._backoff.wait(now))
        with selectors.DefaultSelector() as selector:
            selector.register(self._wake_read, selectors.EVENT_READ)
            for worker in self._workers:
                if not worker.silent:
                    selector.register(worker.control, selectors.EVENT_READ)
            selector.select(max(timeout, 0))
        with contextlib.suppress(BlockingIOError):  # something else woke the loop
            os.read(self._wake_read, 4096)

    def _read(self) -> None:
        for worker in self._workers:
            while (message := worker.receive()) is not None:
                if message["event"] == "ready":
                    self._became_ready(worker)
                elif message["event"] == "leaving":
                    logger.info("worker wants to leave", extra=fields(worker=worker.pid))
                    worker.release = min(worker.release, self._release - 1)
                elif message["event"] == "failed":
                    worker.failure = message["reason"]
                elif message["event"] == "innocent":
                    self._watch.acquit(bytes.fromhex(message["checksum"]))
                    self._tell_all("innocent", checksum=message["checksum"])

    def _became_ready(self, worker: WorkerProcess) -> None:
        if worker.state is State.STARTING:
            worker.state = State.READY
        self._boot_failures = 0
        seconds = round(time.monotonic() - worker.started, 3)
        logger.info("worker ready", extra=fields(worker=worker.pid, slot=worker.slot, seconds=seconds))
        for checksum, deaths in self._watch.suspects().items():
            worker.control.send("suspect", checksum=checksum.hex(), deaths=deaths)
        if self._on_ready is not None and len(self._ready()) >= self._wanted:
            self._on_ready()
            self._on_ready = None

    def _reap(self) -> None:
        for worker in list(self._workers):
            status = worker.poll()
            if status is None:
                continue
            self._workers.remove(worker)
            self._stop_by.pop(worker.pid, None)
            worker.close()
            self._report_death(self._watch.dismiss(worker.slot))
            if worker.state is State.STOPPING:
                logger.info("worker ended", extra=fields(worker=worker.pid, how=describe_exit(status)))
            else:
                self._crashed(worker, worker.failure or describe_exit(status))

    def _report_death(self, death: Death) -> None:
        """Tell every front, so that it posts again what the dead worker had, or may have had, in hand."""
        checksum = "" if death.checksum is None else death.checksum.hex()
        self._tell_all(
            "died", slot=death.slot, generation=death.generation, checksum=checksum, deaths=death.deaths
        )
        if death.checksum is not None:
            logger.warning("picture in hand at a death", extra=fields(checksum=checksum, deaths=death.deaths))

    def _tell_all(self, event: str, **values: Any) -> None:  # noqa: ANN401 - anything JSON can say
        for worker in self._workers:
            if not worker.control.send(event, **values) and worker.state is not State.STOPPING:
                logger.warning("worker does not listen", extra=fields(worker=worker.pid, event=event))

    def _crashed(self, worker: WorkerProcess, how: str) -> None:
        logger.error("worker crashed", extra=fields(worker=worker.pid, slot=worker.slot, how=how))
        self._backoff.crashed(time.monotonic())
        if worker.state is not State.STARTING:
            return
        if self._ready():
            self._abandon_reload(worker, how)
            return
        self._boot_failures += 1
        if worker.failure is not None or self._boot_failures >= MAX_BOOT_FAILURES:
            self._fail(f"no worker can start: {how}")

    def _abandon_reload(self, worker: WorkerProcess, how: str) -> None:
        """New code that cannot start must not replace old code that runs."""
        if any(other.release < worker.release for other in self._ready()):
            logger.error("reload abandoned", extra=fields(how=how))
            for other in self._workers:
                other.release = self._release

    def _obey(self) -> None:
        while not self._signals.empty():
            signum = self._signals.get()
            if signum in {signal.SIGTERM, signal.SIGINT}:
                self._stop_all(signal.Signals(signum).name)
            elif signum == signal.SIGHUP and not self._stopping:
                self._release += 1
                logger.info("reload", extra=fields(release=self._release))
            elif signum in {signal.SIGTTIN, signal.SIGTTOU} and not self._stopping:
                self._scale(1 if signum == signal.SIGTTIN else -1)

    def _scale(self, change: int) -> None:
        # Room for one more than wanted stays, so that a reload can start the new before it stops the old.
        wanted = min(max(self._wanted + change, 1), self._slots - 1)
        logger.info("scale", extra=fields(workers=wanted, before=self._wanted))
        self._wanted = wanted

    def _inspect(self) -> None:
        """Kill who is hung; mark who has reached a limit, one at a time."""
        self._watch.look()
        now = time.monotonic()
        for worker in self._workers:
            trouble = self._trouble(worker, now)
            if trouble is not None and not worker.killed:
                logger.error("worker hung", extra=fields(worker=worker.pid, how=trouble))
                worker.kill()
        if any(worker.release < self._release for worker in self._workers) or self._stopping:
            return
        for worker in self._ready():
            reached = worker.limits.reached(
                worker.pid, self._watch.handled(worker.slot), now - worker.started
            )
            if reached is not None:
                logger.info("worker recycled", extra=fields(worker=worker.pid, after=reached))
                worker.release = self._release - 1
                return

    def _trouble(self, worker: WorkerProcess, now: float) -> str | None:
        if worker.state is not State.STARTING:
            return self._watch.trouble(worker.slot)
        if now - worker.started > _BOOT_SECONDS:
            return f"it was not ready within {_BOOT_SECONDS:g} s"
        return None

    def _fill(self) -> None:
        """Start or stop workers until as many run as are wanted, all of them of the newest release."""
        if self._stopping:
            return
        running = [worker for worker in self._workers if worker.state is not State.STOPPING]
        stale = [worker for worker in running if worker.release < self._release]
        wanted = self._wanted + bool(stale)
        while len(running) < wanted and len(self._workers) < self._slots:
            if self._backoff.wait(time.monotonic()):
                return
            running.append(self._start())
        ready = self._ready()
        while len(ready) > self._wanted:
            ready.sort(key=lambda worker: (worker.release, worker.started))
            self._retire(ready.pop(0))

    def _start(self) -> WorkerProcess:
        taken = {worker.slot for worker in self._workers}
        slot = next(slot for slot in range(self._slots) if slot not in taken)
        worker = self._spawn(slot, self._watch.enlist(slot), self._release)
        worker.limits = self._limits.jittered()
        self._workers.append(worker)
        return worker

    def _ready(self) -> list[WorkerProcess]:
        return [worker for worker in self._workers if worker.state is State.READY]

    def _retire(self, worker: WorkerProcess, event: str = "stop") -> None:
        if worker.state is State.STARTING:
            worker.kill()  # it has nothing to finish, and does not listen yet
        else:
            worker.control.send(event)
        self._mark_stopping(worker)

    def _mark_stopping(self, worker: WorkerProcess) -> None:
        worker.state = State.STOPPING
        self._stop_by.setdefault(worker.pid, time.monotonic() + self._patience)

    def _stop_all(self, why: str) -> None:
        """Drain the whole backend; asked again, end it now."""
        if self._stopping:
            logger.warning("stopping now", extra=fields(why=why))
            for worker in self._workers:
                worker.kill()
            return
        logger.info("stopping", extra=fields(why=why))
        self._stopping = True
        for worker in self._workers:
            self._retire(worker, "drain")

    def _fail(self, reason: str) -> None:
        self._reason = self._reason or reason
        if not self._stopping:
            self._stop_all(reason)

    def _enforce(self) -> None:
        """Kill what had all its grace and has not ended."""
        now = time.monotonic()
        for worker in self._workers:
            if self._stop_by.get(worker.pid, now + 1) <= now:
                logger.warning("worker killed: its grace is over", extra=fields(worker=worker.pid))
                worker.kill()
                self._stop_by[worker.pid] = now + _KILL_MARGIN_SECONDS
