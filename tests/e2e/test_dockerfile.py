"""deploy/Dockerfile without Docker: what it says, and the program as the wheel has it, run as it says.

Packages and native engine are those of this environment, not installed anew. `make test-heavy` builds the
image.
"""

import ast
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from packaging.utils import canonicalize_name

from scripts.locks import SERVE, applies, pins
from scripts.wheel import write
from tests.support.endpoints import call_grpc, post_raw
from tests.support.facet import ROOMY, free_port
from tests.support.pictures import ASTRONAUT
from tests.support.processes import ROOT, running, wait_until

PACKAGES = ["protos", "utils", "inference_server", "gateway", "cli", "facet_serving"]
OPTIONAL = ["tensorflow", "opentelemetry", "ray"]
"""Of an engine, of traces, and of Ray, that the image does without."""


def joined(path: str) -> str:
    """A file without comments, its continued lines joined."""
    return re.sub(r"\\\n\s*", "", re.sub(r"(?m)^#.*\n", "", (ROOT / path).read_text()))


STAGES = [
    re.findall(r"(?m)^([A-Z]+) (.*)$", text) for text in joined("deploy/Dockerfile").split("\nFROM ")[1:]
]
BASES = re.findall(r"(?m)^ARG BASE=(.*)$", joined("deploy/Dockerfile"))


def of(stage: int, name: str) -> list[str]:
    """The values of the instructions of this name, in order."""
    return [value for kind, value in STAGES[stage] if kind == name]


BUILDER, FINAL = 0, 1
COPIED = [path for value in of(BUILDER, "COPY") for path in value.split()[:-1]]


def test_both_stages_have_a_base_with_a_version_and_the_final_one_installs_nothing() -> None:
    """So that an image can be built again, and has no compiler."""
    [base] = BASES
    assert re.fullmatch(r"python:3\.\d+(\.\d+)?-slim-\w+(@sha256:\w{64})?", base)
    assert joined("deploy/Dockerfile").count("\nFROM ${BASE}") == len(STAGES) == 2
    assert of(FINAL, "RUN") == []
    state = "--from=builder --chown=10001:10001 /var/lib/facet /var/lib/facet/"
    assert of(FINAL, "COPY") == ["--from=builder ${PREFIX} ${PREFIX}/", state]
    assert state.partition("=builder --chown=")[2].startswith(f"{of(FINAL, 'USER')[0]} ")


def test_the_image_serves_as_a_numbered_user_who_is_not_root_and_stops_by_sigterm() -> None:
    """On all of the container's addresses, at the ports that it says."""
    [user] = of(FINAL, "USER")
    assert all(0 < int(number) < 2**31 for number in user.split(":"))
    assert of(FINAL, "STOPSIGNAL") == ["SIGTERM"]
    ports = dict(re.findall(r"FACET_(HTTP|GRPC)_ADDRESS=0\.0\.0\.0:(\d+)", of(FINAL, "ENV")[0]))
    assert of(FINAL, "EXPOSE") == [f"{ports['HTTP']} {ports['GRPC']}"]


def test_the_builder_gets_what_is_copied_and_nothing_else_that_lies_in_a_checkout() -> None:
    """Each path is in the repository, and .dockerignore lets in these alone, without hidden files."""
    first, *rules = joined(".dockerignore").split()
    assert first == "*"
    assert sorted(rule[1:] for rule in rules if rule.startswith("!")) == sorted(COPIED)
    assert rules[-3:] == ["native/tests", "**/__pycache__", "**/.*"]
    for path in COPIED:
        assert (
            subprocess.run(["git", "ls-files", "--error-unmatch", path], cwd=ROOT, check=False).returncode
            == 0
        )


