"""Rules of where a request ends: what could be read in two ways is refused, and no body is ever a request."""

import contextlib
from collections.abc import Iterator

import pytest

from tests.support import gateway_process
from tests.support.fake_backend import fake_backend
from tests.support.gateway_process import Gateway, ended, read_reply
from tests.support.odd_requests import ODD_REQUESTS, SMUGGLED_PATH, Odd
from tests.support.processes import parse
from tests.support.raw_http import HEALTH, assert_problem, request_line, send_byte_by_byte


@pytest.fixture(scope="module")
def gateway() -> Iterator[Gateway]:
    """One gateway and a backend, which none of these requests may confuse."""
    with fake_backend() as serving, gateway_process.gateway(serving.target) as running:
        yield running
        assert running.predict().status == 200


@pytest.mark.security(
    endpoint="gateway",
    attack=(
        "More than 150 requests that two servers could read differently, whole and byte by byte: two "
        "lengths, a length beside chunks, odd lengths, codings, chunk sizes, line ends, NUL bytes, "
        "folded lines, upgrades, odd request lines, each with another request where a body can be"
    ),
    outcome=(
        "Each is refused, mostly by 400, 501 or 505, and its connection ends; or it is one request, and "
        "the next one is read. What is in a body is never served"
    ),
)
@pytest.mark.parametrize("whole", [True, False], ids=["in one piece", "byte by byte"])
@pytest.mark.parametrize("odd", ODD_REQUESTS, ids=lambda odd: odd.name)
def test_an_odd_request_is_one_request(gateway: Gateway, odd: Odd, whole: bool) -> None:
    """It is refused with the end of its connection and one line in the log, or the next one is read."""
    with contextlib.closing(gateway.connect()) as connection:
        if whole:
            connection.sendall(odd.data)
        else:
            send_byte_by_byte(connection, odd.data)
        reply = read_reply(connection)
        assert reply.status in odd.statuses, reply
        if reply.status >= 400:
            assert_problem(reply, reply.status)
            line = request_line(gateway, reply.json["request_id"])
            assert (line["status"], line["reason"]) == (reply.status, reply.json["reason"])
        if odd.ends or reply.headers.get("Connection") == "close":
            assert reply.headers["Connection"] == "close"
            assert ended(connection)
        else:
            connection.sendall(HEALTH)
            assert read_reply(connection).json == {"status": "ok"}
    assert not [line for line in gateway.process.logged("request") if line.get("path") == SMUGGLED_PATH]


@pytest.mark.security(
    endpoint="gateway",
    attack="These requests, to fill the log with errors",
    outcome="One line each at INFO, and no traceback",
)
def test_odd_requests_leave_only_their_lines_in_the_log(gateway: Gateway) -> None:
    """Each is the gateway's own, in its format, and none is a fault."""
    lines = [parse(line) for line in gateway.process.lines]
    assert {line.get("logger") for line in lines} <= {"gateway", "gunicorn.error"}
    assert {line["level"] for line in lines} == {"info"}
