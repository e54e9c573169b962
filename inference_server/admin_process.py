"""The admin process, as the supervisor has it: where it listens, how it is started, what it asks by."""

import contextlib
import socket
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

from inference_server.dispatch.shared import Shared
from inference_server.supervision.address import AddressUnavailable, Reservation, reserve
from inference_server.supervision.group import Group
from inference_server.supervision.listener import Listener, is_loopback, listen
from inference_server.supervision.liveness import LivenessMonitor
from inference_server.supervision.worker_process import WorkerProcess
from utils.settings import InvalidSetting, Settings
from utils.token_file import TokenFile, TokenUnusable

SLOTS = 2
"""One for the process, and one for that which replaces it."""

_MODULE = "inference_server.admin"


@dataclass(frozen=True)
class AdminPlaces:
    """Where operators reach the admin process. The supervisor holds the places, whoever serves there.

    Attributes:
        http: The socket of its HTTP endpoint.
        grpc: The address of its gRPC endpoint, where there is one.
    """

    http: Listener
    grpc: Reservation | None

    @classmethod
    def take(cls, settings: Settings) -> Self | None:
        """Take the places that settings name; None where there is to be no admin process.

        Raises:
            AddressUnavailable: One cannot be had.
            InvalidSetting: Others than this machine could use one, and need no token for it, or the file of
                the token is none.
        """
        if settings.admin_address is None:
            if settings.admin_grpc_address is not None:
                raise InvalidSetting(
                    "FACET_ADMIN_GRPC_ADDRESS is set, and FACET_ADMIN_ADDRESS is empty, so no process could "
                    "listen there"
                )
            return None
        _check_token(settings)
        http = listen(settings.admin_address, "FACET_ADMIN_ADDRESS")
        try:
            if not http.is_local:
                _demand_token(settings, "FACET_ADMIN_ADDRESS", http)
            return cls(http, _reserve_grpc(settings))
        except (AddressUnavailable, InvalidSetting):
            http.close()
            raise

    def look_around(self) -> None:
        """Do what is to be done now and then."""
        if self.grpc is not None:
            self.grpc.close_connections()

    def close(self) -> None:
        """Give them up."""
        self.http.close()
        if self.grpc is not None:
            self.grpc.close()


class AdminProcess:
    """Starts the admin process, for a group of its own.

    Args:
        places: Where it listens.
        shared: What all processes share; its last slots are those of this process.
        adopt: Takes the supervisor's end of a connection by which the process asks it.
        patience: Seconds that it has to answer what it was asked when it is told to stop.
    """

    def __init__(
        self, places: AdminPlaces, shared: Shared, adopt: Callable[[socket.socket], None], patience: float
    ) -> None:
        self._places = places
        self._shared = shared
        self._adopt = adopt
        rows = len(shared.stats.rows)
        self.group = Group(
            "admin",
            self._spawn,
            range(rows - SLOTS, rows),
            LivenessMonitor(shared.stats, hang_seconds=0),
            wanted=1,
            patience=patience,
            queue=None,
            named="process",
        )

    def _spawn(self, slot: int, generation: int, release: int) -> WorkerProcess:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        http = self._places.http.socket
        command = [sys.executable, "-m", _MODULE, "--shared", self._shared.described()]
        command += ["--http-fd", str(http.fileno()), "--supervisor-fd", str(theirs.fileno())]
        command += ["--grpc-address", "" if self._places.grpc is None else str(self._places.grpc.address)]
        inherit = (*self._shared.descriptors, http.fileno(), theirs.fileno())
        with contextlib.closing(theirs):
            try:
                process = WorkerProcess(command, slot, generation, release, inherit=inherit)
            except OSError:
                ours.close()
                raise
        self._adopt(ours)
        return process


def _reserve_grpc(settings: Settings) -> Reservation | None:
    if settings.admin_grpc_address is None:
        return None
    grpc = reserve(settings.admin_grpc_address, "FACET_ADMIN_GRPC_ADDRESS")
    if not is_loopback(grpc.address):
        _demand_token(settings, "FACET_ADMIN_GRPC_ADDRESS", grpc.address)
    return grpc


def _check_token(settings: Settings) -> None:
    if settings.admin_token_file is None:
        return
    try:
        TokenFile(settings.admin_token_file).check()
    except TokenUnusable as error:
        raise InvalidSetting(f"FACET_ADMIN_TOKEN_FILE is {settings.admin_token_file}: {error}") from error


def _demand_token(settings: Settings, setting: str, place: object) -> None:
    if settings.admin_token_file is None:
        raise InvalidSetting(
            f"{setting} is {place}, which other machines can reach; accepted without "
            "FACET_ADMIN_TOKEN_FILE: a loopback address or a unix socket"
        )
