"""The calls of a client, as what each sends and what its reply means.

Both clients make these, the blocking one and that for asyncio: they differ in how they wait.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Generic, TypeVar, Unpack

from google.protobuf.json_format import ParseDict
from google.protobuf.message import Message
from grpc_health.v1 import health_pb2

from protos import infer_pb2, models_pb2
from protos.oip import message_class as protocol_message
from utils import codec, model_codec
from utils.call_options import CallDefaults, CallOptions
from utils.channel import (
    PREDICT,
    PREDICT_STREAM,
    SERVICE,
    RetryBudget,
    error_of,
    require_serving,
)
from utils.connector import Connection, Rpc
from utils.domain import Detection, DetectRequest
from utils.errors import LARGER_FACES_HELP, Code, FacetError, InternalError, RouteNotFound
from utils.extras_codec import with_all
from utils.metadata import TIMEOUT_IS_DEFAULT
from utils.models import ModelDescription, Prediction
from utils.status import UNANSWERED
from utils.window import Window

T = TypeVar("T")


_DETECT = Rpc(PREDICT, infer_pb2.Image, infer_pb2.InferResults)
_DETECT_MANY = Rpc(PREDICT_STREAM, infer_pb2.PredictStreamRequest, infer_pb2.PredictStreamReply)
_LIST = Rpc("/Models/List", models_pb2.ListRequest, models_pb2.ListReply)
_DESCRIBE = Rpc("/Models/Describe", models_pb2.DescribeRequest, models_pb2.ModelDescription)
_PREDICT = Rpc("/Models/Predict", models_pb2.PredictRequest, models_pb2.PredictReply)
_CHECK = Rpc("/grpc.health.v1.Health/Check", health_pb2.HealthCheckRequest, health_pb2.HealthCheckResponse)


class Streams:
    """The streams of pictures of a client.

    Args:
        connection: Gives what a call that begins now is made by.
        defaults: Of the client's calls.
        most_bytes: Of the largest picture that is to be sent.
    """

    def __init__(self, connection: Callable[[], Connection], defaults: CallDefaults, most_bytes: int) -> None:
        self._connection = connection
        self._defaults = defaults
        self._most_bytes = most_bytes
        self._budget = RetryBudget()

    def begin(self, **options: Unpack[CallOptions]) -> tuple[Callable[[Any], Any], Window]:
        """What begins a stream, given the messages that it sends, and the window of a `detect_many`."""
        arguments = self._defaults.arguments(**options)
        timeout = arguments.pop("timeout")  # of each picture: a stream lasts as long as there are any
        named = TIMEOUT_IS_DEFAULT not in arguments["metadata"]
        window = Window(timeout, self._most_bytes, self._budget, timeout_named=named)
        return partial(self._connect, arguments), window

    def _connect(self, arguments: Mapping[str, Any], messages: Any) -> Any:  # noqa: ANN401 - of either client
        connection = self._connection()
        call = connection.streams[_DETECT_MANY](messages, **arguments)
        call.add_done_callback(lambda _call: connection)  # which lives until then
        return call


@dataclass(frozen=True, slots=True)
class Call(Generic[T]):
    """One call, whoever makes it.

    Attributes:
        rpc: The method.
        message: What it is sent.
        decode: Says what its reply means; may raise a FacetError.
        unanswered: The detail of a DeadlineExceeded that no backend has sent.
        not_offered: The detail of a RouteNotFound where the backend does not have the method. Empty: every
            backend has it.
    """

    rpc: Rpc
    message: Message
    decode: Callable[[Any], T]
    unanswered: str = UNANSWERED
    not_offered: str = ""

    def error_of(self, failed: Any) -> FacetError:  # noqa: ANN401 - an RpcError
        """What it means that the call failed."""
        error = error_of(failed, self.unanswered)
        if self.not_offered and isinstance(error, InternalError) and _is_unimplemented(failed):
            absent = RouteNotFound(self.not_offered)
            absent.cause = error.cause
            return absent
        return error


def _is_unimplemented(failed: Any) -> bool:  # noqa: ANN401 - an RpcError
    return bool(failed.code().value[0] == Code.UNIMPLEMENTED.value)


def detect(request: DetectRequest | bytes) -> Call[Detection]:
    """Find the faces in a picture with its options, or in just the bytes of its file."""
    if isinstance(request, bytes):
        request = DetectRequest(request)
    unanswered = f"{UNANSWERED} {LARGER_FACES_HELP}"
    wanted = request.wanted

    def decode(reply: infer_pb2.InferResults) -> Detection:
        return with_all(codec.decode_detection(reply), wanted)

    return Call(_DETECT, codec.encode_request(request), decode, unanswered)


def predict(name: str, inputs: Mapping[str, Any] | bytes, version: str) -> Call[dict[str, Any]]:
    """Have a model answer an object, or the JSON of one.

    Raises:
        MalformedRequest: The object cannot be written as JSON.
    """
    content = inputs if isinstance(inputs, bytes) else model_codec.encode_json(inputs)
    return Call(_PREDICT, model_codec.encode_request(name, version, content), model_codec.decode_output)


def predict_raw(name: str, content_type: str, content: bytes, version: str) -> Call[Prediction]:
    """Have a model answer a body of HTTP; the answer is passed on as it comes."""
    message = model_codec.encode_request(name, version, content, content_type)
    return Call(_PREDICT, message, model_codec.decode_prediction)


def predict_encoded(
    name: str, operation: str, content: bytes, parameters: bytes, version: str
) -> Call[Prediction]:
    """Have a model answer an input in any encoding that it lists; the answer is passed on as it comes."""
    message = model_codec.encode_encoded(name, version, operation, content, parameters)
    return Call(_PREDICT, message, model_codec.decode_prediction)


def models() -> Call[list[ModelDescription]]:
    """Ask for every version of every model."""
    return Call(_LIST, models_pb2.ListRequest(), model_codec.decode_models)


def describe(name: str, version: str) -> Call[ModelDescription]:
    """Ask for one version of a model."""
    return Call(_DESCRIBE, models_pb2.DescribeRequest(name=name, version=version), model_codec.decode_model)


def inference_protocol(method: str, arguments: Mapping[str, Any]) -> Call[dict[str, Any]]:
    """Ask a method of the Open Inference Protocol whose messages have no tensors."""
    taken, given = (protocol_message(f"{method}{end}") for end in ("Request", "Response"))
    rpc = Rpc(f"/inference.GRPCInferenceService/{method}", taken, given)
    not_offered = "The backend does not speak the Open Inference Protocol: FACET_OIP is off there."
    return Call(rpc, ParseDict({**arguments}, taken()), model_codec.decode_fields, not_offered=not_offered)


def check_ready() -> Call[None]:
    """Ask whether the backend serves; anything else is a BackendUnavailable."""
    unanswered = "The backend has not answered a health check in time."
    return Call(_CHECK, health_pb2.HealthCheckRequest(service=SERVICE), require_serving, unanswered)
