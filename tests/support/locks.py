"""The lock files in `locks/` and their inputs, `requirements*.txt`, as pip reads them."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.support.processes import ROOT

INPUTS = sorted(path.name for path in ROOT.glob("requirements*.txt"))
LOCKS = sorted(path.name for path in (ROOT / "locks").iterdir())
PLACES = [
    {"python_version": python, "python_full_version": f"{python}.9", "platform_machine": machine}
    for python in ("3.11", "3.12", "3.13")
    for machine in ("x86_64", "aarch64")
]
"""What markers are evaluated for: each Python and processor architecture that Facet runs on, under Linux."""

_PIN = re.compile(r"(?m)^(\w.*?) \\\n((?:    --hash=.*\n)+)((?:    #.*\n)*)")


@dataclass(frozen=True)
class Pin:
    """An entry of a lock.

    Attributes:
        requirement: The package, its version and the marker that says where it is installed.
        hashes: Of the files that may be installed.
        inputs: Names of the inputs that ask for it themselves; empty where only another package does.
    """

    requirement: Requirement
    hashes: list[str]
    inputs: list[str]

    @property
    def name(self) -> str:
        """The package's, in the form in which names are compared."""
        return canonicalize_name(self.requirement.name)

    @property
    def version(self) -> str:
        """The pinned one."""
        [specifier] = self.requirement.specifier
        assert specifier.operator == "=="
        return specifier.version


def pins(lock: str) -> list[Pin]:
    """All entries of a lock; there must be nothing else in it but comments and `--only-binary :all:`."""
    text = (ROOT / "locks" / lock).read_text()
    rest = re.sub(r"(?m)^(#.*|--only-binary :all:|)\n", "", _PIN.sub("", text))
    assert rest == "", f"locks/{lock}"
    return [
        Pin(Requirement(named), re.findall(r"--hash=(\S+)", hashes), re.findall(r"-r (\S+)", comment))
        for named, hashes, comment in _PIN.findall(text)
    ]


def applies(requirement: Requirement, place: dict[str, str] | None = None) -> bool:
    """Whether a requirement is meant for a place, or for where this runs."""
    return requirement.marker is None or requirement.marker.evaluate({**(place or {}), "extra": ""})


def asked(name: str) -> Iterator[Requirement]:
    """What an input asks for, that of the inputs that it names included."""
    for line in (ROOT / name).read_text().splitlines():
        if line.startswith("-r "):
            yield from asked(line.removeprefix("-r "))
        elif line and not line.startswith("#"):
            yield Requirement(line)
