"""The distributions that `make wheel` builds, and environments of their own in which they are installed."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.processes import ROOT

PAGE = (ROOT / "docs" / "install.md").read_text()
NAMES = ("cli", "gateway", "inference_server", "protos", "utils")
"""Packages of the repository that the wheel has in facet_serving."""

_SECONDS = 300


def build(folder: Path) -> None:
    """Build them into `dist` of this folder."""
    environ = {**os.environ, "MAKEFLAGS": ""}
    command = ["make", "wheel", f"DIST={folder / 'dist'}"]
    made = subprocess.run(
        command, cwd=ROOT, env=environ, capture_output=True, text=True, check=False, timeout=600
    )
    assert made.returncode == 0, made.stdout + made.stderr


def typed(pattern: str) -> str:
    """The only command of the page that begins like this, without the comment behind it."""
    [line] = re.findall(rf"(?m)^    ({pattern}.*?)(?: +#.*)?$", PAGE)
    return str(line)


def install(folder: Path, command: str, **environ: str) -> None:
    """Type a command of the page in a folder; where the packages cannot be had, the test is skipped."""
    paths = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["sh", "-c", command],
        cwd=folder,
        env={**os.environ, "PATH": paths, **environ},
        capture_output=True,
        text=True,
        check=False,
        timeout=_SECONDS,
    )
    if re.search("(?i)could not find a version|failed to (fetch|resolve)|connection", done.stderr):
        pytest.skip(f"{command} finds no packages: {done.stderr.strip().splitlines()[-1]}")
    assert done.returncode == 0, done.stderr


def hostile_modules(folder: Path, *names: str) -> Path:
    """A folder with modules that end whoever imports them."""
    folder.mkdir()
    for name in names:
        (folder / f"{name}.py").write_text(f"raise SystemExit('{name} of the working directory')\n")
    return folder
