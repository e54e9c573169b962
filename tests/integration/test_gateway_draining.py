"""Rules of a gateway that goes away: it says so first, and whoever came in time is answered."""

import contextlib
import os
import signal
from collections import deque
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path

import pytest

from tests.support import gateway_process, processes
from tests.support.fake_backend import fake_backend
from tests.support.gateway_process import Gateway, Reply, ended, held_request, post, read_reply
from tests.support.raw_http import HEALTH, connections, post_head
from tests.support.wsgi_app import APPLICATION


def refuses(gateway: Gateway) -> bool:
    """Whether nobody listens any more."""
    try:
        gateway.connect().close()
    except ConnectionRefusedError:
        return True
    return False


def draining(running: Gateway, *, whole_group: bool = False) -> None:
    """Tell it to stop, and wait until it says that it does."""
    (running.process.send_group if whole_group else running.process.send)(signal.SIGTERM)
    reply = gateway_process.wait_for_status(running, "/readyz", 503)
    assert reply.json["reason"] == "GATEWAY_STOPPING"
    assert reply.headers["Retry-After"] == "1"


def is_last(reply: Reply) -> bool:
    """Whether the connection ends with this answer to a picture."""
    assert reply.status == 200
    return reply.headers.get("Connection") == "close"


@pytest.mark.parametrize("whole_group", [False, True])
def test_a_gateway_that_drains_says_so_and_serves_on(whole_group: bool) -> None:
    """On new connections and on old ones, each of which ends with its answer; it ends with status 0."""
    environ = {"FACET_HTTP_WORKERS": "2", "FACET_DRAIN_SECONDS": "300"}
    with fake_backend() as serving, gateway_process.gateway(serving.target, **environ) as running:
        with contextlib.closing(running.open()) as connection:
            assert not is_last(post(connection))
            draining(running, whole_group=whole_group)
            # Each worker hears of it by itself, a moment after the master.
            processes.wait_until(lambda: is_last(post(connection)), "the connection to end")
        assert running.get("/healthz").status == 200
        processes.wait_until(lambda: is_last(running.predict()), "a new one to end with its answer")
        running.process.send(signal.SIGINT)
        assert running.process.wait() == 0
        assert refuses(running)


def test_a_gateway_that_drains_says_so_whatever_its_backend_does() -> None:
    """Its reason is its own, and not the one of a backend that is gone."""
    environ = {"FACET_DRAIN_SECONDS": "300"}
    with fake_backend() as serving:
        port = serving.port
    with gateway_process.gateway(f"127.0.0.1:{port}", **environ) as running:
        reply = gateway_process.wait_for_status(running, "/readyz", 503)
        assert reply.json["reason"] == "BACKEND_UNAVAILABLE"
        running.process.send(signal.SIGTERM)
        processes.wait_until(
            lambda: running.get("/readyz").json["reason"] == "GATEWAY_STOPPING", "it to say that it stops"
        )
        assert running.predict().json["reason"] == "BACKEND_UNAVAILABLE"


def test_after_the_drain_nobody_can_connect_while_the_last_request_runs() -> None:
    """A balancer goes elsewhere at once; the last request gets its answer."""
    with (
        fake_backend() as serving,
        gateway_process.gateway(serving.target, FACET_DRAIN_SECONDS="1") as running,
    ):
        with held_request(running, serving) as connection:
            running.process.send(signal.SIGTERM)
            processes.wait_until(lambda: refuses(running), "the end of the drain")
            serving.held.set()
            assert gateway_process.read(connection.getresponse()).status == 200
        assert running.process.wait() == 0


def test_a_connection_made_in_the_last_moment_is_served() -> None:
    """It may send its request when the gateway has stopped listening."""
    with (
        fake_backend() as serving,
        gateway_process.gateway(serving.target, FACET_DRAIN_SECONDS="2") as running,
        contextlib.ExitStack() as stack,
    ):
        made: deque[HTTPConnection] = deque(maxlen=2)

        def connected() -> bool:
            connection = running.open()
            with contextlib.suppress(ConnectionRefusedError):
                connection.connect()
                made.append(stack.enter_context(contextlib.closing(connection)))
                return True
            return False

        assert connected()
        running.process.send(signal.SIGTERM)
        processes.wait_until(lambda: not connected(), "the end of the drain")
        reply = post(made[0])
        assert (reply.status, reply.headers["Connection"]) == (200, "close")
        assert running.process.wait() == 0


