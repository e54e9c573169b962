"""A supervisor on a thread of the test, with groups of real child processes that compute nothing."""

import os
import queue
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path

from inference_server.catalogue.table import QUEUES
from inference_server.dispatch.stats import SharedStats
from inference_server.supervision.control import Ready
from inference_server.supervision.exchange import ExchangeableGroup
from inference_server.supervision.liveness import HangReport, LivenessMonitor, Times
from inference_server.supervision.recycling import Limits
from inference_server.supervision.supervisor import Supervisor
from inference_server.supervision.worker_process import WorkerProcess
from tests.support.dispatch import shared_stats
from tests.support.processes import PATIENCE, ROOT, alive, wait_until

FAKE = ROOT / "tests" / "integration" / "fake_worker.py"
SLOTS = range(16)
MODEL_SLOTS = range(16, 22)
BOOT_PLACES = 2


class Trusting(LivenessMonitor):
    """A liveness monitor of processes that show no progress: it believes in all but those named."""

    def __init__(self, stats: SharedStats, boot_seconds: float) -> None:
        super().__init__(stats, hang_seconds=3600, boot_seconds=boot_seconds)
        self.hung: set[int] = set()

    def hang_report(self, slot: int) -> HangReport | None:
        return HangReport("as the test said", blame_request=True) if slot in self.hung else None


class Fakes:
    """A group of fake workers, and those that it has started.

    Args:
        folder: Of its own, in which it finds how to behave: see `fake_worker.py`.
        stats: Of all groups of a supervisor.
        name: None for workers; model workers have a session of their own.
    """

    def __init__(
        self,
        folder: Path,
        stats: SharedStats,
        slots: range,
        name: str | None = None,
        *,
        wanted: int,
        patience: float = 30.0,
        boot_seconds: float = 60.0,
        is_urgent: bool = False,
        queue: int | None = 0,
    ) -> None:
        self.folder = folder
        self.started: list[WorkerProcess] = []
        self.said: list[Ready] = []
        self.failures: list[tuple[str, bool]] = []
        self.limits: list[Limits] = []
        self.spawn_tried = threading.Event()
        self.can_spawn = True
        self.behave("ok")
        self.liveness = Trusting(stats, boot_seconds)
        self.group = ExchangeableGroup(
            name,
            self._spawn,
            slots,
            self.liveness,
            wanted=wanted,
            patience=patience,
            is_urgent=is_urgent,
            queue=queue,
            on_ready=lambda _, ready: self.said.append(ready),
            on_cannot_start=lambda error: self.failures.append((error.reason, error.permanent)),
        )
        self._is_model = name is not None

    def _spawn(self, slot: int, generation: int, release: int) -> WorkerProcess:
        self.spawn_tried.set()
        if not self.can_spawn:
            raise FileNotFoundError(2, "there is no such program")
        command = [sys.executable, str(FAKE), str(self.folder)]
        limits = self.limits.pop(0) if self.limits else Limits()  # of the next that is started
        worker = WorkerProcess(command, slot, generation, release, limits=limits, own_session=self._is_model)
        self.started.append(worker)
        return worker

    def exchange(self, boot_seconds: float = 60.0) -> None:
        """Have all of them replaced; by the supervisor's thread."""
        self.group.exchange(self._spawn, Times(3600, boot_seconds))

    def behave(self, how: str) -> None:
        """Say how processes started from now on behave."""
        (self.folder / "behave").write_text(how)

    def open_gate(self) -> None:
        """Let processes that wait for it become ready."""
        (self.folder / "open").touch()

    def living(self) -> list[int]:
        """Process ids of those that live."""
        return [worker.pid for worker in self.started if alive(worker.pid)]

    def wait_for_start(self, count: int) -> None:
        """Wait until so many have been started in all."""
        wait_until(lambda: len(self.started) >= count, f"{count} workers started")

    def wait_for_living(self, count: int) -> None:
        """Wait until so many live."""
        wait_until(lambda: len(self.living()) == count, f"{count} workers alive")

    def told(self) -> list[str]:
        """What they were told, `PID event` each, but for deaths."""
        return self._lines("told")

    def deaths(self) -> list[str]:
        """The deaths that they were told of, `PID slot generation` each."""
        return self._lines("deaths")

    def _lines(self, name: str) -> list[str]:
        path = self.folder / name
        return path.read_text().splitlines() if path.exists() else []


class Service(Fakes):
    """Fake workers, their supervisor on a thread of its own, and groups of fake model workers."""

    def __init__(self, folder: Path, workers: int, patience: float) -> None:
        self.stats = shared_stats(MODEL_SLOTS.stop, queues=QUEUES + 1)
        super().__init__(folder, self.stats, SLOTS, wanted=workers, patience=patience)
        self.models: list[Fakes] = []
        self.ready = threading.Event()
        self.reason: str | None = None
        self.supervisor = Supervisor(self.group, boot_places=BOOT_PLACES, on_round=self._look_around)
        self.calls = Calls()
        self.supervisor.watch(self.calls)
        self.thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        self.reason = self.supervisor.run()

    def _look_around(self, _: object) -> float:
        if self.group.ready_count >= self.group.wanted:
            self.ready.set()
        return 0.5

    def add_model(
        self,
        name: str,
        behaviour: str = "ok",
        slots: range = MODEL_SLOTS,
        *,
        wanted: int = 1,
        is_urgent: bool = False,
        last: bool = False,
        queue: int | None = 0,
        **limits: float,
    ) -> Fakes:
        """Add a group of model workers; before the start, or by the supervisor's thread."""
        folder = self.folder / name
        folder.mkdir()
        model = Fakes(
            folder,
            self.stats,
            slots,
            f"{name}/1.0",
            wanted=wanted,
            is_urgent=is_urgent,
            queue=queue,
            **limits,
        )
        model.behave(behaviour)
        self.models.append(model)
        self.supervisor.add_group(model.group, last=last)
        return model

    def start(self) -> None:
        """Start, and wait until all workers are ready."""
        self.thread.start()
        assert self.ready.wait(PATIENCE)

    def call(self, function: Callable[[], object]) -> None:
        """Have the supervisor's thread do something."""
        self.calls.put(function)

    def go_round(self) -> None:
        """Wait until its loop has gone round, twice: what it could do is done."""
        for _ in range(3):
            handled = threading.Event()
            self.call(handled.set)
            assert handled.wait(PATIENCE)

    def signal(self, signum: signal.Signals) -> None:
        """Send it a signal."""
        self.supervisor.notify(signum)

    def join(self) -> str | None:
        """Wait until it has ended; gives its reason."""
        self.thread.join(PATIENCE)
        assert not self.thread.is_alive()
        return self.reason

    def end(self) -> None:
        """End it now, with all of its processes."""
        if self.thread.is_alive():
            self.signal(signal.SIGTERM)
            self.signal(signal.SIGTERM)
            self.thread.join(PATIENCE)
        assert [pid for fakes in (self, *self.models) for pid in fakes.living()] == []


class Calls:
    """What the supervisor's thread shall do: something that is watched."""

    def __init__(self) -> None:
        self._waiting: queue.SimpleQueue[Callable[[], object]] = queue.SimpleQueue()
        self._event = os.eventfd(0)

    def put(self, function: Callable[[], object]) -> None:
        """Have it called."""
        self._waiting.put(function)
        os.eventfd_write(self._event, 1)

    def fileno(self) -> int:
        """The descriptor to watch."""
        return self._event

    def handle(self) -> None:
        """Call what waits."""
        os.eventfd_read(self._event)
        while not self._waiting.empty():
            self._waiting.get()()
