"""Builds and runs an image without Docker: a Dockerfile's steps, carried out in a folder of this machine.

What stands for what:

| in Docker | here |
|---|---|
| the base image | this machine, with the Python that runs the tests |
| a stage's file system | the folder PREFIX; the next stage begins with an empty one at the same path |
| a container's user | that user id, if root runs this; it may read all, as Python may lie in root's folders |
| its read-only root | the folder, which that user cannot write |

`apt-get` is not run: what it would install has to be here. Every other step is.
"""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

Environ = dict[str, str]


@dataclass(frozen=True)
class Instruction:
    """One instruction, its continued lines joined."""

    name: str
    value: str


@dataclass(frozen=True)
class Stage:
    """What follows a FROM."""

    base: str
    name: str
    instructions: list[Instruction]

    def of(self, name: str) -> list[str]:
        """The values of its instructions of this name."""
        return [instruction.value for instruction in self.instructions if instruction.name == name]


@dataclass(frozen=True)
class Dockerfile:
    """The arguments before the first FROM, and the stages."""

    arguments: Environ
    stages: list[Stage]


@dataclass
class Image:
    """What a container is started from."""

    prefix: Path
    workdir: str = "/"
    environ: Environ = field(default_factory=dict)
    user: str = "0"
    command: list[str] = field(default_factory=list)
    healthcheck: list[str] = field(default_factory=list)


def parse(text: str) -> Dockerfile:
    """Read a Dockerfile."""
    arguments: Environ = {}
    stages: list[Stage] = []
    for instruction in _instructions(text):
        if instruction.name == "FROM":
            base, _, name = instruction.value.partition(" AS ")
            stages.append(Stage(substitute(base, arguments), name, []))
        elif stages:
            stages[-1].instructions.append(instruction)
        else:
            assert instruction.name == "ARG"
            name, _, value = instruction.value.partition("=")
            arguments[name] = value
    return Dockerfile(arguments, stages)


def _instructions(text: str) -> Iterator[Instruction]:
    lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    for line in re.sub(r"\\\n\s*", "", "\n".join(lines)).splitlines():
        name, _, value = line.partition(" ")
        yield Instruction(name, value.strip())


def substitute(text: str, environ: Mapping[str, str]) -> str:
    """Replace each ${NAME}; one that is not defined is an error, as it is a mistake."""
    return re.sub(r"\$\{(\w+)\}", lambda match: environ[match[1]], text)


def ignored(patterns: str) -> Callable[[PurePosixPath], bool]:
    """What a .dockerignore keeps from the builder: the last pattern that matches a path or a folder of it."""
    rules = [line.strip() for line in patterns.splitlines() if line.strip() and not line.startswith("#")]

    def judge(path: PurePosixPath) -> bool:
        names = [str(part) for part in (path, *path.parents) if part.name]
        verdict = False
        for rule in rules:
            expression = _expression(rule.removeprefix("!"))
            if any(re.fullmatch(expression, name) for name in names):
                verdict = not rule.startswith("!")
        return verdict

    return judge


def _expression(pattern: str) -> str:
    parts = {"**/": "(?:.*/)?", "*": "[^/]*"}
    return "".join(parts.get(part) or re.escape(part) for part in re.split(r"(\*\*/|\*)", pattern))


