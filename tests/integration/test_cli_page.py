"""What docs/cli.md has people type works, as do the commands about what runs."""

import json
import os
import re
import shutil
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

import pytest

from tests.support import onnx_models
from tests.support.facet import PATHS, free_port, without_native
from tests.support.model_backend import Backend, model_backend
from tests.support.model_store import add_expression, add_version
from tests.support.pictures import ASTRONAUT
from tests.support.processes import PATIENCE, ROOT
from utils.settings import Settings, variable

PAGE = (ROOT / "docs" / "cli.md").read_text()
TYPED = re.findall(r"^    (\S.*)$", PAGE, re.MULTILINE)
ELSEWHERE = {
    "facet serve": "does not end",
    "facet models fetch expression": "needs the network",
    "(umask": "is root's",
}
"""Lines that other tests are for, and why."""
ECHO = "facet models register echo"
BEFORE = {
    ECHO: "facet models unregister echo",
    "facet predict echo": ECHO,
    "echo ": ECHO,
    "facet models describe echo": ECHO,
    "facet models unregister echo": ECHO,
    "facet models scale echo": ECHO,
    "facet models protos": ECHO,
    "facet models canary flowers 1.1": "facet models default flowers 1.0",
}
"""What a line takes for done, by how it begins."""
SCORES = """
name: "scores"
platform: "onnxruntime_onnx"
max_batch_size: 8
input [ { name: "x" data_type: TYPE_FP32 dims: [ 3 ] } ]
output [ { name: "y" data_type: TYPE_FP32 dims: [ 3 ] } ]
version_policy { all {} }
"""


class Reader:
    """Somebody who types what is on the page, in a folder with what it names."""

    def __init__(self, folder: Path, backend: Backend) -> None:
        self._folder = folder
        (folder / "bin").mkdir()
        (folder / "bin" / "facet").symlink_to(ROOT / "bin" / "facet")
        self.environ = {
            **os.environ,
            "PATH": f"{folder / 'bin'}{os.pathsep}{PATHS['PATH']}",
            "FACET_STATE_DIR": str(backend.state),
            "FACET_MODEL_STORE": str(folder / "store"),
            "FACET_BACKEND": backend.address,
            "FACET_API_KEYS_FILE": str(folder / "keys"),
            **{f"FACET_{name}_ADDRESS": f"127.0.0.1:{free_port()}" for name in ("HTTP", "GRPC", "ADMIN")},
        }

    def type(self, line: str) -> subprocess.CompletedProcess[str]:
        """Run a line by a shell."""
        return subprocess.run(
            ["/bin/sh", "-c", line],
            cwd=self._folder,
            env=self.environ,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )


def prepare(folder: Path) -> None:
    """Put there what the page names: pictures, models of the store, a repository of Triton's."""
    (folder / "photos").mkdir()
    for path in ("photo.jpg", "photos/a.jpg", "photos/b.jpg"):
        shutil.copy(ASTRONAUT, folder / path)
    for version in ("flowers/1.0", "flowers/1.1", "daisies/1.0"):
        onnx_models.linear(add_version(folder / "store", version, 'kind = "onnx"\n'))
    add_expression(folder / "store")
    (folder / "src" / "daisies").mkdir(parents=True)
    for version in ("1", "2"):
        onnx_models.linear(folder / "repository" / "scores" / version)
    (folder / "repository" / "scores" / "config.pbtxt").write_text(SCORES)


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reader]:
    """One with a running backend."""
    folder = tmp_path_factory.mktemp("reader")
    prepare(folder)
    with model_backend(folder) as backend:
        for version in ("flowers/1.0", "flowers/1.1"):
            backend.register(version)
        yield Reader(folder, backend)


@pytest.mark.parametrize("line", [line for line in TYPED if not line.startswith(tuple(ELSEWHERE))])
def test_what_the_page_types_works(reader: Reader, line: str) -> None:
    """In the order of the page, by a shell."""
    for begin, before in BEFORE.items():
        if line.startswith(begin):
            reader.type(before)
    ended = reader.type(line)
    assert ended.returncode == 0, ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_model_s_output_is_printed_as_json(reader: Reader) -> None:
    """Of JSON on the command line and on standard input, and of files."""
    reader.type(ECHO)
    for line in ("""facet predict echo '{"text": "a"}'""", """echo '{"text": "a"}' | facet predict echo -"""):
        assert json.loads(reader.type(line).stdout) == {"text": "a"}
    found = json.loads(reader.type("facet predict face_detection --file image=photo.jpg").stdout)
    assert len(found["results"]) == 1


@pytest.mark.parametrize(
    ("typed", "status", "said"),
    [
        ("echo", 2, "neither JSON nor --file"),
        ("echo nothing", 2, "it is no JSON"),
        ("echo []", 2, "it is no JSON object"),
        ("echo --file gone", 2, "'gone' is not NAME=PATH"),
        ("nobody {}", 1, "facet: MODEL_NOT_FOUND: "),
        ("""echo '{"text": 5}'""", 1, "facet: INVALID_INPUT: text: "),
        ("echo {} --address 127.0.0.1:1", 3, "facet: BACKEND_UNAVAILABLE: No service answers at 127.0.0.1:1"),
    ],
)
def test_an_input_that_a_model_does_not_answer_has_a_status(
    reader: Reader, typed: str, status: int, said: str
) -> None:
    """And a line that says why."""
    reader.type(ECHO)
    ended = reader.type(f"facet predict {typed}")
    assert (ended.returncode, ended.stdout) == (status, "")
    assert said in " ".join(ended.stderr.split())


