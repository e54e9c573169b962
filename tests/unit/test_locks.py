"""Rules of the lock files: they have what their inputs ask for, with hashes; nothing else is installed."""

import os
import re
import subprocess
import tomllib
from importlib.metadata import requires, version
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from scripts.locks import DEV, NATIVE, WHEEL, applies, pins, requirements
from tests.support.processes import ROOT

INPUTS = sorted(path.name for path in ROOT.glob("requirements*.txt"))
LOCKS = sorted(path.name for path in (ROOT / "locks").iterdir())
PLACES = [
    {"python_version": python, "python_full_version": f"{python}.9", "platform_machine": machine}
    for python in ("3.11", "3.12", "3.13")
    for machine in ("x86_64", "aarch64")
]
"""What markers are evaluated for: each Python and processor architecture that Facet runs on, under Linux."""


def versions(lock: str, place: dict[str, str]) -> dict[str, str]:
    """What is installed of a lock in a place; no package may be there twice."""
    installed = [pin for pin in pins(lock) if applies(pin.requirement, place)]
    found = {pin.name: pin.version for pin in installed}
    assert len(found) == len(installed), f"locks/{lock} names a package twice"
    return found


def test_each_input_has_a_lock_of_its_name() -> None:
    """And no lock is left of an input that is gone."""
    assert LOCKS == INPUTS


@pytest.mark.parametrize("lock", LOCKS)
def test_each_line_of_a_lock_has_sha256_hashes_and_no_address(lock: str) -> None:
    """Where the files come from is for pip's configuration to say."""
    for pin in pins(lock):
        assert pin.hashes, pin
        assert all(re.fullmatch(r"sha256:[0-9a-f]{64}", value) for value in pin.hashes), pin
        assert pin.requirement.url is None, pin


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_builds_nothing_from_source(lock: str) -> None:
    """A build would fetch its tools without hashes."""
    assert "\n--only-binary :all:\n" in (ROOT / "locks" / lock).read_text()


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_has_what_its_input_asks_for_in_a_version_that_it_allows(lock: str) -> None:
    """For every Python and processor architecture that Facet runs on."""
    for place in PLACES:
        found = versions(lock, place)
        for requirement in requirements(lock):
            if applies(requirement, place):
                pinned = found.get(canonicalize_name(requirement.name), "missing")
                assert pinned in requirement.specifier, f"{requirement}, {pinned}: run `make lock`"


@pytest.mark.parametrize("name", INPUTS)
def test_each_package_that_is_asked_for_has_a_row_in_the_documentation(name: str) -> None:
    """Which says why it is here."""
    page = (ROOT / "docs" / "dependencies.md").read_text().lower()
    rows = set(re.findall(r"[\w-]+", " ".join(re.findall(r"(?m)^\| ([^|]*) \|", page))))
    assert {requirement.name.lower() for requirement in requirements(name)} <= rows


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_has_nothing_that_its_input_asks_for_no_more(lock: str) -> None:
    """What a lock says that an input asks for is asked for."""
    direct = {pin.name for pin in pins(lock) if pin.inputs}
    assert direct == {canonicalize_name(requirement.name) for requirement in requirements(lock)}


def test_no_lock_contradicts_another() -> None:
    """They are installed into one environment."""
    for place in PLACES:
        known: dict[str, str] = {}
        for lock in LOCKS:
            for name, pinned in versions(lock, place).items():
                assert known.setdefault(name, pinned) == pinned, f"{name} in locks/{lock}"


def test_this_environment_has_the_versions_of_the_lock() -> None:
    """What is tested is what the lock says."""
    for pin in pins(DEV):
        if applies(pin.requirement):
            assert version(pin.name) == pin.version, f"{pin.name}: run `make setup`"


def test_a_lock_has_all_that_its_packages_bring_along() -> None:
    """Or pip would refuse to install it."""
    not_here = {
        "requirements-bench.txt",
        "requirements-ray.txt",
        NATIVE,
        WHEEL,
    }  # their packages are elsewhere
    for lock in set(LOCKS) - not_here:
        names = {pin.name for pin in pins(lock) if applies(pin.requirement)}
        for name in names:
            needed = [other for other in map(Requirement, requires(name) or ()) if applies(other)]
            assert {canonicalize_name(other.name) for other in needed} <= names, name


def test_the_native_engine_is_built_with_the_tools_of_its_lock() -> None:
    """Its pyproject.toml asks for those of the lock's input."""
    project = tomllib.loads((ROOT / "native" / "pyproject.toml").read_text())
    wanted = {str(Requirement(text)) for text in project["build-system"]["requires"]}
    assert wanted <= {str(requirement) for requirement in requirements(NATIVE)}


def test_make_image_and_ci_install_from_locks_alone(tmp_path: Path) -> None:
    """But for what is built here with what was installed from one: the native engine, the image's program."""
    targets = [f"{tmp_path}/{name}.done" for name in ("serve", "dev", "bench", "native", "wheel")]
    environ = {**os.environ, "MAKEFLAGS": ""}
    made = subprocess.check_output(
        ["make", "--dry-run", f"VENV={tmp_path}", *targets], cwd=ROOT, env=environ, text=True
    )
    files = [(ROOT / name).read_text() for name in ("deploy/Dockerfile", "native/tests/run", ".ci/run")]
    commands = re.findall(
        r"(?:pip install|\$\{install\[@\]\}\") .*", re.sub(r"\\\n", " ", "\n".join([made, *files]))
    )
    locked = [command for command in commands if re.search(r" --require-hashes -r locks/\S+\.txt", command)]
    compiled = [
        command
        for command in commands
        if re.search(r" --no-build-isolation --no-deps (.*\./native|\.$)", command)
    ]
    assert len(locked) + len(compiled) == len(commands)
    assert (len(locked), len(compiled)) == (8, 4)
