"""Rules of a reload, with groups of processes that are none."""

import math
import os
from pathlib import Path

import pytest

from inference_server.catalogue.commands import DescribeModel, Register, Reload, Scale, Unregister
from inference_server.catalogue.entries import ModelVersion, State
from tests.support.catalogue import Backend, FakeGroup
from utils.errors import (
    FacetError,
    InvalidModel,
    ModelConflict,
    ModelLoadFailed,
    ModelNotFound,
    StateNotWritable,
)


@pytest.fixture
def backend(tmp_path: Path) -> Backend:
    """With face detection alone, and a model in its store."""
    return Backend(tmp_path, "iris/1.0", "iris/2.0")


@pytest.fixture
def group(backend: Backend) -> FakeGroup:
    """Two processes that serve."""
    group = backend.serve("iris", min_workers=2)
    group.becomes_ready()
    return group


def change(backend: Backend, text: str = "nice = 5", key: str = "iris/2.0") -> None:
    """Have the store describe a model otherwise."""
    (backend.store_folder / key / "model.toml").write_text(f'kind = "echo"\n{text}')


def served(backend: Backend) -> ModelVersion:
    """The version as all processes see it."""
    return backend.catalogue.find("iris")


def refuse(*_: object) -> None:
    """Stand where a state is saved."""
    raise StateNotWritable("no room")


def test_a_version_becomes_what_is_new_with_its_first_new_process(backend: Backend, group: FakeGroup) -> None:
    """It is saved and published then, and answered when all processes serve it."""
    change(backend)
    answers = backend.do(Reload("iris"))
    [version] = group.exchanged_with
    assert (version.settings.nice, served(backend).settings.nice) == (5, 0)
    assert backend.remembered().versions[1].settings.nice == 0
    group.becomes_ready()
    assert group.is_kept
    assert served(backend).settings.nice == backend.remembered().versions[1].settings.nice == 5
    backend.tick()
    assert list(answers) == []
    group.all_are_exchanged()
    backend.tick()
    assert (answers.ok()["state"], group.poison_forgotten) == ("ready", True)
    assert backend.tick() == math.inf


@pytest.mark.parametrize("command", [Reload("iris"), Reload("iris", "2.0"), Reload("face_detection")])
@pytest.mark.usefixtures("group")
def test_what_has_not_changed_is_answered_at_once(backend: Backend, command: Reload) -> None:
    """And no process is started."""
    assert backend.do(command).ok()["state"] == "ready"
    assert backend.groups[0].exchanged_with == []


@pytest.mark.parametrize("change_of", ["size", "time", "name", "a file more", "a file less"])
def test_a_change_of_any_file_is_seen(backend: Backend, change_of: str) -> None:
    """In folders of the folder, too."""
    folder = backend.store_folder / "iris" / "2.0" / "weights"
    folder.mkdir()
    file = folder / "a.bin"
    file.write_bytes(b"1")
    group = backend.serve("iris")
    match change_of:
        case "size":
            modified = file.stat().st_mtime_ns
            file.write_bytes(b"12")
            os.utime(file, ns=(modified, modified))
        case "time":
            os.utime(file, ns=(1, 1))
        case "name":
            file.rename(folder / "b.bin")
        case "a file more":
            (folder / "b.bin").touch()
        case _:
            file.unlink()
    backend.do(Reload("iris"))
    assert len(group.exchanged_with) == 1


def test_code_of_a_package_is_always_loaded_anew(backend: Backend) -> None:
    """The folder does not say whether it is another."""
    text = 'kind = "python"\nclass = "flowers:Iris"\n'
    (backend.store_folder / "iris" / "2.0" / "model.toml").write_text(text)
    group = backend.serve("iris")
    backend.do(Reload("iris"))
    assert len(group.exchanged_with) == 1


