"""Models without processes: a catalogue that is published, and a server that calls them."""

import asyncio
import base64
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import grpc
import pytest
from google.protobuf import message_factory
from google.protobuf.descriptor_pb2 import FieldDescriptorProto, FileDescriptorProto

from inference_server.api.face_model import FaceModel
from inference_server.api.health import HealthServicer, ModelHealth
from inference_server.api.infer import InferenceService
from inference_server.api.messages import MessageReceiver
from inference_server.api.model_call import ModelCaller
from inference_server.api.registry import ModelRegistry
from inference_server.api.server import ServerContext
from inference_server.api.submission import Submissions
from inference_server.api.torchserve import TorchServeService
from inference_server.api.typed_pool import typed_pool
from inference_server.catalogue.entries import Catalogue, ModelSettings, ModelVersion, Source, State
from inference_server.catalogue.names import identifier
from inference_server.dispatch.admission import Load
from inference_server.dispatch.publication import Publication
from inference_server.dispatch.work import Work
from inference_server.models.encoding import pack_answer, pack_error
from inference_server.models.face_messages import face_card
from tests.support.facet import free_port
from tests.unit.test_face_detection import model as face_model
from utils.errors import FacetError, InvalidInput
from utils.settings import Settings

SERVICE = "model_grpc_service.ModelgRPCService"
BAD, FAULT = b"bad", b"fault"
"""What inputs end with that a model refuses, and at which the dispatcher itself fails."""


def descriptor(name: str, *others: str) -> FileDescriptorProto:
    """The file of a model whose input and output have one member, `text`; it may have other messages, too."""
    text = FieldDescriptorProto(
        name="text",
        number=1,
        type=FieldDescriptorProto.TYPE_STRING,
        label=FieldDescriptorProto.LABEL_OPTIONAL,
    )
    prefix = identifier(name)
    file = FileDescriptorProto(
        name=f"facet/models/{prefix}.proto", package="model_grpc_service", syntax="proto3"
    )
    for message in (f"{prefix}_input", f"{prefix}_output", *others):
        file.message_type.add(name=message, field=[text])
    return file


def card(name: str, *others: str) -> dict[str, Any]:
    """What such a model says of itself."""
    prefix = identifier(name)
    return {
        "description": f"What {name} does.",
        "display_name": name.title(),
        "max_batch": 4,
        "operations": ["typed", "json", "multipart", "torchserve", "classify", "pipeline", "oip", "oip_http"],
        "descriptor": base64.b64encode(descriptor(name, *others).SerializeToString()).decode(),
        "input_type": f"{prefix}_input",
        "output_type": f"{prefix}_output",
        "input_schema": {"title": f"{prefix}_input"},
        "output_schema": {"title": f"{prefix}_output"},
        "tensors": {
            "inputs": [{"name": "text", "datatype": "BYTES", "shape": [-1, 3], "required": False}],
            "outputs": [{"name": "length", "datatype": "INT64", "shape": [-1], "required": True}],
            "batched": True,
        },
    }


def version(name: str, number: str = "1.0", queue: int = 1, **changes: Any) -> ModelVersion:  # noqa: ANN401
    """A version that is READY."""
    source = Source("face_detection" if queue == 0 else "echo")
    made = ModelVersion(
        name, number, name, source, ModelSettings(), queue, State.READY, loaded_at_start=True, card=card(name)
    )
    return replace(made, **changes)


class Models:
    """Stands where a worker has its dispatcher and the supervisor: publishes a catalogue, and echoes inputs.

    Attributes:
        works: What was dispatched, and how long each may wait.
        cancelled: Payloads whose callers have left.
        gate: While it is not set, nothing is answered.
        changed: Set whenever something is dispatched or cancelled.
        processes: How many take from a queue, where it is not one.
        error: With what everything is answered, or what the dispatcher itself fails with.
    """

    def __init__(self, *versions: ModelVersion) -> None:
        self.works: list[tuple[Work, float]] = []
        self.cancelled: list[bytes] = []
        self.processes: dict[int, int] = {}
        self.error: Exception | None = None
        self.gate = asyncio.Event()
        self.gate.set()
        self.changed = asyncio.Event()
        self.publication = Publication.create()
        self.publish(*versions)

    def publish(self, *versions: ModelVersion, **changes: Mapping[str, Any]) -> None:
        """Publish these versions; the first one of each name is its default."""
        defaults = {one.name: one.version for one in reversed(versions)}
        catalogue = Catalogue(self.publication.generation + 1, versions, defaults)
        self.publication.publish(replace(catalogue, **changes).to_json())  # type: ignore[arg-type]

    def consumers(self, queue: int) -> int:
        """How many processes take from a queue: one."""
        return self.processes.get(queue, 1)

    def admit(self, load: Load, deadline: float, longest_wait: float, queue: int = 0) -> None:
        """Refuse nothing."""

    async def submit(self, work: Work, longest_wait: float) -> bytes:
        """Answer with what was sent."""
        self.works.append((work, longest_wait))
        self.changed.set()
        if work.queue == 0:
            return face_model().handle(work, lambda: None).answer
        try:
            await self.gate.wait()
        except asyncio.CancelledError:
            self.cancelled.append(work.payload)
            self.changed.set()
            raise
        if isinstance(self.error, FacetError):
            return pack_error(self.error)
        if self.error is not None or work.payload.endswith(FAULT):
            raise self.error or ZeroDivisionError
        if work.payload.endswith(BAD):
            return pack_error(InvalidInput("text is bad", field="text"))
        return pack_answer(work.payload, {"compute_ms": 1.5})

    async def until(self, condition: Callable[[], bool]) -> None:
        """Return when something was dispatched or cancelled that makes it true."""
        async with asyncio.timeout(30):
            while not condition():
                self.changed.clear()
                await self.changed.wait()


