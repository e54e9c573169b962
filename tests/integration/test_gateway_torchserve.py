"""Rules of the gateway's second listener, at which it speaks TorchServe's inference API, as a process."""

import contextlib
import signal
from collections.abc import Iterator

import pytest

from tests.support import gateway_process
from tests.support.fake_backend import Backend, fake_backend
from tests.support.gateway_process import Gateway, Reply, ended, post, read_reply
from tests.support.processes import PATIENCE, wait_until
from tests.support.raw_http import HEALTH, connections, post_head, request_line

SETTINGS = {
    "FACET_TORCHSERVE_HTTP_ADDRESS": "127.0.0.1:0",
    "FACET_HTTP_THREADS": "9",
    "FACET_BODY_BUDGET_BYTES": "4096",
    "FACET_MAX_REQUEST_BYTES": "8192",
}
IRIS = "/predictions/iris"


def torchserve_of(gateway: Gateway) -> Gateway:
    """The same process at its other address."""
    return Gateway(gateway.process, gateway.ready["torchserve_http_address"])


@pytest.fixture(scope="module")
def torchserve(gateway: Gateway) -> Gateway:
    """The module's gateway, which has one permit, at TorchServe's address."""
    return torchserve_of(gateway)


def predict(torchserve: Gateway, body: bytes = b"x", path: str = IRIS, **headers: str) -> Reply:
    """Post an input on a connection of its own; headers are named with underscores."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    with contextlib.closing(torchserve.open()) as connection:
        connection.request("POST", path, body, named)
        return gateway_process.read(connection.getresponse())


def test_each_listener_has_an_application(gateway: Gateway, torchserve: Gateway) -> None:
    """And none of the other's paths."""
    assert gateway.address != torchserve.address
    assert (gateway.get("/healthz").status, torchserve.get("/healthz").status) == (200, 404)
    assert (gateway.get("/ping").status, torchserve.get("/ping").status) == (404, 200)
    assert gateway.get("/ping").headers["Content-Type"] == "application/problem+json"
    assert torchserve.get("/healthz").json["type"] == "ResourceNotFoundException"


def test_a_body_is_passed_on_and_answered_under_its_id(torchserve: Gateway, backend: Backend) -> None:
    """With its content type and its time, and with one line in the log."""
    reply = predict(
        torchserve,
        b"\x00\xff",
        f"{IRIS}/2.10",
        Content_Type="image/png",
        X_Request_ID="ts-1",
        X_Request_Timeout="50",
    )
    assert (reply.status, reply.body, reply.headers["X-Request-ID"]) == (200, b"\x00\xff", "ts-1")
    call = backend.calls[-1]
    encoded = call.message.encoded
    assert (call.message.name, call.message.version) == ("iris", "2.10")
    assert (encoded.operation, encoded.parameters) == ("torchserve_http", b"image/png")
    assert 20 < call.remaining < 51
    line = request_line(torchserve, "ts-1")
    assert (line["status"], line["model"], line["version"], line["bytes"]) == (200, "iris", "2.10", 2)


def test_what_the_server_refuses_is_told_as_torchserve_tells_it(torchserve: Gateway) -> None:
    """Unread, where its length says so."""
    with contextlib.closing(torchserve.connect()) as connection:
        connection.sendall(post_head(8193, "Expect: 100-continue", path=IRIS))
        reply = read_reply(connection)
        assert (reply.status, reply.json["code"]) == (413, 413)
        assert reply.json["type"] == "RequestEntityTooLargeException"
        assert ended(connection)


def test_both_listeners_share_permits(gateway: Gateway, torchserve: Gateway, holding: Backend) -> None:
    """A request at one takes the room of one at the other, in both directions."""
    for busy, other in ((gateway, torchserve), (torchserve, gateway)):
        with contextlib.closing(busy.open()) as connection:
            path = "/predict" if busy is gateway else IRIS
            connection.request("POST", path, b"x", {"Content-Type": "image/png", "X-Request-Timeout": "60"})
            assert holding.began.acquire(timeout=PATIENCE)
            reply = predict(torchserve) if other is torchserve else gateway.predict()
            assert reply.status == 429
            holding.held.set()
            assert gateway_process.read(connection.getresponse()).status == 200
        holding.held.clear()


