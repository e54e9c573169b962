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
GRPC = (ROOT / "docs" / "grpc.md").read_text()
BENCHMARKS = (ROOT / "benchmarks" / "README.md").read_text()
PROGRAMS = [
    *re.findall(r"```python\n(.*?)```", README, re.DOTALL),
    *re.findall(r"```python\n(.*?)```", GRPC[GRPC.index("## Calling it") : GRPC.index("## TLS")], re.DOTALL),
]
[ANSWER] = map(json.loads, re.findall(r"```json\n(.*?)```", README, re.DOTALL))
[CURL] = re.findall(r"^    (.*curl .*)$", README, re.MULTILINE)


@pytest.fixture(scope="module")
def service() -> Iterator[Facet]:
    """The service whose addresses stand in for the README's."""
    with facet() as running:
        yield running


def here(text: str, service: Facet) -> str:
    """A command of the README, with the addresses of the service under test."""
    return text.replace("127.0.0.1:8000", service.http).replace("127.0.0.1:50051", service.grpc)


def test_there_are_programs_to_try() -> None:
    """Or the tests below would test nothing."""
    assert len(PROGRAMS) == 3


@pytest.mark.parametrize("program", PROGRAMS, ids=["README", "ServiceClient", "stub"])
def test_a_program_of_the_documents_prints_the_face(service: Facet, tmp_path: Path, program: str) -> None:
    """Run as it stands, beside the pictures that it names."""
    (tmp_path / "examples").mkdir()
    for name in ("photo.jpg", "examples/astronaut.png"):
        shutil.copy(ASTRONAUT, tmp_path / name)
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
def test_the_curl_of_the_readme_answers_as_shown(service: Facet) -> None:
    """Typed into a shell as it stands."""
    output = subprocess.run(
        ["/bin/sh", "-c", here(CURL, service)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert cut_like(json.loads(output.stdout), ANSWER) == ANSWER


def test_each_figure_of_the_readme_is_one_that_was_measured() -> None:
    """It is in the benchmarks' table of goals, in a row of the scenario that its own row links."""
    claimed = [
        (figure, scenario)
        for line in README.splitlines()
        for scenario in re.findall(r"benchmarks/README\.md#(\w+)", line)
        for figure in re.findall(r"(\d+\.\d)x", line)
    ]
    assert claimed
    for figure, scenario in claimed:
        goals = [line for line in BENCHMARKS.splitlines() if line.startswith(f"| [{scenario}]")]
        measured = [f"{float(number):.1f}" for line in goals for number in re.findall(r"(\d+\.\d+)x", line)]
        assert figure in measured, (figure, scenario)


def test_the_readme_is_one_screen() -> None:
    """What takes more has a place in docs/."""
    assert len(README.splitlines()) <= 60


def cut_like(answer: Any, example: Any) -> Any:  # noqa: ANN401 - any JSON
    """An answer without what an example leaves out, its floats those of the example where they are near.

    The last digits of a float differ from one CPU to another.
    """
    if isinstance(example, dict):
        return {name: cut_like(answer[name], value) for name, value in example.items()}
    if isinstance(example, list):
        return [cut_like(*pair) for pair in zip(answer, example, strict=True)]
    return example if isinstance(example, float) and answer == pytest.approx(example, 1e-3) else answer
