"""Follows a page of the documentation: writes its files, types its commands, runs its programs."""

import contextlib
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlsplit

from tests.support.client_environment import interpreter
from tests.support.processes import ROOT

BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$|((?:^    [^\n]*\n)+)", re.DOTALL | re.MULTILINE)
_NAMED = re.compile(r"# (\S+/\S+)\n")
_SHOWN = {"text", "json"}
"""The languages of blocks that show what the command before them prints."""
_CLIENT = "tritonclient"
"""Programs that import it have an environment of its own."""


@dataclass(frozen=True)
class Reader:
    """Who follows a guide.

    Attributes:
        folder: Beside which the checkout could lie; the page calls it `..`.
        page: The guide.
        places: What stands for a text of the page, such as an address, where the reader is.
        environ: Of all that is run; `environ_in` makes it.
    """

    folder: Path
    page: str
    places: Mapping[str, str]
    environ: Mapping[str, str]

    @staticmethod
    def environ_in(folder: Path) -> dict[str, str]:
        """Variables of reader and service; by them pip installs into a folder, without the network."""
        (folder / "site").mkdir()
        pip = {
            "TARGET": str(folder / "site"),
            "NO_INDEX": "1",
            "NO_DEPS": "1",
            "NO_BUILD_ISOLATION": "0",
            "QUIET": "1",
        }
        return {
            "PYTHONPATH": str(folder / "site"),
            "FACET_STATE_DIR": str(folder / "state"),
            "FACET_MODEL_STORE": str(folder / "store"),
            **{f"PIP_{name}": value for name, value in pip.items()},
        }

    def follow(self) -> list[str]:
        """Do all that the guide says; gives what each program and command has printed."""
        printed: list[str] = []
        for language, text, commands in BLOCK.findall(self.page):
            if language in _SHOWN:
                assert printed[-1] == text.strip()
            else:
                printed += self._do(language, text, commands)
        return printed

    def _do(self, language: str, text: str, commands: str) -> list[str]:
        named = _NAMED.match(text)
        if named:
            self._write(named[1], text)
            return []
        match language:
            case "diff":
                subprocess.run(["git", "apply"], cwd=self.folder / "loud", input=text, text=True, check=True)
                return []
            case "python":
                python = interpreter("triton") if _CLIENT in text else sys.executable
                paths = {} if _CLIENT in text else {"PYTHONPATH": str(ROOT)}
                return [self.run([str(python), "-c", self._here(text)], **paths)]
            case "":
                return [self.type(command) for command in re.split(r"(?<!\\)\n", commands.strip())]
            case _:
                return []

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
        if command.startswith("curl"):
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
        """A text of the guide, with the folders and addresses of this reader."""
        for told, here in self.places.items():
            text = text.replace(told, here)
        text = text.replace(".venv/bin/", f"{Path(sys.executable).parent}/")
        sources, site = f"PYTHONPATH={self.folder}/loud", self.environ["PYTHONPATH"]
        return text.replace("../", f"{self.folder}/").replace(sources, f"{sources}{os.pathsep}{site}")


def _request(command: str) -> str:
    """What `curl [-X METHOD] [-H HEADER] [-d BODY] URL` prints; curl may not be there."""
    *words, url = shlex.split(command)[1:]
    given = dict(zip(words[::2], words[1::2], strict=True))
    name, _, value = given.get("-H", "").partition(": ")
    where = urlsplit(url)
    target = f"{where.path}?{where.query}" if where.query else where.path
    method = given.get("-X", "POST" if "-d" in given else "GET")
    with contextlib.closing(HTTPConnection(where.netloc, timeout=60)) as connection:
        connection.request(method, target, given.get("-d"), {name: value} if name else {})
        return connection.getresponse().read().decode().strip()
