"""Rules of make where the native engine cannot be compiled: it says so, and the service runs without it.

These run the real Makefile on an environment of their own, where pip only writes down what it is asked to do.
"""

import os
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.endpoints import post_raw
from tests.support.facet import ROOMY, free_port, without_native
from tests.support.pictures import ASTRONAUT
from tests.support.processes import ROOT, running, wait_until

_PYTHON = """#!/bin/sh
if [ "$2" = pip ]; then
  echo "$@" >> {log}
  [ "$3" = install ] && [ -e {failure} ] && cat {failure} && exit 1
  exit 0
fi
exec {python} "$@"
"""


@dataclass(frozen=True)
class Environment:
    """Stands where `.venv` does; its `bin` is the whole PATH."""

    folder: Path

    @property
    def done(self) -> Path:
        """What make leaves behind when the native engine is compiled."""
        return self.folder / "native.done"

    @property
    def command(self) -> list[str]:
        """Run make here."""
        return [str(shutil.which("make")), f"VENV={self.folder}"]

    @property
    def environ(self) -> dict[str, str]:
        """Without what an outer make, or its user, has set."""
        return {"PATH": str(self.folder / "bin"), "CXX": "", "MAKEFLAGS": ""}

    def installed(self) -> bool:
        """Whether pip was asked to install the native engine."""
        log = self.folder / "pip"
        return log.exists() and "./native" in log.read_text()

    def make_native(self) -> str:
        """What make says when it comes to the native engine; it must not fail over it."""
        command, environ = [*self.command, str(self.done)], {**os.environ, **self.environ}
        return subprocess.run(
            command, cwd=ROOT, env=environ, capture_output=True, text=True, check=True
        ).stdout

    def add(self, name: str, program: str = "") -> None:
        """Put a program on the PATH: this machine's own, or another in its place."""
        path = self.folder / "bin" / name
        if program:
            path.write_text(program)
            path.chmod(0o755)
        else:
            path.symlink_to(str(shutil.which(name)))


@pytest.fixture
def environment(tmp_path: Path) -> Environment:
    """One in which everything but the native engine is installed, and no compiler is on the PATH."""
    made = Environment(tmp_path / "venv")
    (made.folder / "bin").mkdir(parents=True)
    (made.folder / "serve.done").touch()
    log, failure = made.folder / "pip", made.folder / "failure"
    made.add("python", _PYTHON.format(log=log, failure=failure, python=sys.executable))
    made.add("gunicorn", f'#!/bin/sh\nexec {sys.executable} -m gunicorn "$@"\n')
    for tool in ("cat", "grep", "head", "touch"):
        made.add(tool)
    return made


def test_without_a_compiler_make_says_what_is_left_out_and_goes_on(environment: Environment) -> None:
    """It names what to install, compiles nothing, and will try again the next time."""
    for _ in range(2):
        said = environment.make_native()
        assert "No C++ compiler" in said
        assert "apt-get install g++" in said
        assert not environment.installed()
        assert not environment.done.exists()


def test_a_compiler_that_is_there_later_is_used_once(environment: Environment) -> None:
    """The next make compiles; the one after it finds that done."""
    environment.make_native()
    environment.add("c++", "#!/bin/sh\n")
    assert "Compiling the native engine" in environment.make_native()
    assert environment.installed()
    assert environment.done.exists()
    assert "Compiling" not in environment.make_native()


@pytest.mark.parametrize(
    "reason", ["fatal error: Python.h: No such file", "ERROR: THESE PACKAGES DO NOT MATCH THE HASHES"]
)
def test_what_keeps_the_engine_from_being_compiled_is_quoted_and_make_goes_on(
    environment: Environment, reason: str
) -> None:
    """By the compiler, or by pip of its tools; the rest of it is named, and the next make tries again."""
    environment.add("g++", "#!/bin/sh\n")
    (environment.folder / "failure").write_text(f"{reason}\n")
    said = environment.make_native()
    assert "could not be compiled" in said
    assert reason in said
    assert not environment.done.exists()


def test_make_serve_without_a_compiler_serves_with_onnx_and_warns(
    environment: Environment, tmp_path: Path
) -> None:
    """The start says why, and every reply says which engine it was."""
    http, grpc = f"127.0.0.1:{free_port()}", f"127.0.0.1:{free_port()}"
    settings = {"FACET_HTTP_ADDRESS": http, "FACET_GRPC_ADDRESS": grpc, **ROOMY}
    with running(
        [*environment.command, "serve"], **{**settings, **environment.environ, **without_native(tmp_path)}
    ) as process:
        wait_until(lambda: "Facet detects faces now." in process.lines, "the announcement")
        assert any("No C++ compiler" in line for line in process.lines)
        (line,) = [line for line in process.lines if '"message": "engine"' in line]
        assert '"level": "warning"' in line
        assert "the native engine is not available" in line
        for _ in range(4):
            answer = post_raw(http, ASTRONAUT.read_bytes(), {})
            assert answer.body is not None
            assert (len(answer.faces or []), answer.body["model"]["engine"]) == (1, "onnx")
        process.send_group(signal.SIGINT)
        process.wait()
