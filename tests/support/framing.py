"""Odd requests through a proxy: it and the gateway behind it must see the same requests."""

import contextlib
import socket
from collections.abc import Callable

from tests.support.endpoints import post_raw
from tests.support.gateway_process import Gateway
from tests.support.odd_requests import ODD_REQUESTS, SMUGGLED_PATH
from tests.support.processes import PATIENCE, wait_until
from tests.support.raw_http import answered
from utils.settings import parse_address

_OURS = b"\r\nx-request-id:"
"""In the head of each answer of a gateway, and of none of a proxy's own."""
_REFUSAL = b"HTTP/1.1 400 "


def assert_read_alike(
    gateway: Gateway, proxy: str, passed_on: Callable[[], list[str]], path: str, *, heads_first: bool = False
) -> None:
    """Send all odd requests, and ordinary ones between them, which would meet what those left behind.

    Args:
        gateway: The only one behind the proxy.
        proxy: Its address.
        passed_on: Gives the target of each request that it has sent to the gateway.
        path: For which odd requests with bodies are.
        heads_first: Whether it passes on a head at once, and answers itself where the body is odd.
    """

    def served() -> list[object]:
        return [line.get("path") for line in gateway.process.logged("request")]

    def passed() -> list[str]:
        # What tests and checks of readiness ask leaves no line in the gateway's log.
        return [target for target in passed_on() if target not in {"/healthz", "/readyz"}]

    address = parse_address(proxy)
    with contextlib.ExitStack() as stack:
        connections = []
        for odd in ODD_REQUESTS:
            connection = stack.enter_context(socket.create_connection((address.host, address.port), PATIENCE))
            connection.sendall(odd.data.replace(b"/predict", path.encode()))
            connections.append(connection)
            # Over the same few connections to the gateway: what is left on one would be in its way.
            assert post_raw(proxy, b"picture", {}).faces == []
        wait_until(lambda: all(map(answered, connections)), "each to be answered", 10)
        answers = dict.fromkeys(connections, b"")

        def told() -> int:
            for each in connections:
                answers[each] += _received(each)
            return len(ODD_REQUESTS) + sum(map(_count, answers.values()))

        def refused() -> int:
            return sum(answer.startswith(_REFUSAL) and not _count(answer) for answer in answers.values())

        # Each odd request came with an ordinary one.
        wait_until(
            lambda: 0 <= len(served()) - told() <= heads_first * refused(),
            "as many answers as were served",
            10,
        )
    # A proxy may log a request when its client has left.
    wait_until(lambda: len(served()) == len(passed()), "as many served as were passed on", 10)
    assert served().count(SMUGGLED_PATH) == passed().count(SMUGGLED_PATH)
    assert len(served()) > len(ODD_REQUESTS) + 50


def _received(connection: socket.socket) -> bytes:
    """What can be read now."""
    received = b""
    with contextlib.suppress(ConnectionError):  # it has ended
        while answered(connection) and (piece := connection.recv(65536)):
            received += piece
    return received


def _count(received: bytes) -> int:
    """The answers of the gateway among what has come; one without a head is that to a request of HTTP/0.9."""
    if received.startswith(b"{"):
        return 1
    return received.lower().count(_OURS)
