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
from collections.abc import Mapping
from typing import Any

from gateway.server.slots import Slots
from gateway.server.worker import ShutdownFlag
from utils.access import check_keys, demands_keys
from utils.api_keys import MANAGE, PREDICT
from utils.logs import collect_garbage_less, fields, logging_config
from utils.loopback import is_loopback
from utils.memory import tune_heap
from utils.secret_file import SecretFile, SecretUnusable
from utils.settings import InvalidSetting, Settings, parse_address, unknown_settings
from utils.streams import open_standard_streams
from utils.tls import TlsUnusable, client_tls
from utils.tracing import check_packages, flush_seconds

_SPARE_SLOTS = 32
"""How many processes may be added by signals to twice those of FACET_HTTP_WORKERS."""


def _check_metrics(settings: Settings) -> None:
    """Refuse to be asked for metrics by other machines without a key.

    Raises:
        InvalidSetting: It would be so.
    """
    address = settings.http_metrics_address
    if address is None:
        return
    try:
        hosts = {found[4][0] for found in socket.getaddrinfo(address.host, address.port)}
    except OSError as error:
        raise InvalidSetting(f"FACET_HTTP_METRICS_ADDRESS, {address}, cannot be used: {error}") from error
    if not demands_keys(MANAGE, settings) and not all(map(is_loopback, map(str, hosts))):
        raise InvalidSetting(
            "FACET_HTTP_METRICS_ADDRESS is an address that other machines can reach; accepted without "
            "FACET_API_KEYS_FILE: a loopback address"
        )


_log = logging.getLogger("gateway")

open_standard_streams()
try:
    _settings = Settings.from_environ(os.environ)
    _check_metrics(_settings)
    check_packages(_settings)
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
graceful_timeout = math.ceil(_settings.drain_seconds + _settings.grace_seconds + flush_seconds(_settings))
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


def _check_own_key() -> None:
    path = _settings.backend_key_file
    try:
        if path is not None:
            SecretFile(path).check()
    except SecretUnusable as error:
        raise InvalidSetting(f"FACET_BACKEND_KEY_FILE is {path}: {error}") from error


def _open_to_all(addresses: Mapping[str, str]) -> dict[str, str]:
    """Those for calls that other machines can reach, and need no key for."""
    if demands_keys(PREDICT, _settings):
        return {}
    tokens = _settings.torchserve_key_file is not None
    return {
        name: address
        for name, address in addresses.items()
        if not is_loopback(parse_address(address).host) and not (tokens and name == "torchserve_http_address")
    }


def on_starting(server: Any) -> None:  # noqa: ANN401 - gunicorn's
    """Warn, once, of settings that have no effect, and end where no process could serve.

    Nor could one without the keys of callers, or the gateway's own. A reload does not look at them.
    """
    try:
        check_keys(_settings)
        _check_own_key()
    except InvalidSetting as error:
        sys.exit(f"facet gateway: {error}")
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
        _log.warning(warning)


def when_ready(server: Any) -> None:  # noqa: ANN401 - gunicorn's
    """Say where the gateway listens, which port 0 leaves open until now."""
    server.shutdown_flag = ShutdownFlag()
    server.shutdown_flag.install(server)
    server.slots = Slots(2 * server.cfg.workers + _SPARE_SLOTS)
    listening = [str(listener).removeprefix("http://") for listener in server.LISTENERS]
    addresses = dict(zip(_addresses, listening, strict=False))
    _log.info("ready", extra=fields(**addresses))
    if open_to_all := _open_to_all(addresses):
        _log.warning("open to whoever can connect", extra=fields(**open_to_all))


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
