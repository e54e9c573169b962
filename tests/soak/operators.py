"""Every way in which operators change the models of a backend, behind one function each.

A way takes a command and has it carried out. It raises what the backend refuses it with, and
BackendUnavailable where the connection ended before there was an answer: the change may have been made.
"""

import http.client
import itertools
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict
from functools import partial
from typing import Any
from urllib.parse import urlencode

import grpc
from google.protobuf.json_format import ParseDict

from inference_server.catalogue.commands import (
    ModelCommand,
    Register,
    Scale,
    SetDefault,
    SetTraffic,
    Unregister,
)
from protos import management_pb2, management_pb2_grpc, oip, torchserve
from tests.soak.addresses import Addresses
from tests.support.credentials import Credentials
from tests.support.endpoints import http_request
from tests.support.processes import PATIENCE
from utils.channel import error_of
from utils.errors import BackendUnavailable, FacetError, ModelLoadFailed, error_class

Way = Callable[[ModelCommand], object]

_JSON = {"Content-Type": "application/json"}
_NOT_LOADED = "Failed to start workers"
"""How TorchServe begins to tell that a model could not be loaded."""


OF_ADMIN = ("admin HTTP", "admin gRPC", "TorchServe HTTP", "TorchServe gRPC")
"""The ways through the admin process."""


def ways(addresses: Addresses, shown: Credentials) -> dict[str, Way]:
    """All of them but the command line's, by name, for an operator with these credentials."""
    of_admin = (
        partial(admin_http, addresses.admin_http, shown),
        partial(_admin_grpc, addresses.admin_grpc, shown),
        partial(_torchserve_http, addresses.torchserve_http_management, shown),
        partial(_torchserve_grpc, addresses.torchserve_management, shown),
    )
    return {
        **dict(zip(OF_ADMIN, of_admin, strict=True)),
        "OIP HTTP": partial(_repository_http, addresses.http, shown),
        "OIP gRPC": partial(_repository_grpc, addresses.grpc, shown),
    }


def can(way: str, command: ModelCommand) -> bool:
    """Whether a way has this change: not all protocols have all of them."""
    if way.startswith("TorchServe"):
        return not isinstance(command, SetTraffic)
    if way.startswith("OIP"):
        return isinstance(command, Unregister) or command == Register(getattr(command, "url", ""))
    return True


class Operators:
    """Makes each change in another way than the last one.

    Attributes:
        counts: How often each way was taken.
    """

    def __init__(self, ways: Mapping[str, Way]) -> None:
        self.ways = ways
        self.counts = dict.fromkeys(ways, 0)
        self._turns = itertools.cycle(ways)

    def manage(self, command: ModelCommand) -> None:
        """Make a change; raises as a way does, with a note of which one."""
        way = next(each for each in self._turns if can(each, command))
        self.by(way, command)

    def by(self, way: str, command: ModelCommand) -> None:
        """Make a change in this way."""
        self.counts[way] += 1
        try:
            self.ways[way](command)
        except Exception as error:
            error.add_note(f"{command} by {way}")
            raise


def admin_http(address: str, shown: Credentials, command: ModelCommand) -> None:
    """By HTTP of the admin process."""
    name, members = getattr(command, "name", ""), _members(command)
    if isinstance(command, Register):
        method, path = "POST", "/models"
    else:
        version = "" if isinstance(command, SetDefault) else members.pop("version", "")
        method = "DELETE" if isinstance(command, Unregister) else "PUT"
        last = {SetDefault: "default", SetTraffic: "traffic"}.get(type(command), "")
        path = "/".join(filter(None, ["/models", name, version, last]))
        members.pop("name")
    body = members.pop("weights", members)
    headers = {**_JSON, **shown.headers}
    status, said = _asked(address, method, path, json.dumps(body).encode(), headers=headers)
    if status >= 400:
        raise _told(status, said)


def _admin_grpc(address: str, shown: Credentials, command: ModelCommand) -> None:
    name = type(command).__name__
    request = ParseDict(_members(command), getattr(management_pb2, f"{name}Request")())
    with shown.channel(address) as channel:  # of its own: another one's may be to a process that is dead
        _called(getattr(management_pb2_grpc.ManagementStub(channel), name), request)


