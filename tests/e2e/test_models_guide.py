"""What docs/first_model.md tells an author to type does what it says, in the order of the page."""

import contextlib
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.support.facet import Facet, facet
from tests.support.processes import ROOT

GUIDE = (ROOT / "docs/first_model.md").read_text()
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$|((?:^    [^\n]*\n)+)", re.DOTALL | re.MULTILINE)
NAMED = re.compile(r"# (\S+/\S+)\n")
ANSWER = '{"share":0.5,"loud":false}'


@dataclass(frozen=True)
class Author:
    """Who follows the guide: a folder beside which the checkout could lie, and a service."""

    folder: Path
    service: Facet
    environ: dict[str, str]

    def follow(self) -> list[str]:
        """Do all that the guide says; gives what each program and command has printed."""
        done = [self._do(*block) for block in BLOCK.findall(GUIDE)]
        return [printed for block in done for printed in block]

    def _do(self, language: str, text: str, commands: str) -> list[str]:
        named = NAMED.match(text)
        if named:
            self._write(named[1], text)
            return []
        if language == "diff":
            subprocess.run(["git", "apply"], cwd=self.folder / "loud", input=text, text=True, check=True)
            return []
        if language:
            return [self.run([sys.executable, "-c", self._here(text)], PYTHONPATH=str(ROOT))]
        return [self.type(command) for command in re.split(r"(?<!\\)\n", commands.strip())]

    def _write(self, path: str, text: str) -> None:
        path = path.replace("NAME/VERSION", str(self.folder / "store" / "stored" / "7"))
        target = Path(self._here(path))
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(self._here(text))

    def type(self, command: str) -> str:
        """Type a command of the guide; gives what it prints."""
        command = self._here(command.strip())
        if "pip install" in command:  # pip, too, would take away what a folder of its own still has
            shutil.rmtree(self.folder / "site")
            (self.folder / "site").mkdir()
        if command.startswith("curl") and shutil.which("curl") is None:
            return _request(command)
        return self.run(["/bin/sh", "-c", command])

    def run(self, command: list[str], **environ: str) -> str:
        """Run a program where the packages are; gives what it prints."""
        paths = filter(None, [environ.get("PYTHONPATH"), self.environ["PYTHONPATH"]])
        done = subprocess.run(
            command,
            cwd=ROOT,
            env={**os.environ, **self.environ, "PYTHONPATH": os.pathsep.join(paths)},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
        return done.stdout.strip()

    def _here(self, text: str) -> str:
        """A text of the guide, with the folders and addresses of this test."""
        text = text.replace("127.0.0.1:8000", self.service.http).replace("127.0.0.1:50051", self.service.grpc)
        text = text.replace(".venv/bin/", f"{Path(sys.executable).parent}/")
        sources, site = f"PYTHONPATH={self.folder}/loud", self.environ["PYTHONPATH"]
        return text.replace("../", f"{self.folder}/").replace(sources, f"{sources}{os.pathsep}{site}")


def _request(command: str) -> str:
    """What `curl -H HEADER -d BODY URL` prints, whatever the status."""
    _, _, header, _, body, url = shlex.split(command)
    name, _, value = header.partition(": ")
    host, path = urlsplit(url)[1:3]
    with contextlib.closing(HTTPConnection(host, timeout=60)) as connection:
        connection.request("POST", path, body, {name: value})
        return connection.getresponse().read().decode()


@pytest.fixture
def author(tmp_path: Path) -> Iterator[Author]:
    """Somebody with a running service, where pip installs into a folder of this test, without the network."""
    (site := tmp_path / "site").mkdir()
    environ = {
        "PYTHONPATH": str(site),
        "FACET_STATE_DIR": str(tmp_path / "state"),
        "FACET_MODEL_STORE": str(tmp_path / "store"),
    }
    pip = {"TARGET": str(site), "NO_INDEX": "1", "NO_DEPS": "1", "NO_BUILD_ISOLATION": "0", "QUIET": "1"}
    with facet(**environ) as service:
        yield Author(tmp_path, service, environ | {f"PIP_{name}": value for name, value in pip.items()})


def test_an_author_who_follows_the_guide_has_a_model_in_two_versions(author: Author) -> None:
    """From a class to its calls from everywhere, and on to the next version."""
    installed, tried, registered, called, asked, protos, compiled, typed, *later = author.follow()
    assert asked == "{'share': 0.5, 'loud': False}"
    assert tried == f"[{asked}]"
    assert registered == "loud 1.0 is ready with 2 workers"
    assert called == ANSWER
    assert [Path(line).name for line in protos.splitlines()].count("loud.proto") == 2
    assert typed == "0.5 False"
    assert installed == compiled == ""
    numbered, added, _, second, newer, *_ = later
    assert numbered.splitlines() == ["loud_input.text = 1", "loud_output.share = 1", "loud_output.loud = 2"]
    assert added == "loud_output.letters = 3"
    assert second == "loud 1.1 is ready with 1 worker"
    assert newer == '{"letters":10,"share":0.5,"loud":false}'
    listed = author.type("bin/facet models list")
    assert re.findall(r"^loud +(\S+)", listed, re.MULTILINE) == ["1.1"]
    # A client that was compiled before goes on as it was, and folders in the store name classes, too.
    assert author.type(".venv/bin/python ../client/call.py") == "0.5 False"
    author.type("bin/facet models register stored")
    curl = "curl -H 'Content-Type: application/json' -d '{\"text\": \"1\"}' http://127.0.0.1:8000/models/stored/7/predict"
    assert '"reason":"INVALID_INPUT"' in author.type(curl).replace(": ", ":")


def test_the_model_of_the_guide_is_short() -> None:
    """A reader has it in view."""
    [model] = [
        text for language, text, _ in BLOCK.findall(GUIDE) if "(Model)" in text and language == "python"
    ]
    assert len(model.splitlines()) < 40