@pytest.mark.parametrize(
    "error", [InvalidModel("certainty was removed", field="certainty"), ModelLoadFailed("killed by SIGKILL")]
)
def test_what_cannot_be_loaded_leaves_what_serves(
    backend: Backend, group: FakeGroup, error: FacetError
) -> None:
    """Its failure is told to the caller, and to operators until a process can be loaded."""
    before = backend.remembered()
    change(backend)
    answers = backend.do(Reload("iris"))
    group.cannot_start(error)
    assert (type(answers.error()), answers.error().field) == (type(error), error.field)
    assert (group.exchanged_with, group.wanted) == ([], 2)
    assert (served(backend).settings.nice, backend.remembered()) == (0, before)
    [told] = backend.do(DescribeModel("iris")).ok()["models"]
    assert told["failure"] == answers.error().detail
    assert backend.do(Scale("iris", "", 3)).ok()


@pytest.mark.parametrize("obstacle", ["the disk", "the other version"])
def test_what_may_not_be_served_is_undone(
    backend: Backend, group: FakeGroup, monkeypatch: pytest.MonkeyPatch, obstacle: str
) -> None:
    """Though it can be loaded."""
    said: dict[str, object] = {}
    if obstacle == "the other version":
        backend.do(Register("iris/1.0"))
        backend.groups[1].becomes_ready(fields={"iris_input": {"width": [1, "string"]}})
        said = {"fields": {"iris_input": {"width": [1, "float"]}}}
    change(backend)
    answers = backend.do(Reload("iris"))
    if obstacle == "the disk":
        monkeypatch.setattr(backend.file, "save", refuse)
    group.becomes_ready(**said)
    assert type(answers.error()) is (StateNotWritable if obstacle == "the disk" else InvalidModel)
    assert (group.exchanged_with, served(backend).settings.nice) == ([], 0)


def test_a_reload_that_fails_halfway_is_told_and_can_be_tried_again(
    backend: Backend, group: FakeGroup
) -> None:
    """The version is what is new: the files of before are gone."""
    change(backend)
    answers = backend.do(Reload("iris"))
    group.becomes_ready()
    group.cannot_start()
    assert "some of its processes serve what is new" in answers.error().detail
    assert (len(group.exchanged_with), served(backend).settings.nice) == (1, 5)
    again = backend.do(Reload("iris"))
    assert len(group.exchanged_with) == 2
    change(backend, "nice = 6")
    backend.do(Reload("iris"))
    group.becomes_ready()
    group.all_are_exchanged()
    backend.tick()
    assert again.ok()["settings"]["nice"] == 6


@pytest.mark.parametrize("workers", [1, 2])
def test_settings_of_an_operator_stay(backend: Backend, workers: int) -> None:
    """Also how many processes there are, which is changed by scaling alone."""
    change(backend, "max_batch = 2\nnice = 1")
    group = backend.serve("iris", nice=3)
    backend.do(Scale("iris", "", workers))
    change(backend, "max_batch = 4\nnice = 5\nmin_workers = 7\nmax_workers = 7")
    answers = backend.do(Reload("iris"))
    group.becomes_ready()
    group.all_are_exchanged()
    backend.tick()
    settings = answers.ok()["settings"]
    names = ("max_batch", "nice", "min_workers", "max_workers")
    assert [settings[name] for name in names] == [4, 3, workers, workers]


@pytest.mark.parametrize("changed_again", [False, True])
def test_two_reloads_at_once_are_answered_together(
    backend: Backend, group: FakeGroup, changed_again: bool
) -> None:
    """By what is there last."""
    change(backend)
    first = backend.do(Reload("iris"))
    if changed_again:
        change(backend, "nice = 6")
    second = backend.do(Reload("iris"))
    assert len(group.exchanged_with) == 1 + changed_again
    group.becomes_ready()
    group.all_are_exchanged()
    backend.tick()
    assert first.ok() == second.ok()
    assert served(backend).settings.nice == 5 + changed_again


