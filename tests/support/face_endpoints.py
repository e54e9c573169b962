"""All ways in which a picture reaches Facet, behind one function each: for tests of all of them.

An endpoint takes a running service, a picture with options and the seconds that it has, and gives an
`Answer`. That an error has the status or the code of its reason is checked here.
"""

import asyncio
import json
import struct
import uuid
from collections.abc import Callable
from functools import partial
from typing import Any

import grpc

from protos import infer_pb2 as pb
from protos import infer_pb2_grpc, torchserve
from tests.support import open_inference
from tests.support.endpoints import (
    HTTP_ENDPOINTS,
    Answer,
    Options,
    call_grpc,
    found,
    http_request,
    numbers,
    post_document,
    problem,
    refusal,
)
from tests.support.facet import Facet
from tests.support.gateway_forms import form
from tests.support.processes import wait_until
from utils.async_service_client import AsyncServiceClient
from utils.channel import error_of
from utils.codec import decode_detection
from utils.domain import DetectOptions, DetectRequest
from utils.errors import Code, FacetError, error_class
from utils.service_client import ServiceClient

Endpoint = Callable[[Facet, bytes, Options, float], Answer]

_ANY_SIZE = [("grpc.max_send_message_length", -1)]
_MOST_BYTES = 64 * 1024**2
_LENGTH = "Inference-Header-Content-Length"


# --- our own contract -------------------------------------------------------------------------------


def by_http(post: Callable[[str, bytes, Options, float], Answer]) -> Endpoint:
    """An endpoint of the gateway's main address."""
    return lambda service, *request: post(service.http, *request)


def unary(service: Facet, picture: bytes, options: Options, seconds: float) -> Answer:
    """Inference/Predict, by its stub alone."""
    with grpc.insecure_channel(service.grpc, _ANY_SIZE) as channel:
        call = infer_pb2_grpc.InferenceStub(channel).Predict
        send = partial(call, _image(picture, options), timeout=seconds)
        return _called(send, lambda got: found(decode_detection(got)))


def stream(service: Facet, picture: bytes, options: Options, seconds: float) -> Answer:
    """Inference/PredictStream, as its only picture, which alone has the time."""
    request = pb.PredictStreamRequest(number=7, image=_image(picture, options), timeout_seconds=seconds)
    with grpc.insecure_channel(service.grpc, _ANY_SIZE) as channel:
        [reply] = infer_pb2_grpc.InferenceStub(channel).PredictStream(iter([request]), timeout=60)
    assert reply.number == 7
    if reply.WhichOneof("outcome") == "results":
        return found(decode_detection(reply.results))
    kind = error_class(reply.problem.reason)
    assert kind is not None
    assert reply.problem.code == kind.code.value
    return refusal(kind(reply.problem.detail))


def of_many(service: Facet, picture: bytes, options: Options, seconds: float) -> Answer:
    """`detect_many` of the client."""
    try:
        request = DetectRequest(picture, DetectOptions(**options))
    except FacetError as error:
        return refusal(error)
    with ServiceClient(service.grpc, timeout=seconds, max_image_bytes=_MOST_BYTES) as client:
        [(_, outcome)] = client.detect_many([request])
    return refusal(outcome) if isinstance(outcome, FacetError) else found(outcome)


def awaited(service: Facet, picture: bytes, options: Options, seconds: float) -> Answer:
    """The client for asyncio."""

    async def detect() -> Answer:
        async with AsyncServiceClient(service.grpc, timeout=seconds, max_image_bytes=_MOST_BYTES) as client:
            return found(await client.detect(request))

    try:
        request = DetectRequest(picture, DetectOptions(**options))
        return asyncio.run(detect())
    except FacetError as error:
        return refusal(error)


def as_model(service: Facet, picture: bytes, options: Options, seconds: float) -> Answer:
    """As any other model over HTTP, in JSON."""
    return post_document(service.http, "/models/face_detection/predict", picture, options, seconds)


# --- the Open Inference Protocol --------------------------------------------------------------------


def tensors(service: Facet, picture: bytes, options: Options, seconds: float) -> Answer:
    """ModelInfer."""
    image = open_inference.tensor("image", "BYTES", [1], bytes_contents=[picture])
    request = open_inference.request(image, model_name="face_detection", parameters=_parameters(options))
    with grpc.insecure_channel(service.grpc, _ANY_SIZE) as channel:
        call: Any = channel.unary_unary(f"/{open_inference.SERVICE}/ModelInfer")
        send = partial(call, request, timeout=seconds)
        return _called(send, lambda got: _of_tensors(open_inference.answered(got)))


