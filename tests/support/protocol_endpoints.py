"""The protocols of other servers, for `tests.support.face_endpoints`, which says what an endpoint is."""

import json
import struct
import uuid
from collections.abc import Callable
from functools import partial
from typing import Any

import grpc

from protos import torchserve
from tests.support import open_inference
from tests.support.endpoints import ANY_SIZE, Answer, Options, called, http_request, numbers, problem
from tests.support.facet import Facet
from tests.support.gateway_forms import form
from tests.support.processes import wait_until

_LENGTH = "Inference-Header-Content-Length"


# --- the Open Inference Protocol --------------------------------------------------------------------


def tensors(service: Facet, picture: bytes, options: Options, seconds: float) -> Answer:
    """ModelInfer."""
    image = open_inference.tensor("image", "BYTES", [1], bytes_contents=[picture])
    request = open_inference.request(image, model_name="face_detection", parameters=_parameters(options))
    with grpc.insecure_channel(service.grpc, ANY_SIZE) as channel:
        call: Any = channel.unary_unary(f"/{open_inference.SERVICE}/ModelInfer")
        send = partial(call, request, timeout=seconds)
        return called(send, lambda got: _of_tensors(open_inference.answered(got)))


def tensors_over_http(*, binary: bool) -> Callable[[Facet, bytes, Options, float], Answer]:
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
    with grpc.insecure_channel(service.torchserve, ANY_SIZE) as channel:
        call: Any = channel.unary_unary(method)
        send = partial(call, request.SerializeToString(), timeout=seconds)
        return called(send, lambda got: _of_document(reply.FromString(got).prediction))


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
