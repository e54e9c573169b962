"""The backend from its start to its end: settings, address, weights, models, supervisor."""

import contextlib
import logging
import os
import resource
import signal
import sys
import time
from collections.abc import Collection
from pathlib import Path

from inference_server import admin_process
from inference_server.admin_process import AdminProcess
from inference_server.catalogue.control_socket import NAME, ControlSocket
from inference_server.catalogue.manager import ModelManager
from inference_server.catalogue.model_settings import MOST_PROCESSES
from inference_server.catalogue.start import starting_state
from inference_server.catalogue.state_file import StateFile, StateUnusable
from inference_server.catalogue.store import Store
from inference_server.catalogue.table import QUEUES
from inference_server.dispatch.shared import Shared
from inference_server.management import Management
from inference_server.model_processes import ModelProcesses
from inference_server.models.conversion import prepare
from inference_server.places import Places
from inference_server.recent_failures import RecentFailures
from inference_server.series import CountedPublication
from inference_server.supervision.address import AddressUnavailable
from inference_server.supervision.engine_log import EngineLog
from inference_server.supervision.exchange import ExchangeableGroup
from inference_server.supervision.group import Group
from inference_server.supervision.liveness import LivenessMonitor
from inference_server.supervision.processes import reap_orphans
from inference_server.supervision.recycling import Limits
from inference_server.supervision.supervisor import Supervisor
from inference_server.supervision.worker_process import WorkerProcess
from inference_server.tls_handover import handed_over
from utils import logs
from utils.cpus import usable_cpus
from utils.errors import ManagementError, TooManyModels
from utils.settings import InvalidSetting, Settings, unknown_settings
from utils.torchserve_keys import write_keys
from utils.tracing import check_packages, flush_seconds

logger = logging.getLogger("inference_server")

_SIGNALS = (
    signal.SIGTERM,
    signal.SIGINT,
    signal.SIGHUP,
    signal.SIGTTIN,
    signal.SIGTTOU,
    signal.SIGCHLD,
)
_SPARE_SLOTS = 32
"""How many workers may be added by signals to those of FACET_WORKERS."""


def run(worker: str = "inference_server.worker") -> int:
    """Run the backend until it is told to stop; gives the exit status.

    Args:
        worker: The module that a worker process runs.
    """
    started = time.monotonic()
    with contextlib.ExitStack() as at_end:
        return _run(worker, started, at_end)


def _run(worker: str, started: float, at_end: contextlib.ExitStack) -> int:
    try:
        settings = Settings.from_environ(os.environ)
        logs.configure(settings.log_format)
        check_packages(settings)
        for warning in unknown_settings(os.environ):
            logger.warning(warning)
        places = Places.take(settings)
        if open_to_all := places.open_to_all(settings):
            logger.warning("open to whoever can connect", extra=logs.fields(**open_to_all))
        if places.admin is not None:
            at_end.callback(places.admin.close)
        shared = _share(settings.workers)
        backend = Backend(settings, places, shared, worker, started)
        reason = prepare(settings.cache_dir)
        if reason is None and settings.torchserve_key_file is not None:
            # Last: the keys of another backend are not replaced by a start that fails.
            _write_keys(settings.torchserve_key_file)
    except (InvalidSetting, AddressUnavailable, StateUnusable, ManagementError, TooManyModels) as error:
        return _failed(str(error))
    if reason is None:
        reason = backend.run()
    return 0 if reason is None else _failed(reason)


