"""The backend from its start to its end: settings, address, weights, models, supervisor."""

import logging
import os
import resource
import signal
import sys
import time
from collections.abc import Collection, Mapping
from pathlib import Path

from inference_server.catalogue.control_socket import NAME, ControlSocket
from inference_server.catalogue.manager import ModelManager
from inference_server.catalogue.model_settings import MOST_PROCESSES
from inference_server.catalogue.start import starting_state
from inference_server.catalogue.state_file import StateFile, StateUnusable
from inference_server.catalogue.store import Store
from inference_server.catalogue.table import QUEUES
from inference_server.dispatch.shared import Shared
from inference_server.model_processes import ModelProcesses
from inference_server.models.conversion import prepare
from inference_server.supervision.address import AddressUnavailable, Reservation, reserve
from inference_server.supervision.engine_log import EngineLog
from inference_server.supervision.group import Group
from inference_server.supervision.liveness import LivenessMonitor
from inference_server.supervision.processes import reap_orphans
from inference_server.supervision.recycling import Limits
from inference_server.supervision.supervisor import Supervisor
from inference_server.supervision.worker_process import WorkerProcess
from utils import logs
from utils.cpus import usable_cpus
from utils.errors import ManagementError, TooManyModels
from utils.settings import InvalidSetting, Settings, unknown_settings
from utils.torchserve_keys import write_keys

logger = logging.getLogger("inference_server")

_SIGNALS = (
    signal.SIGTERM,
    signal.SIGINT,
    signal.SIGHUP,
    signal.SIGTTIN,
    signal.SIGTTOU,
    signal.SIGCHLD,
)
_GRPC, _TORCHSERVE = "FACET_GRPC_ADDRESS", "FACET_TORCHSERVE_ADDRESS"
_SPARE_SLOTS = 32
"""How many workers may be added by signals to those of FACET_WORKERS."""


def run(worker: str = "inference_server.worker") -> int:
    """Run the backend until it is told to stop; gives the exit status.

    Args:
        worker: The module that a worker process runs.
    """
    started = time.monotonic()
    try:
        settings = Settings.from_environ(os.environ)
        logs.configure(settings.log_format)
        for warning in unknown_settings(os.environ):
            logger.warning(warning)
        reservations = _reserve(settings)
        if settings.torchserve_key_file is not None:
            _write_keys(settings.torchserve_key_file)
        shared = _share(settings.workers)
        backend = Backend(settings, reservations, shared, worker, started)
        reason = prepare(settings.cache_dir)
    except (InvalidSetting, AddressUnavailable, StateUnusable, ManagementError, TooManyModels) as error:
        return _failed(str(error))
    if reason is None:
        reason = backend.run()
    return 0 if reason is None else _failed(reason)


