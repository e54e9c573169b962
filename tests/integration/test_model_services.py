"""Rules of models that are served by every endpoint at once, through real processes."""

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from grpc_reflection.v1alpha import reflection_pb2
from PIL import Image

from inference_server.catalogue import commands
from tests.support import gateway_process, model_store
from tests.support.iris_package import NAMES, SPECIES, Trained
from tests.support.model_backend import Backend, model_backend
from tests.support.model_endpoints import ENDPOINTS, SERVICE, Endpoint, Input, Served, TypedMethods
from tests.support.model_package import ODD_ENTRY_POINTS, ODD_MODELS, installed
from tests.support.pictures import ASTRONAUT, portrait
from tests.support.processes import PATIENCE, ROOT
from utils.errors import ModelNotFound

ROUNDS = int(os.environ.get("MODEL_ROUNDS", "5"))
"""How often a model is registered and unregistered under the eyes of reflection."""
CONNECTIONS = 6

MESSAGE = b"\n\x01a"
"""An input of `upper`: the text `a`."""


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Files of pictures, in several formats and colours."""
    folder = tmp_path_factory.mktemp("pictures")
    made = [ASTRONAUT]
    for number, (form, order) in enumerate((("PNG", [1, 2, 0]), ("JPEG", [2, 0, 1]), ("WEBP", [0, 2, 1]))):
        made.append(folder / f"{number}.{form.lower()}")
        pixels = portrait()[number * 90 :: 2, :: number + 1, order] // (number + 1)
        Image.fromarray(pixels).save(made[-1], form)
    return made


@pytest.fixture(scope="module")
def trained() -> Trained:
    """A classifier of flowers."""
    return Trained()


@pytest.fixture(scope="module")
def backend(tmp_path_factory: pytest.TempPathFactory, trained: Trained) -> Iterator[Backend]:
    """One that hosts every kind of the store, faces, and the built-in echo."""
    folder = tmp_path_factory.mktemp("backend")
    for add in (model_store.add_classifier, model_store.add_expression, model_store.add_digits):
        add(folder / "store")
    model_store.add_version(folder / "store", "iris-onnx/1.2", 'kind = "onnx"\n', trained.onnx())
    packages = {
        "odd_models": (ODD_MODELS, ODD_ENTRY_POINTS),
        "iris_models": (trained.source(), {"iris": "iris_models:Iris"}),
    }
    found = [installed(tmp_path_factory.mktemp(name), name, *package) for name, package in packages.items()]
    environ = {"PYTHONPATH": os.pathsep.join(one["PYTHONPATH"] for one in found)}
    models = "face_detection,echo,classifier,expression,digitmodel=digit-model.mar"
    with model_backend(folder, FACET_MODELS=models, **environ) as running:
        yield running


@pytest.fixture(scope="module")
def served(backend: Backend) -> Iterator[Served]:
    """It, and a gateway before it."""
    with gateway_process.gateway(backend.address) as gateway:
        yield Served(backend.address, "{}:{}".format(*gateway.address))


@pytest.fixture(scope="module")
def registered_iris(backend: Backend) -> None:
    """Both forms of the classifier of flowers, registered while the backend serves."""
    for name in ("iris", "iris-onnx"):
        assert backend.register(name)["version"] == "1.2"


def published(script: str, *arguments: str) -> Any:  # noqa: ANN401
    """What a client that knows nothing of ours reads, in a process of its own."""
    command = [sys.executable, str(ROOT / "tests/support" / script), *arguments]
    return json.loads(subprocess.run(command, check=True, capture_output=True, timeout=120).stdout)


def test_clients_of_every_published_contract_are_served_by_one_backend(
    backend: Backend, served: Served, pictures: list[Path]
) -> None:
    """Each has stubs of its contract's text alone; they ask at the same time."""
    calls = {
        "classifier": ["published_clients.py", "classifier", backend.address, *map(str, pictures)],
        "pipeline": ["published_clients.py", "pipeline", backend.address, str(ASTRONAUT)],
        "many_models": ["published_clients.py", "many_models", backend.address],
        "faces": ["article_client.py", backend.address, str(ASTRONAUT)],
    }
    with ThreadPoolExecutor(len(calls)) as pool:
        asked = {name: pool.submit(published, *arguments) for name, arguments in calls.items()}
        answers = {name: each.result() for name, each in asked.items()}

    folder = backend.state.parent / "store" / "classifier" / "1.0"
    assert answers["classifier"] == [model_store.class_of(folder, picture) for picture in pictures]
    [face] = answers["faces"]["faces"]
    [[result]] = [reply["response"] for reply in answers["pipeline"]]
    assert list(result["bbox"].values()) == pytest.approx(face["box"], abs=1e-3)
    picture = Input("expression", {"image": ASTRONAUT.read_bytes()})
    [same] = ENDPOINTS["json"](served, picture)["response"]
    shown = {name: share for name, share in same["expression"].items() if share}
    assert result["expression"] == pytest.approx(shown)  # a 0 is not sent
    assert answers["many_models"]["said"] == "a word"
    names = {model["qualified_name"] for model in answers["many_models"]["models"]}
    assert names == {"face_detection", "echo", "classifier", "expression", "digitmodel"}


