"""Rules of TLS at the end of the clients: whom they trust, what they show, and how both may change."""

import asyncio
import contextlib
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from tests.support.certificates import Authority, Pair
from tests.support.fake_backend import echo, fake_backend
from tests.support.gateway_process import COMMAND, gateway, wait_for_status
from tests.support.processes import PATIENCE, running, wait_until
from utils.async_service_client import AsyncServiceClient
from utils.credentials import peer_name
from utils.errors import BackendUnavailable
from utils.service_client import ServiceClient
from utils.tls import ClientTls, TlsFiles

CHANGES = 3
_NAMES = ("cert", "key", "ca")


@dataclass(frozen=True)
class Scene:
    """An authority, what it has issued for both ends, each in files of this test's own, and a stranger."""

    authority: Authority
    server: Pair
    client: Pair
    stranger: Authority

    def server_files(self, *, mutual: bool = True) -> TlsFiles:
        """The server's end."""
        return TlsFiles((self.server.cert, self.server.key, self.authority.cert if mutual else None), _NAMES)

    def tls(self, name: str = "") -> ClientTls:
        """The client's end."""
        return ClientTls(self.authority.cert, cert_file=self.client.cert, key_file=self.client.key, name=name)

    def environ(self) -> dict[str, str]:
        """The client's end, as the gateway's settings have it."""
        return {
            "FACET_BACKEND_TLS_CA_FILE": str(self.authority.cert),
            "FACET_BACKEND_TLS_CERT_FILE": str(self.client.cert),
            "FACET_BACKEND_TLS_KEY_FILE": str(self.client.key),
        }


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    """Certificates for both ends."""
    authority = Authority(tmp_path / "own")
    return Scene(
        authority,
        authority.issue("server"),
        authority.issue("client", common_name="first"),
        Authority(tmp_path / "other"),
    )


@contextlib.contextmanager
def blocking(target: str, tls: ClientTls | None) -> Iterator[Callable[[str, Any], Any]]:
    """Calls a method of the blocking client."""
    with ServiceClient(target, timeout=PATIENCE, tls=tls) as client:

        def call(method: str, argument: Any) -> Any:  # noqa: ANN401
            answer = getattr(client, method)(argument)
            return [*answer] if method == "detect_many" else answer

        yield call


@contextlib.contextmanager
def awaited(target: str, tls: ClientTls | None) -> Iterator[Callable[[str, Any], Any]]:
    """Calls a method of the asyncio client, from any thread."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()

    def run(awaitable: Any) -> Any:  # noqa: ANN401
        return asyncio.run_coroutine_threadsafe(awaitable, loop).result(PATIENCE)

    async def connect() -> AsyncServiceClient:
        return AsyncServiceClient(target, timeout=PATIENCE, tls=tls)

    async def each(outcomes: Any) -> list[Any]:  # noqa: ANN401
        return [outcome async for outcome in outcomes]

    client = run(connect())

    def call(method: str, argument: Any) -> Any:  # noqa: ANN401
        answer = getattr(client, method)(argument)
        return run(each(answer) if method == "detect_many" else answer)

    try:
        yield call
    finally:
        run(client.close())
        loop.call_soon_threadsafe(loop.stop)
        thread.join(PATIENCE)
        loop.close()


@pytest.fixture(params=[blocking, awaited], ids=["blocking", "asyncio"])
def connect(request: pytest.FixtureRequest) -> Any:  # noqa: ANN401
    """Connects a client of either kind."""
    return request.param


def test_clients_call_by_tls_with_a_certificate_of_their_own(scene: Scene, connect: Any) -> None:  # noqa: ANN401
    """Single calls and streams."""
    peers = []

    def answer(message: Any, context: Any) -> Any:  # noqa: ANN401
        peers.append(peer_name(context))
        return echo(message, context)

    with (
        fake_backend(answer, tls=scene.server_files()) as backend,
        connect(backend.target, scene.tls()) as call,
    ):
        assert call("detect", b"picture").image.width == 7
        assert sorted(found.image.width for _, found in call("detect_many", [b"a", b"bc"])) == [1, 2]
    assert peers == ["first"] * 3


def test_the_certificates_name_may_be_another_than_the_targets(scene: Scene) -> None:
    """As where the target is a list of addresses."""
    with fake_backend(tls=scene.server_files()) as backend:
        target = f"ipv4:{backend.target},{backend.target}"
        with ServiceClient(target, timeout=PATIENCE, tls=scene.tls("localhost")) as client:
            client.check_ready()
        with ServiceClient(target, tls=scene.tls("other.example")) as client:
            assert_not_connected(client, "Hostname Verification Check failed")


def assert_not_connected(client: ServiceClient, why: str) -> None:
    """Its calls fail with a hint for the caller, and the reason for the log."""
    with pytest.raises(BackendUnavailable, match="no connection came about: it may speak TLS") as caught:
        client.check_ready()
    assert why in caught.value.cause


def plain(_scene: Scene) -> None:
    """A client without TLS."""


def without_certificate(scene: Scene) -> ClientTls:
    """A client that shows nothing."""
    return ClientTls(scene.authority.cert)


def with_a_strangers(scene: Scene) -> ClientTls:
    """A client whose certificate is of another authority."""
    pair = scene.stranger.issue("client")
    return ClientTls(scene.authority.cert, cert_file=pair.cert, key_file=pair.key)


def with_an_expired(scene: Scene) -> ClientTls:
    """A client whose certificate was valid once."""
    pair = scene.authority.issue("expired", expired=True)
    return ClientTls(scene.authority.cert, cert_file=pair.cert, key_file=pair.key)


def trusting_a_stranger(scene: Scene) -> ClientTls:
    """A client that trusts another authority than the server's."""
    return ClientTls(scene.stranger.cert, cert_file=scene.client.cert, key_file=scene.client.key)


