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
from tests.support.gateway_process import Gateway, Reply, post


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
        serving.answer = serving.hold
        with contextlib.closing(running.open()) as connection:
            headers = {"Content-Type": "image/jpeg", "X-Request-Timeout": "60"}
            connection.request("POST", "/predict", b"picture", headers)
            assert serving.began.acquire(timeout=processes.PATIENCE)
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
        serving.answer = serving.hold
        with contextlib.closing(running.open()) as connection:
            headers = {"Content-Type": "image/jpeg", "X-Request-Timeout": "60"}
            connection.request("POST", "/predict", b"picture", headers)
            assert serving.began.acquire(timeout=processes.PATIENCE)
            running.process.send(signal.SIGKILL)
            processes.wait_until(lambda: refuses(running), "the port to be free")
            serving.held.set()
            assert gateway_process.read(connection.getresponse()).status == 200
            assert is_last(post(connection))
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


def test_the_gateway_refuses_to_speak_tls() -> None:
    """It stops at its start and says who should."""
    certificate = str(Path(__file__))  # any file will do
    command = [*gateway_process.COMMAND, "--certfile", certificate, "--keyfile", certificate]
    with processes.running(command, FACET_HTTP_ADDRESS="127.0.0.1:0") as process:
        assert process.wait() != 0
        assert "let a proxy before it speak TLS" in process.log()
