"""The supervisor: keeps groups of processes running until it is told to stop.

It loads no library that a worker needs, and is given functions that start processes. Of their work it sees
the shared statistics alone. Signals only put a number into a queue; everything happens in one loop, in one
thread:

    wait -> receive and send messages -> handle signals -> reap -> check liveness -> start and stop processes

A signal comes before the deaths: one that the whole process group was sent may have ended workers, too.
"""

import logging
import selectors
import signal
from collections.abc import Callable, Collection
from typing import Protocol

from inference_server.supervision.boot_places import BootPlaces
from inference_server.supervision.control import BootFailed, Drain, FromSupervisor, Stop, WorkerDied
from inference_server.supervision.group import Group
from inference_server.supervision.processes import SignalQueue
from utils.logs import fields

logger = logging.getLogger(__name__)

_TICK_SECONDS = 0.5


class Watched(Protocol):
    """What the loop waits for besides."""

    def fileno(self) -> int:
        """The descriptor that can be read when there is something to be handled; the same at all times."""
        ...

    def handle(self) -> None:
        """Handle it without waiting. What is raised here ends the supervisor."""
        ...


class Supervisor:
    """Keeps the workers running until it is told to stop, and beside them groups of model workers.

    Readiness, the end of the service and the number that signals change are the workers'. Model workers are
    told to stop when no worker is left, because workers need them until then; and a group by which others are
    watched, when nothing else is left.

    Attributes:
        release: Counts the reloads.
        stopping: Whether the whole backend goes away.

    Args:
        workers: The group of those that dispatch: they are told of each death in any group.
        boot_places: How many processes may boot at once; workers, and the last group, do not wait for one.
        on_round: Called with all process ids in each round of the loop, at least twice a second; gives the
            seconds after which it is to be called again.
    """

    def __init__(
        self,
        workers: Group,
        *,
        boot_places: int,
        on_round: Callable[[Collection[int]], float] = lambda _: _TICK_SECONDS,
    ) -> None:
        self._workers = workers
        self._workers.on_cannot_start = self._workers_cannot_start
        self._groups = [workers]
        self._boot_places = BootPlaces(boot_places)
        self._last: Group | None = None
        self._watched: list[Watched] = []
        self._on_round = on_round
        self._pause = _TICK_SECONDS
        self._signals = SignalQueue()
        self.release = 0
        self.stopping = False
        self._reason: str | None = None

    @property
    def groups(self) -> tuple[Group, ...]:
        """All that are kept running, the workers first."""
        return tuple(self._groups)

    def add_group(self, group: Group, *, last: bool = False) -> None:
        """Keep another group running; a reload replaces its processes, too.

        Args:
            group: The group.
            last: Whether it goes on until all others have ended. One group may.
        """
        group.reload(self.release)
        self._groups.append(group)
        if last:
            self._last = group

    def remove_group(self, group: Group) -> None:
        """Forget a group that was retired and is empty."""
        self._groups.remove(group)

    def watch(self, watched: Watched) -> None:
        """Have something handled whenever its descriptor can be read."""
        self._watched.append(watched)

    def drain(self, why: str) -> None:
        """Drain the whole backend, as SIGTERM does; asked again, it goes on doing so."""
        if not self.stopping:
            self._stop(why)

    def broadcast(self, message: FromSupervisor) -> None:
        """Tell all processes of all groups something."""
        for group in self._groups:
            group.broadcast(message)

    def notify(self, signum: int, frame: object = None) -> None:
        """Handle a signal: remember it and wake the loop. Safe in a signal handler."""
        self._signals.put(signum, frame)

    def run(self) -> str | None:
        """Supervise until told to stop; gives the reason of a failure, None after a clean stop."""
        try:
            self._reconcile()
            while not self.stopping or not all(group.is_empty for group in self._groups):
                self._handle(self._wait())
                self._exchange_messages()
                self._handle_signals()
                self._reap()
                self._check_liveness()
                self._reconcile()
                pids = [process.pid for group in self._groups for process in group.processes]
                self._pause = self._on_round(pids)
        finally:
            self._kill()
            self._signals.close()
        return self._reason

    # --- the steps of the loop: callbacks may change the groups and what is watched ---

    def _wait(self) -> list[Watched]:
        """Sleep until there is something to do; gives those of the watched that are to be handled."""
        seconds = min(_TICK_SECONDS, self._pause, *(group.next_due() for group in self._groups))
        with selectors.DefaultSelector() as selector:
            selector.register(self._signals, selectors.EVENT_READ)
            for watched in self._watched:
                selector.register(watched, selectors.EVENT_READ, watched)
            for group in self._groups:
                for process in group.processes:
                    if not process.control_closed:
                        selector.register(process.control, selectors.EVENT_READ)
            return [key.data for key, _ in selector.select(max(seconds, 0)) if key.data is not None]

    def _handle(self, readable: list[Watched]) -> None:
        for watched in readable:
            watched.handle()

    def _exchange_messages(self) -> None:
        for group in tuple(self._groups):
            group.exchange_messages()

    def _reap(self) -> None:
        """Take in who has ended; every dispatcher requeues what it had, or may have had, in flight."""
        for group in tuple(self._groups):
            for death in group.reap():
                if group.queue is None:
                    continue
                self._workers.broadcast(WorkerDied(death.slot, death.generation, group.queue))

    def _handle_signals(self) -> None:
        for signum in self._signals.take():
            if signum in {signal.SIGTERM, signal.SIGINT}:
                self._asked_to_stop(signal.Signals(signum).name)
            elif signum == signal.SIGHUP and not self.stopping:
                self._reload()
            elif signum in {signal.SIGTTIN, signal.SIGTTOU} and not self.stopping:
                self._scale(1 if signum == signal.SIGTTIN else -1)

    def _check_liveness(self) -> None:
        for group in tuple(self._groups):
            group.check_liveness()

    def _reconcile(self) -> None:
        for group in tuple(self._groups):
            if self.stopping and self._may_retire(group):
                group.retire(Drain() if group is self._last else Stop())
        first = [self._workers] if self._last is None else [self._workers, self._last]
        self._boot_places.start_processes(first, [group for group in self._groups if group not in first])
        for group in self._groups:
            group.stop_surplus()

    def _may_retire(self, group: Group) -> bool:
        """Whether nobody needs a group any more, of a backend that goes away."""
        if group is self._last:
            return all(other.is_empty for other in self._groups if other is not group)
        return self._workers.is_empty

    # --- what they do ---

    def _reload(self) -> None:
        self.release += 1
        logger.info("reload", extra=fields(release=self.release))
        for group in self._groups:
            group.reload(self.release)

    def _scale(self, change: int) -> None:
        # Room for one more than wanted stays, so that a reload can start the new before it stops the old.
        self._workers.scale(min(max(self._workers.wanted + change, 1), len(self._workers.slots) - 1))

    def _workers_cannot_start(self, error: BootFailed) -> None:
        """End the service where nobody serves, and trying again is pointless."""
        if error.permanent and not self._workers.ready_count:
            self._reason = f"no worker can start: {error.reason}"
            self._stop(self._reason)

    def _asked_to_stop(self, why: str) -> None:
        """Drain the whole backend; asked again, end it now."""
        if self.stopping:
            logger.warning("stopping now", extra=fields(why=why))
            self._kill()
        else:
            self._stop(why)

    def _stop(self, why: str) -> None:
        logger.info("stopping", extra=fields(why=why))
        self.stopping = True
        for group in self._groups:
            group.stop_replacing()
        self._workers.retire(Drain())

    def _kill(self) -> None:
        for group in self._groups:
            group.kill()
