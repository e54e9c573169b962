"""What others make of `/openapi.json`: requests of all kinds, and clients of two languages."""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.client_environment import interpreter, node_modules
from tests.support.described_gateway import described_gateway
from tests.support.gateway_process import Gateway
from tests.support.pictures import ASTRONAUT
from tests.support.processes import ROOT
from tests.support.tools import tool

SUPPORT = ROOT / "tests" / "support"
LEFT = pytest.approx(182, abs=1)
"""Where the face of the portrait begins."""
LEFT_OUT = [
    ("POST /predict", "image/*"),
    ("POST /predict/annotated", "image/jpeg"),
    ("POST /predict/annotated", "image/*"),
]
"""Bodies for which the types of the Python client have no place."""


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """One for all tests of this module."""
    with described_gateway(tmp_path_factory.mktemp("backend")) as running:
        yield running


@pytest.fixture(scope="module")
def url(served: Gateway) -> str:
    """Where it is."""
    return "http://{}:{}".format(*served.address)


def ran(folder: Path, *command: object, **environ: str) -> subprocess.CompletedProcess[str]:
    """A program that has ended well, in this folder and with these variables."""
    done = subprocess.run(
        list(map(str, command)),
        cwd=folder,
        env={**os.environ, **environ},
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )
    assert done.returncode == 0, (done.stdout[-10_000:], done.stderr[-2000:])
    return done


def test_whatever_is_asked_the_answer_is_one_that_is_described(url: str, tmp_path: Path) -> None:
    """Requests of all kinds with a real picture; none meets a fault, and the document itself is valid."""
    ran(tmp_path, interpreter("openapi"), SUPPORT / "openapi_fuzzer.py", f"{url}/openapi.json", ASTRONAUT)


def test_a_generated_python_client_finds_faces_and_calls_models(url: str, tmp_path: Path) -> None:
    """Typed from the document alone, of which all but bodies that are a picture can be said in its types."""
    python = interpreter("openapi_python_client")
    (tmp_path / "config.yml").write_text("project_name_override: facet-client\n")
    generate = ["openapi-python-client", "generate", "--url", f"{url}/openapi.json"]
    path = f"{python.parent}{os.pathsep}{os.environ['PATH']}"  # where it looks for what formats its code
    told = ran(tmp_path, *generate, "--config", "config.yml", "--output-path", "made", PATH=path).stderr
    left_out = re.findall(r"WARNING parsing (\S+ \S+) .*\s+.*Unsupported content.type (image/[*\w]+)", told)
    assert left_out == LEFT_OUT
    assert told.count("WARNING") == len(LEFT_OUT)
    assert "Unable" not in told
    done = ran(tmp_path, python, SUPPORT / "generated_client.py", tmp_path / "made", url, ASTRONAUT)
    answers: dict[str, Any] = json.loads(done.stdout)
    assert answers == {
        "left": [LEFT, LEFT],
        "reason": "INVALID_BASE64",
        "text": "hellohello",
        "middle": 1.5,
    }


def test_a_generated_typescript_client_finds_faces_and_calls_models(url: str, tmp_path: Path) -> None:
    """Which strict types let through."""
    source = SUPPORT / "openapi_typescript"
    for file in source.iterdir():
        shutil.copy(file, tmp_path)
    packages = tmp_path / "node_modules"
    packages.symlink_to(node_modules(source))
    programs = packages / ".bin"
    # What has a default may be left out by who sends it.
    generate = [programs / "openapi-typescript", f"{url}/openapi.json", "--default-non-nullable=false"]
    ran(tmp_path, *generate, "--output", "schema.ts")
    ran(tmp_path, programs / "tsc", "-p", ".")
    done = ran(tmp_path, tool("node", "nodejs"), "client.js", url, ASTRONAUT)
    answers: dict[str, Any] = json.loads(done.stdout)
    assert answers == {
        "left": [LEFT],
        "reason": "INVALID_BASE64",
        "text": "hellohello",
        "middle": 1.5,
        "state": "ready",
    }
