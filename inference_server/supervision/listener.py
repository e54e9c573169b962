"""A socket that the supervisor listens on for a child, whose successors inherit it, too.

While there is no child, connections wait in it: nobody is refused because a child is replaced.
"""

import contextlib
import socket
from dataclasses import dataclass
from pathlib import Path

from inference_server.supervision.address import AddressUnavailable
from utils.loopback import is_loopback
from utils.settings import UNIX, Address

_WAITING_TO_CONNECT = 128


@dataclass(frozen=True)
class Listener:
    """A socket that listens.

    Attributes:
        place: Its address, with the port that was chosen where that was 0; or its path.
        socket: The socket itself.
    """

    place: Address | Path
    socket: socket.socket

    def __str__(self) -> str:
        """Write its place as settings have it."""
        return str(self.place) if isinstance(self.place, Address) else f"{UNIX}{self.place}"

    @property
    def is_local(self) -> bool:
        """Whether this machine alone can connect to it."""
        return isinstance(self.place, Path) or is_loopback(self.place.host)

    def close(self) -> None:
        """Take no more connections."""
        self.socket.close()
        if isinstance(self.place, Path):
            self.place.unlink(missing_ok=True)


def listen(place: Address | Path, setting: str) -> Listener:
    """Listen at an address, or by a socket file, which its owner alone can open.

    Args:
        place: Where.
        setting: What it is the value of, for the messages.

    Raises:
        AddressUnavailable: Somebody else listens there, or nobody can.
    """
    try:
        listener = _by_address(place) if isinstance(place, Address) else _by_path(place)
        listener.socket.listen(_WAITING_TO_CONNECT)
    except OSError as error:
        shown = place if isinstance(place, Address) else f"{UNIX}{place}"
        raise AddressUnavailable(
            f"{setting} is {shown}, which cannot be used: {error.strerror or error}. Stop what has it, or "
            f"set {setting} to another address."
        ) from error
    return listener


def _by_address(address: Address) -> Listener:
    family, kind, protocol, _, place = socket.getaddrinfo(
        address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    bound = socket.socket(family, kind, protocol)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(place)
    except OSError:
        bound.close()
        raise
    host, port = bound.getsockname()[:2]
    return Listener(Address(host, port), bound)


def _by_path(path: Path) -> Listener:
    with contextlib.suppress(ConnectionRefusedError, FileNotFoundError):
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            probe.setblocking(False)  # else it would wait where as many others wait as may
            probe.connect(str(path))
        raise OSError(None, "somebody listens there")
    if path.is_socket():  # of a backend that was killed
        path.unlink()
    bound = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        bound.bind(str(path))
        path.chmod(0o600)  # before anybody can connect
    except OSError:
        bound.close()
        raise
    return Listener(path, bound)
