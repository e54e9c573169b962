"""Rules of models that are served by every endpoint at once, through real processes."""

import io
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from grpc_reflection.v1alpha import reflection_pb2
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from PIL import Image

from inference_server.catalogue import commands
from tests.support import gateway_process, model_store
from tests.support.model_backend import Backend, clients, model_backend
from tests.support.model_endpoints import ENDPOINTS, SERVICE, Endpoint, Input, Served
from tests.support.pictures import ASTRONAUT, portrait
from tests.support.processes import PATIENCE, ROOT
from utils.errors import ModelNotFound

ROUNDS = int(os.environ.get("MODEL_ROUNDS", "5"))
"""How often a model is registered and unregistered under the eyes of reflection."""
CONNECTIONS = 6

Clients = dict[str, Any]


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
def backend(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Backend]:
    """One that hosts every kind of the store, faces, and the built-in echo."""
    folder = tmp_path_factory.mktemp("backend")
    for add in (model_store.add_classifier, model_store.add_expression, model_store.add_digits):
        add(folder / "store")
    models = "face_detection,echo,classifier,expression,digitmodel=digit-model.mar"
    with model_backend(folder, FACET_MODELS=models) as running:
        yield running


def published(script: str, *arguments: str) -> Any:  # noqa: ANN401
    """What a client that knows nothing of ours reads, in a process of its own."""
    command = [sys.executable, str(ROOT / "tests/support" / script), *arguments]
    return json.loads(subprocess.run(command, check=True, capture_output=True, timeout=120).stdout)


def test_clients_of_every_published_contract_are_served_by_one_backend(
    backend: Backend, pictures: list[Path]
) -> None:
    """Each has stubs of its contract's text alone; they ask at the same time."""
    calls: dict[str, list[str]] = {
        "classifier": ["published_clients.py", "classifier", backend.address, *map(str, pictures)],
        "pipeline": ["published_clients.py", "pipeline", backend.address, str(ASTRONAUT)],
        "many_models": ["published_clients.py", "many_models", backend.address],
        "faces": ["article_client.py", backend.address, str(ASTRONAUT)],
    }
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(len(calls)) as pool:
        asked = {name: pool.submit(published, *arguments) for name, arguments in calls.items()}
        answers = {name: each.result() for name, each in asked.items()}

    folder = backend.state.parent / "store" / "classifier" / "1.0"
    assert answers["classifier"] == [model_store.class_of(folder, picture) for picture in pictures]
    [face] = answers["faces"]["faces"]
    [[result]] = [reply["response"] for reply in answers["pipeline"]]
    assert list(result["bbox"].values()) == pytest.approx(face["box"], abs=1e-3)
    assert len(result["expression"]) == 7
    assert answers["many_models"]["said"] == "a word"
    names = {model["qualified_name"] for model in answers["many_models"]["models"]}
    assert names == {"face_detection", "echo", "classifier", "expression", "digitmodel"}
