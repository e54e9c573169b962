"""Rules of TorchServe's management, as its clients meet it by gRPC and by HTTP: real processes."""

import contextlib
import http.client
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from PIL import Image

from inference_server.catalogue import commands
from tests.support import model_store
from tests.support.model_backend import Backend, model_backend, wait_for_state
from tests.support.pictures import portrait
from tests.support.processes import PATIENCE
from tests.support.torchserve import called

MODELS = "org.pytorch.serve.archive.model."
HTTP = "org.pytorch.serve.http."
DESCRIBED = [
    *("modelName", "modelVersion", "modelUrl", "runtime", "minWorkers", "maxWorkers", "batchSize"),
    *("maxBatchDelay", "responseTimeout", "startupTimeout", "maxRetryTimeoutInSec", "clientTimeoutInMills"),
    *("parallelType", "parallelLevel", "deviceType", "continuousBatching", "useJobTicket", "useVenv"),
    *("stateful", "sequenceMaxIdleMSec", "sequenceTimeoutMSec", "maxNumSequence", "maxSequenceJobQueueSize"),
    *("loadedAtStartup", "workers", "jobQueueStatus"),
]
UPDATING = "Processing worker updates..."
PAGE = """{
  "models": [
    {
      "modelName": "digitmodel",
      "modelUrl": "digit-model.mar"
    }
  ]
}"""


REFUSED: list[tuple[str, str, str, int, str]] = [
    ("nothing.mar", "NOT_FOUND", "Model not found at: nothing.mar", 404, "ModelNotFoundException"),
    (
        "../two.mar",
        "NOT_FOUND",
        "Relative path is not allowed in url: ../two.mar",
        404,
        "ModelNotFoundException",
    ),
    (
        "https://evil.example/two.mar",
        "NOT_FOUND",
        "Given URL https://evil.example/two.mar does not match any allowed URL(s)",
        404,
        "ModelNotFoundException",
    ),
    (
        "https://good.example/nothing.mar",
        "INVALID_ARGUMENT",
        "Failed to download archive from: https://good.example/nothing.mar",
        400,
        "DownloadArchiveException",
    ),
    (
        "digit-model.mar",
        "ALREADY_EXISTS",
        "Model version 1.0 is already registered for model digitmodel",
        409,
        "ConflictStatusException",
    ),
    (
        "https://good.example/digit-model.mar",
        "INTERNAL",
        "Model file already exists digit-model.mar",
        500,
        "InternalServerException",
    ),
    (
        "broken.mar",
        "INTERNAL",
        "Failed to start workers for model broken version: 1.0",
        500,
        "InternalServerException",
    ),
]
"""URL, code and text by gRPC, status and type by HTTP."""


@dataclass(frozen=True)
class TorchServe:
    """A backend with TorchServe's addresses."""

    backend: Backend
    addresses: dict[str, str]

    def call(self, *calls: tuple[str, dict[str, Any]], **metadata: str) -> list[Any]:
        """What calls of methods are answered: a text, or a code and a text."""
        asked = [
            {
                "address": self.addresses["torchserve_management_address"],
                "method": method,
                "requests": [request],
                "metadata": metadata,
            }
            for method, request in calls
        ]
        return [
            (answer["code"], answer["text"]) if "code" in answer else answer["replies"][0]["msg"]
            for answer in called(*asked)
        ]

    def ask(self, method: str, path: str, body: bytes | None = None, **headers: str) -> tuple[int, Any]:
        """What a request by HTTP is answered: the status, and the JSON."""
        address = self.addresses["torchserve_http_management_address"]
        with contextlib.closing(http.client.HTTPConnection(address, timeout=PATIENCE)) as made:
            made.request(method, path, body, {k.replace("_", "-"): v for k, v in headers.items()})
            answer = made.getresponse()
            content = answer.read()
            assert not content or content.endswith((b"}\n", b"]\n"))
            return answer.status, json.loads(content) if content else None

    def settle(self) -> None:
        """Leave the models as they were at the start."""
        for model in sorted(
            self.backend.manage(commands.ListModels())["models"], key=lambda one: bool(one["default"])
        ):
            if model["name"] != "digitmodel":
                self.backend.unregister(model["name"], model["version"])


