"""What docs/from-torchserve.md and docs/from-triton.md tell to type does what they say, in their order."""

import json
import re
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from inference_server.models.adapters import TorchServeContext
from inference_server.models.triton.rules import RULES
from tests.support import onnx_models
from tests.support.endpoints import http_request
from tests.support.facet import facet, free_port
from tests.support.guide import Reader
from tests.support.processes import PATIENCE, ROOT
from utils.settings import Settings, variable

TORCHSERVE, TRITON = ((ROOT / "docs" / f"from-{name}.md").read_text() for name in ("torchserve", "triton"))
[START] = re.findall(r"```sh\n(.*?)```", TORCHSERVE, re.DOTALL)
ADDRESS = re.compile(r"127\.0\.0\.1:(\d+)")


@pytest.fixture
def from_torchserve(tmp_path: Path) -> Iterator[Reader]:
    """Somebody with an archive, and a service that was started as the guide says."""
    with zipfile.ZipFile(tmp_path / "words.mar", "w") as archive:
        archive.writestr("MAR-INF/MANIFEST.json", json.dumps({"model": {"modelName": "words"}}))
        archive.writestr("skipped.txt", "the and")
    places = {f"127.0.0.1:{port}": f"127.0.0.1:{free_port()}" for port in ADDRESS.findall(START)}
    said: dict[str, str] = dict(re.findall(r"(FACET_\w+)=(\S+)", START))
    environ = Reader.environ_in(tmp_path)
    assert said.pop("FACET_MODEL_STORE").replace("$PWD/..", str(tmp_path)) == environ["FACET_MODEL_STORE"]
    chosen = {name: places.get(value, value) for name, value in said.items()}
    with facet(FACET_ADMIN_ADDRESS="127.0.0.1:0", **environ, **chosen):
        yield Reader(tmp_path, TORCHSERVE, places, environ)


def test_a_handler_of_torchserve_is_served_to_its_clients(from_torchserve: Reader) -> None:
    """From an archive to the answers that the page shows; by gRPC, too."""
    from_torchserve.follow()
    there = from_torchserve.places
    request = {"model_name": "words", "input": {"data": "the dog"}}
    call = {"address": there["127.0.0.1:7070"], "method": "Predictions", "requests": [request]}
    command = [sys.executable, str(ROOT / "tests/support/torchserve_client.py")]
    done = subprocess.run(
        command, input=json.dumps([call]), capture_output=True, text=True, check=True, timeout=PATIENCE
    )
    [answer] = json.loads(done.stdout)
    assert json.loads(answer["replies"][0]["prediction"]) == {"words": 2, "counted": 1}
    for port, path in (("8080", "/explanations/words"), ("8080", "/metrics"), ("8081", "/workflows")):
        assert http_request(there[f"127.0.0.1:{port}"], "GET", path)[0] == 404


def test_a_handler_finds_what_the_page_says_and_no_more() -> None:
    """Of its context."""
    rows = re.findall(r"(?m)^\| (.*?) \| (\w+) \|", TORCHSERVE)
    told = {name: verdict for names, verdict in rows for name in re.findall(r"`context\.(\w+)`", names)}
    context = TorchServeContext(None, "words", {})
    there = {name for name in dir(context) if not name.startswith("_")} - {"status"}
    assert {name for name, verdict in told.items() if verdict != "absent"} == there
    assert not hasattr(context, "metrics")


@pytest.fixture
def from_triton(tmp_path: Path) -> Iterator[Reader]:
    """Somebody with a repository of Triton's and a running service."""
    for version in ("1", "2"):
        onnx_models.linear(tmp_path / "repository" / "scores" / version)
    environ = Reader.environ_in(tmp_path)
    with facet(**environ) as service:
        places = {"127.0.0.1:8000": service.http, "127.0.0.1:50051": service.grpc}
        yield Reader(tmp_path, TRITON, places, environ)


def test_a_model_of_triton_is_served_to_its_clients(from_triton: Reader) -> None:
    """From its configuration to what tritonclient prints, as the page shows it."""
    assert len(from_triton.follow()) == 3


def test_the_page_has_each_key_that_triton_has_as_it_is_judged() -> None:
    """With the reason that the command prints."""
    table = TRITON.partition("## What becomes of each key")[2].partition("\n## ")[0]
    rows = {
        key: (verdict, why)
        for key, verdict, why in re.findall(r"(?m)^\| `(.*?)` \| (.*?) \| (.*) \|$", table)
    }
    assert rows.keys() == RULES.keys()
    for key, rule in RULES.items():
        if callable(rule):
            assert rows[key][0] != "refused if true" or rule(True) == ("refused", rows[key][1])
        else:
            assert rows[key] == rule


@pytest.mark.parametrize("page", [TORCHSERVE, TRITON], ids=["torchserve", "triton"])
def test_each_setting_that_a_page_names_is_one(page: str) -> None:
    """By its whole name."""
    assert {*re.findall(r"FACET_\w+", page)} <= {variable(name) for name in Settings.__dataclass_fields__}
