"""TorchServe's inference service, by which its clients call models: a server of its own.

An error is told as TorchServe tells it: utils.torchserve.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

import grpc
import orjson
from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2

from inference_server.api.access import admit_item
from inference_server.api.interceptor import Answer, discard_notes, failure_of, note
from inference_server.api.model_call import TORCHSERVE, ModelCaller, note_model
from inference_server.api.spans import as_item
from inference_server.models.encodings.wire import take
from protos.torchserve import message_class, service_name
from utils.errors import FacetError, MalformedRequest, ParameterMissing
from utils.settings import Settings
from utils.torchserve import (
    HEALTHY,
    MODEL_NAME_REQUIRED,
    SEQUENCE_ID_REQUIRED,
    UNHEALTHY,
    prediction_error,
    tell_prediction_error,
)
from utils.torchserve_keys import Tokens

_AUTHORIZATION = "authorization"
_NAME = service_name("inference")
_Request: Any = message_class("inference", "PredictionsRequest")
_Response: Any = message_class("inference", "PredictionResponse")
_Health: Any = message_class("inference", "TorchServeHealthResponse")
_ROUTING = (1, 2, 4)
"""The fields of a request that are read here: model, version and sequence."""


class TorchServePolicy:
    """Lets in calls with the key for predictions, where one is demanded, and tells of errors as TorchServe.

    Args:
        settings: Say where the keys are.
    """

    def __init__(self, settings: Settings) -> None:
        path = settings.torchserve_key_file
        self._tokens = None if path is None else Tokens(path, "inference")

    def check(self, metadata: Mapping[str, Any]) -> None:
        """Refuse a call that must bring the key, and does not.

        Raises:
            TokenRefused: So.
        """
        if self._tokens is not None:
            self._tokens.check(metadata.get(_AUTHORIZATION))

    def answer(self, failure: FacetError) -> Answer:
        """TorchServe's code and text."""
        told = tell_prediction_error(failure)
        return Answer(told.code, told.detail)


class TorchServeService:
    """Answers calls for predictions.

    Args:
        caller: Calls the models.
        consumers: How many processes take from a queue now.
    """

    name = _NAME
    file = None
    """Its messages may be in nobody's default pool."""

    def __init__(self, caller: ModelCaller, consumers: Callable[[int], int]) -> None:
        self._caller = caller
        self._consumers = consumers

    def add_to(self, server: grpc.aio.Server) -> None:
        """Register its methods. Messages are parsed here, because a model gets them as they came."""
        write = _Response.SerializeToString
        methods: dict[str, Any] = {
            "Ping": grpc.unary_unary_rpc_method_handler(
                self.ping, response_serializer=_Health.SerializeToString
            ),
            "Predictions": grpc.unary_unary_rpc_method_handler(self.predict, response_serializer=write),
            "StreamPredictions": grpc.unary_stream_rpc_method_handler(self.stream, response_serializer=write),
            "StreamPredictions2": grpc.stream_stream_rpc_method_handler(
                self.sequence, response_serializer=write
            ),
        }
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(self.name, methods),))

    async def ping(self, _message: bytes, _context: Any) -> Any:  # noqa: ANN401
        """Say whether the default version of each model has the processes that it is to have at least."""
        document = {"status": HEALTHY if self._is_healthy() else UNHEALTHY}
        return _Health(health=orjson.dumps(document, option=orjson.OPT_INDENT_2).decode())

    def _is_healthy(self) -> bool:
        defaults = self._caller.registry.defaults()
        if {version.name for version in defaults} != {*self._caller.registry.current().names()}:
            return False  # a first version loads, which is to become the default one
        return all(self._consumers(one.queue) >= one.settings.min_workers for one in defaults)

    async def predict(self, message: bytes, context: Any) -> Any:  # noqa: ANN401
        """Answer one input."""
        answer = self._call(_routing(message), message, context)
        del message  # it waits in its buffer; who waits for it shall not hold it, too
        return _Response(prediction=await answer)

    async def stream(self, message: bytes, context: Any) -> AsyncIterator[Any]:  # noqa: ANN401
        """Answer one input by a stream that ends after it."""
        answer = self.predict(message, context)
        del message
        yield await answer

    async def sequence(self, messages: AsyncIterator[bytes], context: Any) -> AsyncIterator[Any]:  # noqa: ANN401
        """Answer inputs one after the other, errors included; one without an id of a sequence is the last."""
        counts = {"items": 0, "failed": 0}
        note(**counts)
        async for message in messages:
            request = _routing(message)
            if not request.sequence_id.strip():
                note(items=counts["items"] + 1, failed=counts["failed"] + 1)
                yield _failed(ParameterMissing(SEQUENCE_ID_REQUIRED, field="sequence_id"))
                return
            note_model(request.model_name, request.model_version)
            answering = asyncio.create_task(as_item(self._item(request, message, context)))
            del message, request
            answered = await answering
            counts["items"] += 1
            counts["failed"] += answered.HasField("status")
            note(**counts)
            yield answered

    async def _item(self, request: Any, message: bytes, context: Any) -> Any:  # noqa: ANN401
        discard_notes()
        try:
            admit_item()
            answer = self._call(request, message, context)
            del message
            return _Response(prediction=await answer, sequence_id=request.sequence_id)
        except Exception as error:  # noqa: BLE001 - what comes behind it is answered all the same
            answered = _failed(failure_of(error, f"/{_NAME}/StreamPredictions2"))
            answered.sequence_id = request.sequence_id
            return answered

    async def _call(self, request: Any, message: bytes, context: Any) -> bytes:  # noqa: ANN401
        name, version = request.model_name, request.model_version
        del request
        if not name:
            raise ParameterMissing(MODEL_NAME_REQUIRED, field="model_name")
        try:
            answer = self._caller.call(self._caller.find(name, version), TORCHSERVE, message, context)
            del message
            return await answer
        except FacetError as error:
            raise prediction_error(error, name, version) from error


def _routing(message: bytes) -> Any:  # noqa: ANN401
    """A request without its input, which whoever hosts the model reads."""
    head, _ = take(message, _ROUTING)
    try:
        return _Request.FromString(head)
    except DecodeError as error:
        raise MalformedRequest("The request is not a message of this method's type.") from error


def _failed(error: FacetError) -> Any:  # noqa: ANN401
    """The message that tells of an error within a stream."""
    told = tell_prediction_error(error)
    answered = _Response()
    answered.status.code, answered.status.message = told.code.value, told.text
    answered.status.details.add().Pack(error_details_pb2.ErrorInfo(reason=told.java_class))
    return answered
