"""A connection of the gateway's without a network: over a pair of sockets."""

import socket

from gunicorn.config import Config

from gateway.connections.connection import Client, Connection


def connected() -> tuple[Connection, socket.socket]:
    """The gateway's end, and its client's."""
    ours, client = socket.socketpair()
    client.settimeout(30)
    owned = Client(ours.family, ours.type, ours.proto, fileno=ours.detach())
    return Connection(Config(), owned, ("127.0.0.1", 1), ("127.0.0.1", 2)), client