def test_who_was_in_the_backlog_is_served() -> None:
    """They had connected, and heard of no end."""
    with gateway_process.gateway("127.0.0.1:1") as running, contextlib.ExitStack() as stack:
        [worker] = running.workers()
        with processes.standing_still([worker]):
            waiting = [stack.enter_context(contextlib.closing(running.connect())) for _ in range(10)]
            for connection in waiting:
                connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
            running.process.send(signal.SIGTERM)
            running.process.wait_for("Handling signal: term")
            os.kill(worker, signal.SIGTERM)  # the master's may still be on its way
        for connection in waiting:
            assert gateway_process.read_reply(connection).status == 200
        assert running.process.wait() == 0


def test_without_its_master_a_worker_leaves_the_port_and_finishes_what_runs() -> None:
    """Another gateway may listen there while the last requests get their answers."""
    with (
        fake_backend() as serving,
        gateway_process.gateway(serving.target) as running,
        orphans_ended(running.workers()),
    ):
        [worker] = running.workers()
        with held_request(running, serving) as connection:
            running.process.send(signal.SIGKILL)
            processes.wait_until(lambda: refuses(running), "the port to be free")
            serving.held.set()
            assert is_last(gateway_process.read(connection.getresponse()))
        processes.wait_until(lambda: not processes.alive(worker), "the worker to end")


@contextlib.contextmanager
def orphans_ended(pids: list[int]) -> Iterator[None]:
    """No child of a killed master is left by a test that fails."""
    try:
        yield
    finally:
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def test_a_reload_is_no_farewell() -> None:
    """The old worker serves on for the drain, too, but the gateway stays ready."""
    with (
        fake_backend() as serving,
        gateway_process.gateway(serving.target, FACET_DRAIN_SECONDS="2") as running,
    ):
        assert running.get("/readyz").status == 200
        before = running.workers()
        running.process.send(signal.SIGHUP)
        running.process.wait_for("Handling signal: hup")

        def replaced() -> bool:
            assert running.get("/readyz").status == 200
            assert running.predict().status == 200
            return not set(before) & set(running.workers())

        processes.wait_until(replaced, "the old worker to go")


def test_a_request_that_is_on_its_way_is_answered_before_the_end() -> None:
    """In its head or in its body, though nobody can connect any more."""
    with (
        fake_backend() as serving,
        gateway_process.gateway(serving.target) as running,
        connections(running, 1, post_head(6) + b"abc") as [connection],
        connections(running, 1, HEALTH[:-2]) as [begun],
    ):
        assert running.get("/healthz").status == 200
        running.process.send(signal.SIGTERM)
        processes.wait_until(lambda: refuses(running), "the port to be free")
        begun.sendall(HEALTH[-2:])
        assert read_reply(begun).headers["Connection"] == "close"
        connection.sendall(b"def")
        reply = read_reply(connection)
        assert (reply.json["image"]["width"], reply.headers["Connection"]) == (6, "close")
        assert running.process.wait() == 0


def test_idle_connections_hold_up_no_end() -> None:
    """Whether they have had an answer or not: 2 s are enough for a last request."""
    with gateway_process.gateway("127.0.0.1:1") as running, connections(running, 4) as opened:
        for connection in opened[:2]:
            connection.sendall(HEALTH)
            assert read_reply(connection).status == 200
        running.process.send(signal.SIGTERM)
        assert running.process.wait(10) == 0
        assert all(ended(connection) for connection in opened)


def test_what_is_not_done_within_the_grace_is_cut_off() -> None:
    """A call, a body, a head, an answer that is not taken: the process ends all the same."""
    with (
        fake_backend() as serving,
        gateway_process.gateway(serving.target, FACET_GRACE_SECONDS="3") as running,
        connections(running, 1, post_head(3, "X-Request-Timeout: 60") + b"abc") as [held],
        connections(running, 2, post_head(3, "X-Request-Timeout: 60") + b"a") as amid,
    ):
        serving.answer = serving.hold
        assert serving.began.acquire(timeout=processes.PATIENCE)
        running.process.send(signal.SIGTERM)
        assert running.process.wait(15) == 0
        for connection in (held, *amid):
            assert connection.recv(12) in {b"", b"HTTP/1.1 503"}