@contextlib.contextmanager
def serving(folder: Path, **environ: str) -> Iterator[TorchServe]:
    """A backend with all of TorchServe's addresses."""
    names = ("ADMIN", "TORCHSERVE", "TORCHSERVE_MANAGEMENT", "TORCHSERVE_HTTP_MANAGEMENT")
    addresses = {f"FACET_{name}_ADDRESS": "127.0.0.1:0" for name in names}
    with model_backend(folder, **addresses, **environ) as backend:
        [ready] = backend.process.logged("ready")
        yield TorchServe(backend, ready)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder whose store has a model of digits, two versions of another, and one that cannot be loaded."""
    folder = tmp_path_factory.mktemp("backend")
    store = folder / "store"
    network = (model_store.add_digits(store) / "model.onnx").read_bytes()
    toml = (store / "digit-model/1.0/model.toml").read_text()
    for version in ("1.0", "2.0"):
        model_store.add_version(store, f"two/{version}", toml, network)
    model_store.add_version(store, "broken/1.0", 'kind = "onnx"\n', b"no network")
    return folder


@pytest.fixture(scope="module")
def backend(folder: Path) -> Iterator[TorchServe]:
    """One that serves digits, and lets models be registered."""
    with serving(folder, FACET_MODELS="digitmodel=digit-model.mar", FACET_MODEL_API="on") as served:
        yield served


@pytest.fixture
def torchserve(backend: TorchServe) -> Iterator[TorchServe]:
    """It, with the models of its start."""
    yield backend
    backend.settle()


def test_a_small_program_prints_what_it_prints_with_torchserve(
    torchserve: TorchServe, folder: Path, tmp_path: Path
) -> None:
    """It lists the models, and has one tell a digit."""
    picture = tmp_path / "digit.png"
    Image.fromarray(portrait()[::2, ::3]).save(picture)
    addresses = torchserve.addresses
    request = {"model_name": "digitmodel", "input": {"data": f"@{picture}"}}
    listed, predicted = called(
        {
            "address": addresses["torchserve_management_address"],
            "method": "ListModels",
            "requests": [{"limit": 10}],
        },
        {"address": addresses["torchserve_address"], "method": "Predictions", "requests": [request]},
    )
    assert listed == {"replies": [{"msg": PAGE}]}
    digit = model_store.digit_of(folder / "store/digit-model/1.0", picture)
    assert predicted == {"replies": [{"prediction": str(digit)}]}


def test_models_are_listed_in_pages(torchserve: TorchServe) -> None:
    """A token is there up to the page that ends with the last model; a limit that is not set is 0 by gRPC."""
    torchserve.backend.register("echo", min_workers=0)

    def page(*names: str, **token: str) -> str:
        urls = {"digitmodel": "digit-model.mar", "echo": "echo"}
        models = [{"modelName": name, "modelUrl": urls[name]} for name in names]
        return json.dumps({**token, "models": models}, indent=2)

    answers = torchserve.call(
        ("ListModels", {}),
        ("ListModels", {"limit": 1}),
        ("ListModels", {"limit": 1, "next_page_token": 1}),
        ("ListModels", {"limit": 1, "next_page_token": 2}),
        ("ListModels", {"limit": -1, "next_page_token": -1}),
    )
    assert answers == [
        page(nextPageToken="0"),
        page("digitmodel", nextPageToken="1"),
        page("echo", nextPageToken="2"),
        page(),
        page("digitmodel", "echo"),
    ]
    assert torchserve.ask("GET", "/models") == (200, json.loads(page("digitmodel", "echo")))
    assert torchserve.ask("GET", "/models?limit=1&next_page_token=1")[1]["nextPageToken"] == "2"


def test_a_version_is_described_in_torchserves_order(torchserve: TorchServe) -> None:
    """With its processes; what was registered is what is told."""
    register = {
        "url": "two.mar",
        "initial_workers": 1,
        "synchronous": True,
        "batch_size": 4,
        "max_batch_delay": 50,
        "response_timeout": 20,
        "startup_timeout": 90,
        "runtime": "python3",
    }
    registered, text = torchserve.call(("RegisterModel", register), ("DescribeModel", {"model_name": "two"}))
    assert registered == 'Model "two" Version: 2.0 registered with 1 initial workers'
    assert text.startswith('[\n  {\n    "modelName": "two",\n')
    [described] = json.loads(text)
    assert list(described) == DESCRIBED
    expected = {
        "modelVersion": "2.0",
        "modelUrl": "two.mar",
        "runtime": "python",
        "minWorkers": 1,
        "maxWorkers": 1,
        "batchSize": 4,
        "maxBatchDelay": 50,
        "responseTimeout": 20,
        "startupTimeout": 90,
        "maxRetryTimeoutInSec": 300,
        "deviceType": "cpu",
        "loadedAtStartup": False,
    }
    assert expected.items() <= described.items()
    [worker] = described["workers"]
    assert list(worker) == ["id", "startTime", "status", "memoryUsage", "pid", "gpu", "gpuUsage"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", worker["startTime"])
    assert (worker["status"], worker["gpu"], worker["gpuUsage"]) == ("READY", False, "N/A")
    assert worker["pid"] in torchserve.backend.model_workers()
    assert described["jobQueueStatus"]["pendingRequests"] == 0


def test_what_a_model_says_of_itself_needs_a_process(torchserve: TorchServe) -> None:
    """Which is asked for one version alone; of one that is not there it is told in another way."""
    torchserve.backend.register("echo", min_workers=0)
    asked: list[dict[str, Any]] = [
        {"model_name": "digitmodel", "customized": True},
        {"model_name": "digitmodel", "model_version": "all", "customized": True},
        {"model_name": "echo", "customized": True},
        {"model_name": "x", "customized": True},
        {"model_name": "x"},
        {"model_name": "echo", "model_version": "3.0"},
    ]
    said, every, idle, *unknown = torchserve.call(*(("DescribeModel", one) for one in asked))
    assert json.loads(said)[0]["customizedMetadata"]["kind"] == "image_classification"
    assert list(json.loads(every)[0]) == DESCRIBED
    no_worker = (
        'Model "echo" has no worker to serve describe request. Please use scale workers API to add workers.'
    )
    assert idle == ("INTERNAL", f"{no_worker}\nInternalServerException.()")
    missing = f"Model not found: x\n{MODELS}ModelNotFoundException"
    version = f"Model version: 3.0 does not exist for model: echo\n{MODELS}ModelVersionNotFoundException"
    assert unknown == [("INTERNAL", missing), ("NOT_FOUND", missing), ("NOT_FOUND", version)]
    assert torchserve.ask("GET", "/models/echo?customized=true") == (
        503,
        {"code": 503, "type": "ServiceUnavailableException", "message": no_worker},
    )
    assert torchserve.ask("GET", "/models/x") == (
        404,
        {"code": 404, "type": "ModelNotFoundException", "message": "Model not found: x"},
    )
    assert torchserve.ask("GET", "/models/echo/3.0")[1]["type"] == "ModelVersionNotFoundException"


@pytest.mark.security(
    endpoint="torchserve",
    attack=(
        "Models to be registered by `..`, by URLs that are not allowed, and by names that do not exist, "
        "over HTTP and gRPC"
    ),
    outcome="Refused as TorchServe does; no model is added",
)
def test_what_cannot_be_registered_is_refused_as_torchserve_does(strict: TorchServe) -> None:
    """By both protocols; nothing of it stays."""
    requests = [
        {"url": url, "model_name": "digitmodel" if "digit" in url else "", "initial_workers": 1}
        for url, *_ in REFUSED
    ]
    answers = strict.call(*(("RegisterModel", {**one, "synchronous": True}) for one in requests))
    for (_, code, text, status, kind), request, answer in zip(REFUSED, requests, answers, strict=True):
        said, java_class = answer[1].split("\n")
        assert (answer[0], said, java_class.rpartition(".")[2]) == (code, text, kind)
        document = {"code": status, "type": kind, "message": text}
        assert strict.ask("POST", f"/models?{urlencode(request)}") == (status, document)
    assert set(strict.backend.listed()) == {"digitmodel/1.0"}


@pytest.fixture(scope="module")
def strict(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TorchServe]:
    """A backend that allows the URLs of one machine."""
    environ = {
        "FACET_MODELS": "digitmodel=digit-model.mar",
        "FACET_MODEL_API": "on",
        "FACET_TORCHSERVE_ALLOWED_URLS": r"https://good\.example/.*",
        "FACET_MODEL_STORE": str(folder / "store"),
    }
    with serving(tmp_path_factory.mktemp("strict"), **environ) as served:
        yield served


def test_a_name_of_any_length_is_told_of(strict: TorchServe) -> None:
    """The error is no longer than what gRPC carries, so it arrives with its own code."""
    long = "é" * 100_000
    for method, request in (
        ("DescribeModel", {"model_name": long}),
        ("SetDefault", {"model_name": "digitmodel", "model_version": long}),
        ("RegisterModel", {"url": long}),
    ):
        [(code, text)] = strict.call((method, request))
        assert (code, text.splitlines()[1]) in {
            ("NOT_FOUND", f"{MODELS}ModelNotFoundException"),
            ("NOT_FOUND", f"{MODELS}ModelVersionNotFoundException"),
        }


@pytest.mark.parametrize(
    ("query", "body"),
    [
        ({"max_batch_delay": "9" * 400}, None),
        ({"max_batch_delay": str(2**31)}, None),
        ({"batch_size": "1_0"}, None),
        ({}, {"batch_size": 1.5}),
        ({}, {"batch_size": True}),
    ],
)
def test_a_number_that_is_none_of_32_bits_is_refused(
    strict: TorchServe, query: dict[str, str], body: dict[str, Any] | None
) -> None:
    """None is rounded, cut off or taken for something else."""
    headers = {} if body is None else {"Content-Type": "application/json"}
    sent = None if body is None else json.dumps({"url": "two.mar", **body}).encode()
    path = f"/models?{urlencode({'url': 'two.mar', **query} if body is None else {})}"
    status, answer = strict.ask("POST", path, sent, **headers)
    [name] = query or body or {}
    assert (status, answer["type"]) == (400, "BadRequestException")
    assert answer["message"].startswith(f"{name} is ")
    assert answer["message"].endswith("; accepted: a whole number of 32 bits")


def test_a_call_that_says_too_little_is_refused(strict: TorchServe) -> None:
    """With the parameter that TorchServe names."""
    answers = strict.call(
        ("RegisterModel", {}),
        ("RegisterModel", {"url": "two.mar", "runtime": "java"}),
        ("UnregisterModel", {}),
        ("ScaleWorker", {}),
        ("ScaleWorker", {"model_name": "digitmodel", "min_worker": 2, "max_worker": 1}),
        ("ScaleWorker", {"model_name": "x", "synchronous": True}),
        ("SetDefault", {"model_name": "digitmodel", "model_version": "9"}),
        ("SetDefault", {"model_name": "digitmodel"}),
        ("UnregisterModel", {"model_name": "digitmodel", "model_version": "9"}),
    )
    bad, version = f"{HTTP}BadRequestException", f"{MODELS}ModelVersionNotFoundException"
    assert answers == [
        ("INVALID_ARGUMENT", f"Parameter url is required.\n{bad}"),
        ("INVALID_ARGUMENT", f"Invalid model runtime value: java\n{bad}"),
        ("INVALID_ARGUMENT", f"Parameter url is required.\n{bad}"),
        ("INVALID_ARGUMENT", f"Parameter model_name is required.\n{bad}"),
        ("INVALID_ARGUMENT", f"max_worker cannot be less than min_worker.\n{bad}"),
        ("NOT_FOUND", f"Model not found: x\n{MODELS}ModelNotFoundException"),
        ("NOT_FOUND", f"Model version 9 does not exist for model digitmodel\n{version}"),
        ("NOT_FOUND", f"Model version  does not exist for model digitmodel\n{version}"),
        ("NOT_FOUND", f"Model version: 9 does not exist for model: digitmodel\n{version}"),
    ]
    for query in ("max_worker=-1", "min_worker=2&max_worker=1", "min_worker=a"):
        status, document = strict.ask("PUT", f"/models/digitmodel?{query}")
        assert (status, document["type"]) == (400, "BadRequestException")
    assert strict.ask("POST", "/models?model_name=a")[0] == 400
    nested = b'{"url": "x", "a": "x", "b": %s0%s}' % (b"[" * 1000, b"]" * 1000)
    for body in (b"{", b"[]", b'{"url": "x", "url": "y"}', nested):
        status, document = strict.ask("POST", "/models", body, Content_Type="application/json")
        assert (status, document["type"]) == (400, "BadRequestException")
    assert strict.ask("POST", "/models?url=")[0] == 404
    assert strict.ask("GET", "/nothing")[1]["type"] == "ResourceNotFoundException"
    assert strict.ask("PATCH", "/models")[1]["type"] == "MethodNotAllowedException"


def test_a_model_lives_its_life_by_grpc(torchserve: TorchServe) -> None:
    """Registered without processes, scaled, made the default, unregistered."""
    two, first = {"model_name": "two"}, {"model_name": "two", "model_version": "1.0"}
    answers = torchserve.call(
        ("RegisterModel", {"url": "two/1.0"}),
        ("RegisterModel", {"url": "https://some.example/two.mar"}),
        ("ScaleWorker", {**two, "min_worker": 2, "synchronous": True}),
        ("DescribeModel", two),
        ("ScaleWorker", {**first, "min_worker": 1, "max_worker": 3, "synchronous": True}),
        ("SetDefault", {**two, "model_version": "2.0"}),
        ("ScaleWorker", {**two, "synchronous": True}),
        ("UnregisterModel", two),
        ("UnregisterModel", first),
        ("UnregisterModel", two),
        ("UnregisterModel", two),
    )
    idle = "registered with 0 initial workers. Use scale workers API to add workers for the model."
    conflict = f"Cannot remove default version for model two\n{HTTP}InvalidModelVersionException"
    [described] = json.loads(answers.pop(3))
    assert [worker["status"] for worker in described["workers"]] == ["READY", "READY"]
    assert answers == [
        f'Model "two" Version: 1.0 {idle}',
        f'Model "two" Version: 2.0 {idle}',
        "Workers scaled to 2 for model: two",
        "Workers scaled to 1 for model: two, version: 1.0",
        'Default version successfully updated for model "two" to "2.0"',
        "Workers scaled to 1 for model: two",
        ("FAILED_PRECONDITION", conflict),
        'Model "two" unregistered',
        'Model "two" unregistered',
        ("NOT_FOUND", f"Model not found: two\n{MODELS}ModelNotFoundException"),
    ]


def test_scaling_keeps_the_processes_that_are_within_its_bounds(torchserve: TorchServe) -> None:
    """Those above them stop; asked not to wait for it, it says that it goes on."""
    register = {"url": "two.mar", "initial_workers": 2, "synchronous": True}
    torchserve.call(("RegisterModel", register))
    before = torchserve.backend.model_workers()
    torchserve.call(("ScaleWorker", {"model_name": "two", "min_worker": 1, "max_worker": 2}))
    assert torchserve.backend.model_workers() == before
    [said] = torchserve.call(("ScaleWorker", {"model_name": "two", "min_worker": 1}))
    assert said == UPDATING
    [described] = torchserve.ask("GET", "/models/two")[1]
    assert (described["minWorkers"], described["maxWorkers"]) == (1, 1)


def test_a_model_lives_its_life_by_http(torchserve: TorchServe) -> None:
    """As by gRPC; here it can be scaled to nothing, and it stays."""
    body = json.dumps({"url": "two/1.0", "model_name": "m", "initial_workers": 1}).encode()
    idle = "registered with 0 initial workers. Use scale workers API to add workers for the model."
    steps: list[tuple[str, str, bytes | None, int, str]] = [
        ("POST", "/models", body, 200, 'Model "m" Version: 1.0 registered with 1 initial workers'),
        ("POST", "/models?url=two.mar&model_name=m", None, 200, f'Model "m" Version: 2.0 {idle}'),
        ("PUT", "/models/m/2.0/set-default", None, 200, 'successfully updated for model "m" to "2.0"'),
        (
            "PUT",
            "/models/m/1.0?min_worker=0&synchronous=true",
            None,
            200,
            "to 0 for model: m, version: 1.0",
        ),
        ("PUT", "/models/m?min_worker=1", None, 202, UPDATING),
    ]
    for method, path, content, status, text in steps:
        headers = {"Content_Type": "application/json"} if content else {}
        said_status, document = torchserve.ask(method, path, content, **headers)
        assert (said_status, list(document)) == (status, ["status"])
        assert text in document["status"]
    wait_for_state(torchserve.backend, "m/2.0", "ready")
    first, second = torchserve.ask("GET", "/models/m/all")[1]
    assert (first["minWorkers"], first["workers"], second["minWorkers"]) == (0, [], 1)
    assert torchserve.ask("DELETE", "/models/m") == (
        403,
        {
            "code": 403,
            "type": "InvalidModelVersionException",
            "message": "Cannot remove default version for model m",
        },
    )
    assert torchserve.ask("DELETE", "/models/m/1.0") == (200, {"status": 'Model "m" unregistered'})
    assert torchserve.ask("DELETE", "/models/m/1.0")[0] == 404


def test_a_registration_need_not_be_waited_for(torchserve: TorchServe) -> None:
    """It is then for its caller to look."""
    [said] = torchserve.call(("RegisterModel", {"url": "two.mar", "initial_workers": 1}))
    assert said == UPDATING
    wait_for_state(torchserve.backend, "two/2.0", "ready")
    query = "url=two/1.0&initial_workers=1&synchronous=false"
    assert torchserve.ask("POST", f"/models?{query}") == (202, {"status": UPDATING})
    wait_for_state(torchserve.backend, "two/1.0", "ready")


def test_the_paths_are_described_as_openapi_does(torchserve: TorchServe) -> None:
    """Every route."""
    for method, path in (("OPTIONS", "/"), ("GET", "/api-description")):
        status, document = torchserve.ask(method, path)
        assert (status, document["openapi"]) == (200, "3.0.1")
        assert "/models/{model_name}/{model_version}/set-default" in document["paths"]


@pytest.mark.security(
    endpoint="torchserve",
    attack="A web page that asks the management's port, from another origin or by DNS rebinding",
    outcome="403",
)
def test_a_web_page_cannot_ask(torchserve: TorchServe) -> None:
    """By its origin, or by a name that is made to mean this machine."""
    for headers in (
        {"Origin": "http://evil.example"},
        {"Host": "evil.example"},
        {"Sec_Fetch_Site": "cross-site"},
    ):
        status, told = torchserve.ask("POST", "/models?url=two.mar", None, **headers)
        assert (status, told["code"], told["type"]) == (403, 403, "ForbiddenException")


@pytest.mark.security(
    endpoint="torchserve",
    attack=(
        "Models to be registered and unregistered without `FACET_MODEL_API`, or with the key of another port"
    ),
    outcome="Refused",
)
def test_models_are_registered_where_the_operator_allows_it(folder: Path, tmp_path: Path) -> None:
    """And unregistered; all else needs no leave. Each port takes its own key alone, which can be renewed."""
    keys = tmp_path / "keys.json"
    environ = {"FACET_TORCHSERVE_KEY_FILE": str(keys), "FACET_MODEL_STORE": str(folder / "store")}
    with serving(tmp_path, FACET_MODELS="digitmodel=digit-model.mar", **environ) as served:
        found = {port: f"Bearer {one['key']}" for port, one in json.loads(keys.read_text()).items()}
        refused = "Token Authorization failed. Token either incorrect, expired, or not provided correctly"
        for port in ("inference", "API"):
            assert served.call(("ListModels", {}), authorization=found[port]) == [
                ("PERMISSION_DENIED", refused)
            ]
            status, document = served.ask("GET", "/models", Authorization=found[port])
            assert (status, document["type"], document["message"]) == (400, "InvalidKeyException", refused)
        own = found["management"]
        answers = served.call(
            ("RegisterModel", {}),
            ("UnregisterModel", {}),
            ("SetDefault", {"model_name": "digitmodel", "model_version": "1.0"}),
            authorization=own,
        )
        disabled = ("PERMISSION_DENIED", "Model API disabled")
        assert answers[:2] == [disabled, disabled]
        assert "successfully" in answers[2]
        for method, path in (("POST", "/models"), ("DELETE", "/models/digitmodel")):
            status, document = served.ask(method, path, Authorization=own)
            assert (status, document["type"]) == (405, "MethodNotAllowedException")
        assert served.ask("GET", "/token?type=management", Authorization=own)[0] == 400
        assert served.ask("GET", "/token?type=API", Authorization=found["API"])[0] == 400
        assert served.ask("GET", "/token?type=management", Authorization=found["API"]) == (200, None)
        assert served.ask("GET", "/models", Authorization=own)[0] == 400
        renewed = json.loads(keys.read_text())
        assert renewed["inference"]["key"] in found["inference"]
        new = f"Bearer {renewed['management']['key']}"
        assert served.ask("GET", "/models", Authorization=new)[0] == 200
