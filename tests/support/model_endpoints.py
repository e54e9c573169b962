"""All ways in which an input reaches a model, behind one function each: for tests of all of them.

An endpoint takes members of an input as JSON has them, and gives those of the output, or raises what the
answer says. Nothing is tried again but by ServiceClient.
"""

import base64
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import grpc
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.json_format import MessageToDict, ParseDict
from google.protobuf.message_factory import GetMessageClass
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

from protos import models_pb2 as pb
from protos import models_pb2_grpc
from tests.support.endpoints import http_request
from tests.support.gateway_forms import form
from tests.support.processes import PATIENCE
from utils.channel import error_of
from utils.errors import FacetError, error_class
from utils.service_client import ServiceClient

SERVICE = "model_grpc_service.ModelgRPCService"
_LARGEST = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]


class Served(NamedTuple):
    """Addresses of a backend and of a gateway before it."""

    grpc: str
    http: str


@dataclass(frozen=True)
class Input:
    """One input.

    Attributes:
        name: Of the model.
        members: As JSON has them, but for bytes, which are bytes.
        version: Of the model; empty for its default.
        request_id: Empty for one that is made.
        message: Is sent where bytes of protobuf are, instead of what the members make; so where no such
            model can be asked for its types.
        text: Is sent where JSON is, instead of what the members make.
    """

    name: str
    members: Mapping[str, Any]
    version: str = ""
    request_id: str = ""
    message: bytes | None = None
    text: bytes | None = None

    @property
    def json(self) -> bytes:
        return json.dumps(self.members, default=_base64).encode() if self.text is None else self.text

    @property
    def metadata(self) -> list[tuple[str, str]]:
        pairs = {"x-request-id": self.request_id, "x-model-version": self.version}
        return [(key, value) for key, value in pairs.items() if value]


Endpoint = Callable[[Served, Input], dict[str, Any]]


class TypedMethods:
    """Methods of a model's own, by what reflection tells of them."""

    def __init__(self, channel: grpc.Channel, name: str) -> None:
        self._channel = channel
        self._prefix = "".join(letter if letter.isalnum() else "_" for letter in name)
        self._service: Any = DescriptorPool(ProtoReflectionDescriptorDatabase(channel)).FindServiceByName(
            SERVICE
        )

    def message(self, members: Mapping[str, Any]) -> bytes:
        """A serialized input; a member that is no value of its type raises ParseError."""
        made = GetMessageClass(self._service.methods_by_name[f"{self._prefix}_predict"].input_type)()
        values = json.loads(json.dumps(members, default=_base64), parse_constant=str)
        content: bytes = ParseDict(values, made).SerializeToString()
        return content

    def members(self, output: bytes) -> dict[str, Any]:
        """Those of a serialized output."""
        kind = self._service.methods_by_name[f"{self._prefix}_predict"].output_type
        return _as_dict(GetMessageClass(kind).FromString(output))

    def call(self, message: bytes, metadata: Sequence[tuple[str, str]] = ()) -> bytes:
        """What NAME_predict answers."""
        method: Any = self._channel.unary_unary(f"/{SERVICE}/{self._prefix}_predict")
        answer: bytes = _called(method, message, metadata)
        return answer

    def stream(self, messages: Iterable[bytes], metadata: Sequence[tuple[str, str]] = ()) -> list[Any]:
        """The items with which NAME_predict_stream answers; the error of the call is raised."""
        method: Any = self._channel.stream_stream(f"/{SERVICE}/{self._prefix}_predict_stream")
        try:
            answers = list(method(iter(messages), timeout=PATIENCE, metadata=metadata))
        except grpc.RpcError as error:
            raise error_of(error) from error
        return [pb.StreamItem.FromString(answer) for answer in answers]


def typed(served: Served, given: Input) -> dict[str, Any]:
    """By NAME_predict."""
    with grpc.insecure_channel(served.grpc, _LARGEST) as channel:
        methods = TypedMethods(channel, given.name)
        return methods.members(methods.call(_message(methods, given), given.metadata))


def typed_stream(served: Served, given: Input) -> dict[str, Any]:
    """By NAME_predict_stream, as its only item."""
    with grpc.insecure_channel(served.grpc, _LARGEST) as channel:
        methods = TypedMethods(channel, given.name)
        [item] = methods.stream([_message(methods, given)], given.metadata)
        if item.HasField("error"):
            raise item_error(item.error)
        return methods.members(item.output)