def _members(command: ModelCommand) -> dict[str, Any]:
    """Those of a command that have a value."""
    return {key: value for key, value in asdict(command).items() if value is not None and value != ""}


def _torchserve_http(address: str, shown: Credentials, command: ModelCommand) -> None:
    method, values = _of_torchserve(command)
    path = "/".join(filter(None, ["/models", values.pop("model_name"), values.pop("model_version", "")]))
    if method == "RegisterModel":
        path, values = "/models", {**values, "model_name": getattr(command, "name", "")}
    elif method == "SetDefault":
        path += "/set-default"
    verb = {"RegisterModel": "POST", "UnregisterModel": "DELETE"}.get(method, "PUT")
    status, said = _asked(address, verb, f"{path}?{urlencode(values)}", headers=shown.headers)
    if status >= 400:
        raise ModelLoadFailed(said["message"]) if _NOT_LOADED in said["message"] else _told(status, said)


def _torchserve_grpc(address: str, shown: Credentials, command: ModelCommand) -> None:
    method, values = _of_torchserve(command)
    request = torchserve.message_class("management", f"{method}Request")(**values)
    with shown.channel(address) as channel:  # of its own: another one's may be to a process that is dead
        call: Any = channel.unary_unary(
            f"/{torchserve.service_name('management')}/{method}", type(request).SerializeToString
        )
        _called(call, request)


def _of_torchserve(command: ModelCommand) -> tuple[str, dict[str, Any]]:
    """The method, and its parameters by their names."""
    match command:
        case Register(url, name, version, settings):
            workers = settings.get("min_workers", 1)
            values: dict[str, Any] = {"url": f"{url}/{version}" if version else url, "model_name": name}
            values["startup_timeout"] = int(settings.get("startup_timeout", PATIENCE))
            return "RegisterModel", {**values, "initial_workers": workers, "synchronous": True}
        case Scale(name, version, least, most):
            values = {"model_name": name, "model_version": version, "synchronous": True}
            return "ScaleWorker", {**values, "min_worker": least, "max_worker": most or least}
        case SetDefault(name, version) | Unregister(name, version):
            method = "SetDefault" if isinstance(command, SetDefault) else "UnregisterModel"
            return method, {"model_name": name, "model_version": version}
        case _:
            raise AssertionError(command)


def _repository_http(address: str, shown: Credentials, command: ModelCommand) -> None:
    action, name = _of_repository(command)
    path = f"/v2/repository/models/{name}/{action.lower()}"
    headers = {"X-Request-Timeout": f"{PATIENCE:g}", **shown.headers}
    status, said = _asked(address, "POST", path, headers=headers)
    if status >= 400:
        raise _told(status, said)


def _repository_grpc(address: str, shown: Credentials, command: ModelCommand) -> None:
    action, name = _of_repository(command)
    request = oip.message_class(f"RepositoryModel{action}Request")(model_name=name)
    with shown.channel(address) as channel:  # of its own: another one's may be to a process that is dead
        method = f"/inference.GRPCInferenceService/RepositoryModel{action}"
        _called(channel.unary_unary(method, type(request).SerializeToString), request)


def _of_repository(command: ModelCommand) -> tuple[str, str]:
    if isinstance(command, Register):
        return "Load", command.url
    assert isinstance(command, Unregister)
    return "Unload", command.name


def _asked(
    address: str, method: str, path: str, body: bytes = b"", *, headers: Mapping[str, str]
) -> tuple[int, dict[str, Any]]:
    try:
        status, _, content = http_request(address, method, path, body, headers)
    except (OSError, http.client.HTTPException) as error:
        raise BackendUnavailable(repr(error)) from error
    said: dict[str, Any] = json.loads(content)
    return status, said


def _told(status: int, said: Mapping[str, Any]) -> Exception:
    kind = error_class(said.get("reason", ""))
    return AssertionError(f"{status}: {said}") if kind is None else kind(said["detail"])


def _called(method: Any, request: Any) -> None:  # noqa: ANN401
    try:
        method(request, timeout=PATIENCE, wait_for_ready=True)
    except grpc.RpcError as error:
        failed: FacetError = error_of(error)
        raise failed from error
