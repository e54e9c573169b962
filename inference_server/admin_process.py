"""The admin process, as the supervisor has it: where it listens, how it is started, what it asks by."""

import contextlib
import socket
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

from inference_server.dispatch.shared import Shared
from inference_server.supervision.address import Reservation, reserve
from inference_server.supervision.group import Group
from inference_server.supervision.listener import Listener, listen
from inference_server.supervision.liveness import LivenessMonitor
from inference_server.supervision.worker_process import WorkerProcess
from inference_server.tls_handover import handed_over
from utils.access import demands_keys
from utils.api_keys import MANAGE
from utils.loopback import is_loopback
from utils.settings import Address, InvalidSetting, Settings
from utils.tls import TlsFiles

SLOTS = 2
"""One for the process, and one for that which replaces it."""

_MODULE = "inference_server.admin"
_HTTP, _GRPC = "FACET_ADMIN_ADDRESS", "FACET_ADMIN_GRPC_ADDRESS"
_TORCHSERVE_HTTP = "FACET_TORCHSERVE_HTTP_MANAGEMENT_ADDRESS"
_TORCHSERVE_GRPC = "FACET_TORCHSERVE_MANAGEMENT_ADDRESS"


@dataclass(frozen=True)
class AdminPlaces:
    """Where operators reach the admin process. The supervisor holds the places, whoever serves there.

    Attributes:
        http: The socket of its HTTP endpoint.
        grpc: The address of its gRPC endpoint, where there is one.
        torchserve_http: The socket of TorchServe's management by HTTP, where there is one.
        torchserve_grpc: The address of TorchServe's management by gRPC, where there is one.
    """

    http: Listener
    grpc: Reservation | None
    torchserve_http: Listener | None
    torchserve_grpc: Reservation | None

    @classmethod
    def take(cls, settings: Settings) -> Self | None:
        """Take the places that settings name; None where there is to be no admin process.

        Raises:
            AddressUnavailable: One cannot be had.
            InvalidSetting: Others than this machine could use one, and need neither a key nor, where it is
                gRPC's, a certificate for it.
        """
        others = {name: address for name, address in _others(settings).items() if address is not None}
        if settings.admin_address is None:
            for name in others:
                raise InvalidSetting(
                    f"{name} is set, and FACET_ADMIN_ADDRESS is empty, so no process could listen there"
                )
            return None
        with contextlib.ExitStack() as taken:
            http = listen(settings.admin_address, _HTTP)
            taken.callback(http.close)
            second = others.pop(_TORCHSERVE_HTTP, None)
            torchserve = None if second is None else listen(second, _TORCHSERVE_HTTP)
            grpc = {name: reserve(address, name) for name, address in others.items()}
            local = {_HTTP: http.is_local, _TORCHSERVE_HTTP: torchserve is None or torchserve.is_local}
            local |= {name: is_loopback(place.address.host) for name, place in grpc.items()}
            for name, is_local in local.items():
                if not is_local:
                    _demand_protection(settings, name)
            taken.pop_all()
        return cls(http, grpc.get(_GRPC), torchserve, grpc.get(_TORCHSERVE_GRPC))

    def by_name(self) -> dict[str, Listener | Reservation | None]:
        """They, by the names of their settings as fields."""
        return {
            "admin_address": self.http,
            "admin_grpc_address": self.grpc,
            "torchserve_http_management_address": self.torchserve_http,
            "torchserve_management_address": self.torchserve_grpc,
        }

    def look_around(self) -> None:
        """Do what is to be done now and then."""
        for place in (self.grpc, self.torchserve_grpc):
            if place is not None:
                place.close_connections()

    def close(self) -> None:
        """Give them up."""
        for place in self.by_name().values():
            if place is not None:
                place.close()


class AdminProcess:
    """Starts the admin process, for a group of its own.

    Args:
        places: Where it listens.
        shared: What all processes share; its last slots are those of this process.
        adopt: Takes the supervisor's end of a connection by which the process asks it.
        patience: Seconds that it has to answer what it was asked when it is told to stop.
        tls: The files of its gRPC endpoints, which can be used; None for no TLS.
    """

    def __init__(
        self,
        places: AdminPlaces,
        shared: Shared,
        adopt: Callable[[socket.socket], None],
        *,
        patience: float,
        tls: TlsFiles | None,
    ) -> None:
        self._places = places
        self._shared = shared
        self._adopt = adopt
        self._tls = tls
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
        places = self._places
        http, torchserve = places.http.socket.fileno(), places.torchserve_http
        listeners = [http] if torchserve is None else [http, torchserve.socket.fileno()]
        command = [sys.executable, "-m", _MODULE, "--shared", self._shared.described()]
        command += ["--http-fd", str(http), "--supervisor-fd", str(theirs.fileno())]
        command += ["--grpc-address", str(places.grpc or "")]
        command += ["--torchserve-http-fd", "" if torchserve is None else str(torchserve.socket.fileno())]
        command += ["--torchserve-grpc-address", str(places.torchserve_grpc or "")]
        inherit = (*self._shared.descriptors, *listeners, theirs.fileno())
        with contextlib.closing(theirs), handed_over(self._tls) as (arguments, descriptors):
            command, inherit = [*command, *arguments], (*inherit, *descriptors)
            try:
                process = WorkerProcess(command, slot, generation, release, inherit=inherit)
            except OSError:
                ours.close()
                raise
        self._adopt(ours)
        return process


def _others(settings: Settings) -> dict[str, Address | None]:
    """Where the process listens beside its own HTTP endpoint, by variables."""
    return {
        _GRPC: settings.admin_grpc_address,
        _TORCHSERVE_GRPC: settings.torchserve_management_address,
        _TORCHSERVE_HTTP: settings.torchserve_http_management_address,
    }


def _demand_protection(settings: Settings, setting: str) -> None:
    """Refuse to be reached by others who need neither a key nor, by gRPC, a certificate for it."""
    protections = {"FACET_API_KEYS_FILE": demands_keys(MANAGE, settings)}
    if setting in {_TORCHSERVE_HTTP, _TORCHSERVE_GRPC}:
        protections["FACET_TORCHSERVE_KEY_FILE"] = settings.torchserve_key_file is not None
    if setting in {_GRPC, _TORCHSERVE_GRPC}:
        protections["FACET_TLS_CLIENT_CA_FILE"] = settings.tls_client_ca_file is not None
    if not any(protections.values()):
        raise InvalidSetting(
            f"{setting} is an address that other machines can reach; accepted without "
            f"{' or '.join(protections)}: a loopback address{' or a unix socket' if setting == _HTTP else ''}"
        )