def tensors_over_http(*, binary: bool) -> Endpoint:
    """The protocol over HTTP, the picture behind the JSON, and the answer, too, or in it."""

    def infer(service: Facet, picture: bytes, options: Options, seconds: float) -> Answer:
        sized = {"binary_data_size": len(picture) + 4}
        image = {"name": "image", "datatype": "BYTES", "shape": [1], "parameters": sized}
        parameters = {**options, "binary_data_output": binary}
        head = json.dumps({"inputs": [image], "parameters": parameters}).encode()
        headers = {_LENGTH: str(len(head)), "X-Request-Timeout": f"{seconds:g}"}
        body = head + struct.pack("<I", len(picture)) + picture
        path = "/v2/models/face_detection/infer"
        status, answered, content = http_request(service.http, "POST", path, body, headers)
        if status != 200:
            return problem(status, answered, json.loads(content))
        assert (_LENGTH.lower() in answered) == binary
        cut = int(answered.get(_LENGTH.lower(), len(content)))
        return _of_tensors(_outputs(json.loads(content[:cut]), content[cut:]))

    return infer


def _outputs(said: dict[str, Any], behind: bytes) -> dict[str, Any]:
    """The outputs by name, whose elements are in the JSON of an answer or behind it."""
    outputs: dict[str, Any] = {}
    for output in said["outputs"]:
        if "data" in output:
            outputs[output["name"]] = output["data"]
        else:
            size = output["parameters"]["binary_data_size"]
            outputs[output["name"]] = open_inference.elements(
                output["datatype"], output["shape"], behind[:size]
            )
            behind = behind[size:]
    return outputs


def _parameters(options: Options) -> dict[str, Any]:
    kinds = {int: "int64_param", float: "double_param", str: "string_param"}
    return {name: {kinds[type(value)]: value} for name, value in options.items()}


def _of_tensors(outputs: dict[str, Any]) -> Answer:
    [count] = outputs["num_faces"]
    boxes, landmarks, confidences = (numbers(outputs[name]) for name in ("boxes", "landmarks", "confidences"))
    faces = [
        [*boxes[4 * at : 4 * at + 4], *landmarks[10 * at : 10 * at + 10], confidences[at]]
        for at in range(count)
    ]
    return Answer(None, faces, 200)


# --- TorchServe's protocols -------------------------------------------------------------------------


def predictions(service: Facet, picture: bytes, options: Options, seconds: float) -> Answer:
    """Predictions of TorchServe's inference API."""
    request = torchserve.message_class("inference", "PredictionsRequest")(
        model_name="face_detection", input={"data": picture, "options": json.dumps(options).encode()}
    )
    method = f"/{torchserve.service_name('inference')}/Predictions"
    reply = torchserve.message_class("inference", "PredictionResponse")
    with grpc.insecure_channel(service.torchserve, _ANY_SIZE) as channel:
        call: Any = channel.unary_unary(method)
        send = partial(call, request.SerializeToString(), timeout=seconds)
        return _called(send, lambda got: _of_document(reply.FromString(got).prediction))


def predictions_form(service: Facet, picture: bytes, options: Options, seconds: float) -> Answer:
    """The same over HTTP, as a form. Its errors have no reason but in the log."""
    body, content_type = form(("data", picture), ("options", json.dumps(options).encode()))
    request_id = uuid.uuid4().hex
    headers = {
        "Content-Type": content_type,
        "X-Request-Timeout": f"{seconds:g}",
        "X-Request-ID": request_id,
    }
    status, _, content = http_request(
        service.torchserve_http, "POST", "/predictions/face_detection", body, headers
    )
    if status == 200:
        return _of_document(content)
    told = json.loads(content)
    assert told.keys() == {"code", "type", "message"}
    assert told["code"] == status
    return Answer(_logged_reason(service, request_id), None, status, told)


def _logged_reason(service: Facet, request_id: str) -> str:
    found: list[str] = []

    def logged() -> bool:
        lines = service.gateway.logged("request")
        found.extend(line["reason"] for line in lines if line["request_id"] == request_id)
        return bool(found)

    wait_until(logged, f"the request {request_id} is logged")
    return found[0]


def _of_document(content: bytes) -> Answer:
    said = json.loads(content)
    return Answer(None, [numbers(face) for face in said["results"]], 200, said)


def _image(picture: bytes, options: Options) -> pb.Image:
    return pb.Image(raw_data=picture, options=pb.DetectOptions(**options))


def _called(call: Callable[[], Any], read: Callable[[Any], Answer]) -> Answer:
    """What a call of gRPC answers; fails where its code is not that of its reason."""
    try:
        answer = call()
    except grpc.RpcError as error:
        failed = error
    else:
        return read(answer)
    meant = error_of(failed)
    assert Code(failed.code().value[0]) is meant.code
    return refusal(meant)


TYPED: dict[str, Endpoint] = {
    "gRPC": unary,
    "gRPC stream": stream,
    "grpc": lambda service, *request: call_grpc(service.grpc, *request),
    "client, many": of_many,
    "client, asyncio": awaited,
}
"""Those whose options have their types, so that no other ones can be sent."""
FREE: dict[str, Endpoint] = {
    **{name: by_http(post) for name, post in HTTP_ENDPOINTS.items()},
    "model": as_model,
    "OIP": tensors,
    "OIP over HTTP, binary": tensors_over_http(binary=True),
    "OIP over HTTP, JSON": tensors_over_http(binary=False),
    "TorchServe": predictions,
    "TorchServe over HTTP": predictions_form,
}
"""Those that take any text for an option's name."""
ENDPOINTS: dict[str, Endpoint] = {**FREE, **TYPED}