class Builder:
    """Carries out the stages of a Dockerfile.

    Args:
        dockerfile: What to build.
        context: The folder that COPY takes files from.
        is_ignored: What of it, by its path in it, the builder does not get.
        folder: An empty folder that every user can enter; the image lies in `opt/facet` below it.
    """

    def __init__(
        self, dockerfile: Dockerfile, context: Path, is_ignored: Callable[[PurePosixPath], bool], folder: Path
    ) -> None:
        self._dockerfile = dockerfile
        self._context = context
        self._is_ignored = is_ignored
        self._folder = folder
        self._prefix = folder / "opt" / "facet"
        self._bin = folder / "bin"
        self.not_run: list[str] = []

    def build(self) -> Image:
        """Carry out all stages; gives the last one's image."""
        self._bin.mkdir()
        python = self._bin / "python"
        python.write_text(f'#!/bin/sh\nexec "{sys._base_executable}" "$@"\n')  # type: ignore[attr-defined]
        python.chmod(0o755)
        previous = ""
        for stage in self._dockerfile.stages:
            if previous:
                self._prefix.rename(self._folder / f"stage-{previous}")
            self._prefix.mkdir(parents=True)
            image = self._carry_out(stage)
            previous = stage.name
        return image

    def _carry_out(self, stage: Stage) -> Image:
        image = Image(self._prefix, environ={"PATH": f"{self._bin}:/usr/local/bin:/usr/bin:/bin"})
        arguments: Environ = {}
        for name, value in ((i.name, i.value) for i in stage.instructions):
            known = {**arguments, **image.environ}
            if name == "ARG":
                given = {**self._dockerfile.arguments, "PREFIX": str(self._prefix)}
                arguments[value] = given[value]
            elif name == "ENV":
                image.environ |= dict(pair.split("=", 1) for pair in shlex.split(substitute(value, known)))
            elif name == "WORKDIR":
                image.workdir = substitute(value, known)
                self._inside(image.workdir).mkdir(parents=True, exist_ok=True)
            elif name == "COPY":
                self._copy(substitute(value, known).split(), Path(image.workdir))
            elif name == "RUN":
                self._run(value, known, image.workdir)
            elif name == "USER":
                image.user = value
            elif name == "HEALTHCHECK":
                image.healthcheck = json.loads(value.partition("CMD ")[2])
            elif name == "CMD":
                image.command = json.loads(value)
            else:
                assert name in {"EXPOSE", "STOPSIGNAL"}, f"what does {name} do?"
        return image

    def _inside(self, path: str) -> Path:
        """A path that a step writes; nothing outside PREFIX stands for the image."""
        assert Path(path).is_relative_to(self._prefix), f"{path} is not below PREFIX"
        return Path(path)

    def _copy(self, words: list[str], workdir: Path) -> None:
        origin = words.pop(0).removeprefix("--from=") if words[0].startswith("--from=") else ""
        *sources, target = words
        assert target.endswith("/"), "a COPY whose target is a folder says so"
        folder = self._inside(str(workdir / target))
        for source in sources:
            if origin:
                found = self._folder / f"stage-{origin}" / self._inside(source).relative_to(self._prefix)
                shutil.copytree(found, folder, symlinks=True, dirs_exist_ok=True)
            elif (self._context / source).is_dir():
                shutil.copytree(
                    self._context / source, folder, symlinks=True, dirs_exist_ok=True, ignore=self._left_out
                )
            else:
                assert not self._is_ignored(PurePosixPath(source)), f"{source} is ignored"
                folder.mkdir(parents=True, exist_ok=True)
                shutil.copy2(self._context / source, folder)

    def _left_out(self, folder: str, names: list[str]) -> set[str]:
        inside = Path(folder).relative_to(self._context)
        return {name for name in names if self._is_ignored(PurePosixPath(inside / name))}

    def _run(self, command: str, environ: Environ, workdir: str) -> None:
        if "apt-get" in command:
            self.not_run.append(command)
            return
        # Where pip finds packages is the machine's; and what it has fetched before need not come again.
        own = {name: value for name, value in os.environ.items() if name.startswith(("PIP_", "SSL_", "HOME"))}
        environ = {**own, **{name: value for name, value in environ.items() if name != "PIP_NO_CACHE_DIR"}}
        done = subprocess.run(
            ["/bin/sh", "-ec", command],
            cwd=workdir,
            env=environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{command}:\n{done.stdout}"


def contained(image: Image, command: list[str], **environ: str) -> list[str]:
    """A command line that runs a command as a container does: by its user, folder and environment alone."""
    variables = [f"{name}={value}" for name, value in {"HOME": "/", **image.environ, **environ}.items()]
    return ["env", "-i", f"--chdir={image.workdir}", *variables, *_as(image.user), *command]


def _as(user: str) -> list[str]:
    if os.geteuid() != 0:
        return []
    uid, _, gid = user.partition(":")
    leave = "-all,+dac_read_search"
    capabilities = [f"--{kind}={leave}" for kind in ("inh-caps", "ambient-caps", "bounding-set")]
    return ["setpriv", f"--reuid={uid}", f"--regid={gid or uid}", "--clear-groups", *capabilities]
