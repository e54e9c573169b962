"""Each program of examples/ does what its page says, run as that says."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler
from pathlib import Path

import pytest

from tests.support import batches
from tests.support.browser import chromium
from tests.support.client_environment import node_modules
from tests.support.endpoints import call_grpc, http_request, numbers, post_raw
from tests.support.facet import Facet, facet, free_port
from tests.support.fake_backend import failing, fake_backend
from tests.support.http_stub import Canned, http_stub, serving
from tests.support.pictures import ASTRONAUT, encoded, group_photo, portrait
from tests.support.processes import ROOT
from tests.support.tools import tool
from utils.errors import BackendUnavailable

EXAMPLES = ROOT / "examples"
PAGE = (EXAMPLES / "README.md").read_text()
COMMANDS: dict[str, str] = dict(re.findall(r"^\| \[(\S+?)\]\(.*\| `([^`]+)` \|$", PAGE, re.MULTILINE))
"""By the program that each runs."""
MANY = {name: command for name, command in COMMANDS.items() if "many" in name}
ONE = {name: command for name, command in COMMANDS.items() if name not in MANY}
HTTP, GRPC = "127.0.0.1:8000", "127.0.0.1:50051"
BY_HTTP = {name: command for name, command in COMMANDS.items() if HTTP in command}
BY_STUB = {name: command for name, command in COMMANDS.items() if name.startswith("node-grpc")}
TOOLS = {"sh": ("curl", "curl"), "node": ("node", "nodejs"), "java": ("java", "default-jdk-headless")}


@pytest.fixture(scope="module")
def service() -> Iterator[Facet]:
    """The service whose addresses stand in for the page's; web pages of all origins may ask it."""
    with facet(FACET_ALLOWED_ORIGINS="*") as running:
        yield running


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout beside pictures, as a reader of the page has it."""
    folder = tmp_path_factory.mktemp("checkout")
    for name in ("facet_serving", "protos", "utils"):
        (folder / name).symlink_to(ROOT / name)
    shutil.copytree(EXAMPLES, folder / "examples", ignore=shutil.ignore_patterns("node_modules"))
    shutil.copy(ASTRONAUT, folder)
    (folder / "photo.jpg").write_bytes(encoded(portrait(), "JPEG"))
    return folder


def run(
    home: Path, command: str, *, http: str = HTTP, grpc: str = GRPC, picture: str = "photo.jpg"
) -> subprocess.CompletedProcess[str]:
    """Type a command of the page, with these addresses and this picture."""
    program = command.split(maxsplit=1)[0]
    if program in TOOLS:
        tool(*TOOLS[program])
    packages = home / "examples" / "node-grpc" / "node_modules"
    if "node-grpc" in command and not packages.exists():
        packages.symlink_to(node_modules(EXAMPLES / "node-grpc"))
    here = {HTTP: http, GRPC: grpc, "photo.jpg": picture, ".venv/bin/python": sys.executable}
    for told, there in here.items():
        command = command.replace(told, there)
    environ = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    typed = ["/bin/sh", "-c", command]
    return subprocess.run(
        typed, cwd=home, env=environ, capture_output=True, text=True, timeout=120, check=False
    )


def printed(output: str) -> list[list[float]]:
    """The faces that a program has printed: boxes and confidences."""
    if output.startswith("{"):
        return [numbers([face["box"], face["confidence"]]) for face in json.loads(output)["results"]]
    return [[float(number) for number in line.split()] for line in output.splitlines()]


def test_the_page_has_each_program() -> None:
    """And each that it has is run here, but for that which a browser opens."""
    programs = {str(path.relative_to(EXAMPLES)) for path in EXAMPLES.glob("*/*.*") if path.suffix != ".json"}
    parts = {"javascript/faces.mjs", "javascript/many_faces.mjs", "node-grpc/client.mjs"}
    assert {*COMMANDS} == programs - parts - {"javascript/page.html"}
    assert all(f"]({name})" in PAGE for name in programs - {"node-grpc/client.mjs"})


@pytest.mark.parametrize("program", ONE)
def test_a_program_prints_the_faces(service: Facet, home: Path, program: str) -> None:
    """Also one that begins at the edge of the picture; and no line where there is none."""
    (home / "edge.png").write_bytes(encoded(portrait()[:, 190:].copy(), "PNG"))
    done = run(home, ONE[program], http=service.http, grpc=service.grpc, picture="edge.png")
    assert (done.returncode, done.stderr) == (0, "")
    faces = call_grpc(service.grpc, (home / "edge.png").read_bytes(), {}).faces
    assert faces
    expected = [[*face[:4], face[-1]] for face in faces]
    assert expected[0][0] == 0
    assert printed(done.stdout) == [pytest.approx(face, rel=1e-5) for face in expected]
    (home / "grey.png").write_bytes(encoded(portrait()[:64, :64] // 8, "PNG"))
    done = run(home, ONE[program], http=service.http, grpc=service.grpc, picture="grey.png")
    assert (done.returncode, done.stderr, printed(done.stdout)) == (0, "", [])


@pytest.mark.parametrize("program", MANY)
def test_a_program_for_many_pictures_counts_their_faces(service: Facet, home: Path, program: str) -> None:
    """And one that is none fails alone."""
    (home / "group.png").write_bytes(encoded(group_photo(), "PNG"))
    (home / "notes.txt").write_text("no picture")
    pictures = " ".join(["group.png", "notes.txt", "photo.jpg"] * 10)
    done = run(home, MANY[program], http=service.http, grpc=service.grpc, picture=pictures)
    assert done.returncode == 1
    counted = ["group.png: 5"] * 10 + ["photo.jpg: 1"] * 10 + ["astronaut.png: 1"]
    assert sorted(done.stdout.splitlines()) == sorted(counted)
    assert done.stderr.count("notes.txt: UNSUPPORTED_IMAGE_FORMAT: ") == 10


@pytest.mark.parametrize("program", COMMANDS)
def test_a_program_says_what_is_wrong(service: Facet, home: Path, program: str) -> None:
    """With the picture, or that there is no service; by its exit status, too."""
    text = b"no picture"
    (home / "photo.txt").write_bytes(text)
    refused = post_raw(service.http, text, {}).body
    assert refused is not None
    done = run(home, COMMANDS[program], http=service.http, grpc=service.grpc, picture="photo.txt")
    assert done.returncode != 0
    assert refused["detail"] in done.stderr
    nowhere = f"127.0.0.1:{free_port()}"
    done = run(home, COMMANDS[program], http=nowhere, grpc=nowhere)
    assert done.returncode != 0
    assert done.stderr
    assert done.stdout == ""


def unavailable(seconds: int) -> Canned:
    """A gateway whose backend is not there says it."""
    problem = {"reason": "BACKEND_UNAVAILABLE", "detail": "The backend cannot be reached."}
    headers = {"content-type": "application/problem+json", "retry-after": str(seconds)}
    return Canned(503, json.dumps(problem, separators=(",", ":")).encode(), headers)


def of_one(service: Facet) -> Canned:
    """What a picture is answered with."""
    status, headers, body = http_request(service.http, "POST", "/predict", ASTRONAUT.read_bytes())
    return Canned(status, body, headers)


def of_many(service: Facet) -> Canned:
    """What a batch of one picture is answered with."""
    body, sent = batches.of_files([ASTRONAUT.read_bytes()]), {"Content-Type": batches.KIND}
    status, headers, answer = http_request(service.http, "POST", batches.PATH, body, sent)
    return Canned(status, answer, headers)


@pytest.mark.parametrize("program", BY_HTTP)
def test_a_service_that_cannot_answer_is_asked_once_more(service: Facet, home: Path, program: str) -> None:
    """Where it says that this helps soon; each time for a bounded answer."""
    send = of_many if program in MANY else of_one
    with http_stub(unavailable(1), send(service)) as stub:
        done = run(home, BY_HTTP[program], http=stub.address)
    assert done.returncode == 0
    assert len(done.stdout.splitlines()) == 1
    first, second = (float(request["x-request-timeout"]) for request in stub.requests)
    assert 0 < first == second <= 60
    with http_stub(unavailable(1), unavailable(1)) as stub:
        done = run(home, BY_HTTP[program], http=stub.address)
    assert done.returncode != 0
    assert "The backend cannot be reached." in done.stderr
    with http_stub(unavailable(60)) as stub:
        done = run(home, BY_HTTP[program], http=stub.address)
    assert done.returncode != 0
    assert "The backend cannot be reached." in done.stderr
    assert len(stub.requests) == 1


@pytest.mark.parametrize("program", [name for name in BY_HTTP if name in MANY])
def test_an_answer_that_was_cut_off_is_no_success(service: Facet, home: Path, program: str) -> None:
    """A batch that lacks its last line, or whose last line says why it is not whole."""
    whole = of_many(service)
    [found, _] = whole.body.splitlines(keepends=True)
    failed = {"done": False, "problem": {"reason": "BODY_TOO_SLOW", "detail": "The body stopped."}}
    for last, told in (
        (b"", "cut off"),
        (json.dumps(failed).encode() + b"\n", "BODY_TOO_SLOW: The body stopped."),
    ):
        with http_stub(whole._replace(body=found + last)) as stub:
            done = run(home, BY_HTTP[program], http=stub.address)
        assert done.returncode == 1
        assert len(done.stdout.splitlines()) == 1
        assert told in done.stderr


def test_a_page_of_another_origin_shows_the_faces(service: Facet, home: Path, tmp_path: Path) -> None:
    """Of a picture that is chosen, in a browser; or why there are none."""
    handler = partial(SimpleHTTPRequestHandler, directory=home / "examples" / "javascript")
    with serving(handler) as origin, chromium(tmp_path / "no_camera") as browser:
        browser.open(f"{origin}/page.html?gateway=http://{service.http}")
        browser.choose(home / "photo.jpg", name="picture")
        browser.wait_for_text("faces", '"upLeft"')
        browser.choose(home / "examples" / "README.md", name="picture")
        browser.wait_for_text("faces", "UNSUPPORTED_IMAGE_FORMAT")
        assert browser.console() == []


@pytest.mark.parametrize("program", BY_STUB)
def test_a_backend_that_is_not_ready_is_asked_once_more(home: Path, program: str) -> None:
    """By clients that are made from the contract alone; within a deadline."""
    with fake_backend(failing(BackendUnavailable("It is starting.", retry_after=1), times=1)) as backend:
        done = run(home, BY_STUB[program], grpc=backend.target)
        assert (done.returncode, done.stderr) == (0, "")
        remaining = [call.remaining for call in (backend.calls or backend.streams)]
        assert len(remaining) == 2
        assert all(seconds is not None and seconds <= 600 for seconds in remaining)