@pytest.mark.parametrize("endpoint", ENDPOINTS)
def test_an_archive_of_the_store_is_served_by_the_name_that_the_setting_gives_it(
    served: Served, backend: Backend, pictures: list[Path], endpoint: str
) -> None:
    """Its classes begin where its configuration says."""
    folder = backend.state.parent / "store" / "digit-model" / "1.0"
    answers = [
        ENDPOINTS[endpoint](served, Input("digitmodel", {"image": picture.read_bytes()}))
        for picture in pictures
    ]
    digits = [int(answer["class_id"]) for answer in answers]
    assert digits == [model_store.digit_of(folder, picture) for picture in pictures]
    assert len(set(digits)) > 1
    assert min(digits) >= 1
    with pytest.raises(ModelNotFound):
        ENDPOINTS[endpoint](served, Input("digit-model", {}))


@pytest.mark.usefixtures("registered_iris")
@pytest.mark.parametrize("endpoint", ENDPOINTS)
def test_flowers_are_named_as_by_scikit_learn(served: Served, trained: Trained, endpoint: str) -> None:
    """By a model of somebody else's package, which is found by its entry point."""
    for flower, expected in list(zip(trained.flowers, trained.probabilities, strict=True))[::15]:
        members = dict(zip(NAMES, flower.tolist(), strict=True))
        answer = ENDPOINTS[endpoint](served, Input("iris", members))
        assert answer["species"] == SPECIES[expected.argmax()]
        assert answer["probabilities"] == pytest.approx(dict(zip(SPECIES, expected, strict=True)), abs=1e-5)


@pytest.mark.usefixtures("registered_iris")
@pytest.mark.parametrize("endpoint", ENDPOINTS)
def test_flowers_are_named_as_by_the_same_in_onnx(served: Served, trained: Trained, endpoint: str) -> None:
    """The classifier as scikit-learn's converter writes it, with a map as an output."""
    for flower, expected in list(zip(trained.flowers, trained.probabilities, strict=True))[::15]:
        answer = ENDPOINTS[endpoint](served, Input("iris-onnx", {"X": flower.tolist()}))
        assert int(answer["output_label"]) == expected.argmax()
        found = {int(number): share for number, share in answer["output_probability"].items()}
        assert found == pytest.approx(dict(enumerate(expected)), abs=1e-5)


def test_each_worker_knows_a_model_from_its_registration_to_its_end(backend: Backend) -> None:
    """With the first call over each connection; reflection shows it with its methods, and then no more."""
    with contextlib.ExitStack() as stack:
        options = [("grpc.use_local_subchannel_pool", 1)]
        channels = [
            stack.enter_context(grpc.insecure_channel(backend.address, options)) for _ in range(CONNECTIONS)
        ]
        for number in range(ROUNDS):
            name = f"upper-{number}"
            methods = {f"upper_{number}_predict", f"upper_{number}_predict_stream"}
            backend.register("upper", name=name)
            for channel in channels:
                assert MESSAGE.upper() in TypedMethods(channel, name).call(MESSAGE)
                assert reflected(channel) >= methods
            backend.unregister(name)
            for channel in channels:
                with pytest.raises(ModelNotFound):
                    TypedMethods(channel, name).call(MESSAGE)
                assert not reflected(channel) & methods


def reflected(channel: grpc.Channel) -> set[str]:
    """The methods of the models' service, as reflection v1 tells them."""
    request = reflection_pb2.ServerReflectionRequest(file_containing_symbol=SERVICE)
    method: Any = channel.stream_stream("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo")
    [answer] = method(iter([request.SerializeToString()]), timeout=PATIENCE)
    reply = reflection_pb2.ServerReflectionResponse.FromString(answer).file_descriptor_response
    files = map(FileDescriptorProto.FromString, reply.file_descriptor_proto)
    return {method.name for file in files for service in file.service for method in service.method}


def test_canary_weights_choose_by_the_id_of_the_request(backend: Backend, served: Served) -> None:
    """The same version through each endpoint and worker, and as many as they say."""
    for version in ("1.0", "2.0"):
        backend.register("upper", version=version)
    backend.manage(commands.SetCanary("upper", {"2.0": 30}))

    def process(endpoint: Endpoint, version: str = "", request_id: str = "") -> int:
        return int(endpoint(served, Input("upper", {"text": "a"}, version, request_id))["pid"])

    of_version = {process(ENDPOINTS["json"], version=version): version for version in ("1.0", "2.0")}
    ids = [f"request-{number}" for number in range(200)]
    chosen = {one: of_version[process(ENDPOINTS["json"], request_id=one)] for one in ids}
    assert 40 <= list(chosen.values()).count("2.0") <= 80
    for one in ids[:10]:
        for endpoint in ENDPOINTS.values():
            assert of_version[process(endpoint, request_id=one)] == chosen[one]
    backend.manage(commands.SetCanary("upper", {}))
    assert {of_version[process(ENDPOINTS["json"], request_id=one)] for one in ids[:20]} == {"1.0"}
    for version in ("2.0", "1.0"):
        backend.unregister("upper", version)
