"""tritonclient, in a process and an environment of its own.

`python triton_client.py grpc ADDRESS PICTURE` calls a backend in many ways and prints what it is answered, as
JSON; `python triton_client.py http ADDRESS PICTURE` does so with a gateway. `python triton_client.py contract
FILE` compares a serialized FileDescriptorSet with the messages that tritonclient has.
"""

import json
import queue
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import tritonclient.grpc as triton
import tritonclient.http as triton_http
from google.protobuf.descriptor_pb2 import DescriptorProto, FileDescriptorSet
from tritonclient.grpc import model_config_pb2, service_pb2
from tritonclient.utils import InferenceServerException

TIMEOUT = 60


def tensor(name: str, array: Any, datatype: str = "FP32", module: Any = triton) -> Any:  # noqa: ANN401
    """An input."""
    made = module.InferInput(name, array.shape, datatype)
    made.set_data_from_numpy(array)
    return made


def texts(*contents: bytes) -> Any:  # noqa: ANN401
    """An array of bytes objects."""
    return np.array([*contents], dtype=np.object_)


def outcome(call: Callable[[], Any]) -> Any:  # noqa: ANN401
    """What a call gives, or the code and text of its error."""
    try:
        return call()
    except InferenceServerException as error:
        return [str(error.status()), error.message()]


def outputs(result: Any, *names: str) -> dict[str, Any]:  # noqa: ANN401
    """Arrays of an answer by name, as lists."""
    return {name: listed(result.as_numpy(name)) for name in names}


def listed(array: Any) -> Any:  # noqa: ANN401
    """An array as nested lists."""
    if array.dtype == np.object_:
        return np.array([one.decode() for one in array.ravel()], dtype=object).reshape(array.shape).tolist()
    return array.tolist()


class Caller:
    """Calls a backend in many ways."""

    def __init__(self, address: str, picture: bytes) -> None:
        self._client = triton.InferenceServerClient(address)
        self._pictures = tensor("image", texts(picture, picture), "BYTES")
        self._rows = np.arange(6, dtype=np.float32).reshape(2, 3)
        self._x = tensor("x", self._rows)

    def run(self) -> dict[str, Any]:
        """Everything."""
        parts = (self.server, self.models, self.inferences, self.errors, self.stream, self.ending_stream)
        found = {part.__name__: part() for part in parts}
        return {**found, "statistics": self.statistics(), "repository": self.repository()}

    def statistics(self) -> Any:  # noqa: ANN401
        """What was counted of an inference and of one that fails, of all models and of one."""
        ask = partial(self._client.get_inference_statistics, as_json=True)
        before = ask("identity")
        for _ in range(3):
            self._client.infer("identity", [self._x])
        outcome(lambda: self._client.infer("identity", [tensor("x", self._rows.ravel())]))
        return {"all": ask(), "before": before, "after": ask("identity", "1")}

    def server(self) -> Any:  # noqa: ANN401
        """Whether it is there, and what it is."""
        client = self._client
        return [
            client.is_server_live(),
            client.is_server_ready(),
            client.get_server_metadata(as_json=True),
        ]

    def models(self) -> Any:  # noqa: ANN401
        """What there is."""
        client = self._client
        versions = ("", "1", "1.0", "2")
        return {
            "ready": [client.is_model_ready("identity", version) for version in versions],
            "unknown": client.is_model_ready("none"),
            "metadata": client.get_model_metadata("identity", as_json=True),
            "config": client.get_model_config("identity", as_json=True),
            "index": client.get_model_repository_index(as_json=True),
        }

    def inferences(self) -> Any:  # noqa: ANN401
        """Answers of several models."""
        infer = self._client.infer
        answer = infer("identity", [self._x], request_id="id-1", timeout=10_000_000, client_timeout=TIMEOUT)
        top = [triton.InferRequestedOutput("y", class_count=2)]
        faces = infer("face_detection", [self._pictures])
        echo = infer("echo", [tensor("text", texts(b"one", b"two"), "BYTES")], model_version="1")
        return {
            "identity": [answer.get_response().id, *outputs(answer, "y").values()],
            "classification": outputs(infer("identity", [self._x], outputs=top), "y")["y"],
            "faces": outputs(faces, "num_faces", "boxes", "landmarks", "confidences"),
            "classes": outputs(infer("classifier", [self._pictures]), "class_id", "score"),
            "echo": outputs(echo, "text")["text"],
        }

    def errors(self) -> Any:  # noqa: ANN401
        """What is refused."""
        client, x = self._client, self._x
        calls: dict[str, Callable[[], Any]] = {
            "model": lambda: client.infer("none", [x]),
            "version": lambda: client.infer("identity", [x], model_version="7"),
            "input": lambda: client.infer("identity", [self._pictures]),
            "shape": lambda: client.infer("identity", [tensor("x", self._rows.ravel())]),
            "output": lambda: client.infer(
                "identity", [x], outputs=[triton.InferRequestedOutput(name) for name in ("y", "y")]
            ),
            "timeout": lambda: client.infer(
                "echo", [tensor("sleep_seconds", np.array([5], np.float32))], timeout=200_000
            ),
            "statistics": lambda: client.get_inference_statistics("none"),
            "load": lambda: client.load_model("none"),
        }
        return {name: outcome(call) for name, call in calls.items()}

    def _streamed(self, *names: str, **headers: str) -> list[Any]:
        """The id of each answer of a stream of requests to these models, or the error in its place."""
        answers: queue.Queue[Any] = queue.Queue()
        self._client.start_stream(lambda result, error: answers.put((result, error)), headers=headers or None)
        for number, name in enumerate(names):
            self._client.async_stream_infer(name, [self._x], request_id=str(number))
        found = [answers.get(timeout=TIMEOUT) for _ in names]
        self._client.stop_stream()
        return [str(error) if error else result.get_response().id for result, error in found]

    def stream(self) -> Any:  # noqa: ANN401
        """One with an error in it."""
        return self._streamed("identity", "none", "identity")

    def ending_stream(self) -> Any:  # noqa: ANN401
        """One that ends with its error."""
        return self._streamed("identity", "none", triton_grpc_error="true")

    def repository(self) -> Any:  # noqa: ANN401
        """Whether a model is ready after it was loaded, loaded again, and unloaded."""
        client, found = self._client, []
        for change in (client.load_model, client.load_model, client.unload_model):
            change("second")
            found.append(client.is_model_ready("second"))
        return found