def test_a_client_s_key_that_can_be_none_is_named(reader: Reader) -> None:
    """Without what it holds."""
    ended = reader.type("FACET_API_KEY='a secret' facet predict echo {}")
    assert ended.returncode == 1
    assert ended.stderr.startswith("facet: INVALID_SETTING: FACET_API_KEY: ")
    assert "a secret" not in ended.stderr


def test_the_status_has_processes_and_what_failed(reader: Reader) -> None:
    """In words, and all of it as JSON."""
    answer = json.loads(reader.type("facet status --json").stdout)
    text = reader.type("facet status").stdout
    assert f"supervisor  {answer['pid']} (" in text
    assert "state       ready" in text
    for group in answer["groups"]:
        for process in group["processes"]:
            assert f"{process['pid']} (" in text
    assert re.search(r"^workers +2/2 +0 ", text, re.MULTILINE)


def test_nobody_s_status_is_a_status_of_its_own(reader: Reader, tmp_path: Path) -> None:
    """3, as for whatever nobody answers."""
    ended = reader.type(f"facet status --state-dir {tmp_path}")
    assert (ended.returncode, ended.stdout) == (3, "")


def findings(text: str) -> dict[str, tuple[str, str]]:
    """Level and text by subject, of what the doctor says; helps are left out."""
    lines = [line.split(maxsplit=2) for line in text.splitlines() if not line.startswith(" ")]
    return {subject: (level, told) for level, subject, told in lines}


def test_the_doctor_finds_nothing_wrong_where_all_is_well(reader: Reader) -> None:
    """It says which engine runs, and that the backend does."""
    ended = reader.type("facet doctor")
    found = findings(ended.stdout)
    assert ended.returncode == 0
    assert found["networks"][0] == "ok"
    assert found["engine"][1].split(":")[0] in ended.stdout
    assert found["backend"][1].startswith("ready, process ")


@pytest.mark.parametrize(
    ("environ", "status", "subject", "level", "said"),
    [
        ("FACET_WORKERS=0", 1, "settings", "error", "FACET_WORKERS is '0'"),
        ("FACET_WORKER=2", 0, "settings", "ok", "did you mean FACET_WORKERS?"),
        ("FACET_WORKERS=500", 0, "cpu", "warning", "FACET_WORKERS to fewer"),
        ("FACET_CACHE_DIR=/etc/passwd/no", 1, "networks", "note", "/etc/passwd/no cannot be written"),
        ("FACET_TLS_CERT_FILE=/no FACET_TLS_KEY_FILE=/no", 1, "tls", "error", "FACET_TLS_CERT_FILE"),
    ],
)
def test_the_doctor_says_what_is_wrong_and_what_helps(
    reader: Reader, *, environ: str, status: int, subject: str, level: str, said: str
) -> None:
    """Only what keeps Facet from serving is an error."""
    ended = reader.type(f"{environ} facet doctor")
    assert ended.returncode == status
    assert findings(ended.stdout)[subject][0] == level
    assert said in ended.stdout


def test_the_doctor_misses_the_native_engine(reader: Reader, tmp_path: Path) -> None:
    """It says why another one runs, and how to have it."""
    variables = " ".join(f"{name}={value}" for name, value in without_native(tmp_path).items())
    ended = reader.type(f"{variables} facet doctor")
    level, told = findings(ended.stdout)["engine"]
    assert (ended.returncode, level) == (0, "warning")
    assert told.startswith("onnx: the native engine is not available")
    assert "Install a C++ compiler" in ended.stdout


def test_the_doctor_names_an_address_that_is_taken(reader: Reader, tmp_path: Path) -> None:
    """Where no backend of this folder runs."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        busy = f"127.0.0.1:{other.getsockname()[1]}"
        ended = reader.type(f"FACET_STATE_DIR={tmp_path} FACET_HTTP_ADDRESS={busy} facet doctor")
    assert ended.returncode == 1
    assert findings(ended.stdout)["address"][0] == "error"
    assert "FACET_HTTP_ADDRESS" in ended.stdout


def test_all_settings_are_listed_with_their_origin_and_no_secret(reader: Reader) -> None:
    """One from the environment, and one by default."""
    ended = reader.type("FACET_WORKERS=3 FACET_API_KEY=hidden facet doctor --settings")
    rows = {name: rest for name, *rest in (line.split() for line in ended.stdout.splitlines())}
    assert rows["FACET_WORKERS"] == ["3", "environment"]
    assert rows["FACET_HTTP_WORKERS"] == ["2", "default"]
    assert rows["FACET_OIP"] == ["on", "default"]
    assert {variable(setting.name) for setting in fields(Settings)} <= rows.keys()
    assert "hidden" not in ended.stdout
