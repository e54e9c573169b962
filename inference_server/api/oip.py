"""`/inference.GRPCInferenceService`: the Open Inference Protocol, version 2, in Triton's dialect.

Inferences pass through as bytes: whoever hosts the model knows its tensors. Here only those fields of theirs
are read that say which model is called, and how long it may take.
"""

from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

import grpc

from inference_server.api.access import admit_item
from inference_server.api.health import HealthServicer
from inference_server.api.interceptor import discard_notes, failure_of, note
from inference_server.api.model_call import OIP, ModelCaller, note_model
from inference_server.api.oip_models import ProtocolModels
from inference_server.api.oip_statistics import Statistics
from inference_server.api.ordered import in_order
from inference_server.api.repository import Repository
from inference_server.api.submission import OwnTime
from inference_server.dispatch.counters import Counters
from inference_server.models.encodings.oip_grpc import parameters_of, parsed
from inference_server.models.encodings.wire import prefix, take
from protos.oip import descriptor, message_class
from utils.errors import InvalidInput, shown
from utils.metadata import seconds_of
from utils.settings import Settings
from utils.version import VERSION

_NAME = "facet"
_EXTENSIONS = ("binary_tensor_data", "classification", "model_configuration", "parameters", "statistics")
_ROUTING = range(1, 5)
"""The fields of a request that are read here: model, version, id and parameters."""
_INFER_RESPONSE = 2
"""The number of the field of ModelStreamInferResponse."""
_MOST_ITEMS = 8
"""Of one stream that are computed, or wait, at once."""
_ENDS_STREAM = "triton_grpc_error"
"""Metadata of a stream that is to end with the first error, as its status."""


