"""The backend's address, held by one supervisor at a time.

Three sockets, because each of them alone lets somebody through: workers share the port by SO_REUSEPORT,
so a second backend could bind it too, and would silently take a share of the requests.
"""

import contextlib
import socket
import time
from dataclasses import dataclass

from inference_server.supervision.lock import LockHeld, close_connections, hold
from utils.settings import Address

_PROBE_SECONDS = 2.0
"""How long workers of a supervisor that was killed a moment ago may take to die."""


class AddressUnavailable(Exception):
    """The address cannot be had; the message is the one line that the start ends with."""


@dataclass(frozen=True)
class Reservation:
    """The address, bound. Closing it, or the death of this process, frees it."""

    address: Address
    port: socket.socket
    lock: socket.socket

    def __str__(self) -> str:
        """The address."""
        return str(self.address)

    def close_connections(self) -> None:
        """Close those of others that asked who has the address; to be called now and then."""
        close_connections(self.lock)

    def close(self) -> None:
        """Give the address up."""
        self.port.close()
        self.lock.close()


def reserve(address: Address, setting: str = "FACET_GRPC_ADDRESS") -> Reservation:
    """Make this process the only one whose children may listen on an address by gRPC.

    Args:
        address: The address.
        setting: What it is the value of, for the messages.

    Raises:
        AddressUnavailable: Another backend or another program has it, or it is no address of this host.
    """
    try:
        found = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)
    except socket.gaierror as error:
        raise AddressUnavailable(f"{setting} is {address}: {error.strerror}") from error
    family, place = _as_served(found[0][0], found[0][4])
    # By number: a name may stand for several addresses, and gRPC would listen on all of them.
    bound = Address(str(place[0]), address.port)
    try:
        if bound.port != 0:
            lock = hold(f"facet:{bound}")
            _probe(family, place)
        port = _bind(family, place, reuse_port=True)
        if bound.port == 0:
            bound = Address(bound.host, port.getsockname()[1])
            lock = hold(f"facet:{bound}")
    except (LockHeld, OSError) as error:
        reason = str(error) if isinstance(error, LockHeld) else f"{bound} cannot be used: {error.strerror}"
        raise AddressUnavailable(
            f"{setting} is {address}: {reason}. Stop what has it, or set {setting} to another address."
        ) from error
    return Reservation(bound, port, lock)


def _as_served(family: int, place: tuple[object, ...]) -> tuple[int, tuple[object, ...]]:
    """The address that gRPC makes of one: 0.0.0.0 is all addresses of IPv6, too, where there is IPv6."""
    if place[0] != "0.0.0.0":  # noqa: S104 - looked for, not used
        return family, place
    with contextlib.suppress(OSError):
        _bind(socket.AF_INET6, ("::1", 0), reuse_port=False).close()
        return socket.AF_INET6, ("::", place[1])
    return family, place


def _probe(family: int, place: tuple[object, ...]) -> None:
    """Find a foreign program, or a worker that outlived its supervisor.

    SO_REUSEADDR passes over connections in TIME_WAIT; without SO_REUSEPORT, whatever listens is met.
    """
    give_up = time.monotonic() + _PROBE_SECONDS
    while True:
        with contextlib.suppress(OSError):
            _bind(family, place, reuse_port=False).close()
            return
        if time.monotonic() > give_up:
            _bind(family, place, reuse_port=False).close()
            return
        time.sleep(0.02)


def _bind(family: int, place: tuple[object, ...], *, reuse_port: bool) -> socket.socket:
    """Bind without listening: it reserves the port, and no connection goes to it."""
    bound = socket.socket(family, socket.SOCK_STREAM)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if reuse_port:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        bound.bind(place)
    except OSError:
        bound.close()
        raise
    return bound
