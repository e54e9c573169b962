"""The image, built as docs/install.md says, upon a base that has Debian's packages alone."""

import re
import shlex
import subprocess
import sys
import time
from pathlib import Path

from tests.support.podman import Podman
from tests.support.processes import ROOT

_PATIENCE = 1800
_HERE = ("--network=host", "--volume=/etc/ssl/certs:/etc/ssl/certs:ro")
"""How podman reaches the package indexes from wherever it is run."""


def typed(page: str, begin: str) -> str:
    """The only command of a page that begins like this, its continued lines joined."""
    text = (ROOT / "docs" / page).read_text().replace("\\\n", " ")
    [line] = re.findall(rf"(?m)^    ({re.escape(begin)}.*)$", text)
    return str(line)


def shell(command: str, folder: Path, podman: Podman) -> None:
    """Type a command in a folder; it succeeds."""
    # The checkout's own `facet` is the command of a page, as it is behind an installation.
    paths = f"{ROOT / 'bin'}:{Path(sys.executable).parent}:{podman.environ['PATH']}"
    done = subprocess.run(
        ["sh", "-ec", command],
        cwd=folder,
        env={**podman.environ, "PATH": paths, "MAKEFLAGS": ""},
        capture_output=True,
        text=True,
        check=False,
        timeout=_PATIENCE,
    )
    assert done.returncode == 0, f"{command}\n{done.stdout[-3000:]}{done.stderr[-3000:]}"


def build(podman: Podman, folder: Path) -> float:
    """Build it; gives the seconds that `make image` took, with what podman kept of an earlier time.

    Args:
        podman: By which it is built.
        folder: For the base, which is made where podman has none yet.
    """
    made = typed("install.md", "podman import")
    if podman.run("image", "exists", made.split()[-1]).returncode != 0:
        shell(typed("install.md", "mmdebstrap"), folder, podman)
        shell(made, folder, podman)
    program, target, flags = shlex.split(typed("install.md", "make image IMAGE_FLAGS='"))
    command = [program, target, f"{flags} {' '.join(_HERE)}", "IMAGE_BUILD=podman build --format docker"]
    began = time.monotonic()
    shell(shlex.join(command), ROOT, podman)
    return time.monotonic() - began
