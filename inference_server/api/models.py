"""`/Models`: what models there are, and calls to any of them by its name."""

import base64
from typing import Any

import grpc
import orjson

from inference_server.api.model_call import JSON, MULTIPART, TYPED, ModelCaller
from inference_server.catalogue.entries import Catalogue, ModelVersion
from protos import models_pb2 as pb
from utils.errors import MalformedRequest

_LONGEST_PARAMETERS = 1024
_ANSWERS = {"body": "json"}
"""The member of a reply that answers one of a request, where it has another name."""


class ModelsService:
    """Tells of the models and calls them.

    Args:
        caller: Calls the models.
    """

    name = "Models"
    file = pb.DESCRIPTOR

    def __init__(self, caller: ModelCaller) -> None:
        self._caller = caller

    def add_to(self, server: grpc.aio.Server) -> None:
        """Register its methods."""
        methods: dict[str, Any] = {
            name: grpc.unary_unary_rpc_method_handler(method, taken.FromString, given.SerializeToString)
            for name, method, taken, given in (
                ("List", self.list_models, pb.ListRequest, pb.ListReply),
                ("Describe", self.describe, pb.DescribeRequest, pb.ModelDescription),
                ("Predict", self.predict, pb.PredictRequest, pb.PredictReply),
            )
        }
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(self.name, methods),))

    async def list_models(self, _request: pb.ListRequest, _context: Any) -> pb.ListReply:  # noqa: ANN401
        """Every version of every model."""
        catalogue = self._caller.registry.current()
        models = [_described(one, catalogue) for name in catalogue.names() for one in catalogue.of(name)]
        return pb.ListReply(models=models, generation=catalogue.generation)

    async def describe(self, request: pb.DescribeRequest, _context: Any) -> pb.ModelDescription:  # noqa: ANN401
        """One version."""
        registry = self._caller.registry
        return _described(registry.describe(request.name, request.version), registry.current())

    async def predict(self, request: pb.PredictRequest, context: Any) -> pb.PredictReply:  # noqa: ANN401
        """Have a model answer one input."""
        version = self._caller.find(request.name, request.version)
        form = request.WhichOneof("input") or ""
        operation, payload, parameters = _input_of(request)
        del request  # the input waits in its buffer; who waits for it shall not hold it, too
        answer = self._caller.call(version, operation, payload, context, parameters)
        del payload
        output = {_ANSWERS.get(form, form): await answer}
        return pb.PredictReply(name=version.name, version=version.version, **output)


def _input_of(request: pb.PredictRequest) -> tuple[str, bytes, bytes]:
    """Operation, payload and parameters.

    Raises:
        MalformedRequest: There is no input, or what it says beside its content is too long.
    """
    match request.WhichOneof("input"):
        case "message":
            return TYPED, request.message, b""
        case "json":
            return JSON, request.json, b""
        case "body":
            content_type = request.body.content_type.encode()
            return MULTIPART, request.body.content, _limited("body.content_type", content_type)
        case "encoded":
            encoded = request.encoded
            parameters = _limited("encoded.parameters", encoded.parameters)
            return encoded.operation, encoded.content, parameters
        case _:
            raise MalformedRequest(
                "The request has no input; it must have message, json, body or encoded.", field="input"
            )


def _limited(field: str, parameters: bytes) -> bytes:
    if len(parameters) > _LONGEST_PARAMETERS:
        raise MalformedRequest(
            f"{field} has {len(parameters)} bytes; the limit is {_LONGEST_PARAMETERS}.", field=field
        )
    return parameters


def _described(version: ModelVersion, catalogue: Catalogue) -> pb.ModelDescription:
    described = pb.ModelDescription(
        name=version.name,
        version=version.version,
        state=version.state.value,
        default=catalogue.defaults.get(version.name) == version.version,
        kind=version.source.kind,
        generation=catalogue.generation,
    )
    card = version.card
    if card is not None:
        described.MergeFrom(
            pb.ModelDescription(
                description=card["description"],
                display_name=card["display_name"],
                max_batch=card["max_batch"],
                operations=card["operations"],
                input_schema=orjson.dumps(card["input_schema"]),
                output_schema=orjson.dumps(card["output_schema"]),
                descriptor=base64.b64decode(card["descriptor"]),
                input_type=card["input_type"],
                output_type=card["output_type"],
                # A card that was kept by a release before this member has none.
                tensors=orjson.dumps(card["tensors"]) if "tensors" in card else b"",
            )
        )
    return described