def test_a_version_that_is_reloaded_is_neither_scaled_nor_in_the_way(
    backend: Backend, group: FakeGroup
) -> None:
    """It can be unregistered, which ends the reload."""
    change(backend)
    answers = backend.do(Reload("iris"))
    assert isinstance(backend.do(Scale("iris", "", 0)).error(), ModelConflict)
    gone = backend.do(Unregister("iris"))
    assert isinstance(answers.error(), ModelConflict)
    group.becomes_ready()
    backend.tick()
    backend.tick(1)
    assert (gone.ok()["version"], group.retired) == ("2.0", True)
    assert [one.key for one in backend.remembered().versions] == ["face_detection/1.0"]


def test_an_idle_version_takes_over_what_is_new(backend: Backend) -> None:
    """Without a process."""
    group = backend.serve("iris", min_workers=0)
    change(backend)
    answer = backend.do(Reload("iris")).ok()
    assert (answer["state"], answer["settings"]["nice"], group.wanted) == ("idle", 5, 0)
    assert (group.is_kept, backend.remembered().versions[1].settings.nice) == (True, 5)
    change(backend, "nice = 99")
    assert isinstance(backend.do(Reload("iris")).error(), InvalidModel)


def test_a_failed_version_is_tried_again_though_nothing_has_changed(backend: Backend) -> None:
    """What is around it may be mended; where it is not, it has failed as before."""
    group = backend.serve("iris")
    group.crashes()
    group.cannot_start("no memory")
    answers = backend.do(Reload("iris"))
    assert backend.state_of("iris/2.0") is State.LOADING
    group.cannot_start("no memory, still")
    assert isinstance(answers.error(), ModelLoadFailed)
    assert (backend.state_of("iris/2.0"), group.exchanged_with) == (State.FAILED, [])
    change(backend)
    again = backend.do(Reload("iris"))
    group.becomes_ready()
    assert (again.ok()["state"], served(backend).settings.nice, group.is_kept) == ("ready", 5, True)
    assert backend.remembered().versions[1].settings.nice == 5


def test_a_version_that_loads_is_waited_for(backend: Backend) -> None:
    """Or loaded anew, where the store has something else by now."""
    first = backend.do(Register("iris"))
    [group] = backend.groups
    second = backend.do(Reload("iris"))
    assert (list(second), group.exchanged_with) == ([], [])
    change(backend)
    third = backend.do(Reload("iris"))
    assert len(group.exchanged_with) == 1
    group.becomes_ready()
    assert first.ok() == second.ok() == third.ok()
    assert first.ok()["settings"]["nice"] == 5


def test_a_version_that_loads_since_the_start_is_waited_for(tmp_path: Path) -> None:
    """It is not begun anew."""
    first = Backend(tmp_path, "iris/2.0")
    first.serve("iris")
    first.is_killed()
    backend = Backend(tmp_path)
    answers = backend.do(Reload("iris"))
    [group] = backend.groups
    assert group.exchanged_with == []
    group.becomes_ready()
    assert answers.ok()["state"] == "ready"


def test_a_version_whose_processes_end_while_it_is_reloaded_has_failed_when_none_can_start(
    backend: Backend, group: FakeGroup
) -> None:
    """And the caller is told."""
    change(backend)
    answers = backend.do(Reload("iris"))
    group.crashes()
    group.cannot_start()
    assert isinstance(answers.error(), ModelLoadFailed)
    assert backend.state_of("iris/2.0") is State.FAILED


def test_what_is_no_longer_in_the_store_is_served_on(backend: Backend, group: FakeGroup) -> None:
    """The caller is told what is missing."""
    (backend.store_folder / "iris" / "2.0" / "model.toml").unlink()
    error = backend.do(Reload("iris")).error()
    assert (type(error), error.field) == (ModelNotFound, "version")
    assert (served(backend).version, group.exchanged_with) == ("2.0", [])


def test_no_process_is_started_for_what_cannot_be_saved(
    backend: Backend, group: FakeGroup, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As for every change."""
    change(backend)
    monkeypatch.setattr(backend.file, "refusal", "read-only")
    assert isinstance(backend.do(Reload("iris")).error(), StateNotWritable)
    assert group.exchanged_with == []
