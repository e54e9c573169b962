"""Rules of TLS at the backend's gRPC endpoints: a real backend, whose certificate changes under load."""

import itertools
import os
import signal
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_reflection.v1alpha import reflection_pb2

from protos import management_pb2
from tests.support.certificates import Authority, Pair
from tests.support.model_backend import Backend, model_backend
from tests.support.pictures import ASTRONAUT
from tests.support.processes import PATIENCE, ROOT, alive, running, wait_until
from utils.service_client import ServiceClient
from utils.tls import ClientTls

COMMAND = [sys.executable, "-m", "inference_server"]
CALLS = 2000
CALLS_A_CONNECTION = 10
CHANGES = 4


@dataclass(frozen=True)
class Served:
    """A backend that demands certificates at all of its gRPC addresses, which stand by their settings."""

    backend: Backend
    authority: Authority
    server: Pair
    client: Pair
    addresses: dict[str, str]

    @property
    def tls(self) -> ClientTls:
        """The end of a client that it accepts."""
        return ClientTls(self.authority.cert, cert_file=self.client.cert, key_file=self.client.key)

    def channel(self, setting: str, credentials: grpc.ChannelCredentials | None = None) -> grpc.Channel:
        """A connection of its own, over which no call is made twice; by default with a certificate."""
        own = credentials or grpc.ssl_channel_credentials(
            self.authority.cert.read_bytes(), self.client.key.read_bytes(), self.client.cert.read_bytes()
        )
        options = [("grpc.use_local_subchannel_pool", 1), ("grpc.enable_retries", 0)]
        return grpc.secure_channel(self.addresses[setting], own, options)

    def workers(self) -> set[int]:
        """Process ids of the workers that are ready, without the admin process."""
        ready = self.backend.process.logged("worker ready")
        return {line["worker"] for line in ready if "process" not in line} & self.backend.workers()

    def serials(self) -> set[str]:
        """Of the certificates that some connections, so over all workers, are shown."""
        host, _, port = self.backend.address.rpartition(":")
        context = ssl.create_default_context(cafile=self.authority.cert)
        serials = set()
        for _ in range(8):
            with (
                socket.create_connection((host, int(port)), PATIENCE) as connection,
                context.wrap_socket(connection, server_hostname="localhost") as wrapped,
            ):
                certificate = wrapped.getpeercert()
                assert certificate is not None
                serials.add(f"serial={certificate['serialNumber']}\n")
        return serials


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """The backend; its management by gRPC is at all addresses of the machine, without a token."""
    folder = tmp_path_factory.mktemp("tls")
    authority = Authority(folder / "authority")
    server, client = authority.issue("server"), authority.issue("client", common_name="caller of tests")
    environ = {
        "FACET_TLS_CERT_FILE": str(server.cert),
        "FACET_TLS_KEY_FILE": str(server.key),
        "FACET_TLS_CLIENT_CA_FILE": str(authority.cert),
        "FACET_TORCHSERVE_ADDRESS": "127.0.0.1:0",
        "FACET_ADMIN_ADDRESS": "127.0.0.1:0",
        "FACET_ADMIN_GRPC_ADDRESS": "0.0.0.0:0",
        "FACET_TORCHSERVE_MANAGEMENT_ADDRESS": "127.0.0.1:0",
    }
    with model_backend(folder, **environ) as backend:
        [ready] = backend.process.logged("ready")
        addresses = {name: f"localhost:{str(ready[name]).rpartition(':')[2]}" for name in METHODS}
        yield Served(backend, authority, server, client, addresses)


METHODS = {
    "grpc_address": ["/grpc.health.v1.Health/Check", "/inference.GRPCInferenceService/ServerLive"],
    "torchserve_address": ["/org.pytorch.serve.grpc.inference.InferenceAPIsService/Ping"],
    "admin_grpc_address": ["/facet.management.Management/Status"],
    "torchserve_management_address": ["/org.pytorch.serve.grpc.management.ManagementAPIsService/ListModels"],
}


def call(channel: grpc.Channel, method: str) -> grpc.StatusCode:
    """How a call ends."""
    made: Any = channel.unary_unary(method)
    try:
        made(b"", timeout=PATIENCE)
    except grpc.RpcError as error:
        code: grpc.StatusCode = error.code()
        return code
    return grpc.StatusCode.OK


@pytest.mark.security(
    endpoint="tls",
    attack="Calls without TLS, or without a certificate where one is demanded, at each gRPC address",
    outcome="No connection",
)
@pytest.mark.parametrize("setting", METHODS)
def test_every_grpc_address_demands_tls_and_a_certificate(served: Served, setting: str) -> None:
    """Those of Facet's own protocol, TorchServe's and the Open Inference Protocol, health and management."""
    only_trust = grpc.ssl_channel_credentials(served.authority.cert.read_bytes())
    for method in METHODS[setting]:
        with served.channel(setting) as channel:
            assert call(channel, method) == grpc.StatusCode.OK
        with served.channel(setting, only_trust) as channel:
            assert call(channel, method) == grpc.StatusCode.UNAVAILABLE
        with grpc.insecure_channel(served.addresses[setting]) as channel:
            assert call(channel, method) == grpc.StatusCode.UNAVAILABLE