@pytest.mark.security(
    endpoint="tls",
    attack=(
        "Clients without TLS, without a certificate, with a stranger's or an expired one, and a server "
        "with a stranger's"
    ),
    outcome="No connection; the error's cause, for the log, has what is known of why",
)
@pytest.mark.parametrize(
    ("made", "why"),
    [
        (plain, "Socket closed"),
        (without_certificate, "Socket closed"),
        (with_a_strangers, "Socket closed"),
        (with_an_expired, "Socket closed"),
        (trusting_a_stranger, "CERTIFICATE_VERIFY_FAILED"),
    ],
)
def test_who_is_refused_or_refuses_is_told_so(
    scene: Scene, made: Callable[[Scene], ClientTls | None], why: str
) -> None:
    """One end cannot say why the other one has closed the connection; the log has what is known."""
    with (
        fake_backend(tls=scene.server_files()) as backend,
        ServiceClient(backend.target, tls=made(scene)) as client,
    ):
        assert_not_connected(client, why)


@pytest.mark.security(
    endpoint="tls",
    attack="A server with an expired certificate",
    outcome="No connection; the cause says so",
)
def test_a_server_whose_certificate_has_expired_is_refused(scene: Scene) -> None:
    """By every client."""
    expired = replace(scene, server=scene.authority.issue("expired", expired=True))
    with (
        fake_backend(tls=expired.server_files()) as backend,
        ServiceClient(backend.target, tls=scene.tls()) as client,
    ):
        assert_not_connected(client, "certificate has expired")


@pytest.mark.security(
    endpoint="tls",
    attack="A server that speaks no TLS where its client does",
    outcome="No connection",
)
def test_a_server_without_tls_is_not_called_by_tls(scene: Scene) -> None:
    """No word of a caller goes over the network unencrypted."""
    with fake_backend() as backend, ServiceClient(backend.target, tls=scene.tls()) as client:
        assert_not_connected(client, "WRONG_VERSION_NUMBER")


def wait_for_peer(call: Callable[[str, Any], Any], peers: list[str | None], name: str) -> None:
    """Call until a call comes with this certificate."""

    def has_come() -> bool:
        call("detect", b"x")
        return peers[-1] == name

    wait_until(has_come, f"calls come with the certificate of {name}")


def test_a_changed_certificate_is_shown_and_calls_under_way_end_as_they_began(
    scene: Scene,
    connect: Any,  # noqa: ANN401
) -> None:
    """A call and a stream that wait for their answers have them, by the connection that they have."""
    peers: list[str | None] = []
    held = threading.Event()

    def answer(message: Any, context: Any) -> Any:  # noqa: ANN401
        peers.append(peer_name(context))
        if message.raw_data == b"held":
            held.wait(PATIENCE)
            peers.append(f"held for {peer_name(context)}")
        return echo(message, context)

    with (
        fake_backend(answer, tls=scene.server_files()) as backend,
        connect(backend.target, scene.tls()) as call,
        ThreadPoolExecutor(2) as threads,
    ):
        single = threads.submit(call, "detect", b"held")
        stream = threads.submit(call, "detect_many", [b"held"])
        wait_until(lambda: peers.count("first") == 2, "both are under way")
        scene.client.replace(scene.authority.issue("next", common_name="second"))
        wait_for_peer(call, peers, "second")
        held.set()
        assert single.result(PATIENCE).image.width == 4
        [(_, found)] = stream.result(PATIENCE)
        assert found.image.width == 4
    assert peers.count("held for first") == 2


