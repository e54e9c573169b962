"""Where the backend's processes listen: the supervisor holds the places, whoever serves there."""

from typing import NamedTuple, Self

from inference_server.admin_process import AdminPlaces
from inference_server.supervision.address import Reservation, reserve
from utils.access import demands_keys
from utils.api_keys import PREDICT
from utils.loopback import is_loopback
from utils.settings import Settings


class Places(NamedTuple):
    """All of them.

    Attributes:
        grpc: The workers' address.
        torchserve: That by which they speak TorchServe's protocol; None where they do not.
        admin: Those of the admin process; None where there is none.
    """

    grpc: Reservation
    torchserve: Reservation | None
    admin: AdminPlaces | None

    @classmethod
    def take(cls, settings: Settings) -> Self:
        """Take the places that settings name.

        Raises:
            AddressUnavailable: One cannot be had.
            InvalidSetting: One must not be used so.
        """
        address = settings.torchserve_address
        grpc = reserve(settings.grpc_address)
        torchserve = None if address is None else reserve(address, "FACET_TORCHSERVE_ADDRESS")
        return cls(grpc, torchserve, AdminPlaces.take(settings))

    def look_around(self) -> None:
        """Do what is to be done now and then."""
        self.grpc.close_connections()
        if self.torchserve is not None:
            self.torchserve.close_connections()
        if self.admin is not None:
            self.admin.look_around()

    def open_to_all(self, settings: Settings) -> dict[str, str]:
        """Those for calls of models that other machines can reach, and need no key for, by their settings."""
        if demands_keys(PREDICT, settings):
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
