"""A name server for one name, whose addresses a test may change."""

import contextlib
import socket
import struct
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field

_ANSWER = 0x8180
_ADDRESS = 1
_HEAD = 12


@dataclass
class Names:
    """What is answered: these IPv4 addresses to every question for some, and none of any other kind."""

    port: int
    addresses: list[str] = field(default_factory=list)

    def target(self, port: int) -> str:
        """The gRPC target of whatever is at this port of the addresses."""
        return f"dns://127.0.0.1:{self.port}/backend.test:{port}"


@contextlib.contextmanager
def name_server(*addresses: str) -> Iterator[Names]:
    """A name server on loopback."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        names = Names(server.getsockname()[1], list(addresses))
        over = threading.Event()

        def run() -> None:
            while True:
                question, client = server.recvfrom(512)
                if over.is_set():
                    return
                server.sendto(_answer(question, names.addresses), client)

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        try:
            yield names
        finally:
            over.set()
            server.sendto(b"", server.getsockname())
            thread.join()


def _answer(message: bytes, addresses: list[str]) -> bytes:
    end = message.index(b"\0", _HEAD) + 5
    asked = message[_HEAD:end]
    if struct.unpack(">H", asked[-4:-2]) != (_ADDRESS,):
        addresses = []
    records = [
        struct.pack(">HHHIH", 0xC000 | _HEAD, _ADDRESS, 1, 0, 4) + socket.inet_aton(address)
        for address in addresses
    ]
    head = struct.pack(">HHHHHH", int.from_bytes(message[:2]), _ANSWER, 1, len(records), 0, 0)
    return head + asked + b"".join(records)
