"""The image of deploy/Dockerfile, built and run as tests/support/dockerfile.py does it without Docker."""

import itertools
import os
import re
import shlex
import shutil
import signal
import stat
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import pytest

from tests.support.dockerfile import Builder, Image, contained, ignored, parse
from tests.support.doors import call_grpc, post_raw
from tests.support.facet import ROOMY, free_port
from tests.support.pictures import ASTRONAUT
from tests.support.processes import ROOT, running, wait_until

pytestmark = pytest.mark.timeout(900)  # packages are installed and kernels compiled

DOCKERFILE = parse((ROOT / "deploy" / "Dockerfile").read_text())
FINAL = DOCKERFILE.stages[-1]
IS_IGNORED = ignored((ROOT / ".dockerignore").read_text())


@dataclass(frozen=True)
class Documented:
    """A `docker run` of docs/running.md: the variables, the health check and the command that it gives."""

    environ: dict[str, str]
    health: list[str]
    command: list[str]


def documented(name: str) -> Documented:
    """How the container of this name is started."""
    text = re.sub(r"\\\n\s*", "", (ROOT / "docs" / "running.md").read_text())
    [line] = re.findall(rf"^    docker run .*--name {name} .*$", text, re.MULTILINE)
    words = shlex.split(line)
    image = words.index("facet", words.index("--read-only"))
    options = dict(itertools.pairwise(words[:image]))
    environ = dict([options["-e"].split("=", 1)]) if "-e" in options else {}
    return Documented(environ, shlex.split(options.get("--health-cmd", "")), words[image + 1 :])


@pytest.fixture(scope="module")
def image() -> Iterator[Image]:
    """The image, in a folder that every user can enter and none can write."""
    if not any(shutil.which(compiler) for compiler in ("c++", "g++", "clang++")):
        assert "CI" not in os.environ, "there is no C++ compiler"
        pytest.skip("there is no C++ compiler, which the builder's apt-get would have installed")
    folder = Path(tempfile.mkdtemp(prefix="facet-image-"))
    folder.chmod(0o755)
    try:
        builder = Builder(DOCKERFILE, ROOT, IS_IGNORED, folder)
        image = builder.build()
        assert len(builder.not_run) == 1
        subprocess.run(["chmod", "-R", "a-w", image.prefix], check=True)
        yield image
    finally:
        subprocess.run(["chmod", "-R", "u+w", folder], check=True)
        shutil.rmtree(folder)


def health(image: Image, check: list[str], **environ: str) -> int:
    """The exit status of a health check in a container."""
    command = contained(image, check, **environ)
    return subprocess.run(command, stderr=subprocess.DEVNULL, timeout=60, check=False).returncode


def files(image: Image) -> dict[str, tuple[int, int]]:
    """Every file of the image, with its size and the time of its last change."""
    found = (path for path in image.prefix.rglob("*") if path.is_file())
    return {str(path): (path.stat().st_size, path.stat().st_mtime_ns) for path in found}


def test_every_base_image_is_named_by_its_version() -> None:
    """So that an image can be built again."""
    for stage in DOCKERFILE.stages:
        assert re.fullmatch(r"python:3\.\d+(\.\d+)?-slim-\w+(@sha256:\w{64})?", stage.base), stage.base


def test_the_final_stage_compiles_and_installs_nothing() -> None:
    """What it has it was given by the builder, which alone has a compiler."""
    assert FINAL.of("RUN") == []
    assert all(value.startswith("--from=builder ") for value in FINAL.of("COPY"))
    installing = [
        command for stage in DOCKERFILE.stages for command in stage.of("RUN") if "apt-get" in command
    ]
    [command] = installing
    assert "g++" in command
    assert "--no-install-recommends" in command
    assert command.endswith("rm -rf /var/lib/apt/lists/*")