class InferenceProtocolService:
    """Answers the protocol's methods.

    Args:
        caller: Calls the models.
        health: Knows whether the server serves.
        settings: For what is allowed.
        counters: What all processes have counted.
    """

    def __init__(
        self, caller: ModelCaller, health: HealthServicer, settings: Settings, counters: Counters
    ) -> None:
        self.file = descriptor()
        [service] = self.file.services_by_name.values()
        self.name = service.full_name
        self._methods = service.methods_by_name
        self._caller = caller
        self._health = health
        self._models = ProtocolModels(caller.registry)
        self._statistics = Statistics(self._models, counters)
        self._repository = Repository(caller.registry, settings)
        self._extensions = [*_EXTENSIONS, *(["model_repository"] if settings.model_api else [])]
        self._final = message_class("ModelInferResponse")()
        self._final.parameters["triton_final_response"].bool_param = True

    def add_to(self, server: grpc.aio.Server) -> None:
        """Register its methods; inferences are bytes already."""
        handlers: dict[str, Any] = {
            "ModelInfer": grpc.unary_unary_rpc_method_handler(self.infer),
            "ModelStreamInfer": grpc.stream_stream_rpc_method_handler(self.infer_stream),
        }
        for name, answer in (
            ("ServerLive", self.live),
            ("ServerReady", self.ready),
            ("ServerMetadata", self.server_metadata),
            ("ModelReady", self.model_ready),
            ("ModelMetadata", self.model_metadata),
            ("ModelConfig", self.model_config),
            ("ModelStatistics", self.model_statistics),
            ("RepositoryIndex", self.index),
            ("RepositoryModelLoad", self.load),
            ("RepositoryModelUnload", self.unload),
        ):
            taken = message_class(self._methods[name].input_type.name)
            given = message_class(self._methods[name].output_type.name)
            handlers[name] = grpc.unary_unary_rpc_method_handler(
                answer, taken.FromString, given.SerializeToString
            )
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(self.name, handlers),))

    # --- server and models ---

    async def live(self, _request: Any, _context: Any) -> Any:  # noqa: ANN401
        """Say that this worker runs."""
        return message_class("ServerLiveResponse")(live=True)

    async def ready(self, _request: Any, _context: Any) -> Any:  # noqa: ANN401
        """Say whether the server is healthy, by the same rule as its health."""
        return message_class("ServerReadyResponse")(ready=self._health.serving)

    async def server_metadata(self, _request: Any, _context: Any) -> Any:  # noqa: ANN401
        """Name the server, and the extensions that it has."""
        answer = message_class("ServerMetadataResponse")
        return answer(name=_NAME, version=VERSION, extensions=self._extensions)

    async def model_ready(self, request: Any, _context: Any) -> Any:  # noqa: ANN401
        """Say whether calls to a model are served."""
        ready = self._models.is_ready(request.name, request.version)
        return message_class("ModelReadyResponse")(ready=ready)

    async def model_metadata(self, request: Any, _context: Any) -> Any:  # noqa: ANN401
        """Describe the tensors of a model."""
        return self._models.metadata(request.name, request.version)

    async def model_config(self, request: Any, _context: Any) -> Any:  # noqa: ANN401
        """Describe them as Triton configures them."""
        return self._models.config(request.name, request.version)

    async def model_statistics(self, request: Any, _context: Any) -> Any:  # noqa: ANN401
        """Tell what was counted of a model, or of all."""
        return self._statistics.of(request.name, request.version)

    async def index(self, request: Any, _context: Any) -> Any:  # noqa: ANN401
        """List the models."""
        return self._models.index(ready=request.ready)

    async def load(self, request: Any, context: Any) -> Any:  # noqa: ANN401
        """Load a model."""
        name = _named(request)
        await self._repository.load(name, context)
        return message_class("RepositoryModelLoadResponse")(model_name=name, isLoaded=True)

    async def unload(self, request: Any, context: Any) -> Any:  # noqa: ANN401
        """Unload a model."""
        name = _named(request)
        await self._repository.unload(name, context)
        return message_class("RepositoryModelUnloadResponse")(model_name=name, isUnloaded=True)

    # --- inferences ---

    async def infer(self, message: bytes, context: Any) -> bytes:  # noqa: ANN401
        """Answer a serialized ModelInferRequest."""
        answer = self._call(_routing(message), message, context)
        del message  # which waits in its buffer; who waits for it shall not hold it, too
        return await answer

    async def _call(self, request: Any, message: bytes, context: Any) -> bytes:  # noqa: ANN401
        note_model(request.model_name, request.model_version)
        number = self._models.number(request.model_name, request.model_version)
        version = self._caller.find(request.model_name, number)
        answer = self._caller.call(version, OIP, message, _timed(request, context))
        del message
        return await answer

    async def infer_stream(
        self,
        messages: AsyncIterator[bytes],
        context: Any,  # noqa: ANN401
    ) -> AsyncIterator[bytes]:
        """Answer each request of a stream with a serialized ModelStreamInferResponse, in their order.

        An error is told in its place, unless the caller has asked for a stream that ends with it.
        """
        metadata = dict(context.invocation_metadata() or ())
        ends = str(metadata.get(_ENDS_STREAM, "")).lower() == "true"
        counts = {"items": 0, "failed": 0}
        note(**counts)

        async def item(_: int, message: bytes) -> tuple[bool, bytes]:
            discard_notes()
            identifier = ""
            try:
                request = _routing(message)
                identifier = request.id
                admit_item()
                answer = self._call(request, message, context)
                del message
                return False, _streamed(await answer, self._final.SerializeToString())
            except Exception as error:
                if ends:
                    raise
                return True, _failed(error, identifier, f"/{self.name}/ModelStreamInfer")

        async with aclosing(in_order(messages, item, _MOST_ITEMS)) as answers:
            async for failed, answered in answers:
                counts["items"] += 1
                counts["failed"] += failed
                note(**counts)
                yield answered


def _routing(message: bytes) -> Any:  # noqa: ANN401 - a ModelInferRequest
    """A request without its tensors."""
    head, _ = take(message, _ROUTING)
    return parsed(head)


def _streamed(*response: bytes) -> bytes:
    """A ModelStreamInferResponse of a serialized response in parts."""
    return b"".join([prefix(_INFER_RESPONSE, sum(map(len, response))), *response])


def _failed(error: Exception, identifier: str, method: str) -> bytes:
    """A ModelStreamInferResponse that tells of an error."""
    failed = message_class("ModelStreamInferResponse")(error_message=failure_of(error, method).detail)
    failed.infer_response.id = identifier
    content: bytes = failed.SerializeToString()
    return content


def _named(request: Any) -> str:  # noqa: ANN401 - a request to load or to unload
    """The model of a request, in either dialect.

    Raises:
        InvalidInput: It has none, or parameters, which change a model.
    """
    name = str(request.model_name or request.repository_name)
    if not name:
        raise InvalidInput("The request names no model.", field="model_name")
    changing = next((one for one in request.parameters if one != "unload_dependents"), None)
    if changing is not None:
        raise InvalidInput(
            f"The parameter {shown(changing)} is not accepted: a model is what the store has.",
            field="parameters",
        )
    return name


def _timed(request: Any, context: Any) -> Any:  # noqa: ANN401
    """The context of a call with the time of a request, in microseconds, where it names one.

    Raises:
        InvalidInput: It is no whole number.
    """
    seconds = seconds_of(parameters_of(request).get("timeout", 0))
    return OwnTime(context, seconds) if seconds else context
