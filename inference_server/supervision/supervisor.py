"""The supervisor: starts workers, replaces those that die, and stops them when it is told to.

It knows nothing of what a worker does, and loads no library that a worker needs: it is given a function
that starts one. Signals only put a number into a queue; everything happens in one loop, in one thread:

    wait -> hear and tell workers -> obey signals -> reap -> look for the hung -> start and stop workers

A signal comes before the deaths: one that the whole process group was sent may have ended workers, too.
"""

import contextlib
import logging
import math
import os
import queue
import selectors
import signal
import time
from collections.abc import Callable, Collection

from inference_server.supervision.backoff import Backoff
from inference_server.supervision.control import Message
from inference_server.supervision.pool import Pool
from inference_server.supervision.watch import Trouble, Watch
from inference_server.supervision.worker_process import State, WorkerProcess, describe_exit
from utils.logs import fields

logger = logging.getLogger(__name__)

MAX_BOOT_FAILURES = 5
_BOOT_SECONDS = 60.0
_TICK_SECONDS = 0.5


class Supervisor:
    """Keeps a number of workers running until it is told to stop.

    Args:
        pool: Where workers are started.
        watch: Sees which worker is hung, and remembers which died of what.
        workers: How many there shall be.
        on_ready: Called once, when all workers are ready for the first time.
        on_worker_ready: Called with what each worker says when it is ready.
        reap_others: Called with the workers' process ids, to reap other children that have ended.
        on_round: Called in each round of the loop, twice a second or more often.
    """

    def __init__(
        self,
        pool: Pool,
        watch: Watch,
        *,
        workers: int,
        on_ready: Callable[[], None] = lambda: None,
        on_worker_ready: Callable[[Message], None] = lambda _: None,
        reap_others: Callable[[Collection[int]], None] = lambda _: None,
        on_round: Callable[[], None] = lambda: None,
    ) -> None:
        self._pool = pool
        self._watch = watch
        self._wanted = workers
        self._on_ready: Callable[[], None] | None = on_ready
        self._on_worker_ready = on_worker_ready
        self._reap_others = reap_others
        self._on_round = on_round
        self._signals: queue.SimpleQueue[int] = queue.SimpleQueue()
        self._wake_read, self._wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._release = 0
        self._backoff = Backoff()
        self._boot_failures = 0
        self._boot_failed = -math.inf
        self._warned_of_memory = False
        self._stopping = False
        self._reason: str | None = None

    def notify(self, signum: int, _frame: object = None) -> None:
        """Handle a signal: remember it and wake the loop. Safe in a signal handler."""
        self._signals.put(signum)
        # Full: the loop will wake. Closed: it has ended, and there is nothing to be told.
        with contextlib.suppress(OSError):
            os.write(self._wake_write, b"\0")

    def run(self) -> str | None:
        """Supervise until told to stop; gives the reason of a failure, None after a clean stop."""
        try:
            self._fill()
            while self._pool.workers or not self._stopping:
                self._wait(self._pool.enforce())
                self._talk()
                self._obey()
                self._reap()
                self._look()
                self._fill()
                self._on_round()
        finally:
            self._pool.kill()
            # Forgotten first: a signal may come when they are closed, and their numbers be other files'.
            ends, self._wake_read, self._wake_write = (self._wake_read, self._wake_write), -1, -1
            for end in ends:
                os.close(end)
        return self._reason

    # --- the steps of the loop ---

    def _wait(self, seconds: float) -> None:
        """Sleep until a signal, a message or the death of a worker, or the next thing to be timed."""
        until_start = self._backoff.wait(time.monotonic()) or _TICK_SECONDS
        with selectors.DefaultSelector() as selector:
            selector.register(self._wake_read, selectors.EVENT_READ)
            for worker in self._pool.workers:
                if not worker.silent:
                    selector.register(worker.control, selectors.EVENT_READ)
            selector.select(max(min(seconds, until_start, _TICK_SECONDS), 0))
        with contextlib.suppress(BlockingIOError):  # something else woke the loop
            os.read(self._wake_read, 4096)

    def _talk(self) -> None:
        """Hear what workers say, and tell them what they could not take before."""
        for worker in self._pool.workers:
            self._hear(worker)
            worker.tell_rest()

    def _hear(self, worker: WorkerProcess) -> None:
        while (message := worker.receive()) is not None:
            if message["event"] == "ready":
                self._became_ready(worker, message)
            elif message["event"] == "leaving":
                logger.info("worker wants to leave", extra=fields(worker=worker.pid))
                worker.leaving = True
            elif message["event"] == "failed":
                worker.failure = message["reason"]
                # A release of the worker's code that does not say means that it is.
                worker.hopeless = message.get("final", True)
            elif message["event"] == "innocent":
                self._watch.acquit(bytes.fromhex(message["checksum"]))
                self._pool.tell("innocent", checksum=message["checksum"])

    def _became_ready(self, worker: WorkerProcess, message: Message) -> None:
        if worker.state is State.STARTING:
            worker.state = State.READY
        self._boot_failures = 0
        seconds = round(time.monotonic() - worker.started, 3)
        place = {"worker": worker.pid, "slot": worker.slot, "release": worker.release}
        logger.info("worker ready", extra=fields(**place, seconds=seconds))
        self._weigh(worker)
        self._on_worker_ready(message)
        if self._on_ready is not None and len(self._pool.ready()) >= self._wanted:
            self._on_ready()
            self._on_ready = None

    def _weigh(self, worker: WorkerProcess) -> None:
        """Replace none for its memory that has too much of it when it is new: the next one would, too."""
        memory = worker.limits.too_large(worker.pid)
        if memory == 0:
            return
        if not self._warned_of_memory:
            limit = worker.limits.memory_bytes
            logger.warning("memory limit has no effect", extra=fields(limit=limit, memory=memory))
        self._warned_of_memory = True
        worker.limits = worker.limits.without_memory()

    def _reap(self) -> None:
        for worker, status in self._pool.reap():
            self._hear(worker)  # its last words
            if worker.state is State.STOPPING:
                logger.info("worker ended", extra=fields(worker=worker.pid, how=describe_exit(status)))
                continue
            how = worker.failure or describe_exit(status)
            logger.error("worker crashed", extra=fields(worker=worker.pid, slot=worker.slot, how=how))
            self._backoff.crashed(time.monotonic(), started=worker.started)
            # What code of before a reload cannot do says nothing of the new one.
            if worker.state is State.STARTING and not self._is_stale(worker):
                self._could_not_boot(how, started=worker.started, final=worker.hopeless)
        self._reap_others([worker.pid for worker in self._pool.workers])

    def _could_not_boot(self, how: str, *, started: float, final: bool) -> None:
        """Give up where trying again is pointless: the reload if others serve, else the service."""
        if started > self._boot_failed:  # or it was tried together with the one before: the same try
            self._boot_failures += 1
            self._boot_failed = time.monotonic()
        if not final and self._boot_failures < MAX_BOOT_FAILURES:
            return
        if not self._pool.ready():
            if not self._stopping:
                self._reason = f"no worker can start: {how}"
                self._stop(self._reason)
        elif any(self._is_stale(other) for other in self._pool.ready()):
            logger.error("reload abandoned", extra=fields(how=how))
            self._boot_failures = 0
            for other in self._pool.workers:
                other.release = self._release

    def _obey(self) -> None:
        while not self._signals.empty():
            signum = self._signals.get()
            if signum in {signal.SIGTERM, signal.SIGINT}:
                self._asked_to_stop(signal.Signals(signum).name)
            elif signum == signal.SIGHUP and not self._stopping:
                self._release += 1
                self._boot_failures = 0  # other code, of which nothing is known
                logger.info("reload", extra=fields(release=self._release))
            elif signum in {signal.SIGTTIN, signal.SIGTTOU} and not self._stopping:
                self._scale(1 if signum == signal.SIGTTIN else -1)

    def _scale(self, change: int) -> None:
        # Room for one more than wanted stays, so that a reload can start the new before it stops the old.
        wanted = min(max(self._wanted + change, 1), self._pool.slots - 1)
        logger.info("scale", extra=fields(workers=wanted, before=self._wanted))
        self._wanted = wanted

    def _look(self) -> None:
        """Kill who is hung; replace who has reached a limit, one at a time."""
        self._watch.look()
        now = time.monotonic()
        for worker in self._pool.workers:
            trouble = self._trouble(worker, now)
            if trouble is not None and not worker.killed:
                # Killed first: writing the line may take long, and the worker may be well again after it.
                worker.kill(at_fault=trouble.at_fault)
                logger.error("worker hung", extra=fields(worker=worker.pid, how=trouble.reason))
        for worker in self._pool.ready():
            if self._stopping or any(self._is_due(other) for other in self._pool.workers):
                return
            handled = self._watch.handled(worker.slot)
            reached = worker.limits.reached(worker.pid, handled, now - worker.started)
            if reached is not None:
                logger.info("worker recycled", extra=fields(worker=worker.pid, after=reached))
                worker.leaving = True

    def _trouble(self, worker: WorkerProcess, now: float) -> Trouble | None:
        if worker.state is not State.STARTING:
            return self._watch.trouble(worker.slot)
        if now - worker.started > _BOOT_SECONDS:
            return Trouble(f"it was not ready within {_BOOT_SECONDS:g} s", at_fault=False)
        return None

    def _fill(self) -> None:
        """Start or stop workers until as many run as are wanted, none of them due to be replaced.

        One that is due is told to stop when there is another that is ready.
        """
        if self._stopping:
            return
        staying = self._pool.staying()
        due = any(map(self._is_due, staying))
        for _ in range(self._wanted + due - len(staying)):
            if not self._pool.has_room() or self._backoff.wait(time.monotonic()):
                break
            try:
                self._pool.start(self._release)
            except OSError as error:
                logger.exception("a worker cannot be started")
                now = time.monotonic()
                self._backoff.crashed(now, started=now)
                self._could_not_boot(str(error), started=now, final=False)
                break
        ready = sorted(self._pool.ready(), key=lambda worker: (not self._is_due(worker), worker.started))
        for worker in ready[: max(len(ready) - self._wanted, 0)]:
            self._pool.retire(worker)

    # --- what they do ---

    def _is_stale(self, worker: WorkerProcess) -> bool:
        """Whether it runs code of before the last reload."""
        return worker.release < self._release

    def _is_due(self, worker: WorkerProcess) -> bool:
        """Whether it shall be replaced, by one that is ready before it is told to stop."""
        return worker.leaving or self._is_stale(worker)

    def _asked_to_stop(self, why: str) -> None:
        """Drain the whole backend; asked again, end it now."""
        if self._stopping:
            logger.warning("stopping now", extra=fields(why=why))
            self._pool.kill()
        else:
            self._stop(why)

    def _stop(self, why: str) -> None:
        logger.info("stopping", extra=fields(why=why))
        self._stopping = True
        for worker in self._pool.workers:
            self._pool.retire(worker, "drain")