def test_the_image_serves_as_a_numbered_user_who_is_not_root_and_stops_by_sigterm() -> None:
    """On all of the container's addresses, at the ports that it says."""
    [user] = FINAL.of("USER")
    assert all(0 < int(number) < 2**31 for number in user.split(":"))
    assert FINAL.of("STOPSIGNAL") == ["SIGTERM"]
    [environ] = FINAL.of("ENV")
    ports = dict(re.findall(r"FACET_(HTTP|GRPC)_ADDRESS=0\.0\.0\.0:(\d+)", environ))
    assert FINAL.of("EXPOSE") == [f"{ports['HTTP']} {ports['GRPC']}"]


@pytest.mark.parametrize(
    ("path", "left_out"),
    [
        (".env", True),
        ("inference_server/.env", True),
        ("key.pem", True),
        (".git/config", True),
        ("tests/conftest.py", True),
        ("native/tests/kernels_test.cpp", True),
        ("utils/__pycache__/settings.cpython-311.pyc", True),
        ("examples/astronaut.png", True),
        ("requirements-serve.txt", False),
        ("native/src/engine.cpp", False),
        ("inference_server/detector/portrait.jpg", False),
    ],
)
def test_the_builder_gets_what_the_image_is_made_of_and_nothing_else(path: str, left_out: bool) -> None:
    """Whatever lies in a checkout."""
    assert IS_IGNORED(PurePosixPath(path)) is left_out


def test_the_image_holds_the_program_its_packages_and_its_models(image: Image) -> None:
    """And nothing that they were made from; every user may read all of it, and nobody write."""
    assert {path.name for path in image.prefix.iterdir()} == {"venv", "cache", "app"}
    packages = {"protos", "utils", "inference_server", "gateway"}
    assert {path.name for path in (image.prefix / "app").iterdir()} == packages
    for path in (image.prefix, *image.prefix.rglob("*")):
        if not path.is_symlink():
            mode = path.stat().st_mode
            wanted = stat.S_IROTH | (stat.S_IXOTH if path.is_dir() else 0)
            assert mode & wanted == wanted, path
            assert mode & (stat.S_IWGRP | stat.S_IWOTH) == 0, path


def test_a_container_is_the_backend_and_its_health_check_says_whether_it_serves(image: Image) -> None:
    """It finds a face by the native engine, ends in order when told to, and has written nothing."""
    run, before, port = documented("backend"), files(image), free_port()
    assert run == Documented({}, [], [])
    asked = {"FACET_GRPC_ADDRESS": f"0.0.0.0:{port}"}  # as in the image
    address = f"127.0.0.1:{port}"
    with running(contained(image, image.command, **ROOMY, FACET_GRPC_ADDRESS=address)) as process:
        assert process.wait_for("ready")["grpc_address"] == address
        assert process.logged("engine")[0]["engine"] == "native"
        assert health(image, image.healthcheck, **asked) == 0
        assert len(call_grpc(address, ASTRONAUT.read_bytes(), {}).faces or []) == 1
        process.send(signal.SIGTERM)
        assert process.wait() == 0
    assert health(image, image.healthcheck, **asked) == 1
    assert files(image) == before


def test_a_container_is_the_gateway_where_it_is_told_to_be(image: Image) -> None:
    """By the command, the variable and the health check of docs/running.md."""
    run, before, port = documented("gateway"), files(image), free_port()
    assert set(run.environ) == {"FACET_BACKEND"}
    asked = {"FACET_HTTP_ADDRESS": f"0.0.0.0:{port}"}
    address, grpc = f"127.0.0.1:{port}", f"127.0.0.1:{free_port()}"
    environ = {**ROOMY, "FACET_HTTP_ADDRESS": address, "FACET_BACKEND": grpc}
    with running(contained(image, run.command, **environ)) as gateway:
        assert gateway.wait_for("ready")["http_address"] == address
        assert health(image, run.health, **asked) == 1
        with running(contained(image, image.command, **ROOMY, FACET_GRPC_ADDRESS=grpc)):
            wait_until(lambda: health(image, run.health, **asked) == 0, "the gateway finds its backend")
            wait_until(lambda: len(post_raw(address, ASTRONAUT.read_bytes(), {}).faces or []) == 1, "a face")
        gateway.send(signal.SIGTERM)
        assert gateway.wait() == 0
    assert health(image, run.health, **asked) == 1
    assert files(image) == before