def test_files_that_are_spoilt_leave_what_was(scene: Scene, caplog: pytest.LogCaptureFixture) -> None:
    """The client goes on with what they held."""
    with (
        fake_backend(tls=scene.server_files()) as backend,
        ServiceClient(backend.target, timeout=PATIENCE, tls=scene.tls()) as client,
    ):
        client.check_ready()
        scene.client.key.write_text("garbage")
        wait_until(lambda: bool(client.detect(b"x") and caplog.records), "the client has looked")
        client.check_ready()
    [line] = caplog.records
    assert line.getMessage() == "TLS files not usable"


def test_a_client_may_be_made_before_its_files(scene: Scene, tmp_path: Path) -> None:
    """Until they are there its calls fail, and name no file."""
    later = ClientTls(tmp_path / "later.pem", cert_file=scene.client.cert, key_file=scene.client.key)
    with (
        fake_backend(tls=scene.server_files()) as backend,
        ServiceClient(backend.target, timeout=PATIENCE, tls=later) as client,
    ):
        with pytest.raises(BackendUnavailable, match="files for TLS") as caught:
            client.check_ready()
        assert str(tmp_path) not in caught.value.detail
        assert "later.pem, which cannot be read" in caught.value.cause
        (tmp_path / "later.pem").write_bytes(scene.authority.cert.read_bytes())
        client.check_ready()


def test_gateway_and_backend_change_their_certificates_and_no_request_fails(scene: Scene) -> None:
    """Each at another time than the other, under load."""
    peers = set()

    def answer(message: Any, context: Any) -> Any:  # noqa: ANN401
        peers.add(peer_name(context))
        return echo(message, context)

    statuses: list[int] = []
    stop = threading.Event()
    with (
        fake_backend(answer, tls=scene.server_files()) as backend,
        gateway(backend.target, **scene.environ()) as made,
    ):
        assert made.get("/readyz").status == 200

        def call() -> None:
            while not stop.is_set():
                statuses.append(made.predict().status)

        threads = [threading.Thread(target=call) for _ in range(2)]
        for thread in threads:
            thread.start()
        try:
            for number in range(CHANGES):
                name = f"client {number}"
                scene.server.replace(scene.authority.issue(f"server-{number}"))
                scene.client.replace(scene.authority.issue(f"client-{number}", common_name=name))
                wait_until(lambda name=name: name in peers, f"{name} has called")  # type: ignore[misc]
        finally:
            stop.set()
            for thread in threads:
                thread.join(PATIENCE)
        assert made.get("/readyz").status == 200
    assert set(statuses) == {200}


def test_a_gateway_that_is_refused_says_why_in_its_log(scene: Scene) -> None:
    """And to its callers that there is no connection."""
    environ = {**scene.environ(), "FACET_BACKEND_TLS_CA_FILE": str(scene.stranger.cert)}
    with fake_backend(tls=scene.server_files()) as backend, gateway(backend.target, **environ) as made:
        reply = made.predict()
        assert (reply.status, reply.json["reason"]) == (503, "BACKEND_UNAVAILABLE")
        assert "does not accept the other's certificate" in reply.json["detail"]
        line = made.process.wait_for("request", path="/predict")
    assert "CERTIFICATE_VERIFY_FAILED" in line["cause"]


def test_a_gateway_starts_only_with_files_that_can_be_used(scene: Scene) -> None:
    """The last line says which cannot."""
    scene.client.key.write_text("garbage")
    with running(COMMAND, FACET_HTTP_ADDRESS="127.0.0.1:0", **scene.environ()) as process:
        assert process.wait() == 1
    assert process.lines[-1] == (
        f"facet gateway: FACET_BACKEND_TLS_KEY_FILE is {scene.client.key}, which holds no private key in PEM"
    )


def test_a_gateways_process_that_starts_while_files_are_spoilt_waits_for_others(scene: Scene) -> None:
    """Requests fail until then, and the gateway lives."""
    with (
        fake_backend(tls=scene.server_files()) as backend,
        gateway(backend.target, **scene.environ()) as made,
    ):
        saved = scene.client.key.read_bytes()
        scene.client.key.write_text("garbage")
        [process] = made.workers()
        made.process.send(1)
        wait_until(lambda: process not in made.workers() and bool(made.workers()), "another process")
        wait_for_status(made, "/readyz", 503)
        scene.client.key.write_bytes(saved)
        wait_for_status(made, "/readyz", 200)
