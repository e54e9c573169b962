"""Rules of the management by gRPC: a real backend, real calls."""

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from protos import management_pb2 as pb
from protos import management_pb2_grpc
from tests.support.admin import Managed, managed
from tests.support.keys import KeyFile
from tests.support.processes import PATIENCE, alive, wait_until
from utils.api_keys import MANAGE, PREDICT
from utils.channel import error_of
from utils.errors import (
    FacetError,
    InvalidModel,
    KeyLacksScope,
    KeyMissing,
    KeyUnknown,
    MalformedRequest,
    ModelConflict,
    ModelExists,
    ModelNotFound,
)
from utils.service_client import ServiceClient


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> KeyFile:
    """Those that are demanded."""
    return KeyFile(tmp_path_factory.mktemp("keys"))


@pytest.fixture(scope="module")
def token(keys: KeyFile) -> str:
    """What an operator shows."""
    return f"Bearer {keys.add('operators', MANAGE)}"


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, keys: KeyFile, token: str) -> Iterator[Managed]:
    """A backend that is managed by gRPC, too, with a key."""
    assert token
    environ = {"FACET_ADMIN_GRPC_ADDRESS": "127.0.0.1:0", **keys.for_managers()}
    with managed(tmp_path_factory.mktemp("admin"), **environ) as made:
        yield made


class Client:
    """Calls with a key; raises what the backend says."""

    def __init__(self, address: str, token: str) -> None:
        # A connection of its own, and none that another client has had to a process that is dead.
        self.channel = grpc.insecure_channel(address, [("grpc.use_local_subchannel_pool", 1)])
        self._stub: Any = management_pb2_grpc.ManagementStub(self.channel)
        self._metadata = [("authorization", token)] if token else []

    def call(self, method: str, request: Any) -> Any:  # noqa: ANN401
        try:
            return getattr(self._stub, method)(
                request, metadata=self._metadata, timeout=PATIENCE, wait_for_ready=True
            )
        except grpc.RpcError as error:
            raise error_of(error) from error


@pytest.fixture(scope="module")
def address(served: Managed) -> str:
    """Of the gRPC endpoint."""
    [ready] = served.backend.process.logged("ready")
    return str(ready["admin_grpc_address"])


@pytest.fixture
def client(served: Managed, address: str, token: str) -> Iterator[Client]:
    """A client of it; no test finds the models of one that has failed."""
    made = Client(address, token)
    yield made
    made.channel.close()
    served.backend.clear()


def test_models_are_managed_as_over_http(client: Client) -> None:
    """Each answer shows the version as the change has left it."""
    settings = pb.ModelSettings(nice=0, max_batch=2)
    made = client.call("Register", pb.RegisterRequest(url="echo", name="parrot", settings=settings))
    assert (made.name, made.version, made.state, made.default) == ("parrot", "1.0", "ready", True)
    assert (made.settings.max_batch, [process.state for process in made.processes]) == (2, ["ready"])
    [described] = client.call("DescribeModel", pb.DescribeModelRequest(name="parrot")).models
    assert json.loads(described.card)["description"] == described.description
    listed = client.call("ListModels", pb.ListModelsRequest()).models
    assert [(model.name, model.card) for model in listed] == [("face_detection", b""), ("parrot", b"")]
    scaled = client.call("Scale", pb.ScaleRequest(name="parrot", min_workers=0))
    assert (scaled.state, scaled.workers) == ("idle", 0)
    assert client.call("Reload", pb.ReloadRequest(name="parrot")).state == "idle"
    assert client.call("SetDefault", pb.SetDefaultRequest(name="parrot", version="1.0")).default
    shared = client.call("SetTraffic", pb.SetTrafficRequest(name="parrot", weights={"1.0": 100}))
    assert [model.canary for model in shared.models] == [0]
    gone = client.call("Unregister", pb.UnregisterRequest(name="parrot"))
    assert (gone.name, gone.version) == ("parrot", "1.0")


def test_a_register_may_not_be_waited_for(client: Client) -> None:
    """It is answered when the model begins to load."""
    request = pb.RegisterRequest(url="echo", synchronous=False)
    assert client.call("Register", request).state == "loading"
    wait_until(
        lambda: client.call("DescribeModel", pb.DescribeModelRequest(name="echo")).models[0].state == "ready",
        "it is ready",
    )


def test_status_and_log_level_are_those_of_the_backend(served: Managed, client: Client) -> None:
    """With all processes, and queues where there are some."""
    status = client.call("Status", pb.StatusRequest())
    assert (status.state, status.pid, status.log_level) == ("ready", served.backend.process.pid, "INFO")
    groups = {group.name: group for group in status.groups}
    assert [groups["workers"].HasField("waiting"), groups["admin"].HasField("waiting")] == [True, False]
    assert len(groups["workers"].processes) == 2
    assert client.call("SetLogLevel", pb.SetLogLevelRequest(level="DEBUG")).level == "DEBUG"
    assert client.call("SetLogLevel", pb.SetLogLevelRequest(level="INFO")).level == "INFO"


