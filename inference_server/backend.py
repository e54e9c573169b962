"""The backend from its start to its end: settings, address, models, supervisor."""

import logging
import os
import resource
import signal
import sys
import time
from collections.abc import Collection

from inference_server.dispatch.shared import Shared
from inference_server.models.conversion import prepare
from inference_server.supervision.address import AddressUnavailable, Reservation, reserve
from inference_server.supervision.engine_log import EngineLog
from inference_server.supervision.liveness import LivenessMonitor
from inference_server.supervision.pool import Pool
from inference_server.supervision.processes import reap_orphans
from inference_server.supervision.recycling import Limits
from inference_server.supervision.supervisor import Supervisor
from inference_server.supervision.worker_process import WorkerProcess
from utils import logs
from utils.settings import InvalidSetting, Settings, unknown_settings

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
    try:
        settings = Settings.from_environ(os.environ)
        logs.configure(settings.log_format)
        for warning in unknown_settings(os.environ):
            logger.warning(warning)
        reservation = reserve(settings.grpc_address)
    except (InvalidSetting, AddressUnavailable) as error:
        return _failed(str(error))
    try:
        shared = _share(2 * settings.workers + _SPARE_SLOTS)
    except OSError as error:
        return _failed(
            f"FACET_WORKERS is {settings.workers}, for which the system has no room: {error.strerror}"
        )
    supervisor = _supervisor(settings, reservation, shared, worker, started)
    reason = prepare(settings.cache_dir)
    if reason is None:
        for signum in _SIGNALS:
            signal.signal(signum, supervisor.notify)
        reason = supervisor.run()
    return 0 if reason is None else _failed(reason)


def _supervisor(
    settings: Settings, reservation: Reservation, shared: Shared, worker: str, started: float
) -> Supervisor:
    address = str(reservation.address)

    def announce() -> None:
        seconds = round(time.monotonic() - started, 3)
        logger.info(
            "ready", extra=logs.fields(grpc_address=address, workers=settings.workers, seconds=seconds)
        )

    limits = Limits(settings.recycle_requests, settings.recycle_seconds, settings.recycle_memory_bytes)

    def spawn(slot: int, generation: int, release: int) -> WorkerProcess:
        command = [sys.executable, "-m", worker, "--address", address, "--shared", shared.described()]
        return WorkerProcess(
            command, slot, generation, release, limits=limits.jittered(), inherit=shared.descriptors
        )

    def look_around(workers: Collection[int]) -> None:
        reap_orphans(workers)
        reservation.close_connections()

    liveness = LivenessMonitor(shared.stats, settings.hang_seconds)
    pool = Pool(
        spawn,
        slots=shared.slots,
        liveness=liveness,
        patience=settings.drain_seconds + settings.grace_seconds,
    )
    return Supervisor(
        pool,
        liveness,
        workers=settings.workers,
        on_ready=announce,
        on_worker_ready=EngineLog().record,
        on_round=look_around,
    )


def _share(slots: int) -> Shared:
    """Make what all workers share: for 200 workers, more descriptors than the usual soft limit."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    return Shared.create(slots)


def _failed(reason: str) -> int:
    """End with the reason on the last line."""
    print(f"inference_server: {reason}", file=sys.stderr)
    return 1