class Backend:
    """Workers and models, and the one loop that looks after them.

    Args:
        settings: What the operator decides.
        places: Where its processes listen.
        shared: What all processes share.
        worker: The module that a worker process runs.
        started: When the backend was, of the monotonic clock.

    Raises:
        InvalidSetting, StateUnusable, ManagementError, TooManyModels: The models that are to be served at
            its start cannot be.
    """

    def __init__(
        self, settings: Settings, places: Places, shared: Shared, worker: str, started: float
    ) -> None:
        self._settings, self._places, self._shared = settings, places, shared
        self._worker = worker
        self._started = started
        self._announced = False
        limits = Limits(settings.recycle_requests, settings.recycle_seconds, settings.recycle_memory_bytes)
        self._limits = limits
        engine_log = EngineLog()
        self._workers = Group(
            None,
            self._spawn_worker,
            range(shared.slots),
            LivenessMonitor(shared.stats, settings.hang_seconds),
            wanted=settings.workers,
            patience=settings.drain_seconds + settings.grace_seconds + flush_seconds(settings),
            on_ready=lambda _, ready: engine_log.record(ready),
        )
        self._supervisor = Supervisor(self._workers, boot_places=usable_cpus(), on_round=self._look_around)
        failures = RecentFailures()
        logging.getLogger().addHandler(failures)
        self._models, socket_folder = self._start_models()
        management = Management(
            self._supervisor,
            self._models,
            waiting=self._waiting,
            failures=failures,
            ready=lambda: self._announced,
            engine=engine_log.chosen,
        )
        self._control_socket = ControlSocket(management.execute)
        self._supervisor.watch(self._control_socket)
        if socket_folder is not None:
            self._listen(socket_folder / NAME)
        if places.admin is not None:
            adopt, patience = self._control_socket.adopt, settings.grace_seconds
            admin = AdminProcess(places.admin, shared, adopt, patience=patience, tls=places.tls)
            self._supervisor.add_group(admin.group, last=True)

    def run(self) -> str | None:
        """Run until told to stop; gives the reason of a failure, None after a clean stop."""
        for signum in _SIGNALS:
            signal.signal(signum, self._supervisor.notify)
        try:
            return self._supervisor.run()
        finally:
            self._control_socket.close()

    def _start_models(self) -> tuple[ModelManager[ExchangeableGroup], Path | None]:
        """The manager of the models, and the folder of state if it is this backend's alone."""
        settings = self._settings
        store, file = Store(settings.model_store), StateFile(settings.state_dir)
        state, desired = starting_state(settings.models, file, store)
        processes = ModelProcesses(self._supervisor, self._shared, settings.grace_seconds, self._limits)
        manager: ModelManager[ExchangeableGroup] = ModelManager(
            store,
            state,
            CountedPublication(self._shared.publication, self._shared.stats.counters),
            start_group=processes.start,
            exchange_group=processes.exchange,
            remove_group=processes.remove,
            waiting=self._waiting,
            face_workers=settings.workers,
        )
        manager.start(desired)
        return manager, settings.state_dir if file.locked else None

    def _waiting(self, queue: int) -> int:
        """How many requests wait in a queue."""
        return self._shared.stats.waiting(queue)[0]

    def _listen(self, path: Path) -> None:
        try:
            self._control_socket.listen(path)
        except OSError as error:
            logger.warning("no control socket", extra=logs.fields(path=str(path), reason=str(error)))

    def _spawn_worker(self, slot: int, generation: int, release: int) -> WorkerProcess:
        command = [sys.executable, "-m", self._worker, "--shared", self._shared.described()]
        command += ["--address", str(self._places.grpc), "--torchserve-address"]
        command.append(str(self._places.torchserve or ""))
        limits, inherit = self._limits.jittered(), self._shared.descriptors
        with handed_over(self._places.tls) as (arguments, descriptors):
            command, inherit = [*command, *arguments], (*inherit, *descriptors)
            return WorkerProcess(command, slot, generation, release, limits=limits, inherit=inherit)

    def _look_around(self, processes: Collection[int]) -> float:
        """What is done in each round of the loop; gives the seconds after which it is to be done again."""
        reap_orphans(processes)
        self._places.look_around()
        pause = self._models.tick()
        ready = self._workers.ready_count >= self._workers.wanted and self._models.is_settled
        if ready and not self._announced:
            self._announced = True
            seconds = round(time.monotonic() - self._started, 3)
            what = {**self._places.names(), "workers": self._settings.workers, "seconds": seconds}
            logger.info("ready", extra=logs.fields(**what))
        return pause


def _share(workers: int) -> Shared:
    """Make what all processes share: for 200 workers, more descriptors than the usual soft limit.

    Raises:
        InvalidSetting: The system has no room for so many workers.
    """
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    try:
        # Queue 0 is that of face detection, and each version of a model has another.
        return Shared.create(2 * workers + _SPARE_SLOTS, QUEUES + 1, MOST_PROCESSES + admin_process.SLOTS)
    except OSError as error:
        raise InvalidSetting(
            f"FACET_WORKERS is {workers}, for which the system has no room: {error.strerror}"
        ) from error


def _write_keys(path: Path) -> None:
    """Make the keys of TorchServe's clients.

    Raises:
        InvalidSetting: They cannot be written.
    """
    try:
        write_keys(path)
    except OSError as error:
        raise InvalidSetting(
            f"FACET_TORCHSERVE_KEY_FILE is {path}, which cannot be written: {error.strerror}"
        ) from error


def _failed(reason: str) -> int:
    """End with the reason on the last line."""
    print(f"inference_server: {reason}", file=sys.stderr)
    return 1
