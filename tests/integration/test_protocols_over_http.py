"""Rules of the protocols of others over HTTP: a gateway's process before those of a real backend."""

import asyncio
import gzip
import json
import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.support import gateway_process, model_store
from tests.support.endpoints import http_request
from tests.support.gateway_forms import form
from tests.support.model_backend import Backend, model_backend
from tests.support.pictures import ASTRONAUT, portrait
from tests.support.processes import PATIENCE
from utils.async_service_client import AsyncServiceClient
from utils.service_client import ServiceClient

TIME = {"X-Request-Timeout": f"{PATIENCE:g}"}


@dataclass(frozen=True)
class Served:
    """A backend and the two addresses of a gateway before it."""

    backend: Backend
    main: str
    torchserve: str


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """One that serves digits, faces and the built-in echo."""
    folder = tmp_path_factory.mktemp("backend")
    model_store.add_digits(folder / "store")
    models = "digitmodel=digit-model.mar,face_detection,echo"
    with (
        model_backend(folder, FACET_MODELS=models) as backend,
        gateway_process.gateway(backend.address, FACET_TORCHSERVE_HTTP_ADDRESS="127.0.0.1:0") as running,
    ):
        addresses = running.ready
        yield Served(backend, addresses["http_address"], addresses["torchserve_http_address"])


@pytest.fixture(scope="module")
def picture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A PNG."""
    path = tmp_path_factory.mktemp("pictures") / "digit.png"
    Image.fromarray(portrait()[::2, ::3]).save(path)
    return path


def torchserve(
    served: Served, path: str, body: bytes, content_type: str = "application/octet-stream"
) -> tuple[int, bytes]:
    """Status and body of what TorchServe's address answers."""
    headers = {"Content-Type": content_type, **TIME}
    status, _, content = http_request(served.torchserve, "POST", path, body, headers)
    return status, content


# --- TorchServe -------------------------------------------------------------------------------------


def test_a_program_for_torchserve_gets_what_torchserve_gives_it(served: Served, picture: Path) -> None:
    """The bare class of a picture: as the body, whatever type it says it has, and as a part of a form."""
    folder = served.backend.state.parent / "store" / "digit-model" / "1.0"
    digit = str(model_store.digit_of(folder, picture)).encode()
    content = picture.read_bytes()
    for path in ("/predictions/digitmodel", "/predictions/digitmodel/1.0", "/models/digitmodel/invoke"):
        assert torchserve(served, path, content) == (200, digit)
    assert torchserve(served, "/invocations?model_name=digitmodel", content, "image/png") == (200, digit)
    for key in ("data", "body"):
        body, content_type = form((key, content))
        assert torchserve(served, "/predictions/digitmodel", body, content_type) == (200, digit)


def test_faces_are_found_for_programs_for_torchserve(served: Served) -> None:
    """As by POST /predict."""
    status, content = torchserve(served, "/predictions/face_detection", ASTRONAUT.read_bytes())
    assert status == 200
    answer = http_request(
        served.main, "POST", "/predict", ASTRONAUT.read_bytes(), {"Content-Type": "image/png", **TIME}
    )
    assert json.loads(content)["results"] == json.loads(answer[2])["results"]


@pytest.mark.parametrize(
    ("path", "told"),
    [
        ("/predictions/rose", "404 ModelNotFoundException Model not found: rose"),
        (
            "/predictions/digitmodel/7",
            "404 ModelVersionNotFoundException Model version: 7 does not exist for model: digitmodel",
        ),
        ("/predictions/digitmodel", "400 BadRequestException "),
        ("/predictions/face_detection", "400 BadRequestException "),
        ("/invocations", "400 BadRequestException Parameter model_name is required."),
    ],
)
def test_failures_are_told_as_torchserve_tells_them(served: Served, path: str, told: str) -> None:
    """What is no picture is its sender's fault."""
    status, content = torchserve(served, path, b"no picture")
    document = json.loads(content)
    assert f"{status} {document['type']} {document['message']}".startswith(told)


# --- the Open Inference Protocol --------------------------------------------------------------------

LENGTH = "Inference-Header-Content-Length"