@pytest.mark.security(
    endpoint="admin-grpc",
    attack="An unknown and a doubled model, an impossible name, scaling faces, no weights, an unknown level",
    outcome="Refused with the name of the member; no model is added or removed",
)
@pytest.mark.parametrize(
    ("method", "request_", "refusal"),
    [
        ("DescribeModel", pb.DescribeModelRequest(name="x"), (ModelNotFound, "name")),
        ("Register", pb.RegisterRequest(url="face_detection"), (ModelExists, "name")),
        ("Register", pb.RegisterRequest(url="echo", name="/"), (InvalidModel, "name")),
        ("Scale", pb.ScaleRequest(name="face_detection", min_workers=1), (ModelConflict, "name")),
        ("SetTraffic", pb.SetTrafficRequest(name="face_detection"), (InvalidModel, "weights")),
        ("SetLogLevel", pb.SetLogLevelRequest(level="LOUD"), (MalformedRequest, "level")),
    ],
)
def test_what_is_wrong_is_named(
    client: Client, served: Managed, method: str, request_: object, refusal: tuple[type[FacetError], str]
) -> None:
    """By the reasons and fields that every endpoint has; and nothing is changed."""
    before = served.backend.listed()
    with pytest.raises(FacetError) as caught:
        client.call(method, request_)
    assert (type(caught.value), caught.value.field) == refusal
    assert served.backend.listed() == before


def test_what_only_reads_is_not_logged(served: Managed, client: Client) -> None:
    """Unless it fails. Who asks every second would fill the log."""
    lines = len(served.backend.process.logged("management request"))
    client.call("Status", pb.StatusRequest())
    with pytest.raises(ModelNotFound):
        client.call("DescribeModel", pb.DescribeModelRequest(name="x"))
    client.call("SetLogLevel", pb.SetLogLevelRequest(level="INFO"))
    wait_until(
        lambda: len(served.backend.process.logged("management request")) >= lines + 2, "both are logged"
    )
    failed, changed = served.backend.process.logged("management request")[lines:]
    said = [(line["method"].rpartition("/")[2], line["status"]) for line in (failed, changed)]
    assert said == [("DescribeModel", "NOT_FOUND"), ("SetLogLevel", "OK")]
    assert (failed["key"], changed["key"]) == ("operators", "operators")
    assert (failed["level"], failed["reason"], "reason" in changed) == ("info", "MODEL_NOT_FOUND", False)
    assert changed["elapsed_ms"] > 0


@pytest.mark.security(
    endpoint="admin-grpc",
    attack="Bytes that are no message",
    outcome="INVALID_ARGUMENT",
)
def test_bytes_that_are_no_message_are_a_callers_fault(client: Client, token: str) -> None:
    """Which gRPC itself would not say."""
    call: Any = client.channel.unary_unary("/facet.management.Management/Scale")
    with pytest.raises(grpc.RpcError) as caught:
        call(b"\xff\xff", metadata=(("authorization", token),), timeout=PATIENCE)
    error = error_of(caught.value)
    assert isinstance(error, MalformedRequest)
    assert "none of the type" in error.detail


@pytest.mark.security(
    endpoint="keys",
    attack="The management over gRPC without a key, with another scheme or an unknown key",
    outcome="UNAUTHENTICATED",
)
@pytest.mark.parametrize(
    ("shown", "error"),
    [
        ("", KeyMissing),
        ("secret", KeyMissing),
        ("Bearer", KeyMissing),
        ("Basic OnM=", KeyMissing),
        ("Bearer x", KeyUnknown),
    ],
)
def test_without_a_key_nothing_is_answered(
    served: Managed, address: str, shown: str, error: type[FacetError]
) -> None:
    """Whatever is asked for; models are called without where keys are needed for management alone."""
    client = Client(address, shown)
    for method, request in (("Status", pb.StatusRequest()), ("Drain", pb.DrainRequest())):
        with pytest.raises(error):
            client.call(method, request)
    client.channel.close()
    with ServiceClient(served.backend.address) as caller:
        assert [model.name for model in caller.models()] == ["face_detection"]


@pytest.mark.security(
    endpoint="keys",
    attack="The management over gRPC with a key for calls of models",
    outcome="PERMISSION_DENIED",
)
def test_a_key_for_calls_is_none_for_management(keys: KeyFile, address: str) -> None:
    """The error says what it is for."""
    client = Client(address, f"Bearer {keys.add('shop', PREDICT)}")

    def refusal() -> FacetError:
        with pytest.raises(FacetError) as caught:
            client.call("Status", pb.StatusRequest())
        return caught.value

    wait_until(lambda: isinstance(refusal(), KeyLacksScope), "the new key is known")
    assert refusal().detail == "The key shop is for predict; needed here: manage"
    client.channel.close()


def test_a_process_that_takes_the_place_of_a_dead_one_has_its_port(
    client: Client, address: str, token: str
) -> None:
    """Calls that wait for a connection are answered."""
    [admin] = [one for one in client.call("Status", pb.StatusRequest()).groups if one.name == "admin"]
    [process] = admin.processes
    os.kill(process.pid, signal.SIGKILL)
    wait_until(lambda: not alive(process.pid), "it is dead")
    another = Client(address, token)
    [admin] = [one for one in another.call("Status", pb.StatusRequest()).groups if one.name == "admin"]
    another.channel.close()
    assert admin.processes[0].pid != process.pid


def test_a_drain_ends_the_backend(tmp_path: Path) -> None:
    """As SIGTERM does."""
    environ = {
        "FACET_ADMIN_GRPC_ADDRESS": "127.0.0.1:0",
        "FACET_WORKERS": "1",
        "FACET_DRAIN_SECONDS": "0",
    }
    with managed(tmp_path, **environ) as served:
        [ready] = served.backend.process.logged("ready")
        client = Client(ready["admin_grpc_address"], token="")
        assert client.call("Drain", pb.DrainRequest()).state == "stopping"
        assert served.backend.process.wait() == 0
        client.channel.close()