def predict_message(served: Served, given: Input) -> dict[str, Any]:
    """By Models/Predict, with a message."""
    with grpc.insecure_channel(served.grpc, _LARGEST) as channel:
        methods = TypedMethods(channel, given.name)
        return methods.members(_predict(channel, given, message=_message(methods, given)).message)


def predict_json(served: Served, given: Input) -> dict[str, Any]:
    """By Models/Predict, with JSON."""
    with grpc.insecure_channel(served.grpc, _LARGEST) as channel:
        return _object(_predict(channel, given, json=given.json).json)


def predict_body(served: Served, given: Input) -> dict[str, Any]:
    """By Models/Predict, with a form."""
    content, content_type = _form(given.members)
    with grpc.insecure_channel(served.grpc, _LARGEST) as channel:
        body = pb.Body(content_type=content_type, content=content)
        return _object(_predict(channel, given, body=body).json)


def http_json(served: Served, given: Input) -> dict[str, Any]:
    """By the gateway, with JSON."""
    return _post(served, given, given.json, "application/json")


def http_form(served: Served, given: Input) -> dict[str, Any]:
    """By the gateway, with a form."""
    return _post(served, given, *_form(given.members))


def client(served: Served, given: Input) -> dict[str, Any]:
    """By ServiceClient, from Python."""
    inputs = given.members if given.text is None else given.text
    with ServiceClient(served.grpc, timeout=PATIENCE) as service:
        options = {"request_id": given.request_id} if given.request_id else {}
        return service.predict(given.name, inputs, version=given.version, **options)  # type: ignore[arg-type]


OF_MESSAGES: dict[str, Endpoint] = {"typed": typed, "stream": typed_stream, "message": predict_message}
OF_JSON: dict[str, Endpoint] = {"json": predict_json, "HTTP JSON": http_json, "client": client}
OF_FORMS: dict[str, Endpoint] = {"body": predict_body, "HTTP form": http_form}
ENDPOINTS = {**OF_MESSAGES, **OF_JSON, **OF_FORMS}


def item_error(error: pb.StreamError) -> FacetError:
    """The error that an item of a stream has."""
    kind = error_class(error.reason)
    assert kind is not None
    assert error.code == kind.code.value
    return kind(error.detail, field=error.field or None)


def _predict(channel: grpc.Channel, given: Input, **content: Any) -> Any:  # noqa: ANN401
    request = pb.PredictRequest(name=given.name, version=given.version, **content)
    metadata = [pair for pair in given.metadata if pair[0] == "x-request-id"]
    return _called(models_pb2_grpc.ModelsStub(channel).Predict, request, metadata)


def _called(method: Any, request: Any, metadata: Sequence[tuple[str, str]]) -> Any:  # noqa: ANN401
    try:
        return method(request, timeout=PATIENCE, metadata=metadata)
    except grpc.RpcError as error:
        raise error_of(error) from error


def _post(served: Served, given: Input, body: bytes, content_type: str) -> dict[str, Any]:
    path = "/".join(filter(None, ["/models", given.name, given.version, "predict"]))
    headers = {"Content-Type": content_type, "X-Request-Timeout": f"{PATIENCE:g}"}
    if given.request_id:
        headers["X-Request-ID"] = given.request_id
    status, answered, content = http_request(served.http, "POST", path, body, headers)
    said = _object(content)
    if status == 200:
        return said
    assert answered["content-type"] == "application/problem+json"
    kind = error_class(said["reason"])
    assert kind is not None
    assert status == kind.http_status == said["status"]
    raise kind(said["detail"], field=said.get("field"))


def _message(methods: TypedMethods, given: Input) -> bytes:
    if given.message is not None or not given.members:
        return given.message or b""
    return methods.message(given.members)


def _form(members: Mapping[str, Any]) -> tuple[bytes, str]:
    """A form, a list as several parts of one name."""
    parts = [
        (name, one if isinstance(one, bytes) else str(one).encode())
        for name, value in members.items()
        for one in (value if isinstance(value, list) else [value])
    ]
    return form(*parts)


def _as_dict(message: Any) -> dict[str, Any]:  # noqa: ANN401
    found: dict[str, Any] = MessageToDict(
        message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )
    return found


def _object(content: bytes) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(content)
    return found


def _base64(value: object) -> str:
    assert isinstance(value, bytes)
    return base64.b64encode(value).decode()