def test_both_listeners_share_the_budget_of_bodies(gateway: Gateway, torchserve: Gateway) -> None:
    """What one holds, the other has not."""
    with connections(gateway, 1, post_head(3000) + bytes(2999)) as [connection]:
        wait_until(lambda: predict(torchserve, bytes(1200)).status == 429, "the body to be held")
        connection.sendall(b"x")
        assert read_reply(connection).status == 200
    assert predict(torchserve, bytes(1200)).status == 200


@pytest.fixture
def leaving() -> Iterator[tuple[Gateway, Backend]]:
    """A gateway with both listeners that drains for long once it is told to stop."""
    environ = {"FACET_TORCHSERVE_HTTP_ADDRESS": "127.0.0.1:0", "FACET_DRAIN_SECONDS": "1"}
    with fake_backend() as serving, gateway_process.gateway(serving.target, **environ) as running:
        yield running, serving


def test_both_listeners_drain(leaving: tuple[Gateway, Backend]) -> None:
    """Both say so, both are closed when the drain is over, and what runs at either is answered."""
    gateway, backend = leaving
    torchserve = torchserve_of(gateway)
    backend.answer = backend.hold
    named = {"Content-Type": "image/png", "X-Request-Timeout": "60"}
    with contextlib.closing(gateway.open()) as one, contextlib.closing(torchserve.open()) as other:
        one.request("POST", "/predict", b"x", named)
        other.request("POST", IRIS, b"x", named)
        for _ in range(2):
            assert backend.began.acquire(timeout=PATIENCE)
        with contextlib.closing(torchserve.open()) as probe:
            probe.connect()
            gateway.process.send(signal.SIGTERM)
            wait_until(lambda: _refuses(gateway) and _refuses(torchserve), "both to be closed")
            probe.request("GET", "/ping")
            assert gateway_process.read(probe.getresponse()).status == 500
        backend.held.set()
        for connection in (one, other):
            reply = gateway_process.read(connection.getresponse())
            assert (reply.status, reply.headers["Connection"]) == (200, "close")
    assert gateway.process.wait() == 0


def _refuses(gateway: Gateway) -> bool:
    try:
        gateway.connect().close()
    except ConnectionRefusedError:
        return True
    return False


def test_a_lost_backend_is_told_at_both_listeners() -> None:
    """And both recover by themselves."""
    environ = {"FACET_TORCHSERVE_HTTP_ADDRESS": "127.0.0.1:0"}
    with fake_backend() as serving:
        port = serving.port
    with gateway_process.gateway(f"127.0.0.1:{port}", **environ) as running:
        torchserve = torchserve_of(running)
        assert torchserve.get("/ping").json == {"status": "Unhealthy"}
        reply = predict(torchserve)
        assert (reply.status, reply.json["code"]) == (503, 503)
        assert running.predict().status == 503
        with fake_backend(port=port):
            gateway_process.wait_for_status(torchserve, "/ping", 200)
            assert predict(torchserve).status == running.predict().status == 200


def test_a_reload_keeps_both_listeners(leaving: tuple[Gateway, Backend]) -> None:
    """Each with its application and its port."""
    gateway, _ = leaving
    torchserve = torchserve_of(gateway)
    before = gateway.workers()
    gateway.process.send(signal.SIGHUP)
    wait_until(lambda: bool(gateway.workers()) and not set(before) & set(gateway.workers()), "the reload")
    assert predict(torchserve).body == b"x"
    with contextlib.closing(gateway.open()) as connection:
        assert post(connection).status == 200
    with connections(torchserve, 1, HEALTH) as [connection]:
        assert read_reply(connection).json["code"] == 404
