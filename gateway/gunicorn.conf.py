# ruff: noqa: N999 - gunicorn gives the file its name
"""How gunicorn runs the gateway: `python -m gateway`.

Everything that an operator decides is a FACET_ setting (docs/settings.md).
"""

import gc
import logging
import math
import os
import resource
import socket
import sys
import tempfile
from typing import Any

from gateway.server.slots import Slots
from gateway.server.worker import ShutdownFlag
from utils.logs import collect_garbage_less, fields, logging_config
from utils.loopback import is_loopback
from utils.memory import tune_heap
from utils.settings import InvalidSetting, Settings, unknown_settings
from utils.streams import open_standard_streams
from utils.tls import TlsUnusable, client_tls
from utils.token_file import TokenFile, TokenUnusable

_SPARE_SLOTS = 32
"""How many processes may be added by signals to twice those of FACET_HTTP_WORKERS."""


def _check_metrics(settings: Settings) -> None:
    """Refuse to be asked for metrics by other machines without a token, or with one that is none.

    Raises:
        InvalidSetting: It would be so.
    """
    address, token = settings.http_metrics_address, settings.admin_token_file
    if address is None:
        return
    try:
        if token is not None:
            TokenFile(token).check()
        hosts = {found[4][0] for found in socket.getaddrinfo(address.host, address.port)}
    except (TokenUnusable, OSError) as error:
        raise InvalidSetting(f"FACET_HTTP_METRICS_ADDRESS, {address}, cannot be used: {error}") from error
    if token is None and not all(map(is_loopback, map(str, hosts))):
        raise InvalidSetting(
            "FACET_HTTP_METRICS_ADDRESS is an address that other machines can reach; accepted without "
            "FACET_ADMIN_TOKEN_FILE: a loopback address"
        )


open_standard_streams()
try:
    _settings = Settings.from_environ(os.environ)
    _check_metrics(_settings)
except InvalidSetting as error:
    sys.exit(f"facet gateway: {error}")

wsgi_app = "gateway:create_app()"
proc_name = "facet-gateway"

_LISTENERS = ("http_address", "torchserve_http_address", "http_metrics_address")
_addresses = {name: str(found) for name in _LISTENERS if (found := getattr(_settings, name)) is not None}
# Explicit, because a Procfile runner sets PORT, which gunicorn would otherwise listen to.
bind = [*_addresses.values()]
workers = _settings.http_workers
threads = _settings.http_threads
worker_class = "gateway.server.worker.Worker"
# The master's patience with its workers; a worker has the second part when the first is over.
graceful_timeout = math.ceil(_settings.drain_seconds + _settings.grace_seconds)
control_socket_disable = True


def _heartbeat_folder() -> str | None:
    """Where each process keeps the file by which it shows that it lives; None is gunicorn's own choice."""
    try:
        tempfile.gettempdir()
    except FileNotFoundError:  # none that can be written, as where the root file system is read-only
        return "/dev/shm"  # noqa: S108 - gunicorn makes its file there safely
    return None


worker_tmp_dir = _heartbeat_folder()

logconfig_dict = logging_config(_settings.log_format) | {
    "loggers": {
        "gunicorn.error": {"level": "INFO", "handlers": [], "propagate": True},
        "uvicorn.error": {"level": "ERROR"},
    },
}

collect_garbage_less()
tune_heap()

_, _most_files = resource.getrlimit(resource.RLIMIT_NOFILE)
# Beside connections a process has some dozens of files open; out of descriptors, it could accept nobody.
worker_connections = min(1000 + threads, max(_most_files - 128, 16))
# The soft limit, 1024 where nobody raised it, leaves too little beside the connections.
resource.setrlimit(resource.RLIMIT_NOFILE, (_most_files, _most_files))


def on_starting(server: Any) -> None:  # noqa: ANN401 - gunicorn's
    """Warn, once, of settings that have no effect, and end where no process could serve."""
    folder = server.cfg.worker_tmp_dir
    try:
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        sys.exit(
            f"facet gateway: no file can be made in {folder}: {error.strerror}. Each process needs it to"
            " show that it lives; GUNICORN_CMD_ARGS=--worker-tmp-dir=... names another folder."
        )
    tls = client_tls(_settings)
    if tls is not None:
        try:
            tls.files.check()
        except TlsUnusable as error:
            sys.exit(f"facet gateway: {error}")
    for warning in unknown_settings(os.environ):
        logging.getLogger("gateway").warning(warning)


def when_ready(server: Any) -> None:  # noqa: ANN401 - gunicorn's
    """Say where the gateway listens, which port 0 leaves open until now."""
    server.shutdown_flag = ShutdownFlag()
    server.shutdown_flag.install(server)
    server.slots = Slots(2 * server.cfg.workers + _SPARE_SLOTS)
    listening = [str(listener).removeprefix("http://") for listener in server.LISTENERS]
    addresses = dict(zip(_addresses, listening, strict=False))
    logging.getLogger("gateway").info("ready", extra=fields(**addresses))


def pre_fork(server: Any, worker: Any) -> None:  # noqa: ANN401 - gunicorn's
    """Give a worker the place of one that has ended, in what all share."""
    worker.slots, worker.slot = server.slots, server.slots.free(server.WORKERS.values())
    if worker.slot is None:
        logging.getLogger("gateway").warning("process not counted", extra=fields(slots=server.slots.count))


def child_exit(server: Any, worker: Any) -> None:  # noqa: ANN401 - gunicorn's
    """Forget how a worker was that has ended."""
    server.slots.leave(worker.slot)


def post_fork(server: Any, worker: Any) -> None:  # noqa: ANN401 - gunicorn's
    """Give a worker what it cannot find out by itself."""
    worker.shutdown_flag = server.shutdown_flag
    worker.settings = _settings
    worker.listener_names = [*_addresses]


def post_worker_init(_worker: Any) -> None:  # noqa: ANN401 - gunicorn's
    """Let no collection walk, while a request waits, through what is there for good."""
    gc.collect()
    gc.freeze()
