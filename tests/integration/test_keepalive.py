"""Rules of keep-alive: a client that pings an idle connection is not taken for an attacker.

The product's own times are in tens of seconds; here both ends have them forty times shorter.
"""

import threading
import time
from collections.abc import Iterator, Sequence
from concurrent import futures
from contextlib import contextmanager
from typing import Any

import grpc
import pytest

from inference_server.api.server import KEEPALIVE
from utils.channel import MIB, channel_options

_FASTER = 40
_PATIENCE_SECONDS = 60.0


def faster(options: Sequence[tuple[str, Any]]) -> list[tuple[str, Any]]:
    """The same options with shorter times between pings."""
    return [
        (name, value // _FASTER if "ping_interval" in name or name.endswith("keepalive_time_ms") else value)
        for name, value in options
    ]


@contextmanager
def silent_server(options: Sequence[tuple[str, Any]], seconds: float) -> Iterator[str]:
    """A server whose one method says nothing for so long, then answers."""
    over = threading.Event()

    def silent(_request: bytes, _context: grpc.ServicerContext) -> bytes:
        over.wait(seconds)
        return b"done"

    handlers: dict[str, Any] = {"Silent": grpc.unary_unary_rpc_method_handler(silent)}
    server = grpc.server(futures.ThreadPoolExecutor(2), options=options)
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("Test", handlers),))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        over.set()
        server.stop(None).wait()


def call(address: str) -> bytes:
    """One call by the client's own options, without a second try, and with all the pings that it asks for."""
    options = [
        *faster(channel_options(MIB)),
        ("grpc.enable_retries", 0),
        ("grpc.http2.max_pings_without_data", 0),
    ]
    with grpc.insecure_channel(address, options=options) as channel:
        silent: Any = channel.unary_unary("/Test/Silent")
        answer: bytes = silent(b"", timeout=_PATIENCE_SECONDS)
        return answer


def test_a_server_bears_the_pings_of_our_clients() -> None:
    """For twice as long as a server that was not told of them bears the connection."""
    started = time.monotonic()
    with (
        silent_server((), _PATIENCE_SECONDS) as address,
        pytest.raises(grpc.RpcError, match=r"(?i)many.pings"),
    ):
        call(address)
    borne = time.monotonic() - started
    with silent_server(faster(KEEPALIVE), 2 * borne) as address:
        assert call(address) == b"done"