def test_what_a_client_does_not_take_holds_up_no_end() -> None:
    """Its answer is cut off when the grace is over."""
    with (
        gateway_process.gateway("127.0.0.1:1", APPLICATION, FACET_GRACE_SECONDS="2") as running,
        connections(running, 1, b"GET /large?bytes=100000000 HTTP/1.1\r\nHost: x\r\n\r\n") as [connection],
    ):
        running.process.wait_for("entered", path="/large")
        running.process.send(signal.SIGTERM)
        assert running.process.wait(9) == 0
        assert connection.recv(12) == b"HTTP/1.1 200"


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGQUIT])
def test_whoever_wants_an_end_now_gets_it(signum: int) -> None:
    """Whatever runs, and however long it might."""
    with (
        fake_backend() as serving,
        gateway_process.gateway(serving.target) as running,
        connections(running, 1, post_head(3, "X-Request-Timeout: 60") + b"abc"),
        connections(running, 1, post_head(3, "X-Request-Timeout: 60") + b"a"),
    ):
        serving.answer = serving.hold
        assert serving.began.acquire(timeout=processes.PATIENCE)
        running.process.send(signum)
        assert running.process.wait(10) == 0
        assert refuses(running)


def test_workers_come_and_go_by_signals_and_finish_what_they_have() -> None:
    """One more, one less, never below one."""
    with fake_backend() as serving, gateway_process.gateway(serving.target) as running:
        [first] = running.workers()
        serving.answer = serving.hold
        with connections(running, 1, post_head(3, "X-Request-Timeout: 60") + b"abc") as [connection]:
            assert serving.began.acquire(timeout=processes.PATIENCE)
            running.process.send(signal.SIGTTIN)
            processes.wait_until(lambda: len(running.workers()) == 2, "a second worker")
            # The oldest goes, which has the request.
            running.process.send(signal.SIGTTOU)
            running.process.wait_for("Handling signal: ttou")
            serving.held.set()
            assert read_reply(connection).status == 200
        processes.wait_until(lambda: len(running.workers()) == 1, "the first one to go")
        assert first not in running.workers()
        running.process.send(signal.SIGTTOU)
        running.process.wait_for("Handling signal: ttou")
        assert running.get("/readyz").status == 200
        assert running.predict().status == 200
        assert len(running.workers()) == 1


@pytest.mark.parametrize("again", [signal.SIGINT, signal.SIGQUIT])
def test_a_drain_can_be_cut_short(again: int) -> None:
    """By whoever presses Ctrl-C."""
    with (
        fake_backend() as serving,
        gateway_process.gateway(serving.target, FACET_DRAIN_SECONDS="300") as running,
    ):
        draining(running)
        running.process.send(again)
        assert running.process.wait(20) == 0


def test_a_drain_is_cut_short_by_a_signal_that_comes_at_once() -> None:
    """The master may take both signals from its queue together, and must not forget the second."""
    slow = ("-c", "tests/support/slow_master.conf.py")
    with (
        fake_backend() as serving,
        gateway_process.gateway(serving.target, *slow, FACET_DRAIN_SECONDS="300") as running,
    ):
        draining(running)
        running.process.send(signal.SIGINT)
        assert running.process.wait(20) == 0


def test_the_gateway_refuses_to_speak_tls() -> None:
    """It stops at its start and says who should."""
    certificate = str(Path(__file__))  # any file will do
    command = [*gateway_process.COMMAND, "--certfile", certificate, "--keyfile", certificate]
    with processes.running(command, FACET_HTTP_ADDRESS="127.0.0.1:0") as process:
        assert process.wait() != 0
        assert "let a proxy before it speak TLS" in process.log()


def test_a_worker_that_is_told_to_stop_while_it_boots_stops() -> None:
    """It does not serve until its grace is over."""
    environ = {"FACET_HTTP_ADDRESS": "127.0.0.1:0", "FACET_HTTP_WORKERS": "1", "FACET_GRACE_SECONDS": "60"}
    with processes.running(gateway_process.COMMAND, **environ) as process:
        processes.wait_until(lambda: bool(process.children()), "a worker")
        process.send(signal.SIGTERM)
        assert process.wait(20) == 0


def test_a_request_that_runs_when_the_drain_begins_ends_its_connection() -> None:
    """Its answer says so, or the next request would be lost."""
    with (
        fake_backend() as serving,
        gateway_process.gateway(serving.target, FACET_DRAIN_SECONDS="300") as running,
        held_request(running, serving) as connection,
    ):
        draining(running)
        serving.held.set()
        assert is_last(gateway_process.read(connection.getresponse()))
        running.process.send(signal.SIGINT)
