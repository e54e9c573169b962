"""Rules of TorchServe's protocols, as its clients meet them: their own stubs, real processes."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.support import model_store
from tests.support.model_backend import COMMAND, Backend, model_backend
from tests.support.pictures import ASTRONAUT, portrait
from tests.support.processes import running
from tests.support.torchserve import called

NO_WORKER = (
    'Model "idle" has no worker to serve inference request. Please use scale workers API to add workers. If '
    "this is a sequence inference, please check if it is closed, or expired; or exceeds "
    "maxSequenceJobQueueSize\nInternalServerException.()"
)
UNAUTHORIZED = "Token Authorization failed. Token either incorrect, expired, or not provided correctly"


def listening(backend: Backend) -> str:
    """Where a backend speaks TorchServe's inference protocol."""
    [ready] = backend.process.logged("ready")
    return str(ready["torchserve_address"])


@dataclass(frozen=True)
class TorchServe:
    """A backend with TorchServe's addresses."""

    backend: Backend
    inference: str

    def predict(self, *requests: dict[str, Any], method: str = "Predictions", **metadata: str) -> Any:  # noqa: ANN401
        """What a call for predictions is answered."""
        call: dict[str, Any] = {
            "address": self.inference,
            "method": method,
            "requests": requests or [{}],
            "metadata": metadata,
        }
        [answer] = called(call)
        return answer


@pytest.fixture(scope="module")
def picture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A PNG."""
    path = tmp_path_factory.mktemp("pictures") / "digit.png"
    Image.fromarray(portrait()[::2, ::3]).save(path)
    return path


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder whose store has a model of digits."""
    folder = tmp_path_factory.mktemp("backend")
    model_store.add_digits(folder / "store")
    return folder


@pytest.fixture(scope="module")
def torchserve(store: Path) -> Iterator[TorchServe]:
    """One that serves digits, faces and the built-in echo."""
    models = "digitmodel=digit-model.mar,face_detection,echo"
    with model_backend(store, FACET_MODELS=models, FACET_TORCHSERVE_ADDRESS="127.0.0.1:0") as backend:
        yield TorchServe(backend, listening(backend))


def test_a_program_for_torchserve_gets_what_torchserve_gives_it(
    torchserve: TorchServe, store: Path, picture: Path
) -> None:
    """The bare class of a picture under `data`; the same from a stream, which ends well."""
    request = {"model_name": "digitmodel", "input": {"data": f"@{picture}"}}
    digit = str(model_store.digit_of(store / "store" / "digit-model" / "1.0", picture))
    sent = {"protocol": "gRPC", "session_id": "12345"}
    assert torchserve.predict(request, **sent) == {"replies": [{"prediction": digit}]}
    assert torchserve.predict(request, method="StreamPredictions") == {"replies": [{"prediction": digit}]}


def test_a_sequence_is_answered_in_its_order_with_errors_inside_of_it(
    torchserve: TorchServe, picture: Path
) -> None:
    """Until a message says of no sequence to belong to one."""
    good = {"model_name": "digitmodel", "input": {"data": f"@{picture}"}, "sequence_id": "a"}
    bad = {"model_name": "digitmodel", "input": {"data": "no picture"}, "sequence_id": "a"}
    unknown = {"model_name": "x", "sequence_id": "b"}
    lost = {"model_name": "digitmodel", "input": {"data": f"@{picture}"}, "sequence_id": " "}
    answer = torchserve.predict(good, bad, unknown, good, lost, good, method="StreamPredictions2")
    assert "code" not in answer
    first, refused, missing, again, last = answer["replies"]
    assert first == again
    assert first.keys() == {"prediction", "sequence_id"}
    assert (refused["status"]["code"], refused["sequence_id"]) == (3, "a")
    assert missing["status"] == {"code": 13, "message": "Model not found: x"}
    assert last == {"status": {"code": 13, "message": "Parameter sequenceId is required."}}


def test_faces_are_answered_as_over_http(torchserve: TorchServe) -> None:
    """With the options that face detection has, as JSON."""
    request = {
        "model_name": "face_detection",
        "input": {"data": f"@{ASTRONAUT}", "options": '{"min_face_size": 60}'},
    }
    [reply] = torchserve.predict(request)["replies"]
    document = json.loads(reply["prediction"])
    assert list(document) == ["message", "image_id", "metadata", "results", "image", "model", "timings"]
    assert len(document["results"]) == 1
    assert reply["prediction"].startswith('{\n  "message": "",\n')