def over_http(address: str, picture: bytes) -> dict[str, Any]:
    """What a gateway answers."""
    client = triton_http.InferenceServerClient(address)
    rows = np.arange(6, dtype=np.float32).reshape(2, 3)
    x = tensor("x", rows, module=triton_http)
    plain = triton_http.InferInput("x", rows.shape, "FP32")
    plain.set_data_from_numpy(rows, binary_data=False)
    y = triton_http.InferRequestedOutput
    pictures = tensor("image", texts(picture, picture), "BYTES", triton_http)
    answer = client.infer("identity", [x], request_id="id-1", model_version="1")
    answers = {
        "binary": answer,
        "json": client.infer("identity", [plain], outputs=[y("y", binary_data=False)]),
        "gzip": client.infer("identity", [x], request_compression_algorithm="gzip"),
        "classification": client.infer("identity", [x], outputs=[y("y", class_count=1)]),
    }
    return {
        "server": [client.is_server_live(), client.is_server_ready(), client.get_server_metadata()["name"]],
        "models": [client.is_model_ready("identity"), client.is_model_ready("none")],
        "metadata": client.get_model_metadata("identity"),
        "index": [one["name"] for one in client.get_model_repository_index()],
        "statistics": [
            client.get_inference_statistics(),
            client.get_inference_statistics("identity"),
            client.get_inference_statistics("identity", "1"),
        ],
        "id": answer.get_response()["id"],
        "answers": {name: outputs(one, "y")["y"] for name, one in answers.items()},
        "faces": outputs(client.infer("face_detection", [pictures]), "num_faces", "boxes"),
        "errors": {
            "model": outcome(lambda: client.infer("none", [x])),
            "input": outcome(lambda: client.infer("identity", [pictures])),
        },
    }


def differences(file: str) -> dict[str, Any]:
    """The fields of a file's messages, and its methods, that are other ones in tritonclient, or none."""
    [ours] = FileDescriptorSet.FromString(Path(file).read_bytes()).file
    theirs: dict[str, Any] = {}
    for module in (service_pb2, model_config_pb2):
        theirs |= module.DESCRIPTOR.message_types_by_name
    [service] = service_pb2.DESCRIPTOR.services_by_name.values()
    found: dict[str, Any] = {}
    for message in ours.message_type:
        declared = DescriptorProto()
        theirs[message.name].CopyToProto(declared)
        fields = {*_fields(declared)}
        if others := [name for name, *kind in _fields(message) if (name, *kind) not in fields]:
            found[message.name] = others
    for method in ours.service[0].method:
        known = service.methods_by_name[method.name]
        types = (known.input_type.full_name, known.output_type.full_name)
        if types != (method.input_type[1:], method.output_type[1:]):
            found[method.name] = types
    return found


def _fields(message: DescriptorProto) -> Iterator[tuple[Any, ...]]:
    """Name, number, label and type of each field, those of nested messages included."""
    for field in message.field:
        yield f"{message.name}.{field.name}", field.number, field.label, field.type, field.type_name
    for nested in message.nested_type:
        yield from _fields(nested)


def main() -> None:
    """Do what the arguments say."""
    command, target, *files = sys.argv[1:]
    found = differences(target) if command == "contract" else None
    if found is None:
        picture = Path(files[0]).read_bytes()
        found = Caller(target, picture).run() if command == "grpc" else over_http(target, picture)
    sys.stdout.write(json.dumps(found))


if __name__ == "__main__":
    main()
