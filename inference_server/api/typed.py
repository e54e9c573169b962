"""`/model_grpc_service.ModelgRPCService`: methods of each model's own, with messages of its own types.

NAME_predict takes the model's input and gives its output; NAME_predict_stream takes a stream of inputs, and
answers each with an item. NAME is the model's identifier. Which models there are is looked up at each call.
The messages pass through as bytes: whoever hosts the model knows what they mean.
"""

import re
from collections.abc import AsyncIterator
from contextlib import aclosing
from functools import partial
from typing import Any

import grpc

from inference_server.api.access import admit_item
from inference_server.api.interceptor import discard_notes, failure_of, note
from inference_server.api.model_call import TYPED, ModelCaller
from inference_server.api.ordered import in_order
from inference_server.catalogue.entries import ModelVersion
from inference_server.catalogue.names import identifier
from protos import models_pb2
from protos.articles import message_class
from utils.metadata import MODEL_VERSION

PREDICT, PREDICT_STREAM = "_predict", "_predict_stream"

_MOST_ITEMS = 8
"""Of one stream that are computed, or wait, at once."""
_MOST_NUMBER = 2**31 - 1  # that a sint32 holds
_NUMBERS = re.compile(r"(\d+)(?:\.(\d+))?")


class TypedService:
    """Answers the methods of the models' own.

    Args:
        caller: Calls the models.
    """

    name = "model_grpc_service.ModelgRPCService"
    file = None
    """Its methods change with the models: inference_server.api.typed_pool."""

    def __init__(self, caller: ModelCaller) -> None:
        self._caller = caller
        self._collection: Any = message_class("many_models", "model_collection")
        self._get_models: Any = grpc.unary_unary_rpc_method_handler(
            self.get_models,
            message_class("many_models", "empty").FromString,
            self._collection.SerializeToString,
        )

    def add_to(self, server: grpc.aio.Server) -> None:
        """Register its methods, those of models that come later included."""
        server.add_generic_rpc_handlers((_Methods(self),))

    def handler_of(self, method: str) -> Any:  # noqa: ANN401 - grpc's handlers have no common type
        """The handler of a method by its name, without the service's; None where there can be none.

        Whether there is such a model is found out by the call, which is else answered with ModelNotFound.
        """
        if method == "get_models":
            return self._get_models
        if method.endswith(PREDICT_STREAM):
            answer = partial(self.predict_stream, method.removesuffix(PREDICT_STREAM))
            return grpc.stream_stream_rpc_method_handler(answer)
        if method.endswith(PREDICT):
            return grpc.unary_unary_rpc_method_handler(partial(self.predict, method.removesuffix(PREDICT)))
        return None

    async def get_models(self, _empty: Any, _context: Any) -> Any:  # noqa: ANN401
        """The models that have been loaded, by their default versions."""
        loaded = [version for version in self._caller.registry.defaults() if version.card]
        return self._collection(models=[_described(version, version.card or {}) for version in loaded])

    async def predict(self, model: str, message: bytes, context: Any) -> bytes:  # noqa: ANN401
        """Answer one input.

        Args:
            model: Identifier of the model.
            message: A serialized NAME_input.
            context: Of the call.
        """
        answer = self._call(model, message, context)
        del message  # which waits in its buffer; who waits for it shall not hold it, too
        return await answer

    async def predict_stream(
        self,
        model: str,
        messages: AsyncIterator[bytes],
        context: Any,  # noqa: ANN401
    ) -> AsyncIterator[bytes]:
        """Answer each input with a serialized StreamItem, in their order, whether it fails or not."""
        self._find(model, context)  # so that a wrong name is an error of the call
        counts = {"items": 0, "failed": 0}
        note(**counts)

        async def item(index: int, message: bytes) -> models_pb2.StreamItem:
            discard_notes()
            try:
                admit_item()
                answer = self._call(model, message, context)
                del message
                return models_pb2.StreamItem(index=index, output=await answer)
            except Exception as error:  # noqa: BLE001 - the items behind it are answered all the same
                return _failed(index, error)

        async with aclosing(in_order(messages, item, _MOST_ITEMS)) as answers:
            async for answered in answers:
                counts["items"] += 1
                counts["failed"] += answered.HasField("error")
                note(**counts)
                yield answered.SerializeToString()

    def _find(self, model: str, context: Any) -> ModelVersion:  # noqa: ANN401
        version = dict(context.invocation_metadata() or ()).get(MODEL_VERSION, "")
        return self._caller.find(self._caller.registry.name_of(model), version)

    async def _call(self, model: str, message: bytes, context: Any) -> bytes:  # noqa: ANN401
        answer = self._caller.call(self._find(model, context), TYPED, message, context)
        del message
        return await answer


class _Methods(grpc.GenericRpcHandler):
    """Finds handlers by their methods at each call, for what models there are changes."""

    def __init__(self, service: TypedService) -> None:
        self._service = service

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Any:  # noqa: ANN401
        """The handler of a call, or None where it is not of this service."""
        service, _, method = handler_call_details.method[1:].partition("/")
        return self._service.handler_of(method) if service == self._service.name else None


def _failed(index: int, error: Exception) -> models_pb2.StreamItem:
    failure = failure_of(error, f"/{TypedService.name}/*{PREDICT_STREAM}")
    told = models_pb2.StreamError(
        code=failure.code.value, reason=failure.reason, field=failure.field or "", detail=failure.detail
    )
    return models_pb2.StreamItem(index=index, error=told)


def _described(version: ModelVersion, card: Any) -> dict[str, Any]:  # noqa: ANN401 - JSON
    """A version as a message of type `model`."""
    numbers = _NUMBERS.match(version.version)
    major, minor = (min(int(part or 0), _MOST_NUMBER) for part in (numbers.groups() if numbers else "00"))
    return {
        "qualified_name": version.name,
        "display_name": card["display_name"],
        "description": card["description"],
        "major_version": major,
        "minor_version": minor,
        "input_type": card["input_type"],
        "output_type": card["output_type"],
        "predict_operation": identifier(version.name) + PREDICT,
    }
