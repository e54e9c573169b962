"""The backend from its start to its end: settings, address, models, supervisor."""

import logging
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Collection

from inference_server.detector.weights import models_ready
from inference_server.dispatch.shared import Shared
from inference_server.supervision.address import AddressUnavailable, reserve
from inference_server.supervision.engine_log import EngineLog
from inference_server.supervision.pool import Pool
from inference_server.supervision.processes import reap_orphans
from inference_server.supervision.recycling import Limits
from inference_server.supervision.supervisor import Supervisor
from inference_server.supervision.watch import Watch
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
    address = reservation.address

    def announce() -> None:
        seconds = round(time.monotonic() - started, 3)
        logger.info(
            "ready",
            extra=logs.fields(grpc_address=str(address), workers=settings.workers, seconds=seconds),
        )

    slots = 2 * settings.workers + _SPARE_SLOTS
    limits = Limits(settings.recycle_requests, settings.recycle_seconds, settings.recycle_memory_bytes)
    try:
        shared = _share(slots)
    except OSError as error:
        return _failed(
            f"FACET_WORKERS is {settings.workers}, for which the system has no room: {error.strerror}"
        )

    def spawn(slot: int, generation: int, release: int) -> WorkerProcess:
        command = [sys.executable, "-m", worker, "--address", str(address), "--shared", shared.described()]
        return WorkerProcess(
            command, slot, generation, release, limits=limits.jittered(), inherit=shared.descriptors
        )

    def look_around(workers: Collection[int]) -> None:
        reap_orphans(workers)
        reservation.close_connections()

    watch = Watch(shared.page, settings.hang_seconds)
    pool = Pool(
        spawn,
        slots=slots,
        watch=watch,
        patience=settings.drain_seconds + settings.grace_seconds,
    )
    supervisor = Supervisor(
        pool,
        watch,
        workers=settings.workers,
        on_ready=announce,
        on_worker_ready=EngineLog().record,
        on_round=look_around,
    )
    reason = _convert_models(settings)
    if reason is None:
        for signum in _SIGNALS:
            signal.signal(signum, supervisor.notify)
        reason = supervisor.run()
    return 0 if reason is None else _failed(reason)


def _share(slots: int) -> Shared:
    """Make what all workers share: for 200 workers, more descriptors than the usual soft limit."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    return Shared.create(slots)


def _convert_models(settings: Settings) -> str | None:
    """Fill the cache of converted models where it is missing or damaged; gives the reason of a failure.

    A process of its own does it, because it unpickles and loads much that nobody needs afterwards.
    """
    if models_ready(settings.cache_dir):
        return None
    logger.info("converting the models", extra=logs.fields(cache_dir=str(settings.cache_dir)))
    for signum in (signal.SIGTERM, signal.SIGINT):
        signal.signal(signum, lambda _signum, _frame: sys.exit(0))  # which ends the converter, too
    command = [sys.executable, "-m", "inference_server.detector.convert", str(settings.cache_dir)]
    converter = subprocess.run(command, stderr=subprocess.PIPE, text=True, check=False)
    if converter.returncode == 0:
        return None
    sys.stderr.write(converter.stderr)
    return (converter.stderr.strip().splitlines() or ["the models cannot be converted"])[-1]


def _failed(reason: str) -> int:
    """End with the reason on the last line."""
    print(f"inference_server: {reason}", file=sys.stderr)
    return 1