def test_reflection_and_streams_of_pictures_are_answered(served: Served) -> None:
    """By the same connection as all else."""
    with served.channel("grpc_address") as channel:
        ask: Any = channel.stream_stream(
            "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
            reflection_pb2.ServerReflectionRequest.SerializeToString,
            reflection_pb2.ServerReflectionResponse.FromString,
        )
        [answer] = ask(iter([reflection_pb2.ServerReflectionRequest(list_services="")]), timeout=PATIENCE)
    assert "Inference" in {service.name for service in answer.list_services_response.service}
    with ServiceClient(served.addresses["grpc_address"], timeout=PATIENCE, tls=served.tls) as client:
        outcomes = dict(client.detect_many([ASTRONAUT.read_bytes()] * 2))
    assert all(found.faces for found in outcomes.values())  # type: ignore[union-attr] # no error is one


def test_log_lines_name_the_caller_by_its_certificate(served: Served) -> None:
    """Those of requests, and of what operators change."""
    with ServiceClient(served.addresses["grpc_address"], timeout=PATIENCE, tls=served.tls) as client:
        client.models(request_id="named")
    line = served.backend.process.wait_for("request", request_id="named")
    assert line["peer"] == "caller of tests"
    with served.channel("admin_grpc_address") as channel:
        change: Any = channel.unary_unary("/facet.management.Management/SetLogLevel")
        change(management_pb2.SetLogLevelRequest(level="INFO").SerializeToString(), timeout=PATIENCE)
    assert served.backend.process.wait_for("management request")["peer"] == "caller of tests"


def test_the_probe_of_a_container_asks_as_the_gateway_does(served: Served) -> None:
    """With the same settings; without them it is refused."""
    environ = {
        **os.environ,
        "FACET_GRPC_ADDRESS": served.backend.address,
        "FACET_BACKEND_TLS_CA_FILE": str(served.authority.cert),
        "FACET_BACKEND_TLS_CERT_FILE": str(served.client.cert),
        "FACET_BACKEND_TLS_KEY_FILE": str(served.client.key),
    }
    command = [sys.executable, "-m", "utils.probe"]
    assert subprocess.run(command, check=False, cwd=ROOT, env=environ).returncode == 0
    environ.pop("FACET_BACKEND_TLS_CA_FILE")
    refused = subprocess.run(command, check=False, cwd=ROOT, env=environ, capture_output=True, text=True)
    assert (refused.returncode, refused.stderr.count("\n")) == (1, 1)
    assert "FACET_BACKEND_TLS_CERT_FILE is set, and FACET_BACKEND_TLS_CA_FILE is not" in refused.stderr


class Load:
    """Calls by many connections, each made once, until they are enough and somebody says that it is over."""

    def __init__(self, served: Served) -> None:
        self._served = served
        self._over = threading.Event()
        self._numbers = itertools.count(1)
        self.made = 0
        self.failed: list[grpc.StatusCode] = []

    def __enter__(self) -> "Load":
        self._threads = [threading.Thread(target=self._run) for _ in range(4)]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join(PATIENCE)

    def _run(self) -> None:
        while not (self._over.is_set() and self.made >= CALLS):
            with self._served.channel("grpc_address") as channel:
                for _ in range(CALLS_A_CONNECTION):
                    code = call(channel, "/inference.GRPCInferenceService/ServerLive")
                    self.made = next(self._numbers)
                    if code != grpc.StatusCode.OK:
                        self.failed.append(code)


