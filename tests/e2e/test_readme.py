"""What the README tells a reader to type does what it says."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.facet import Facet, facet
from tests.support.pictures import ASTRONAUT
from tests.support.processes import ROOT

README = (ROOT / "README.md").read_text()
PROGRAMS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
[ANSWER] = map(json.loads, re.findall(r"```json\n(.*?)```", README, re.DOTALL))
CURLS = re.findall(r"^    (.*curl .*)$", README, re.MULTILINE)


@pytest.fixture(scope="module")
def service() -> Iterator[Facet]:
    """The service whose addresses stand in for the README's."""
    with facet() as running:
        yield running


def here(text: str, service: Facet) -> str:
    """A command of the README, with the addresses of the service under test."""
    return text.replace("127.0.0.1:8000", service.http).replace("127.0.0.1:50051", service.grpc)


def test_there_are_programs_and_commands_to_try() -> None:
    """Or the tests below would test nothing."""
    assert len(PROGRAMS) == 2
    assert len(CURLS) == 2


@pytest.mark.parametrize("program", PROGRAMS, ids=["ServiceClient", "stub"])
def test_a_program_of_the_readme_prints_the_face(service: Facet, tmp_path: Path, program: str) -> None:
    """Run as it stands, beside a photo.jpg."""
    shutil.copy(ASTRONAUT, tmp_path / "photo.jpg")
    output = subprocess.run(
        [sys.executable, "-c", here(program, service)],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert output.returncode == 0, output.stderr
    assert "181.59" in output.stdout


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
@pytest.mark.parametrize("command", CURLS, ids=["form", "json"])
def test_a_curl_of_the_readme_answers_as_shown(service: Facet, tmp_path: Path, command: str) -> None:
    """Typed into a shell as it stands, beside a photo.jpg of any size."""
    shutil.copy(ASTRONAUT, tmp_path / "photo.jpg")
    output = subprocess.run(
        ["/bin/sh", "-c", here(command, service)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert cut_like(json.loads(output.stdout), ANSWER) == ANSWER


def cut_like(answer: Any, example: Any) -> Any:  # noqa: ANN401 - any JSON
    """An answer without what an example leaves out, its floats those of the example where they are near.

    The last digits of a float differ from one CPU to another.
    """
    if isinstance(example, dict):
        return {name: cut_like(answer[name], value) for name, value in example.items()}
    if isinstance(example, list):
        return [cut_like(*pair) for pair in zip(answer, example, strict=True)]
    return example if isinstance(example, float) and answer == pytest.approx(example, 1e-3) else answer
