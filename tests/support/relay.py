"""A relay before a server, that lets no more than so many bytes of a client's through until it is told to."""

import contextlib
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field

from tests.support.processes import PATIENCE
from utils.settings import parse_address

_PIECE = 64 * 1024


@dataclass(frozen=True)
class Relay:
    """A relay for one connection.

    Attributes:
        address: Where it listens.
        held: Set when it holds something back.
        release: To be set by who lets the rest through.
    """

    address: str
    held: threading.Event = field(default_factory=threading.Event)
    release: threading.Event = field(default_factory=threading.Event)


@contextlib.contextmanager
def relay(address: str, most: int) -> Iterator[Relay]:
    """Listen, and pass the first connection on to this address, but its first `most` bytes only."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        made = Relay(f"127.0.0.1:{listener.getsockname()[1]}")

        def run() -> None:
            with contextlib.suppress(OSError):
                client = stack.enter_context(listener.accept()[0])
                where = parse_address(address)
                server = stack.enter_context(socket.create_connection((where.host, where.port)))
                threading.Thread(target=_pump, args=(server, client), daemon=True).start()
                _pump(client, server, made, most)

        threading.Thread(target=run, daemon=True).start()
        try:
            yield made
        finally:
            made.release.set()


def _pump(source: socket.socket, sink: socket.socket, hold: Relay | None = None, most: int = 0) -> None:
    passed = 0
    with contextlib.suppress(OSError):
        while piece := source.recv(_PIECE):
            passed += len(piece)
            if hold is not None and passed > most:
                hold.held.set()
                hold.release.wait(PATIENCE)
            sink.sendall(piece)
        sink.shutdown(socket.SHUT_WR)
