"""Rules of `make lock`, on packages made here: it writes hashes, and upgrades nothing unasked."""

import hashlib
import sys
import zipfile
from pathlib import Path

import pytest

from scripts import write_locks


class Project:
    """A folder with inputs, locks and an index of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.index = folder / "index"
        self.index.mkdir()
        (folder / "locks").mkdir()

    def release(self, name: str, version: str, *needs: str) -> str:
        """Publish a wheel; gives its hash."""
        path = self.index / f"{name}-{version}-py3-none-any.whl"
        about = [f"Name: {name}", f"Version: {version}", *(f"Requires-Dist: {need}" for need in needs)]
        with zipfile.ZipFile(path, "w") as wheel:
            folder = f"{name}-{version}.dist-info"
            wheel.writestr(f"{folder}/METADATA", "\n".join(["Metadata-Version: 2.1", *about, ""]))
            wheel.writestr(
                f"{folder}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
            )
            wheel.writestr(f"{folder}/RECORD", "")
        return hashlib.sha256(path.read_bytes()).hexdigest()

    def ask(self, **inputs: str) -> None:
        """Write requirements-NAME.txt."""
        for name, text in inputs.items():
            (self.folder / f"requirements-{name}.txt").write_text(text)

    def locked(self, name: str) -> str:
        """A lock's text."""
        return (self.folder / "locks" / f"requirements-{name}.txt").read_text()


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """One whose packages are in its own index alone."""
    made = Project(tmp_path)
    monkeypatch.setattr(write_locks, "ROOT", tmp_path)
    monkeypatch.setattr(sys, "argv", ["write_locks"])
    monkeypatch.setenv("UV_NO_INDEX", "1")
    monkeypatch.setenv("UV_FIND_LINKS", str(made.index))
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "cache"))
    return made


def test_a_lock_has_hashes_of_what_is_asked_for_and_of_what_it_brings_along(project: Project) -> None:
    """And the place where the files lie is not in it."""
    hashes = project.release("asked", "1.0", "brought"), project.release("brought", "2.0")
    project.ask(dev="asked==1.0\n")
    assert write_locks.main() == 0
    text = project.locked("dev")
    assert "asked==1.0 \\" in text
    assert "brought==2.0 \\" in text
    assert all(f"--hash=sha256:{value}" in text for value in hashes)
    assert str(project.folder) not in text


def test_a_new_release_is_not_taken_unless_it_is_asked_for(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Writing locks again changes nothing; a name as argument takes the newest that is allowed."""
    project.release("asked", "1.0", "brought<3")
    project.release("brought", "2.0")
    project.ask(dev="asked==1.0\n")
    assert write_locks.main() == 0
    before = project.locked("dev")
    project.release("brought", "2.1")
    project.release("brought", "3.0")
    assert write_locks.main() == 0
    assert project.locked("dev") == before
    monkeypatch.setattr(sys, "argv", ["write_locks", "brought"])
    assert write_locks.main() == 0
    assert "brought==2.1 \\" in project.locked("dev")


def test_locks_agree_where_they_share_a_package(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """Although only the development tools keep the newest release of it away."""
    for version in ("1.0", "2.0"):
        project.release("shared", version)
    project.release("tool", "1.0", "shared<2")
    project.ask(dev="-r requirements-serve.txt\ntool==1.0\n", serve="shared\n")
    monkeypatch.setattr(sys, "argv", ["write_locks", "shared"])
    assert write_locks.main() == 0
    assert all("shared==1.0 \\" in project.locked(name) for name in ("dev", "serve"))


def test_inputs_that_cannot_be_met_fail_and_leave_the_lock_as_it_was(
    project: Project, capfd: pytest.CaptureFixture[str]
) -> None:
    """With a line that names the package."""
    project.release("asked", "1.0")
    project.ask(dev="asked==1.0\n")
    assert write_locks.main() == 0
    before = project.locked("dev")
    project.ask(dev="asked==4.0\n")
    assert write_locks.main() != 0
    assert "asked==4.0" in capfd.readouterr().err
    assert project.locked("dev") == before
