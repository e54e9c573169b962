"""Where the backend's processes listen: the supervisor holds the places, whoever serves there."""

from typing import NamedTuple, Self

from inference_server.admin_process import AdminPlaces
from inference_server.supervision.address import Reservation, reserve
from utils.access import check_keys, demands_keys
from utils.api_keys import PREDICT
from utils.loopback import is_loopback
from utils.settings import Settings
from utils.tls import TlsFiles, server_tls


class Places(NamedTuple):
    """All of them.

    Attributes:
        grpc: The workers' address.
        torchserve: That by which they speak TorchServe's protocol; None where they do not.
        admin: Those of the admin process; None where there is none.
        tls: By which all speak TLS where gRPC is spoken; None where they do not.
    """

    grpc: Reservation
    torchserve: Reservation | None
    admin: AdminPlaces | None
    tls: TlsFiles | None

    @classmethod
    def take(cls, settings: Settings) -> Self:
        """Take the places that settings name.

        Raises:
            AddressUnavailable: One cannot be had.
            InvalidSetting: One must not be used so, or the files of keys or of TLS cannot be used.
        """
        check_keys(settings)
        tls = server_tls(settings)
        if tls is not None:
            tls.check()
        address = settings.torchserve_address
        grpc = reserve(settings.grpc_address)
        torchserve = None if address is None else reserve(address, "FACET_TORCHSERVE_ADDRESS")
        return cls(grpc, torchserve, AdminPlaces.take(settings), tls)

    def look_around(self) -> None:
        """Do what is to be done now and then."""
        if self.tls is not None:
            self.tls.current()  # is what a child is started with when they have been spoilt since
        self.grpc.close_connections()
        if self.torchserve is not None:
            self.torchserve.close_connections()
        if self.admin is not None:
            self.admin.look_around()

    def open_to_all(self, settings: Settings) -> dict[str, str]:
        """Those for calls of models that others can reach, and need neither key nor certificate for."""
        if demands_keys(PREDICT, settings) or settings.tls_client_ca_file is not None:
            return {}
        tokens = settings.torchserve_key_file is not None
        found = {"grpc_address": self.grpc, "torchserve_address": None if tokens else self.torchserve}
        return {
            name: str(place)
            for name, place in found.items()
            if place is not None and not is_loopback(place.address.host)
        }

    def names(self) -> dict[str, str | None]:
        """Their addresses, for a log line."""
        own: dict[str, object] = {"grpc_address": self.grpc, "torchserve_address": self.torchserve}
        places = own | ({} if self.admin is None else self.admin.by_name())
        return {name: None if place is None else str(place) for name, place in places.items()}
