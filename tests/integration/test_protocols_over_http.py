"""Rules of the protocols of others over HTTP: a gateway's process before those of a real backend."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from PIL import Image

from tests.support import gateway_process, model_store
from tests.support.endpoints import http_request
from tests.support.gateway_forms import form
from tests.support.model_backend import Backend, model_backend
from tests.support.pictures import ASTRONAUT, portrait
from tests.support.processes import PATIENCE

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
