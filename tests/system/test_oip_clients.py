"""Public clients of the Open Inference Protocol, unmodified, against a real backend."""

import contextlib
import http.client
import json
import subprocess
from collections.abc import Iterator
from typing import Any

import grpc
import pytest
from onnx import helper

from protos.oip import message_class
from tests.support import gateway_process, model_store, onnx_models
from tests.support.client_environment import interpreter
from tests.support.model_backend import Backend, model_backend
from tests.support.open_inference import SERVICE, raw, request, tensor
from tests.support.pictures import ASTRONAUT
from tests.support.processes import PATIENCE, ROOT
from utils.channel import error_of
from utils.errors import InvalidModel

_SUPPORT = ROOT / "tests" / "support"


def ran(client: str, script: str, *arguments: object) -> Any:  # noqa: ANN401
    """What a client's script prints."""
    # Without -P a module of ours would hide one of the client's.
    command = [str(interpreter(client)), "-P", str(_SUPPORT / script), *map(str, arguments)]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def backend(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Backend]:
    """One with a graph, a classifier, faces, and a model that can be loaded."""
    folder = tmp_path_factory.mktemp("backend")
    for name in ("identity", "second"):
        version = model_store.add_version(folder / "store", f"{name}/1.0", 'kind = "onnx"\n')
        shapes = [onnx_models.tensor(one, ["batch", "length"]) for one in "xy"]
        onnx_models.save(version, [helper.make_node("Identity", ["x"], ["y"])], shapes[:1], shapes[1:])
    model_store.add_classifier(folder / "store")
    models = "face_detection,echo,identity,classifier"
    with model_backend(folder, FACET_MODELS=models, FACET_MODEL_API="on") as running:
        yield running


@pytest.fixture(scope="module")
def triton(backend: Backend) -> Any:  # noqa: ANN401
    """What tritonclient is answered."""
    return ran("triton", "triton_client.py", "grpc", backend.address, ASTRONAUT)


def test_the_messages_are_those_of_tritonclient() -> None:
    """By names, numbers and types; the answers of loading have fields of KServe's that Triton's do not."""
    assert ran("triton", "triton_client.py", "contract", ROOT / "protos" / "oip" / "inference.binpb") == {
        "RepositoryModelLoadResponse": [
            "RepositoryModelLoadResponse.model_name",
            "RepositoryModelLoadResponse.isLoaded",
        ],
        "RepositoryModelUnloadResponse": [
            "RepositoryModelUnloadResponse.model_name",
            "RepositoryModelUnloadResponse.isUnloaded",
        ],
    }


def test_tritonclient_finds_the_server_and_its_models(triton: Any) -> None:  # noqa: ANN401
    """By either form of a version's number."""
    live, ready, metadata = triton["server"]
    assert (live, ready, metadata["name"]) == (True, True, "facet")
    assert "model_repository" in metadata["extensions"]
    assert "statistics" in metadata["extensions"]
    models = triton["models"]
    assert models["ready"] == [True, True, True, False]
    assert models["unknown"] is False
    x = {"name": "x", "datatype": "FP32", "shape": ["-1", "-1"]}
    assert models["metadata"] == {
        "name": "identity",
        "versions": ["1"],
        "platform": "onnx",
        "inputs": [x],
        "outputs": [{**x, "name": "y"}],
    }
    [configured] = models["config"]["config"]["input"]
    assert configured == {"name": "x", "data_type": "TYPE_FP32", "dims": ["-1"]}
    states = {one["name"]: one["state"] for one in models["index"]["models"]}
    assert states == dict.fromkeys(["classifier", "echo", "face_detection", "identity"], "READY")


def test_tritonclient_reads_the_answers_of_every_kind_of_model(triton: Any, backend: Backend) -> None:  # noqa: ANN401
    """Graphs, classes, texts, and the faces of several pictures."""
    found = triton["inferences"]
    assert found["identity"] == ["id-1", [[0, 1, 2], [3, 4, 5]]]
    assert found["classification"] == [["2.000000:2", "1.000000:1"], ["5.000000:2", "4.000000:1"]]
    assert found["echo"] == ["one", "two"]
    classifier = backend.state.parent / "store" / "classifier" / "1.0"
    assert found["classes"]["class_id"] == [model_store.class_of(classifier, ASTRONAUT)] * 2
    faces = found["faces"]
    assert faces["num_faces"] == [1, 1]
    assert faces["boxes"][0] == faces["boxes"][1]
    left, top, right, bottom = faces["boxes"][0]
    assert all(left < x < right and top < y < bottom for x, y in faces["landmarks"][0])
    assert all(confidence > 0.9 for confidence in faces["confidences"])


