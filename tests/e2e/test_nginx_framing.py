"""Requests that two servers could read differently, behind a real nginx: both read them alike."""

import contextlib
import socket
from pathlib import Path

from tests.support import gateway_process
from tests.support.endpoints import post_raw
from tests.support.fake_backend import fake_backend
from tests.support.nginx import nginx, passed_on
from tests.support.odd_requests import ODD_REQUESTS, SMUGGLED_PATH
from tests.support.processes import PATIENCE, wait_until
from tests.support.raw_http import answered
from utils.settings import parse_address


def test_the_gateway_serves_as_many_requests_as_nginx_has_passed_on(tmp_path: Path) -> None:
    """None of what nginx took for a body is a request to the gateway, nor the other way round."""
    with (
        fake_backend() as serving,
        gateway_process.gateway(serving.target) as gateway,
        nginx(tmp_path, [gateway.address[1]] * 2) as http,
        contextlib.ExitStack() as stack,
    ):
        address = parse_address(http)
        unanswered = []
        for odd in ODD_REQUESTS:
            connection = stack.enter_context(socket.create_connection((address.host, address.port), PATIENCE))
            connection.sendall(odd.data)
            unanswered.append(connection)
            # Over the same few connections to the gateway: what is left on one would be in its way.
            assert post_raw(http, b"picture", {}).faces == []
        wait_until(lambda: all(map(answered, unanswered)), "each to be answered", 10)

        def served() -> int:
            return len(gateway.process.logged("request"))

        def passed() -> list[str]:
            # What the tests of readiness ask leaves no line in the gateway's log.
            return [target for target in passed_on(tmp_path) if target != "/healthz"]

        wait_until(lambda: served() == len(passed()), "as many served as were passed on", 10)
        lines = gateway.process.logged("request")
        smuggled = [line for line in lines if line.get("path") == SMUGGLED_PATH]
        assert len(smuggled) == passed().count(SMUGGLED_PATH)
        assert len(lines) > 50