def test_errors_have_torchserves_codes_and_texts(torchserve: TorchServe, picture: Path) -> None:
    """Two lines, the second a Java class; what a model cannot take is its caller's fault."""
    models = "org.pytorch.serve.archive.model."
    http = "org.pytorch.serve.http."
    unknown = "txt is no member of the input; accepted: text, repeat, sleep_seconds, fail"
    torchserve.backend.register("echo", name="idle", min_workers=0)
    cases: list[tuple[dict[str, Any], str, str]] = [
        ({"model_name": "x"}, "INTERNAL", f"Model not found: x\n{models}ModelNotFoundException"),
        ({}, "INTERNAL", "Parameter model_name is required.\nBadRequestException.()"),
        (
            {"model_name": "echo", "model_version": "9"},
            "INTERNAL",
            f"Model version: 9 does not exist for model: echo\n{models}ModelVersionNotFoundException",
        ),
        ({"model_name": "idle"}, "INTERNAL", NO_WORKER),
        (
            {"model_name": "echo", "input": {"fail": "true"}},
            "UNAVAILABLE",
            f"Prediction failed\n{http}InternalServerException",
        ),
        (
            {"model_name": "echo", "input": {"txt": "a"}},
            "INVALID_ARGUMENT",
            f"{unknown}\n{http}BadRequestException",
        ),
    ]
    cut = picture.with_name("cut.png")
    cut.write_bytes(picture.read_bytes()[:2000])
    bad = [{"model_name": "digitmodel", "input": {"data": content}} for content in ("no picture", f"@{cut}")]
    calls: list[dict[str, Any]] = [
        {"address": torchserve.inference, "method": "Predictions", "requests": [request]}
        for request in (*(request for request, _, _ in cases), *bad)
    ]
    answers = called(*calls)
    for (_, code, text), answer in zip(cases, answers, strict=False):
        assert answer == {"replies": [], "code": code, "text": text}
    for answer in answers[len(cases) :]:
        assert answer["code"] == "INVALID_ARGUMENT"
        assert answer["text"].endswith(f"\n{http}BadRequestException")


def test_ping_is_healthy_where_each_model_has_the_processes_it_is_to_have(torchserve: TorchServe) -> None:
    """None where it is to have none."""
    torchserve.backend.register("echo", name="none", min_workers=0)
    [reply] = torchserve.predict(method="Ping")["replies"]
    assert reply == {"health": '{\n  "status": "Healthy"\n}'}


def test_calls_are_logged_with_the_status_that_was_sent(torchserve: TorchServe) -> None:
    """And the reason that Facet has for it; the caller's id is that of the line."""
    torchserve.predict({"model_name": "unknown"}, **{"x-request-id": "of-torchserve"})
    line = torchserve.backend.process.wait_for("request", request_id="of-torchserve")
    method = "/org.pytorch.serve.grpc.inference.InferenceAPIsService/Predictions"
    assert (line["method"], line["status"], line["reason"]) == (method, "INTERNAL", "MODEL_NOT_FOUND")


@pytest.mark.security(
    endpoint="keys",
    attack=(
        "TorchServe's calls over gRPC without a key, with another scheme or another port's key; an old "
        "key file"
    ),
    outcome="PERMISSION_DENIED; the file is made anew by each start, for its owner alone",
)
def test_where_keys_are_demanded_every_call_needs_that_of_its_port(tmp_path: Path) -> None:
    """Ping, too; the file is made anew by each start, for its owner alone, and read again when it changes."""
    keys = tmp_path / "key_file.json"
    keys.write_text("an old one")
    environ = {"FACET_TORCHSERVE_ADDRESS": "127.0.0.1:0", "FACET_TORCHSERVE_KEY_FILE": str(keys)}
    with model_backend(tmp_path, FACET_MODELS="echo", **environ) as backend:
        torchserve = TorchServe(backend, listening(backend))
        found = json.loads(keys.read_text())
        assert keys.stat().st_mode & 0o777 == 0o600
        wrong = ["", *(f"{scheme} {found['inference']['key']}" for scheme in ("bearer", "Basic"))]
        wrong += [f"Bearer {found[port]['key']}" for port in ("management", "API")]
        refused = called(
            *(
                {"address": torchserve.inference, "method": method, "metadata": {"authorization": token}}
                for token in wrong
                for method in ("Ping", "Predictions", "StreamPredictions2")
            )
        )
        assert [(answer["code"], answer["text"]) for answer in refused] == [
            ("PERMISSION_DENIED", UNAUTHORIZED)
        ] * len(refused)
        token = f"Bearer {found['inference']['key']}"
        assert "code" not in torchserve.predict({}, method="Ping", authorization=token)
        keys.write_text(json.dumps({**found, "inference": {"key": "new"}}))
        assert "code" in torchserve.predict({}, method="Ping", authorization=token)
        said = {"model_name": "echo", "input": {"text": "a"}}
        assert torchserve.predict(said, authorization="Bearer new") == {"replies": [{"prediction": "a"}]}


def test_an_address_that_another_program_has_stops_the_start(torchserve: TorchServe) -> None:
    """With the setting that is to be changed."""
    taken = {"FACET_TORCHSERVE_ADDRESS": torchserve.inference, "FACET_GRPC_ADDRESS": "127.0.0.1:0"}
    with running(COMMAND, **taken) as process:
        assert process.wait() == 1
        assert "set FACET_TORCHSERVE_ADDRESS to another address" in process.lines[-1]