class Served:
    """A worker's server, in this process.

    Attributes:
        channel: To it.
        models: What it calls.
        servicer: Tells the health.
        health: Has the models' told.
        torchserve: A channel to the address of TorchServe's protocol.
        receiver: Receives its messages.
    """

    def __init__(
        self,
        channel: grpc.aio.Channel,
        models: Models,
        servicer: HealthServicer,
        registry: ModelRegistry,
        torchserve: grpc.aio.Channel,
        *,
        receiver: MessageReceiver,
    ) -> None:
        self.channel = channel
        self.models = models
        self.servicer = servicer
        self.health = ModelHealth(servicer, registry)
        self.torchserve = torchserve
        self.receiver = receiver

    def unary(
        self,
        method: str,
        message: Any,  # noqa: ANN401
        *,
        channel: grpc.aio.Channel | None = None,
        seconds: float = 60,
        **metadata: str,
    ) -> Any:  # noqa: ANN401
        """A call with bytes or a message, which is answered with bytes."""
        raw = message if isinstance(message, bytes) else message.SerializeToString()
        call: Any = (channel or self.channel).unary_unary(method)
        pairs = tuple((k.replace("_", "-"), v) for k, v in metadata.items())
        return call(raw, timeout=seconds, metadata=pairs)

    def stream(
        self,
        method: str,
        messages: AsyncIterator[bytes],
        *,
        channel: grpc.aio.Channel | None = None,
        **metadata: str,
    ) -> Any:  # noqa: ANN401
        """A call with a stream of bytes, which is answered with one."""
        call: Any = (channel or self.channel).stream_stream(method)
        pairs = tuple((k.replace("_", "-"), v) for k, v in metadata.items())
        return call(messages, timeout=60, metadata=pairs)


@asynccontextmanager
async def serving(models: Models, **limits: Any) -> AsyncIterator[Served]:  # noqa: ANN401 - any setting
    """Serve models as a worker does."""
    settings = replace(Settings.from_environ({}), **limits)
    registry = ModelRegistry(models.publication, face_card)
    submissions = Submissions(models)
    inference = InferenceService(submissions, face_model(None, **limits), settings)
    caller = ModelCaller(registry, submissions, FaceModel(inference), settings)
    health = HealthServicer([inference.name])
    address = f"127.0.0.1:{free_port()}"
    torchserve = f"127.0.0.1:{free_port()}"
    service = TorchServeService(caller, models.consumers)
    both = (service, torchserve)
    context = ServerContext(settings=settings, health=health)
    servers, receiver = context.build([inference], address, caller, both)
    for server in servers:
        await server.start()
    await health.tell(serving=True)
    try:
        options = [("grpc.max_receive_message_length", -1)]
        async with (
            grpc.aio.insecure_channel(address, options=options) as channel,
            grpc.aio.insecure_channel(torchserve, options=options) as other,
        ):
            yield Served(channel, models, health, registry, other, receiver=receiver)
    finally:
        for server in servers:
            await server.stop(None)


def play(
    scene: Callable[[Served], Awaitable[None]],
    *versions: ModelVersion,
    **limits: Any,  # noqa: ANN401 - any setting
) -> None:
    """Play a scene with a server of these versions."""

    async def played() -> None:
        async with serving(Models(*versions), **limits) as served:
            await scene(served)

    asyncio.run(played())


def lines(caplog: pytest.LogCaptureFixture) -> list[dict[str, Any]]:
    """The fields of the lines of calls."""
    return [record.__dict__["facet_fields"] for record in caplog.records if record.message == "request"]


def message_class(one: ModelVersion, name: str) -> Any:  # noqa: ANN401
    """A class of the messages of a model, as a client makes it of what reflection tells."""
    found = typed_pool([one]).FindMessageTypeByName(f"model_grpc_service.{name}")
    return message_factory.GetMessageClass(found)
