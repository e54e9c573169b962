"""Rules of calls that name no version while a canary gets a part of them, by every protocol."""

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import grpc
import pytest

from inference_server.catalogue.commands import SetTraffic
from protos import models_pb2 as pb
from protos import torchserve
from tests.support import gateway_process, open_inference
from tests.support.endpoints import http_request
from tests.support.model_backend import model_backend
from tests.support.model_package import ODD_ENTRY_POINTS, ODD_MODELS, installed
from tests.support.processes import PATIENCE

CALLS = 150
"""Of each protocol."""
TEXT = {"text": "a"}
TENSOR = {"inputs": [{"name": "text", "datatype": "BYTES", "shape": [1], "data": ["a"]}]}


@dataclass(frozen=True)
class Served:
    """Connections to a backend, and the addresses of a gateway before it.

    Attributes:
        canary: Process id of the version that gets a tenth of the calls.
        processes: Of both versions.
    """

    own: grpc.Channel
    torchserve: grpc.Channel
    http: str
    torchserve_http: str
    processes: set[int]
    canary: int


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A model with two versions, of which the second is the canary."""
    package = installed(tmp_path_factory.mktemp("package"), "odd_models", ODD_MODELS, ODD_ENTRY_POINTS)
    folder = tmp_path_factory.mktemp("backend")
    with (
        model_backend(folder, FACET_TORCHSERVE_ADDRESS="127.0.0.1:0", **package) as backend,
        gateway_process.gateway(backend.address, FACET_TORCHSERVE_HTTP_ADDRESS="127.0.0.1:0") as gateway,
        grpc.insecure_channel(backend.address) as own,
        grpc.insecure_channel(backend.process.logged("ready")[0]["torchserve_address"]) as other,
    ):
        [first, second] = (
            backend.register("upper", version=version)["processes"][0]["pid"] for version in ("1.0", "2.0")
        )
        backend.manage(SetTraffic("upper", {"1.0": 90, "2.0": 10}))
        at = gateway.ready
        yield Served(own, other, at["http_address"], at["torchserve_http_address"], {first, second}, second)


def _called(channel: grpc.Channel, method: str, message: bytes, request_id: str) -> bytes:
    metadata = [("x-request-id", request_id)] if request_id else []
    call: Any = channel.unary_unary(method)
    answer: bytes = call(message, metadata=metadata, timeout=PATIENCE)
    return answer


def _posted(address: str, path: str, document: object, request_id: str) -> dict[str, Any]:
    headers = {"Content-Type": "application/json", "X-Request-Timeout": f"{PATIENCE:g}"}
    headers |= {"X-Request-ID": request_id} if request_id else {}
    status, _, content = http_request(address, "POST", path, json.dumps(document).encode(), headers)
    assert status == 200, content
    said: dict[str, Any] = json.loads(content)
    return said


def own(served: Served, request_id: str) -> int:
    """By Models/Predict."""
    request = pb.PredictRequest(name="upper", json=json.dumps(TEXT).encode())
    answer = _called(served.own, "/Models/Predict", request.SerializeToString(), request_id)
    return int(json.loads(pb.PredictReply.FromString(answer).json)["pid"])


def http(served: Served, request_id: str) -> int:
    """By the gateway."""
    return int(_posted(served.http, "/models/upper/predict", TEXT, request_id)["pid"])


def oip(served: Served, request_id: str) -> int:
    """By ModelInfer of the Open Inference Protocol."""
    text = open_inference.tensor("text", "BYTES", [1], bytes_contents=[b"a"])
    request = open_inference.request(text, model_name="upper")
    answer = _called(served.own, f"/{open_inference.SERVICE}/ModelInfer", request, request_id)
    return int(open_inference.answered(answer)["pid"][0])


def oip_http(served: Served, request_id: str) -> int:
    """By the same over HTTP."""
    outputs = _posted(served.http, "/v2/models/upper/infer", TENSOR, request_id)["outputs"]
    return next(int(one["data"][0]) for one in outputs if one["name"] == "pid")


def predictions(served: Served, request_id: str) -> int:
    """By TorchServe's Predictions."""
    request = torchserve.message_class("inference", "PredictionsRequest")(
        model_name="upper", input={"text": b"a"}
    )
    method = f"/{torchserve.service_name('inference')}/Predictions"
    answer = _called(served.torchserve, method, request.SerializeToString(), request_id)
    response = torchserve.message_class("inference", "PredictionResponse").FromString(answer)
    return int(json.loads(response.prediction)["pid"])


def predictions_http(served: Served, request_id: str) -> int:
    """By the same over HTTP."""
    return int(_posted(served.torchserve_http, "/predictions/upper", TEXT, request_id)["pid"])


ENDPOINTS: list[Callable[[Served, str], int]] = [own, http, oip, oip_http, predictions, predictions_http]


def test_a_tenth_of_the_calls_is_the_canary_s_by_every_protocol(served: Served) -> None:
    """Where callers name neither a version nor an id."""
    with ThreadPoolExecutor(len(ENDPOINTS)) as threads:
        chosen = list(threads.map(lambda ask: [ask(served, "") for _ in range(CALLS)], ENDPOINTS))
    assert all(set(each) == served.processes for each in chosen)
    found = sum(each.count(served.canary) for each in chosen)
    # Five standard deviations of a binomial distribution.
    assert abs(found / (CALLS * len(ENDPOINTS)) - 0.1) < 0.05


def test_an_id_gets_the_same_version_by_every_protocol(served: Served) -> None:
    """As its caller named it."""
    for number in range(60):
        chosen = {ask(served, f"request-{number}") for ask in ENDPOINTS}
        assert len(chosen) == 1