class Backend:
    """Workers and models, and the one loop that looks after them.

    Args:
        settings: What the operator decides.
        reservations: Of the workers' addresses, by their variables.
        shared: What all processes share.
        worker: The module that a worker process runs.
        started: When the backend was, of the monotonic clock.

    Raises:
        InvalidSetting, StateUnusable, ManagementError, TooManyModels: The models that are to be served at
            its start cannot be.
    """

    def __init__(
        self,
        settings: Settings,
        reservations: Mapping[str, Reservation],
        shared: Shared,
        worker: str,
        started: float,
    ) -> None:
        self._settings, self._reservations, self._shared = settings, reservations, shared
        self._worker = worker
        self._started = started
        self._announced = False
        self._control_socket: ControlSocket | None = None
        limits = Limits(settings.recycle_requests, settings.recycle_seconds, settings.recycle_memory_bytes)
        self._limits = limits
        engine_log = EngineLog()
        self._workers = Group(
            None,
            self._spawn_worker,
            range(shared.slots),
            LivenessMonitor(shared.stats, settings.hang_seconds),
            wanted=settings.workers,
            patience=settings.drain_seconds + settings.grace_seconds,
            on_ready=lambda _, ready: engine_log.record(ready),
        )
        self._supervisor = Supervisor(self._workers, boot_places=usable_cpus(), on_round=self._look_around)
        self._models = self._start_models()

    def run(self) -> str | None:
        """Run until told to stop; gives the reason of a failure, None after a clean stop."""
        for signum in _SIGNALS:
            signal.signal(signum, self._supervisor.notify)
        try:
            return self._supervisor.run()
        finally:
            if self._control_socket is not None:
                self._control_socket.close()

    def _start_models(self) -> ModelManager[Group]:
        settings = self._settings
        store, file = Store(settings.model_store), StateFile(settings.state_dir)
        state, desired = starting_state(settings.models, file, store)
        processes = ModelProcesses(self._supervisor, self._shared, settings.grace_seconds, self._limits)
        manager: ModelManager[Group] = ModelManager(
            store,
            state,
            self._shared.publication,
            start_group=processes.start,
            remove_group=processes.remove,
            waiting=lambda queue: self._shared.stats.waiting(queue)[0],
            face_workers=settings.workers,
        )
        manager.start(desired)
        if file.locked and settings.state_dir is not None:
            self._listen(settings.state_dir / NAME, manager)
        return manager

    def _listen(self, path: Path, manager: ModelManager[Group]) -> None:
        try:
            self._control_socket = ControlSocket(path, manager.execute)
            self._supervisor.watch(self._control_socket)
        except OSError as error:
            logger.warning("no control socket", extra=logs.fields(path=str(path), reason=str(error)))

    def _spawn_worker(self, slot: int, generation: int, release: int) -> WorkerProcess:
        command = [sys.executable, "-m", self._worker, "--address", self._address(_GRPC)]
        command += ["--torchserve-address", self._address(_TORCHSERVE)]
        command += ["--shared", self._shared.described()]
        limits, inherit = self._limits.jittered(), self._shared.descriptors
        return WorkerProcess(command, slot, generation, release, limits=limits, inherit=inherit)

    def _address(self, variable: str) -> str:
        """Where the workers listen by a setting; empty where they do not."""
        reservation = self._reservations.get(variable)
        return "" if reservation is None else str(reservation.address)

    def _look_around(self, processes: Collection[int]) -> float:
        """What is done in each round of the loop; gives the seconds after which it is to be done again."""
        reap_orphans(processes)
        for reservation in self._reservations.values():
            reservation.close_connections()
        pause = self._models.tick()
        ready = self._workers.ready_count >= self._workers.wanted and self._models.is_settled
        if ready and not self._announced:
            self._announced = True
            where = {
                "grpc_address": self._address(_GRPC),
                "torchserve_address": self._address(_TORCHSERVE) or None,
                "workers": self._settings.workers,
            }
            seconds = round(time.monotonic() - self._started, 3)
            logger.info("ready", extra=logs.fields(**where, seconds=seconds))
        return pause


def _reserve(settings: Settings) -> dict[str, Reservation]:
    """The workers' addresses by their variables, those that are set."""
    addresses = {_GRPC: settings.grpc_address, _TORCHSERVE: settings.torchserve_address}
    return {name: reserve(address, name) for name, address in addresses.items() if address is not None}


def _write_keys(path: Path) -> None:
    """Have new keys for TorchServe's ports before anybody can ask for one.

    Raises:
        InvalidSetting: They cannot be written.
    """
    try:
        write_keys(path)
    except OSError as error:
        raise InvalidSetting(
            f"FACET_TORCHSERVE_KEY_FILE is {path}, which cannot be written: {error.strerror}"
        ) from error


def _share(workers: int) -> Shared:
    """Make what all processes share: for 200 workers, more descriptors than the usual soft limit.

    Raises:
        InvalidSetting: The system has no room for so many workers.
    """
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    try:
        # Queue 0 is that of face detection, and each version of a model has another.
        return Shared.create(2 * workers + _SPARE_SLOTS, QUEUES + 1, MOST_PROCESSES)
    except OSError as error:
        raise InvalidSetting(
            f"FACET_WORKERS is {workers}, for which the system has no room: {error.strerror}"
        ) from error


def _failed(reason: str) -> int:
    """End with the reason on the last line."""
    print(f"inference_server: {reason}", file=sys.stderr)
    return 1