def test_tritonclient_is_told_what_is_wrong(triton: Any) -> None:  # noqa: ANN401
    """With the codes and in the words that its programs look for."""
    errors = triton["errors"]
    unknown = "Request for unknown model: "
    assert errors["model"] == ["StatusCode.NOT_FOUND", f"{unknown}'none' is not found"]
    assert errors["version"] == ["StatusCode.NOT_FOUND", f"{unknown}'identity' has no version 7"]
    invalid = "StatusCode.INVALID_ARGUMENT"
    assert errors["input"] == [invalid, "image is no input of the model; it takes x"]
    assert errors["shape"] == [invalid, "x has the shape [6]; accepted: [-1, -1], -1 for any"]
    assert errors["output"] == [invalid, "output 'y' already exists in request"]
    assert errors["timeout"][0] == "StatusCode.DEADLINE_EXCEEDED"
    assert errors["statistics"] == errors["model"]
    code, text = errors["load"]
    assert code == "StatusCode.NOT_FOUND"
    assert text.startswith("failed to load 'none'")


def counted(statistics: Any) -> dict[str, int]:  # noqa: ANN401
    """The numbers of the only model that statistics are about; tritonclient leaves out those that are 0."""
    [model] = statistics["model_stats"]
    assert (model["name"], model["version"]) == ("identity", "1")
    stages = model["inference_stats"]
    counts = {
        name: int(stages[name].get("count", 0)) for name in ("success", "fail", "queue", "compute_infer")
    }
    counts |= {f"{name}_ns": int(stages[name].get("ns", 0)) for name in counts}
    return {**counts, **{name: int(model[name]) for name in ("inference_count", "execution_count")}}


def test_tritonclient_reads_what_was_counted_of_a_model(triton: Any) -> None:  # noqa: ANN401
    """Requests with their times, and the rows of their tensors."""
    told = triton["statistics"]
    before, after = counted(told["before"]), counted(told["after"])
    more = {name: number - before[name] for name, number in after.items()}
    assert (more["success"], more["fail"], more["queue"], more["compute_infer"]) == (3, 1, 3, 3)
    assert more["inference_count"] == 6
    assert more["execution_count"] == 4
    assert 0 < more["compute_infer_ns"] < more["success_ns"]
    assert min(more["queue_ns"], more["fail_ns"]) > 0
    models = {one["name"] for one in told["all"]["model_stats"]}
    assert models == {"classifier", "echo", "face_detection", "identity"}


def test_tritonclient_streams_in_both_error_modes(triton: Any) -> None:  # noqa: ANN401
    """In the order of its requests."""
    unknown = "Request for unknown model: 'none' is not found"
    assert triton["stream"] == ["0", unknown, "2"]
    assert triton["ending_stream"] == ["0", f"[StatusCode.NOT_FOUND] {unknown}"]


def test_tritonclient_loads_and_unloads_models_where_it_may(triton: Any) -> None:  # noqa: ANN401
    """A second load changes nothing."""
    assert triton["repository"] == [True, True, False]


def test_a_load_serves_the_highest_version_that_the_store_has(backend: Backend) -> None:
    """As the default; one that cannot be loaded changes nothing."""
    folder = backend.state.parent / "store" / "third"

    def add(number: str, dimension: str | int) -> None:
        version = model_store.add_version(folder.parent, f"third/{number}", 'kind = "onnx"\n')
        shapes = [onnx_models.tensor(one, ["batch", dimension]) for one in "xy"]
        onnx_models.save(version, [helper.make_node("Identity", ["x"], ["y"])], shapes[:1], shapes[1:])

    with grpc.insecure_channel(backend.address) as channel:

        def ask(method: str, content: bytes) -> bytes:
            call: Any = channel.unary_unary(f"/{SERVICE}/{method}")
            answer: bytes = call(content, timeout=PATIENCE)
            return answer

        def load() -> None:
            # By KServe's message, whose first field is the name.
            message = message_class("RepositoryModelLoadRequest")(repository_name="third")
            ask("RepositoryModelLoad", message.SerializeToString())

        def default() -> str:
            sent = request(tensor("x", "FP32", [1, 1]), raws=[raw("FP32", [1])], model_name="third")
            answer = message_class("ModelInferResponse").FromString(ask("ModelInfer", sent))
            return str(answer.model_version)

        add("1.0", "length")
        load()
        add("2.0", "length")
        load()
        assert default() == "2"
        (folder / "3.0").mkdir()
        (folder / "3.0" / "model.toml").write_text('kind = "onnx"\n')
        with pytest.raises(grpc.RpcError) as caught:
            load()
        error = error_of(caught.value)
        assert error.detail.startswith("failed to load 'third': ")
        assert str(folder) not in error.detail
        assert default() == "2"
        message = message_class("RepositoryModelUnloadRequest")(model_name="third")
        ask("RepositoryModelUnload", message.SerializeToString())
        assert not [key for key in backend.listed() if key.startswith("third/")]


