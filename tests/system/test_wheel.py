"""The wheels, installed as docs/install.md says, beside modules that have the names of our packages."""

import json
import os
import shutil
import signal
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support import wheels
from tests.support.client_environment import interpreter
from tests.support.endpoints import answers, call_grpc, post_raw
from tests.support.facet import ROOMY, Facet, free_port
from tests.support.model_package import installed
from tests.support.pictures import ASTRONAUT
from tests.support.processes import ROOT, parse, running, wait_until
from utils.service_client import ServiceClient

CALLER = """
import json, sys
from pathlib import Path
from facet_serving import ServiceClient, errors

with ServiceClient(sys.argv[1], timeout=60) as client:
    try:
        client.detect(b"no picture")
    except errors.InvalidRequest as error:
        reason = error.reason
    print(json.dumps([reason, len(client.detect(Path(sys.argv[2]).read_bytes()).faces), sorted(sys.modules)]))
"""

UTILS = "def shout(text):\n    return text.upper()\n"

ORCHARD = '''
import sys
import utils
from facet_serving import Model
from pydantic import BaseModel


class Orchard(Model):
    """Calls its own `utils`, and says what else of that kind its process has."""

    class Input(BaseModel):
        text: str

    class Output(BaseModel):
        text: str
        loaded: list[str]

    def predict(self, inputs):
        loaded = [name for name in ("cli", "gateway", "inference_server", "protos") if name in sys.modules]
        return [self.Output(text=utils.shout(one.text), loaded=loaded) for one in inputs]
'''


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One with both distributions in `dist`."""
    made = tmp_path_factory.mktemp("wheels")
    wheels.build(made)
    return made


@pytest.fixture(scope="module")
def client(folder: Path) -> Path:
    """The programs of an environment that has what clients need."""
    wheels.install(folder, wheels.typed("python3 -m venv client"))
    wheels.install(folder, wheels.typed("client/bin/pip install"))
    return folder / "client" / "bin"


@pytest.fixture(scope="module")
def server(folder: Path) -> Path:
    """The programs of an environment that has what serves."""
    wheels.install(folder, f"{wheels.typed('uv venv')} --no-project --python {sys.executable}")
    wheels.install(folder, wheels.typed("uv pip install"))
    return folder / "facet" / "bin"


@pytest.fixture(scope="module")
def service(server: Path, folder: Path) -> Iterator[Facet]:
    """Backend and gateway in a folder with modules of our names, all but one, which a model brings."""
    there = wheels.hostile_modules(folder / "served", *sorted({*wheels.NAMES} - {"utils"}))
    installed(folder, "utils", UTILS, {})
    paths = installed(folder, "orchard", ORCHARD, {"orchard": "orchard:Orchard"})
    environ = {
        **ROOMY,
        **paths,
        "FACET_GRPC_ADDRESS": "127.0.0.1:0",
        "FACET_HTTP_ADDRESS": "127.0.0.1:0",
        "FACET_ADMIN_ADDRESS": "127.0.0.1:0",
        "FACET_CACHE_DIR": str(folder / "cache"),
        "FACET_STATE_DIR": str(folder / "state"),
    }
    backend, gateway = (
        wheels.typed(rf"facet/bin/python -m facet_serving\.{name}").split()[1:]
        for name in ("inference_server", "gateway")
    )
    with running([str(server / "python"), *backend], there, **environ) as inference:
        grpc = inference.wait_for("ready")["grpc_address"]
        with running([str(server / "python"), *gateway], there, FACET_BACKEND=grpc, **environ) as web:
            yield Facet(web, inference, web.wait_for("ready")["http_address"], grpc)


def run(there: Path, *command: object, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run a program in a folder."""
    return subprocess.run(
        [*map(str, command)],
        cwd=there,
        env={**os.environ, **environ},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def finds_a_face(service: Facet) -> bool:
    """By HTTP and by gRPC."""
    picture = ASTRONAUT.read_bytes()
    found = (post_raw(service.http, picture, {}), call_grpc(service.grpc, picture, {}))
    return [len(answer.faces or []) for answer in found] == [1, 1]


def test_the_wheel_installs_one_package_alone(folder: Path) -> None:
    """No name beside it that a program of others might have."""
    [wheel] = (folder / "dist").glob("facet_serving-*.whl")
    names = {name.partition("/")[0] for name in zipfile.ZipFile(wheel).namelist()}
    assert {name for name in names if not name.endswith(".dist-info")} == {"facet_serving"}


def test_a_client_calls_a_service_beside_modules_of_the_same_names(
    client: Path, service: Facet, tmp_path: Path
) -> None:
    """And loads neither these nor what only a server needs."""
    there = wheels.hostile_modules(tmp_path / "caller", *wheels.NAMES)
    (there / "call.py").write_text(CALLER)
    done = run(there, client / "python", "call.py", service.grpc, ASTRONAUT)
    assert done.returncode == 0, done.stderr
    reason, faces, modules = json.loads(done.stdout)
    assert (reason, faces) == ("UNSUPPORTED_IMAGE_FORMAT", 1)
    heavy = {"flask", "numpy", "onnxruntime", "pydantic"}
    assert not {name.partition(".")[0] for name in modules} & {*wheels.NAMES, *heavy}


@pytest.mark.parametrize(
    ("program", "arguments"),
    [("faces_client.py", ["PICTURE", "ADDRESS"]), ("many_faces_asyncio.py", ["ADDRESS", "PICTURE"])],
)
def test_examples_of_our_client_need_no_checkout(
    program: str, arguments: list[str], client: Path, service: Facet, tmp_path: Path
) -> None:
    """They run as they are copied."""
    there = wheels.hostile_modules(tmp_path / "copied", *wheels.NAMES)
    shutil.copy(ROOT / "examples" / "python" / program, there)
    given = {"PICTURE": str(ASTRONAUT), "ADDRESS": service.grpc}
    done = run(there, client / "python", program, *map(given.__getitem__, arguments))
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 1


def test_the_command_line_of_a_client_finds_faces_by_a_service(
    client: Path, service: Facet, tmp_path: Path
) -> None:
    """With the packages of a client alone."""
    there = wheels.hostile_modules(tmp_path / "typed", *wheels.NAMES)
    done = run(there, client / "facet", "detect", ASTRONAUT, FACET_BACKEND=service.grpc)
    assert done.returncode == 0, done.stderr
    assert len(json.loads(done.stdout)["results"]) == 1


def test_the_command_line_of_a_client_says_what_is_not_installed(client: Path, tmp_path: Path) -> None:
    """What needs the packages of a server has its help, and fails in one line."""
    there = wheels.hostile_modules(tmp_path / "typed", *wheels.NAMES)
    for arguments in (["--help"], ["models", "--help"], ["keys", "--help"], ["models", "lock", "--help"]):
        assert run(there, client / "facet", *arguments).returncode == 0
    failed = run(there, client / "facet", "models", "lock", "echo", "--output", "schema.lock")
    assert failed.returncode == 1
    assert failed.stderr.startswith("facet: NOT_INSTALLED: this command needs ")
    assert failed.stderr.count("\n") == 1


def test_faces_are_found_by_the_native_engine_of_its_own_wheel(service: Facet) -> None:
    """Through HTTP and gRPC; weights are converted by the first start."""
    assert finds_a_face(service)
    assert service.inference.logged("engine")[0]["engine"] == "native"


def test_facet_serve_starts_both(server: Path, folder: Path, tmp_path: Path) -> None:
    """In whatever folder it is typed."""
    there = wheels.hostile_modules(tmp_path / "typed", *wheels.NAMES)
    places = {f"FACET_{name}_ADDRESS": f"127.0.0.1:{free_port()}" for name in ("HTTP", "GRPC", "ADMIN")}
    command = [str(server / "facet"), *wheels.typed("facet/bin/facet serve").split()[1:]]
    with running(command, there, **ROOMY, **places, FACET_CACHE_DIR=str(folder / "cache")) as process:
        wait_until(lambda: "Facet detects faces now." in process.lines, "the announcement")
        assert len(post_raw(places["FACET_HTTP_ADDRESS"], ASTRONAUT.read_bytes(), {}).faces or []) == 1
        process.send_group(signal.SIGINT)
        assert process.wait() == 0


def test_pages_come_with_their_files(service: Facet) -> None:
    """Of the gateway and of the admin process."""
    admin = service.inference.logged("ready")[0]["admin_address"]
    assert answers(admin, "/statusz", 200)
    for path in ("/", "/docs", "/openapi.json", "/metrics"):
        assert answers(service.http, path, 404 if path == "/metrics" else 200), path


def test_loggers_are_called_as_in_a_checkout(service: Facet) -> None:
    """What reads the lines need not know how Facet was installed."""
    lines = map(parse, [*service.inference.lines, *service.gateway.lines])
    names = {line["logger"] for line in lines if line}
    assert {"inference_server", "inference_server.supervision.group", "gateway"} <= names
    assert not {name for name in names if name.startswith("facet_serving.")}


def test_a_model_brings_a_utils_of_its_own(server: Path, service: Facet, folder: Path) -> None:
    """Its process has no other, and none of our packages under their names in the repository."""
    there = folder / "served"
    command = [server / "facet", "models", "register", "orchard", "--state-dir", folder / "state"]
    registered = run(there, *command)
    assert registered.returncode == 0, registered.stderr
    with ServiceClient(service.grpc, timeout=60) as client:
        answer = client.predict("orchard", {"text": "apple"})
    assert answer == {"text": "APPLE", "loaded": []}


def test_a_reload_and_a_killed_worker_leave_it_serving(service: Facet) -> None:
    """Processes that are started later find the wheel, too."""
    that_detects: dict[str, Any] = {"release": 1, "process": None, "model": None}
    service.inference.send(signal.SIGHUP)
    worker = service.inference.wait_for("worker ready", **that_detects)["worker"]
    assert finds_a_face(service)
    os.kill(worker, signal.SIGKILL)
    service.inference.wait_for("worker crashed", worker=worker)
    service.inference.wait_for("worker ready", **that_detects)
    assert finds_a_face(service)


@pytest.mark.parametrize("installer", ["pipx", "uv tool"])
def test_tools_install_the_command_line(installer: str, folder: Path, tmp_path: Path) -> None:
    """By file."""
    command = wheels.typed(f"{installer} install")
    if installer == "pipx":
        command = f"{interpreter('pipx')} -m {command}"
    places = {"PIPX_HOME": "home", "PIPX_BIN_DIR": "bin", "UV_TOOL_DIR": "tools", "UV_TOOL_BIN_DIR": "bin"}
    wheels.install(folder, command, **{name: str(tmp_path / place) for name, place in places.items()})
    done = run(tmp_path, tmp_path / "bin" / "facet", "--help")
    assert done.stdout.startswith("Usage: facet ")
