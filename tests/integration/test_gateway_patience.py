"""Rules of how long the gateway waits for a client where no setting says so: seconds each, so all at once."""

import contextlib
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import pytest

from tests.support import gateway_process, wsgi_app
from tests.support.fake_backend import fake_backend
from tests.support.gateway_process import Gateway, ended, read_reply
from tests.support.processes import PATIENCE
from tests.support.raw_http import (
    answered,
    assert_last_problem,
    assert_prompt,
    chunk,
    connections,
    deaf,
    post_head,
    trickle,
)

THREADS = 10
LIMIT = 1024**2
LARGE = 16 * 1024**2
"""Bytes of an answer that finds no room in the buffers between the processes."""


@dataclass(frozen=True)
class Running:
    """Facet's application, and that of tests.support.wsgi_app."""

    facet: Gateway
    odd: Gateway


def who_never_sends_a_request_is_let_go(running: Running) -> None:
    """After 10 s."""
    with connections(running.facet, 1) as [connection]:
        assert answered(connection, 16)
        assert ended(connection)


def who_sends_empty_lines_alone_gains_no_time(running: Running) -> None:
    """They are no part of a request."""
    with connections(running.facet, 1) as [connection]:
        assert trickle(connection, b"\r\n", 0.5, 16)


def a_head_that_never_ends_is_given_up(running: Running) -> None:
    """Even if it goes on and on: the limit is for all of it."""
    with connections(running.facet, 1, b"GET /healthz HTTP/1.1\r\n") as [connection]:
        assert trickle(connection, b"X: y\r\n", 0.2)
        assert "accepted: 5 s" in assert_last_problem(connection, 408, "HEAD_TOO_SLOW").json["detail"]


def who_sends_on_after_a_refusal_is_cut_off(running: Running) -> None:
    """It has had time to read the answer."""
    with connections(running.facet, 1, post_head(LIMIT + 1)) as [connection]:
        assert read_reply(connection).status == 413
        give_up = time.monotonic() + 20
        with contextlib.suppress(ConnectionError):
            while time.monotonic() < give_up:
                connection.sendall(b"x")
                time.sleep(0.1)
            pytest.fail("it may send on")


def a_body_slower_than_4_kib_a_second_is_given_up(running: Running) -> None:
    """After 10 s, though its request has more time."""
    with connections(running.facet, 1, post_head(None, "X-Request-Timeout: 60")) as [connection]:
        assert trickle(connection, chunk(b"x" * 100), 0.1, 25)
        assert_last_problem(connection, 408, "BODY_TOO_SLOW")


def a_body_faster_than_that_may_go_on(running: Running) -> None:
    """As long as its request has time."""
    with connections(running.facet, 1, post_head(None, "X-Request-Timeout: 60")) as [connection]:
        assert not trickle(connection, chunk(b"x" * 2000), 0.2, 13)
        connection.sendall(chunk(b""))
        assert read_reply(connection).status == 200


def a_streamed_answer_may_go_on(running: Running) -> None:
    """It is each piece that has a time, not all of them."""
    with contextlib.closing(running.odd.open()) as connection:
        connection.request("GET", "/stream?lines=26&pause=500")
        assert len(connection.getresponse().read().split()) == 26


def who_takes_no_answer_delays_nobody_and_is_cut_off(running: Running) -> None:
    """After 10 s without a byte."""
    with deaf(running.odd, 2 * THREADS, LARGE) as opened:
        assert_prompt(running.odd)
        time.sleep(14)  # reading earlier would be taking it
        for connection in opened:
            with contextlib.suppress(ConnectionResetError), connection.makefile("rb") as stream:
                assert len(stream.read(LARGE)) < LARGE


def who_takes_its_answer_slowly_gets_all_of_it(running: Running, field: str = "X: y") -> None:
    """Only who takes none of it for long is given up."""
    with deaf(running.odd, 1, LARGE, field) as [connection]:
        received = 0
        while received < LARGE:
            piece = connection.recv(64 * 1024)
            assert piece, received
            received += len(piece)
            time.sleep(len(piece) / 1024**2)


def who_takes_its_last_answer_slowly_gets_all_of_it(running: Running) -> None:
    """Also where the connection ends with it."""
    who_takes_its_answer_slowly_gets_all_of_it(running, "Connection: close")


RULES: list[Callable[[Running], None]] = [
    who_never_sends_a_request_is_let_go,
    who_sends_empty_lines_alone_gains_no_time,
    a_head_that_never_ends_is_given_up,
    who_sends_on_after_a_refusal_is_cut_off,
    a_body_slower_than_4_kib_a_second_is_given_up,
    a_body_faster_than_that_may_go_on,
    a_streamed_answer_may_go_on,
    who_takes_its_answer_slowly_gets_all_of_it,
    who_takes_its_last_answer_slowly_gets_all_of_it,
    who_takes_no_answer_delays_nobody_and_is_cut_off,
]


@pytest.fixture(scope="module")
def outcomes() -> Iterator[dict[str, Future[None]]]:
    """What comes of each rule; all are tried at the same time."""
    settings = {
        "FACET_HTTP_THREADS": str(THREADS),
        "FACET_MAX_IMAGE_BYTES": str(LIMIT),
        "FACET_KEEPALIVE_SECONDS": "5",  # less than the slowest answer takes
    }
    with (
        fake_backend() as serving,
        gateway_process.gateway(serving.target, **settings) as facet,
        gateway_process.gateway(serving.target, wsgi_app.APPLICATION, **settings) as odd,
        ThreadPoolExecutor(len(RULES)) as pool,
    ):
        running = Running(facet, odd)
        yield {rule.__name__: pool.submit(rule, running) for rule in RULES}


@pytest.mark.security(
    endpoint="gateway",
    attack=(
        "Connections that send nothing or empty lines, heads and bodies that do not end, bytes after a "
        "refusal, answers that nobody takes"
    ),
    outcome=(
        "A first request has 10 s, a head 5 s (408), a body slower than 4 KiB a second 10 s (408), an "
        "answer 10 s without a byte taken; then the connection ends"
    ),
)
@pytest.mark.parametrize("rule", [rule.__name__ for rule in RULES])
def test_patience_has_an_end(outcomes: dict[str, Future[None]], rule: str) -> None:
    """As each rule says."""
    outcomes[rule].result(PATIENCE)