def test_tritonclient_is_served_over_http_as_well(backend: Backend, triton: Any) -> None:  # noqa: ANN401
    """By the gateway, whichever form its tensors have."""
    with gateway_process.gateway(backend.address) as gateway:
        found = ran("triton", "triton_client.py", "http", "{}:{}".format(*gateway.address), ASTRONAUT)
    assert found["server"] == [True, True, "facet"]
    assert found["models"] == [True, False]
    assert [(one["name"], one["shape"]) for one in found["metadata"]["inputs"]] == [("x", [-1, -1])]
    assert found["index"] == ["classifier", "echo", "face_detection", "identity"]
    everything, model, version = found["statistics"]
    assert model == version
    assert model["model_stats"][0] in everything["model_stats"]
    assert counted(model)["success"] > 0
    assert found["id"] == "id-1"
    rows = [[0, 1, 2], [3, 4, 5]]
    classified = [["2.000000:2"], ["5.000000:2"]]
    assert found["answers"] == {"binary": rows, "json": rows, "gzip": rows, "classification": classified}
    assert found["faces"] == {name: triton["inferences"]["faces"][name] for name in ("num_faces", "boxes")}
    code, text = found["errors"]["model"]
    assert code == "404"
    assert text.startswith("Request for unknown model: ")
    code, text = found["errors"]["input"]
    assert (code, text) == ("422", "image is no input of the model; it takes x")


def test_stubs_of_the_protocol_alone_are_served(backend: Backend) -> None:
    """Typed contents are answered raw."""
    assert ran("open_inference", "open_inference_client.py", backend.address) == {
        "live": True,
        "inputs": [["x", "FP32", [-1, -1]]],
        "answer": ["identity", "1", "id-1"],
        "y": [0.5, 1, -2],
    }


def test_a_load_of_what_is_loaded_serves_what_the_store_has_now(backend: Backend) -> None:
    """By gRPC and HTTP; where that cannot be loaded, the model answers as before."""
    folder = model_store.add_version(backend.state.parent / "store", "fourth/1.0", 'kind = "onnx"\n')
    shapes = [onnx_models.tensor(one, ["batch", 1]) for one in "xy"]

    def put(operation: str) -> None:
        onnx_models.save(folder, [helper.make_node(operation, ["x"], ["y"])], shapes[:1], shapes[1:])

    put("Identity")
    with (
        grpc.insecure_channel(backend.address) as channel,
        gateway_process.gateway(backend.address) as gateway,
    ):

        def ask(method: str, content: bytes) -> bytes:
            call: Any = channel.unary_unary(f"/{SERVICE}/{method}")
            answer: bytes = call(content, timeout=PATIENCE)
            return answer

        def load() -> None:
            message = message_class("RepositoryModelLoadRequest")(model_name="fourth")
            ask("RepositoryModelLoad", message.SerializeToString())

        def load_by_http() -> tuple[int, bytes]:
            connection = http.client.HTTPConnection(*gateway.address, timeout=PATIENCE)
            with contextlib.closing(connection):
                connection.request("POST", "/v2/repository/models/fourth/load", b"{}")
                response = connection.getresponse()
                return response.status, response.read()

        def computed() -> bytes:
            sent = request(tensor("x", "FP32", [1, 1]), raws=[raw("FP32", [1])], model_name="fourth")
            answer = message_class("ModelInferResponse").FromString(ask("ModelInfer", sent))
            [content] = answer.raw_output_contents
            return bytes(content)

        load()
        assert computed() == raw("FP32", [1])
        put("Neg")
        load()
        assert computed() == raw("FP32", [-1])
        (folder / "model.onnx").write_bytes(b"no graph")
        with pytest.raises(grpc.RpcError) as caught:
            load()
        error = error_of(caught.value)
        assert type(error) is InvalidModel
        assert error.detail.startswith("failed to load 'fourth': ")
        status, document = load_by_http()
        assert (status, json.loads(document)["error"][:24]) == (400, "failed to load 'fourth':")
        assert computed() == raw("FP32", [-1])
        put("Identity")
        assert load_by_http()[0] == 200
        assert computed() == raw("FP32", [1])
    backend.unregister("fourth")
