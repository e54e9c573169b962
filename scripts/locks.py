"""The lock files in `locks/` and their inputs, `requirements*.txt`, as pip reads them."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parent.parent
SERVE = "requirements-serve.txt"
DEV = "requirements-dev.txt"
NATIVE = "requirements-native.txt"
WHEEL = "requirements-wheel.txt"

_PIN = re.compile(r"(?m)^(\w.*?) \\\n((?:    --hash=.*\n)+)((?:    #.*\n)*)")
_NO_PIN = re.compile(r"(?m)^(?:#.*|--only-binary :all:|)\n")


@dataclass(frozen=True)
class Pin:
    """An entry of a lock.

    Attributes:
        requirement: The package, its version and the marker that says where it is installed.
        hashes: Of the files that may be installed, such as "sha256:0ef0...".
        inputs: Names of the inputs that ask for it themselves; empty where only other packages do.
    """

    requirement: Requirement
    hashes: tuple[str, ...]
    inputs: tuple[str, ...]

    @property
    def name(self) -> str:
        """The package's, in the form in which names are compared."""
        return canonicalize_name(self.requirement.name)

    @property
    def version(self) -> str:
        """The one that is installed."""
        return str(self.requirement.specifier).removeprefix("==")


def pins(name: str) -> list[Pin]:
    """All entries of the lock of an input.

    Raises:
        ValueError: It has a line that is neither part of a pin with hashes nor forbids source distributions.
    """
    text = (ROOT / "locks" / name).read_text()
    rest = _NO_PIN.sub("", _PIN.sub("", text))
    if rest:
        raise ValueError(f"locks/{name}: {rest.splitlines()[0]!r} is no package with a version and hashes")
    return [
        Pin(
            Requirement(requirement),
            tuple(re.findall(r"--hash=(\S+)", hashes)),
            tuple(re.findall(r"-r (\S+)", comment)),
        )
        for requirement, hashes, comment in _PIN.findall(text)
    ]


def requirements(name: str) -> Iterator[Requirement]:
    """What an input asks for, that of inputs that it names included."""
    for line in (ROOT / name).read_text().splitlines():
        if line.startswith("-r "):
            yield from requirements(line.removeprefix("-r "))
        elif line and not line.startswith("#"):
            yield Requirement(line)


def applies(requirement: Requirement, place: Mapping[str, str] | None = None) -> bool:
    """Whether a requirement is meant for a place, told by markers' variables, or else for where this runs."""
    return requirement.marker is None or requirement.marker.evaluate({**(place or {}), "extra": ""})