def ask(
    served: Served, path: str, body: bytes | None = None, **headers: str
) -> tuple[int, dict[str, str], bytes]:
    """Status, headers and body of an answer at the main address; headers are named with underscores."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return http_request(served.main, "GET" if body is None else "POST", path, body, {**named, **TIME})


def told(served: Served, path: str, body: bytes | None = None) -> Any:  # noqa: ANN401 - any JSON
    """What an answer says, which is no error."""
    status, headers, content = ask(served, path, body)
    assert (status, headers["content-type"]) == (200, "application/json"), content
    return json.loads(content)


def faces(picture: bytes, **parameters: Any) -> tuple[bytes, int]:  # noqa: ANN401 - of JSON
    """A request for the faces in a picture that stands behind the JSON, and the length of that."""
    sized = len(picture) + 4
    tensor = {"name": "image", "datatype": "BYTES", "shape": [1], "parameters": {"binary_data_size": sized}}
    head = json.dumps({"id": "r1", "inputs": [tensor], "parameters": parameters}).encode()
    return head + struct.pack("<I", len(picture)) + picture, len(head)


def test_the_server_and_its_models_are_described_as_over_grpc(served: Served) -> None:
    """In JSON, where numbers are numbers."""
    assert told(served, "/v2/health/ready") == {"ready": True}
    assert told(served, "/v2")["name"] == "facet"
    model = told(served, "/v2/models/digitmodel")
    assert (model["name"], model["versions"]) == ("digitmodel", ["1"])
    assert model["inputs"] == [{"name": "image", "datatype": "BYTES", "shape": [-1]}]
    assert told(served, "/v2/models/digitmodel/versions/1") == model
    config = told(served, "/v2/models/face_detection/config")
    assert _configurations(served.backend.address) == [config, config]
    assert config["input"][0]["data_type"] == "TYPE_STRING"
    assert told(served, "/v2/models/echo/versions/1/ready") == {"name": "echo", "ready": True}
    index = told(served, "/v2/repository/index", b"")
    assert [(one["name"], one["state"]) for one in index] == [
        ("digitmodel", "READY"),
        ("echo", "READY"),
        ("face_detection", "READY"),
    ]


def _configurations(address: str) -> list[Any]:
    """What both clients are told of face detection over gRPC."""
    question = ("ModelConfig", {"name": "face_detection", "version": ""})

    async def awaited() -> dict[str, Any]:
        async with AsyncServiceClient(address, timeout=PATIENCE) as client:
            return await client.inference_protocol(*question)

    with ServiceClient(address, timeout=PATIENCE) as client:
        answers = [client.inference_protocol(*question), asyncio.run(awaited())]
    return [answer["config"] for answer in answers]


PACKED: dict[str, Callable[[bytes], bytes]] = {"": bytes, "gzip": gzip.compress, "deflate": zlib.compress}


@pytest.mark.parametrize("coding", PACKED)
@pytest.mark.parametrize(
    "path", ["/v2/models/face_detection/infer", "/v2/models/face_detection/versions/1/infer"]
)
def test_faces_are_found_by_tensors(served: Served, path: str, coding: str) -> None:
    """In binary form where that is asked for, else in JSON."""
    body, length = faces(ASTRONAUT.read_bytes(), binary_data_output=True)
    sent = {LENGTH.replace("-", "_"): str(length), "Content_Encoding": coding}
    status, headers, content = ask(served, path, PACKED[coding](body), **sent)
    assert (status, headers["content-type"]) == (200, "application/octet-stream")
    cut = int(headers[LENGTH.lower()])
    answer = json.loads(content[:cut])
    assert (answer["model_name"], answer["model_version"], answer["id"]) == ("face_detection", "1", "r1")
    sizes = {one["name"]: one["parameters"]["binary_data_size"] for one in answer["outputs"]}
    assert sizes == {"num_faces": 4, "boxes": 16, "landmarks": 40, "confidences": 4}
    assert len(content) == cut + sum(sizes.values())
    body, length = faces(ASTRONAUT.read_bytes())
    status, headers, content = ask(served, path, body, **{LENGTH.replace("-", "_"): str(length)})
    assert (status, headers["content-type"]) == (200, "application/json")
    assert LENGTH.lower() not in headers
    assert json.loads(content)["outputs"][0]["data"] == [1]


@pytest.mark.security(
    endpoint="oip",
    attack="A length of the JSON that is beyond the body, or ends within the JSON",
    outcome="400",
)
@pytest.mark.parametrize("by", [10**6, -1, -10])
def test_a_length_that_lies_is_refused(served: Served, by: int) -> None:
    """Beyond the body, or amid its JSON: nothing is guessed."""
    body, length = faces(ASTRONAUT.read_bytes())
    sent = {LENGTH.replace("-", "_"): str(length + by)}
    status, _, content = ask(served, "/v2/models/face_detection/infer", body, **sent)
    problem = json.loads(content)
    assert (status, problem["reason"]) == (400, "MALFORMED_REQUEST")
    assert problem["error"] == problem["detail"]


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v2/models/rose", None),
        ("/v2/models/digitmodel/versions/7", None),
        ("/v2/models/rose/infer", b"{}"),
        ("/v2/models/digitmodel/versions/7/infer", b"{}"),
    ],
)
def test_an_unknown_model_is_told_as_triton_tells_it(served: Served, path: str, body: bytes | None) -> None:
    """Whoever finds that there is none."""
    status, _, content = ask(served, path, body)
    problem = json.loads(content)
    assert (status, problem["reason"]) == (404, "MODEL_NOT_FOUND")
    assert problem["error"].startswith("Request for unknown model: ")


@pytest.mark.security(
    endpoint="oip",
    attack="Models to be loaded and unloaded by callers",
    outcome="403 unless `FACET_MODEL_API` is on",
)
def test_models_are_not_changed_unless_the_operator_allows_it(served: Served) -> None:
    """Neither loaded nor unloaded."""
    for action in ("load", "unload"):
        status, _, content = ask(served, f"/v2/repository/models/digitmodel/{action}", b"")
        assert (status, json.loads(content)["reason"]) == (403, "MODEL_API_DISABLED")
    assert served.backend.listed()["digitmodel/1.0"] == "ready"


def test_where_the_operator_allows_it_models_are_loaded_and_unloaded(tmp_path: Path) -> None:
    """Of those that the store has."""
    model_store.add_digits(tmp_path / "store")
    with (
        model_backend(tmp_path, FACET_MODEL_API="on") as backend,
        gateway_process.gateway(backend.address) as running,
    ):
        address = running.ready["http_address"]

        def post(action: str) -> int:
            path = f"/v2/repository/models/digit-model/{action}"
            return http_request(address, "POST", path, b"", TIME)[0]

        assert post("load") == 200
        assert http_request(address, "GET", "/v2/models/digit-model/ready", headers=TIME)[0] == 200
        assert post("unload") == 200
        assert http_request(address, "GET", "/v2/models/digit-model/ready", headers=TIME)[0] == 503
        assert post("unload") == 404
