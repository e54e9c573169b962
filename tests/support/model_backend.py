"""A real backend with models, and what a test asks of it."""

import contextlib
import json
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from inference_server.catalogue import commands
from inference_server.catalogue.control_socket import NAME, call
from protos import models_pb2 as pb
from protos import models_pb2_grpc
from tests.support.credentials import NOTHING, Credentials
from tests.support.facet import ROOMY
from tests.support.processes import PATIENCE, Process, running, wait_until
from utils.channel import error_of
from utils.service_client import ServiceClient

COMMAND = [sys.executable, "-m", "inference_server"]


@dataclass
class Backend:
    """A running backend, its address, the folder of its state, and what clients of models show it."""

    process: Process
    address: str
    state: Path
    credentials: Credentials = NOTHING

    def manage(self, command: commands.Command) -> dict[str, Any]:
        """Have a change made, as `facet models` has; raises what the backend refuses it with."""
        return call(self.state / NAME, command, PATIENCE)

    def register(self, url: str, *, name: str = "", version: str = "", **settings: float) -> dict[str, Any]:
        """Register a model; the settings are those of ModelSettings."""
        return self.manage(commands.Register(url, name, version, settings))

    def unregister(self, name: str, version: str = "") -> dict[str, Any]:
        return self.manage(commands.Unregister(name, version))

    def listed(self) -> dict[str, str]:
        """State by name and version of every model that the management lists."""
        models = self.manage(commands.ListModels())["models"]
        return {f"{model['name']}/{model['version']}": model["state"] for model in models}

    def default(self, name: str) -> str:
        """The default version of a model."""
        models = self.manage(commands.DescribeModel(name))["models"]
        [version] = [model["version"] for model in models if model["default"]]
        return str(version)

    def clear(self) -> None:
        """Unregister whatever a test has left, which may have failed."""
        models = self.manage(commands.ListModels())["models"]
        for model in sorted(models, key=lambda model: bool(model["default"])):
            if model["name"] != "face_detection":
                self.unregister(model["name"], model["version"])

    def workers(self) -> set[int]:
        """Process ids of the workers that are ready."""
        ready = {line["worker"] for line in self.process.logged("worker ready") if "model" not in line}
        return ready & set(self.process.children())

    def model_workers(self) -> list[int]:
        """Process ids of all model workers, oldest first."""
        models = self.manage(commands.ListModels())["models"]
        return [process["pid"] for model in models for process in model["processes"]]

    def ready_model_workers(self) -> list[int]:
        """Those of them that have said so in the log."""
        ready = {line["worker"] for line in self.process.logged("worker ready") if "model" in line}
        return [pid for pid in self.model_workers() if pid in ready]


@contextlib.contextmanager
def model_backend(folder: Path, **environ: str) -> Iterator[Backend]:
    """A backend of two workers, ready, whose state and store lie in this folder."""
    settings = {
        **ROOMY,
        "FACET_GRPC_ADDRESS": "127.0.0.1:0",
        "FACET_STATE_DIR": str(folder / "state"),
        "FACET_MODEL_STORE": str(folder / "store"),
        **environ,
    }
    with running(COMMAND, **settings) as process:
        yield Backend(process, process.wait_for("ready")["grpc_address"], folder / "state")


class Client:
    """One connection, so that all its calls go to one worker."""

    def __init__(self, address: str, credentials: Credentials = NOTHING) -> None:
        self._channel = credentials.channel(address)
        self._models: Any = models_pb2_grpc.ModelsStub(self._channel)

    def predict(
        self, name: str, inputs: Mapping[str, Any], version: str = "", timeout: float = PATIENCE
    ) -> dict[str, Any]:
        """Call a model by JSON, once: nothing is tried again.

        Raises:
            FacetError: What the backend says.
        """
        request = pb.PredictRequest(name=name, version=version, json=json.dumps(inputs).encode())
        try:
            reply = self._models.Predict(request, timeout=timeout)
        except grpc.RpcError as error:
            raise error_of(error) from error
        answer: dict[str, Any] = json.loads(reply.json)
        return answer

    def close(self) -> None:
        self._channel.close()


@contextlib.contextmanager
def clients(address: str, count: int, credentials: Credentials = NOTHING) -> Iterator[list[Client]]:
    """So many connections, which the kernel spreads over the workers."""
    with contextlib.ExitStack() as stack:
        made = [Client(address, credentials) for _ in range(count)]
        for client in made:
            stack.callback(client.close)
        yield made


def message_classes(address: str, name: str, credentials: Credentials = NOTHING) -> tuple[Any, Any]:
    """The classes of the messages that a model takes and gives, as its own method has them."""
    with ServiceClient(address, timeout=PATIENCE, key=credentials.key, tls=credentials.tls) as client:
        described = client.describe(name)
    file = descriptor_pb2.FileDescriptorProto.FromString(described.descriptor)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    types = (f"{file.package}.{kind}" for kind in (described.input_type, described.output_type))
    taken, given = (message_factory.GetMessageClass(pool.FindMessageTypeByName(each)) for each in types)
    return taken, given


def wait_for_state(backend: Backend, key: str, state: str) -> None:
    """Wait until the management says that a version is in this state."""
    wait_until(lambda: backend.listed().get(key) == state, f"{key} is {state}")
