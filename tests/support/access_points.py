"""All protocols by which a running Facet is called, a function each: for tests of who is let in.

An access point is asked with an Authorization, or with none, and gives the status and, where it refuses, the
reason: for HTTP the number and the reason of the problem, for gRPC the name of the code and the reason. At
TorchServe's HTTP addresses the reason is the type, which is what its clients know.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import grpc
from google.protobuf import empty_pb2
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2

from protos import infer_pb2, management_pb2, models_pb2
from protos.oip import message_class as oip
from protos.torchserve import message_class as torchserve
from tests.support import batches
from tests.support.endpoints import http_request
from tests.support.pictures import ASTRONAUT
from tests.support.processes import PATIENCE
from utils.api_keys import MANAGE, METRICS, PREDICT
from utils.channel import error_of

Told = tuple[str, str]
"""Status and reason; the latter is empty of a success."""


@dataclass(frozen=True)
class Places:
    """Where a Facet listens, by the name of each place."""

    http: str
    torchserve_http: str
    grpc: str
    torchserve: str
    admin: str
    admin_grpc: str
    torchserve_admin: str
    torchserve_admin_http: str
    http_metrics: str


@dataclass(frozen=True)
class AccessPoint:
    """A method or a path that is called.

    Attributes:
        name: Of it.
        place: Where it is, of Places.
        scope: That a key needs for it; empty where none is needed.
        ask: Takes the address and what is shown, and gives what is told.
    """

    name: str
    place: str
    scope: str
    ask: Callable[[str, str | None], Told]

    def __str__(self) -> str:
        return self.name


def _http(method: str, path: str, body: bytes | None, content_type: str) -> Callable[[str, str | None], Told]:
    def ask(address: str, shown: str | None) -> Told:
        headers = {"Content-Type": content_type, "X-Request-Timeout": f"{PATIENCE:g}"}
        if shown is not None:
            headers["Authorization"] = shown
        status, fields, answer = http_request(address, method, path, body, headers)
        if status < 300:
            return str(status), ""
        assert status != 401 or fields["www-authenticate"]
        told = json.loads(answer)
        return str(status), told.get("reason") or told["type"]

    return ask


def _grpc(path: str, message: Any, *, streams: bool = False) -> Callable[[str, str | None], Told]:  # noqa: ANN401
    def ask(address: str, shown: str | None) -> Told:
        metadata = () if shown is None else (("authorization", shown),)
        content = message.SerializeToString()
        with grpc.insecure_channel(address) as channel:
            try:
                if streams:
                    stream: Any = channel.stream_stream(path)
                    list(stream(iter([content]), metadata=metadata, timeout=PATIENCE))
                else:
                    channel.unary_unary(path)(content, metadata=metadata, timeout=PATIENCE)
            except grpc.RpcError as error:
                return error.code().name, error_of(error).reason
        return "OK", ""

    return ask


_JSON = "application/json"
_PICTURE = ASTRONAUT.read_bytes()
_BATCH = batches.of_files([_PICTURE])
_IMAGE = infer_pb2.Image(raw_data=_PICTURE)
_ECHO = b'{"text": "hello"}'
_OIP = "/inference.GRPCInferenceService"
_TORCHSERVE = "/org.pytorch.serve.grpc"
_INFER = json.dumps(
    {"inputs": [{"name": "text", "datatype": "BYTES", "shape": [1], "data": ["hello"]}]}
).encode()
ECHO_INFER: Any = oip("ModelInferRequest")(model_name="echo")
_ECHO_INPUT = ECHO_INFER.inputs.add(name="text", datatype="BYTES", shape=[1])
_ECHO_INPUT.contents.bytes_contents.append(b"hello")
_ECHO_PREDICT = models_pb2.PredictRequest(name="echo", json=_ECHO)
_TORCHSERVE_ECHO = torchserve("inference", "PredictionsRequest")(model_name="echo", input={"text": b"hello"})
_REFLECTED = reflection_pb2.ServerReflectionRequest(list_services="")
_HEALTH = health_pb2.HealthCheckRequest()

ACCESS_POINTS = [
    AccessPoint("http_predict", "http", PREDICT, _http("POST", "/predict", _PICTURE, "image/png")),
    AccessPoint(
        "http_annotated", "http", PREDICT, _http("POST", "/predict/annotated", _PICTURE, "image/png")
    ),
    AccessPoint("http_batch", "http", PREDICT, _http("POST", batches.PATH, _BATCH, batches.KIND)),
    AccessPoint("http_models", "http", PREDICT, _http("GET", "/models", None, _JSON)),
    AccessPoint("http_model", "http", PREDICT, _http("POST", "/models/echo/predict", _ECHO, _JSON)),
    AccessPoint("http_oip", "http", PREDICT, _http("POST", "/v2/models/echo/infer", _INFER, _JSON)),
    AccessPoint("http_oip_model", "http", PREDICT, _http("GET", "/v2/models/echo", None, _JSON)),
    AccessPoint(
        "http_oip_load", "http", MANAGE, _http("POST", "/v2/repository/models/echo/load", b"{}", _JSON)
    ),
    AccessPoint(
        "http_torchserve", "torchserve_http", PREDICT, _http("POST", "/predictions/echo", _ECHO, _JSON)
    ),
    AccessPoint("grpc_predict", "grpc", PREDICT, _grpc("/Inference/Predict", _IMAGE)),
    AccessPoint(
        "grpc_stream",
        "grpc",
        PREDICT,
        _grpc("/Inference/PredictStream", infer_pb2.PredictStreamRequest(image=_IMAGE), streams=True),
    ),
    AccessPoint("grpc_models", "grpc", PREDICT, _grpc("/Models/List", models_pb2.ListRequest())),
    AccessPoint("grpc_model", "grpc", PREDICT, _grpc("/Models/Predict", _ECHO_PREDICT)),
    AccessPoint("grpc_oip", "grpc", PREDICT, _grpc(f"{_OIP}/ModelInfer", ECHO_INFER)),
    AccessPoint(
        "grpc_oip_stream", "grpc", PREDICT, _grpc(f"{_OIP}/ModelStreamInfer", ECHO_INFER, streams=True)
    ),
    AccessPoint(
        "grpc_oip_load",
        "grpc",
        MANAGE,
        _grpc(f"{_OIP}/RepositoryModelLoad", oip("RepositoryModelLoadRequest")(model_name="echo")),
    ),
    AccessPoint(
        "grpc_reflection",
        "grpc",
        PREDICT,
        _grpc("/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo", _REFLECTED, streams=True),
    ),
    AccessPoint(
        "grpc_torchserve",
        "torchserve",
        PREDICT,
        _grpc(f"{_TORCHSERVE}.inference.InferenceAPIsService/Predictions", _TORCHSERVE_ECHO),
    ),
    AccessPoint("admin_statusz", "admin", MANAGE, _http("GET", "/statusz", None, _JSON)),
    AccessPoint("admin_metrics", "admin", METRICS, _http("GET", "/metrics", None, _JSON)),
    AccessPoint("http_metrics", "http_metrics", METRICS, _http("GET", "/metrics", None, _JSON)),
    AccessPoint("admin_models", "admin", MANAGE, _http("GET", "/models", None, _JSON)),
    AccessPoint("admin_log_level", "admin", MANAGE, _http("PUT", "/log-level", b'{"level": "INFO"}', _JSON)),
    AccessPoint(
        "admin_grpc",
        "admin_grpc",
        MANAGE,
        _grpc("/facet.management.Management/Status", management_pb2.StatusRequest()),
    ),
    AccessPoint(
        "admin_torchserve_http", "torchserve_admin_http", MANAGE, _http("GET", "/models", None, _JSON)
    ),
    AccessPoint(
        "admin_torchserve",
        "torchserve_admin",
        MANAGE,
        _grpc(
            f"{_TORCHSERVE}.management.ManagementAPIsService/ListModels",
            torchserve("management", "ListModelsRequest")(),
        ),
    ),
    AccessPoint("http_root", "http", "", _http("GET", "/", None, _JSON)),
    AccessPoint("http_docs", "http", "", _http("GET", "/docs", None, _JSON)),
    AccessPoint("http_openapi", "http", "", _http("GET", "/openapi.json", None, _JSON)),
    AccessPoint("http_version", "http", "", _http("GET", "/version", None, _JSON)),
    AccessPoint("http_healthz", "http", "", _http("GET", "/healthz", None, _JSON)),
    AccessPoint("http_readyz", "http", "", _http("GET", "/readyz", None, _JSON)),
    AccessPoint("http_oip_live", "http", "", _http("GET", "/v2/health/live", None, _JSON)),
    AccessPoint("http_oip_ready", "http", "", _http("GET", "/v2/health/ready", None, _JSON)),
    AccessPoint("http_preflight", "http", "", _http("OPTIONS", "/predict", None, _JSON)),
    AccessPoint("http_torchserve_ping", "torchserve_http", "", _http("GET", "/ping", None, _JSON)),
    AccessPoint("http_torchserve_api", "torchserve_http", "", _http("OPTIONS", "/", None, _JSON)),
    AccessPoint("grpc_health", "grpc", "", _grpc("/grpc.health.v1.Health/Check", _HEALTH)),
    AccessPoint(
        "grpc_health_list", "grpc", "", _grpc("/grpc.health.v1.Health/List", health_pb2.HealthListRequest())
    ),
    AccessPoint("grpc_oip_live", "grpc", "", _grpc(f"{_OIP}/ServerLive", oip("ServerLiveRequest")())),
    AccessPoint("grpc_oip_ready", "grpc", "", _grpc(f"{_OIP}/ServerReady", oip("ServerReadyRequest")())),
    AccessPoint(
        "grpc_torchserve_ping",
        "torchserve",
        "",
        _grpc(f"{_TORCHSERVE}.inference.InferenceAPIsService/Ping", empty_pb2.Empty()),
    ),
    AccessPoint("admin_healthz", "admin", "", _http("GET", "/healthz", None, _JSON)),
]
