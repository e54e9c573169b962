"""Rules of what the log says of changes: who asked for which, of which model, and what became of it."""

import contextlib
import os
from collections.abc import Iterator
from typing import Any

import grpc
import pytest

from inference_server.catalogue import commands
from protos import management_pb2 as pb
from protos import management_pb2_grpc
from tests.support.admin import JSON, Managed, connection, managed
from tests.support.processes import PATIENCE, wait_until
from tests.support.torchserve import called
from utils.errors import ModelNotFound

SECRET = "hunter2"  # noqa: S105 - of a test


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Managed]:
    """A backend that is managed in every way that there is."""
    names = ("ADMIN_GRPC", "TORCHSERVE_MANAGEMENT", "TORCHSERVE_HTTP_MANAGEMENT")
    environ = {f"FACET_{name}_ADDRESS": "127.0.0.1:0" for name in names}
    folder = tmp_path_factory.mktemp("audit")
    with managed(folder, FACET_WORKERS="1", FACET_MODEL_API="on", **environ) as made:
        yield made


@pytest.fixture(autouse=True)
def nothing_left(served: Managed) -> Iterator[None]:
    """No test finds the models of one that has failed."""
    yield
    served.backend.clear()


def line_of(served: Managed, command: str, **values: object) -> dict[str, Any]:
    """The last line of such a command, once there is one with these fields."""
    found: list[dict[str, Any]] = []

    def is_there() -> bool:
        found[:] = [
            line
            for line in served.backend.process.logged("management request")
            if line.get("command") == command and all(line.get(k) == v for k, v in values.items())
        ]
        return bool(found)

    wait_until(is_there, f"the line of {command} {values}")
    return found[-1]


def address_of(served: Managed, name: str) -> str:
    """One of those where the backend says that it listens."""
    [ready] = served.backend.process.logged("ready")
    return str(ready[name])


@pytest.mark.security(
    endpoint="admin-http",
    attack="Changes over HTTP, done and refused",
    outcome=(
        "One line each in the log, with the request's id, the command, the model, its arguments and "
        "what became of it"
    ),
)
def test_a_change_over_http_is_logged_with_its_model(served: Managed) -> None:
    """Also where that is in the body alone, and where nothing was changed; who only looks leaves no line."""
    headers = JSON | {"X-Request-ID": "register"}
    served.ask("POST", "/models", {"url": "echo", "name": "parrot", "settings": {"nice": 3}}, headers)
    line = line_of(served, "Register", request_id="register")
    assert (line["model"], line["status"], line["path"]) == ("parrot/1.0", 201, "/models")
    assert line["arguments"] == '{"url": "echo", "settings": {"nice": 3}, "synchronous": true}'
    served.ask("PUT", "/models/nothing", {"min_workers": 2}, JSON | {"X-Request-ID": "scale"})
    line = line_of(served, "Scale", request_id="scale")
    assert (line["model"], line["status"], line["reason"]) == ("nothing", 404, "MODEL_NOT_FOUND")
    assert line["arguments"] == '{"min_workers": 2}'
    served.ask("GET", "/models", headers=JSON | {"X-Request-ID": "look"})
    served.ask("PUT", "/log-level", {"level": "INFO"}, JSON | {"X-Request-ID": "level"})
    assert line_of(served, "SetLogLevel", request_id="level")["arguments"] == '{"level": "INFO"}'
    assert "look" not in {line["request_id"] for line in served.backend.process.logged("management request")}


@pytest.mark.security(
    endpoint="admin-grpc",
    attack="A change over gRPC",
    outcome=("One line in the log, with the request's id, the command, the model and what became of it"),
)
def test_a_change_over_grpc_is_logged_with_its_model(served: Managed) -> None:
    """Which its method does not name."""
    with grpc.insecure_channel(address_of(served, "admin_grpc_address")) as channel:
        stub: Any = management_pb2_grpc.ManagementStub(channel)
        metadata = [("x-request-id", "by-grpc")]
        stub.Register(pb.RegisterRequest(url="echo"), metadata=metadata, timeout=PATIENCE)
    line = line_of(served, "Register", request_id="by-grpc")
    assert (line["model"], line["status"]) == ("echo/1.0", "OK")
    assert line["method"] == "/facet.management.Management/Register"


@pytest.mark.security(
    endpoint="control",
    attack="Changes over the control socket, done and refused",
    outcome="One line each in the log, with the user and the process that asked",
)
def test_a_change_by_the_socket_is_logged_with_its_user(served: Managed) -> None:
    """And the process that asked; who only looks leaves no line."""
    served.backend.register("echo", nice=2)
    line = line_of(served, "Register", client_pid=os.getpid())
    assert (line["uid"], line["model"]) == (os.getuid(), "echo/1.0")
    assert (line["level"], "reason" in line) == ("info", False)
    with pytest.raises(ModelNotFound):
        served.backend.unregister("nothing")
    line = line_of(served, "Unregister", model="nothing")
    assert (line["uid"], line["reason"]) == (os.getuid(), "MODEL_NOT_FOUND")
    served.backend.manage(commands.ListModels())
    assert "ListModels" not in {
        line.get("command") for line in served.backend.process.logged("management request")
    }


@pytest.mark.security(
    endpoint="torchserve",
    attack="Changes by TorchServe's clients, over HTTP and gRPC",
    outcome="One line each in the log, with the command that it became",
)
def test_a_change_by_torchserves_clients_is_logged_once(served: Managed) -> None:
    """By both protocols, as the command that it becomes; also one that is not waited for."""
    with contextlib.closing(connection(address_of(served, "torchserve_http_management_address"))) as made:
        for method, path in (
            ("POST", "/models?url=echo&initial_workers=1"),
            ("PUT", "/models/echo?min_worker=2&max_worker=2"),
        ):
            made.request(method, path, headers={"X-Request-ID": method})
            assert made.getresponse().read()
    assert line_of(served, "Register", request_id="POST")["model"] == "echo/1.0"
    line = line_of(served, "Scale", request_id="PUT")
    assert (line["model"], line["arguments"]) == ("echo/1.0", '{"min_workers": 2, "max_workers": 2}')
    [_] = called(
        {
            "address": address_of(served, "torchserve_management_address"),
            "method": "UnregisterModel",
            "requests": [{"model_name": "echo"}],
        }
    )
    method = "/org.pytorch.serve.grpc.management.ManagementAPIsService/UnregisterModel"
    assert line_of(served, "Unregister", method=method)["model"] == "echo/1.0"


@pytest.mark.security(
    endpoint="keys",
    attack="A key, and a password and a token within a URL, sent to the management",
    outcome="None is in the log",
)
def test_no_secret_of_a_request_is_logged(served: Managed) -> None:
    """Neither what authorizes it, nor what a URL has of a name and a password, or in its query."""
    headers = JSON | {"Authorization": f"Bearer {SECRET}", "X-Request-ID": "secret"}
    url = f"https://me:{SECRET}@models.example/echo?token={SECRET}"
    served.ask("POST", "/models", {"url": url}, headers)
    line = line_of(served, "Register", request_id="secret")
    assert '"url": "https://models.example/echo"' in line["arguments"]
    assert SECRET not in served.backend.process.log()