def test_a_certificate_changes_under_load_and_no_call_fails(served: Served) -> None:
    """Though none is made twice. Every worker shows the new one to who connects after that."""
    with Load(served) as load:
        for number in range(CHANGES):
            at = load.made
            served.server.replace(served.authority.issue(f"server-{number}"))
            assert served.serials() == {served.server.serial}
            wait_until(lambda at=at: load.made >= at + CALLS // CHANGES, "calls are made")  # type: ignore[misc]
    assert load.made >= CALLS
    assert load.failed == []


@pytest.mark.security(
    endpoint="tls",
    attack="A certificate replaced by garbage, by a part of itself, or by that of another key",
    outcome="What was there before counts, also for workers that start meanwhile",
)
def test_spoilt_files_leave_what_was_also_to_processes_that_start(served: Served) -> None:
    """After the death of all workers; the log says why, and when the files are well again they count."""
    process = served.backend.process

    before = len(process.logged("TLS files read again"))
    served.server.replace(served.authority.issue("before"))
    serial, saved = served.server.serial, served.server.cert.read_bytes()
    all_readers = {process.pid, *served.workers()}

    def is_told(why: str) -> bool:
        return why in process.wait_for("TLS files not usable")["reason"]

    def all_have_read() -> bool:
        assert served.serials() == {serial}
        lines = process.logged("TLS files read again")[before:]
        return {line["pid"] for line in lines} >= all_readers

    wait_until(all_have_read, "the supervisor and all workers have read them")
    for spoilt, why in ((b"garbage", "holds no certificate"), (saved[:100], "holds no certificate")):
        served.server.cert.write_bytes(spoilt)
        assert served.serials() == {serial}
        # They may first be read while they are being written.
        wait_until(partial(is_told, why), why)
    dead = served.workers()
    for pid in dead:
        os.kill(pid, signal.SIGKILL)
    wait_until(lambda: len(served.workers() - dead) == len(dead), "others are ready")
    assert served.serials() == {serial}
    other = served.authority.issue("after")
    served.server.cert.write_bytes(other.cert.read_bytes())
    assert served.serials() == {serial}
    served.server.replace(other)
    assert served.serials() == {other.serial} != {serial}


def test_a_reload_and_the_death_of_a_worker_fail_no_call(served: Served) -> None:
    """Of a client that tries again, as without TLS."""
    stop, failed, made = threading.Event(), [], [0]

    def run() -> None:
        with ServiceClient(served.addresses["grpc_address"], timeout=PATIENCE, tls=served.tls) as client:
            while not stop.is_set():
                try:
                    client.models()
                except Exception as error:  # noqa: BLE001 - whatever it is, it fails the test
                    failed.append(error)
                made[0] += 1

    threads = [threading.Thread(target=run) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        for signum in (signal.SIGKILL, signal.SIGHUP):
            worker, at = min(served.workers()), made[0]
            os.kill(worker if signum == signal.SIGKILL else served.backend.process.pid, signum)
            wait_until(lambda worker=worker: not alive(worker), "the worker is gone")  # type: ignore[misc]
            wait_until(lambda: len(served.workers()) == 2, "there are two workers")
            wait_until(lambda at=at: made[0] > at + 100, "calls are made")  # type: ignore[misc]
    finally:
        stop.set()
        for thread in threads:
            thread.join(PATIENCE)
    assert failed == []


@pytest.mark.security(
    endpoint="tls",
    attack="A start with certificates or keys that cannot be used",
    outcome="It ends with a line that names the setting, and no traceback",
)
@pytest.mark.parametrize(
    ("setting", "content", "why"),
    [
        ("CERT_FILE", "garbage", "which holds no certificate in PEM"),
        ("KEY_FILE", None, "which cannot be read: No such file or directory"),
        ("CLIENT_CA_FILE", "garbage", "which holds no certificate in PEM"),
    ],
)
def test_a_start_with_files_that_cannot_be_used_ends(
    tmp_path: Path, setting: str, content: str | None, why: str
) -> None:
    """By one line, which names the setting."""
    authority = Authority(tmp_path)
    pair = authority.issue("server")
    files = {"CERT_FILE": pair.cert, "KEY_FILE": pair.key, "CLIENT_CA_FILE": authority.cert}
    if content is None:
        files[setting].unlink()
    else:
        files[setting].write_text(content)
    environ = {f"FACET_TLS_{name}": str(path) for name, path in files.items()}
    with running(COMMAND, FACET_GRPC_ADDRESS="127.0.0.1:0", **environ) as process:
        assert process.wait() == 1
    assert process.lines[-1] == f"inference_server: FACET_TLS_{setting} is {files[setting]}, {why}"
    assert "Traceback" not in process.log()


@pytest.mark.security(
    endpoint="tls",
    attack=(
        "The management at an address that others can reach, with TLS but without a token or certificates of"
        " clients"
    ),
    outcome="The start ends",
)
def test_tls_alone_does_not_protect_the_management(tmp_path: Path) -> None:
    """Who need show no certificate needs a token at an address that others can reach."""
    pair = Authority(tmp_path).issue("server")
    environ = {
        "FACET_GRPC_ADDRESS": "127.0.0.1:0",
        "FACET_ADMIN_ADDRESS": "127.0.0.1:0",
        "FACET_ADMIN_GRPC_ADDRESS": "0.0.0.0:0",
        "FACET_TLS_CERT_FILE": str(pair.cert),
        "FACET_TLS_KEY_FILE": str(pair.key),
    }
    with running(COMMAND, **environ) as process:
        assert process.wait() == 1
    assert "accepted without FACET_API_KEYS_FILE or FACET_TLS_CLIENT_CA_FILE" in process.lines[-1]