def test_what_is_installed_was_copied_before_and_is_all_that_the_program_imports() -> None:
    """But for what is optional."""
    steps = [value for _, value in STAGES[BUILDER]]
    lists = steps.index("locks/requirements-serve.txt locks/requirements-wheel.txt locks/")
    assert steps.index("pip install --require-hashes -r locks/requirements-serve.txt") > lists
    tools = "pip install --require-hashes -r locks/requirements-wheel.txt --target /tools"
    built = "PYTHONPATH=/tools pip install --no-build-isolation --no-deps "
    assert steps.index(f"{built}./native") > steps.index("native native/") > steps.index(tools) > lists
    assert steps.index(f"{built}.") > max(steps.index(f"{name} {name}/") for name in PACKAGES)
    installed = {pin.name for pin in pins(SERVE) if applies(pin.requirement)}
    nodes = [
        node
        for package in PACKAGES
        for path in (ROOT / package).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
    ]
    imported = {node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)}
    imported |= {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    modules = {name.partition(".")[0] for name in imported} - {*PACKAGES, "facet_native", *OPTIONAL}
    known = packages_distributions()
    for module in modules - sys.stdlib_module_names:
        assert any(canonicalize_name(name) in installed for name in known[module]), module


@pytest.fixture(scope="module")
def prefix() -> Iterator[Path]:
    """Program and models as in the image, in a folder that every user can read and none write."""
    folder = Path(tempfile.mkdtemp(prefix="facet-image-"))
    write(ROOT, folder / "app")
    try:
        [command] = [value for value in of(BUILDER, "RUN") if "inference_server" in value]
        command = command.replace("/var/lib", f"{folder}")
        subprocess.run(["sh", "-ec", command], cwd=folder, env=environ(folder), check=True)
        subprocess.run(["chmod", "-R", "a+rX,a-w", folder], check=True)
        yield folder
    finally:
        subprocess.run(["chmod", "-R", "u+w", folder], check=True)
        shutil.rmtree(folder)


def environ(prefix: Path) -> dict[str, str]:
    """The variables of the image, with the packages of this environment and the program of the folder."""
    path = f"{Path(sys.executable).parent}:/usr/bin:/bin"
    said = of(FINAL, "ENV")[0].replace("${PREFIX}", str(prefix))
    given = dict(pair.split("=", 1) for pair in shlex.split(said))
    return {**given, "PREFIX": str(prefix), "HOME": "/", "PATH": path, "PYTHONPATH": f"{prefix}/app"}


def contained(prefix: Path, command: list[str], **given: str) -> list[str]:
    """A command as a container runs it: by its folder, variables and user, who may write nothing."""
    variables = [f"{name}={value}" for name, value in {**environ(prefix), **given}.items()]
    user, group = of(FINAL, "USER")[0].split(":")
    rights = [f"--{kind}=-all,+dac_read_search" for kind in ("inh-caps", "ambient-caps", "bounding-set")]
    switch = ["setpriv", f"--reuid={user}", f"--regid={group}", "--clear-groups", *rights]
    return [
        "env",
        "-i",
        "--chdir=/",
        *variables,
        *(switch if os.geteuid() == 0 else []),
        *command,
    ]


def test_a_container_is_the_backend_or_where_it_is_told_to_be_the_gateway(prefix: Path) -> None:
    """By docs/running.md: they find a face, say whether they serve, end in order, and write nothing."""
    before = {path: path.stat().st_mtime_ns for path in prefix.rglob("*")}
    assert (
        "\n    docker run -d --name backend --network facet --read-only --stop-timeout 30 facet\n"
        in joined("docs/running.md")
    )
    [(asked, told)] = re.findall(
        r'--name gateway .* -e FACET_BACKEND=\S+ --health-cmd "(.*)" facet (.*)', joined("docs/running.md")
    )
    backend = json.loads(of(FINAL, "CMD")[0])
    http, grpc = free_port(), free_port()
    everywhere = {"FACET_GRPC_ADDRESS": f"0.0.0.0:{grpc}", "FACET_HTTP_ADDRESS": f"0.0.0.0:{http}"}

    def healthy(check: list[str]) -> bool:
        return subprocess.run(contained(prefix, check, **everywhere), timeout=60, check=False).returncode == 0

    checks = json.loads(of(FINAL, "HEALTHCHECK")[0].partition("CMD ")[2]), asked.split()
    here = {"FACET_BACKEND": f"127.0.0.1:{grpc}", "FACET_HTTP_ADDRESS": f"127.0.0.1:{http}"}
    here["FACET_HTTP_METRICS_ADDRESS"] = "127.0.0.1:0"
    with running(contained(prefix, told.split(), **ROOMY, **here)) as web:
        web.wait_for("ready")
        assert [healthy(check) for check in checks] == [False, False]
        local = {**ROOMY, "FACET_GRPC_ADDRESS": f"127.0.0.1:{grpc}", "FACET_ADMIN_ADDRESS": "127.0.0.1:0"}
        with running(contained(prefix, backend, **local)) as served:
            served.wait_for("ready")
            wait_until(lambda: all(map(healthy, checks)), "both serve")
            assert len(call_grpc(f"127.0.0.1:{grpc}", ASTRONAUT.read_bytes(), {}).faces or []) == 1
            assert len(post_raw(f"127.0.0.1:{http}", ASTRONAUT.read_bytes(), {}).faces or []) == 1
            for process in (web, served):
                process.send(signal.SIGTERM)
                assert process.wait() == 0
    assert {path: path.stat().st_mtime_ns for path in prefix.rglob("*")} == before
