"""All ways in which a picture reaches Facet, behind one function each: for tests of all of them.

An endpoint takes a running service, a picture with options and the seconds that it has, and gives an
`Answer`. That an error has the status or the code of its reason is checked on the way.
"""

import asyncio
import json
import urllib.parse
from collections.abc import Callable
from functools import partial

import grpc

from protos import infer_pb2 as pb
from protos import infer_pb2_grpc
from tests.support import batches, protocol_endpoints
from tests.support.endpoints import (
    ANY_SIZE,
    HTTP_ENDPOINTS,
    Answer,
    Options,
    call_grpc,
    called,
    found,
    http_request,
    numbers,
    post_document,
    problem,
    refusal,
)
from tests.support.facet import Facet
from utils.async_service_client import AsyncServiceClient
from utils.codec import decode_detection
from utils.domain import DetectOptions, DetectRequest
from utils.errors import FacetError, error_class
from utils.problems import CONTENT_TYPE as PROBLEM
from utils.service_client import ServiceClient

Endpoint = Callable[[Facet, bytes, Options, float], Answer]

_MOST_BYTES = 64 * 1024**2


def by_http(post: Callable[[str, bytes, Options, float], Answer]) -> Endpoint:
    """An endpoint of the gateway's main address."""
    return lambda service, *request: post(service.http, *request)


def unary(service: Facet, picture: bytes, options: Options, seconds: float) -> Answer:
    """Inference/Predict, by its stub alone."""
    with grpc.insecure_channel(service.grpc, ANY_SIZE) as channel:
        call = infer_pb2_grpc.InferenceStub(channel).Predict
        send = partial(call, _image(picture, options), timeout=seconds)
        return called(send, lambda got: found(decode_detection(got)))


def stream(service: Facet, picture: bytes, options: Options, seconds: float) -> Answer:
    """Inference/PredictStream, as its only picture, which alone has the time."""
    request = pb.PredictStreamRequest(number=7, image=_image(picture, options), timeout_seconds=seconds)
    with grpc.insecure_channel(service.grpc, ANY_SIZE) as channel:
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


def annotated(service: Facet, picture: bytes, options: Options, seconds: float) -> Answer:
    """The picture with its faces drawn: of these an answer has no more than how many there are."""
    path = f"/predict/annotated?{urllib.parse.urlencode(options)}"
    headers = {"X-Request-Timeout": f"{seconds:g}"}
    status, answered, content = http_request(service.http, "POST", path, picture, headers)
    if status != 200:
        return problem(status, answered, json.loads(content))
    assert answered["content-type"] == "image/jpeg"
    return Answer(None, [[]] * int(answered["x-facet-faces"]), status)


def batch(service: Facet, picture: bytes, options: Options, seconds: float) -> Answer:
    """A batch, as its only picture."""
    fields = [batches.option(name, str(value)) for name, value in options.items()]
    body = batches.batch(*fields, batches.file(picture))
    headers = {"Content-Type": batches.KIND, "X-Request-Timeout": f"{seconds:g}"}
    status, answered, content = http_request(service.http, "POST", batches.PATH, body, headers)
    if status != 200:
        return problem(status, answered, json.loads(content))
    [line] = batches.Answered(status, answered, content).items
    if line["status"] == 200:
        return Answer(None, [numbers(face) for face in line["results"]], 200, line)
    return problem(line["status"], {"content-type": PROBLEM}, line["problem"])


def _image(picture: bytes, options: Options) -> pb.Image:
    return pb.Image(raw_data=picture, options=pb.DetectOptions(**options))


TYPED: dict[str, Endpoint] = {
    "gRPC": unary,
    "gRPC stream": stream,
    "client": lambda service, *request: call_grpc(service.grpc, *request),
    "client, many": of_many,
    "client, asyncio": awaited,
}
"""Those whose options have their types, so that no other ones can be sent."""
FREE: dict[str, Endpoint] = {
    **{name: by_http(post) for name, post in HTTP_ENDPOINTS.items()},
    "batch": batch,
    "model": as_model,
    "OIP": protocol_endpoints.tensors,
    "OIP over HTTP, binary": protocol_endpoints.tensors_over_http(binary=True),
    "OIP over HTTP, JSON": protocol_endpoints.tensors_over_http(binary=False),
    "TorchServe": protocol_endpoints.predictions,
    "TorchServe over HTTP": protocol_endpoints.predictions_form,
}
"""Those that take any text for an option's name."""
ENDPOINTS: dict[str, Endpoint] = {**FREE, **TYPED}
"""Those whose answers have all of the faces."""
COUNTING: dict[str, Endpoint] = {"annotated": annotated}
"""Those whose answers have a face for each, without its numbers."""
