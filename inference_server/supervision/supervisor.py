"""The supervisor: starts workers, replaces those that die, and stops them when it is told to.

It loads no library that a worker needs, and is given a function that starts one. Of a worker's work it sees
the shared statistics alone. Signals only put a number into a queue; everything happens in one loop, in one
thread:

    wait -> receive and send messages -> handle signals -> reap -> check liveness -> start and stop workers

A signal comes before the deaths: one that the whole process group was sent may have ended workers, too.
"""

import logging
import selectors
import signal
import time
from collections.abc import Callable, Collection

from inference_server.supervision.backoff import Backoff, BootFailures
from inference_server.supervision.control import BootFailed, Ready, RetirementRequested, SuspectCleared
from inference_server.supervision.liveness import HangReport, LivenessMonitor
from inference_server.supervision.pool import Pool
from inference_server.supervision.processes import SignalQueue
from inference_server.supervision.worker_process import State, WorkerProcess, describe_exit
from utils.logs import fields

logger = logging.getLogger(__name__)

_BOOT_SECONDS = 60.0
_TICK_SECONDS = 0.5


class Supervisor:
    """Keeps a number of workers running until it is told to stop.

    Args:
        pool: Where workers are started.
        liveness: Sees which worker is hung, and records which died of what.
        workers: How many there shall be.
        on_ready: Called once, when all workers are ready for the first time.
        on_worker_ready: Called with what each worker says when it is ready.
        on_round: Called with the workers' process ids in each round of the loop, at least twice a second.
    """

    def __init__(
        self,
        pool: Pool,
        liveness: LivenessMonitor,
        *,
        workers: int,
        on_ready: Callable[[], None] = lambda: None,
        on_worker_ready: Callable[[Ready], None] = lambda _: None,
        on_round: Callable[[Collection[int]], None] = lambda _: None,
    ) -> None:
        self._pool = pool
        self._liveness = liveness
        self._wanted = workers
        self._on_ready: Callable[[], None] | None = on_ready
        self._on_worker_ready = on_worker_ready
        self._on_round = on_round
        self._signals = SignalQueue()
        self._release = 0
        self._backoff = Backoff()
        self._boot_failures = BootFailures()
        self._warned_of_memory = False
        self._stopping = False
        self._reason: str | None = None

    def notify(self, signum: int, frame: object = None) -> None:
        """Handle a signal: remember it and wake the loop. Safe in a signal handler."""
        self._signals.put(signum, frame)

    def run(self) -> str | None:
        """Supervise until told to stop; gives the reason of a failure, None after a clean stop."""
        try:
            self._reconcile()
            while self._pool.workers or not self._stopping:
                self._wait(self._pool.kill_overdue())
                self._exchange_messages()
                self._handle_signals()
                self._reap()
                self._check_liveness()
                self._reconcile()
                self._on_round([worker.pid for worker in self._pool.workers])
        finally:
            self._pool.kill()
            self._signals.close()
        return self._reason

    # --- the steps of the loop ---

    def _wait(self, seconds: float) -> None:
        """Sleep until a signal, a message or the death of a worker, or the next thing to be timed."""
        until_start = self._backoff.wait(time.monotonic()) or _TICK_SECONDS
        with selectors.DefaultSelector() as selector:
            selector.register(self._signals, selectors.EVENT_READ)
            for worker in self._pool.workers:
                if not worker.control_closed:
                    selector.register(worker.control, selectors.EVENT_READ)
            selector.select(max(min(seconds, until_start, _TICK_SECONDS), 0))

    def _exchange_messages(self) -> None:
        for worker in self._pool.workers:
            self._receive(worker)
            worker.flush()

    def _receive(self, worker: WorkerProcess) -> None:
        while (message := worker.receive()) is not None:
            match message:
                case Ready():
                    self._became_ready(worker, message)
                case BootFailed(reason, permanent):
                    worker.boot_failed(reason, permanent=permanent)
                case RetirementRequested():
                    logger.info("worker wants to leave", extra=fields(worker=worker.pid))
                    worker.request_retirement()
                case SuspectCleared(key):
                    self._liveness.clear_suspect(key)

    def _became_ready(self, worker: WorkerProcess, ready: Ready) -> None:
        worker.became_ready()
        self._boot_failures.reset()
        seconds = round(time.monotonic() - worker.started, 3)
        place = {"worker": worker.pid, "slot": worker.slot, "release": worker.release}
        logger.info("worker ready", extra=fields(**place, seconds=seconds))
        limit, memory = worker.limits.memory_bytes, worker.check_baseline_memory()
        if memory and not self._warned_of_memory:
            self._warned_of_memory = True
            logger.warning("memory limit has no effect", extra=fields(limit=limit, memory=memory))
        self._on_worker_ready(ready)
        if self._on_ready is not None and len(self._pool.ready()) >= self._wanted:
            self._on_ready()
            self._on_ready = None

    def _reap(self) -> None:
        for worker, status in self._pool.reap(self._receive):
            if worker.state is State.STOPPING:
                logger.info("worker ended", extra=fields(worker=worker.pid, how=describe_exit(status)))
                continue
            how = worker.boot_error or describe_exit(status)
            logger.error("worker crashed", extra=fields(worker=worker.pid, slot=worker.slot, how=how))
            self._backoff.crashed(time.monotonic(), started=worker.started)
            # What code of before a reload cannot do says nothing of the new one.
            if worker.state is State.STARTING and not self._is_stale(worker):
                self._could_not_boot(how, started=worker.started, permanent=worker.boot_error_permanent)

    def _could_not_boot(self, how: str, *, started: float, permanent: bool) -> None:
        """Give up where trying again is pointless: the reload if others serve, else the service."""
        too_many = self._boot_failures.record(time.monotonic(), started=started)
        if not permanent and not too_many:
            return
        if not self._pool.ready():
            if not self._stopping:
                self._reason = f"no worker can start: {how}"
                self._stop(self._reason)
        elif any(self._is_stale(other) for other in self._pool.ready()):
            logger.error("reload abandoned", extra=fields(how=how))
            self._boot_failures.reset()
            for other in self._pool.workers:
                other.adopt_release(self._release)

    def _handle_signals(self) -> None:
        for signum in self._signals.take():
            if signum in {signal.SIGTERM, signal.SIGINT}:
                self._asked_to_stop(signal.Signals(signum).name)
            elif signum == signal.SIGHUP and not self._stopping:
                self._release += 1
                self._boot_failures.reset()  # other code, of which nothing is known
                logger.info("reload", extra=fields(release=self._release))
            elif signum in {signal.SIGTTIN, signal.SIGTTOU} and not self._stopping:
                self._scale(1 if signum == signal.SIGTTIN else -1)

    def _scale(self, change: int) -> None:
        # Room for one more than wanted stays, so that a reload can start the new before it stops the old.
        wanted = min(max(self._wanted + change, 1), self._pool.slots - 1)
        logger.info("scale", extra=fields(workers=wanted, before=self._wanted))
        self._wanted = wanted

    def _check_liveness(self) -> None:
        """Kill who is hung; replace who has reached a limit, one at a time."""
        self._liveness.look()
        now = time.monotonic()
        for worker in self._pool.workers:
            hang = self._hang_report(worker, now)
            if hang is not None and not worker.killed:
                # Killed first: writing the line may take long, and the worker may be well again after it.
                worker.kill(blame_request=hang.blame_request)
                logger.error("worker hung", extra=fields(worker=worker.pid, how=hang.reason))
        for worker in self._pool.ready():
            if self._stopping or any(self._is_due(other) for other in self._pool.workers):
                return
            handled = self._liveness.handled(worker.slot)
            reached = worker.limits.reached(worker.pid, handled, now - worker.started)
            if reached is not None:
                logger.info("worker recycled", extra=fields(worker=worker.pid, after=reached))
                worker.request_retirement()

    def _hang_report(self, worker: WorkerProcess, now: float) -> HangReport | None:
        if worker.state is not State.STARTING:
            return self._liveness.hang_report(worker.slot)
        if now - worker.started > _BOOT_SECONDS:
            return HangReport(f"it was not ready within {_BOOT_SECONDS:g} s", blame_request=False)
        return None

    def _reconcile(self) -> None:
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
                self._could_not_boot(str(error), started=now, permanent=False)
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
        return worker.retirement_requested or self._is_stale(worker)

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
        self._pool.drain()
