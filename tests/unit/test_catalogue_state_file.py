"""Rules of what a backend remembers of its models."""

import errno
import json
import os
import random
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from inference_server.catalogue import state_file
from inference_server.catalogue.desired_state import Desired, Unsaved
from inference_server.catalogue.entries import ModelSettings, ModelVersion, Source, State
from inference_server.catalogue.state_file import StateFile, StateUnusable
from tests.support.processes import ROOT
from utils.errors import StateNotWritable

VERSION = ModelVersion(
    "iris",
    "1.0",
    "iris.mar",
    Source("onnx", Path("/store/iris/1.0"), {"file": "model.onnx"}),
    ModelSettings(min_workers=2, max_workers=4),
    queue=5,
    state=State.FAILED,
    loaded_at_start=False,
    failure="no",
    card={"name": "iris"},
    workers=2,
)
DESIRED = Desired((VERSION,), {"iris": "1.0"}, {"iris": {"1.0": 10}})


def text_of(**changes: object) -> str:
    """The file's text, with other values."""
    values = json.loads(state_file._encode(DESIRED))
    return json.dumps({**values, **changes})


def test_what_was_saved_is_loaded_by_the_next_backend(tmp_path: Path) -> None:
    """All that was decided, and the card; not what a version did at the moment."""
    first = StateFile(tmp_path / "state")
    assert first.load() is None
    first.save(DESIRED)
    first.close()
    loaded = StateFile(tmp_path / "state").load()
    assert loaded is not None
    assert (loaded.defaults, loaded.canary) == (DESIRED.defaults, DESIRED.canary)
    (version,) = loaded.versions
    assert (version.key, version.url, version.source, version.settings, version.card) == (
        VERSION.key,
        VERSION.url,
        VERSION.source,
        VERSION.settings,
        VERSION.card,
    )
    assert (version.state, version.loaded_at_start, version.failure, version.workers) == (
        State.LOADING,
        True,
        "",
        0,
    )


@pytest.mark.security(
    endpoint="files",
    attack="The file of state while the umask is 0",
    outcome="It is its owner's alone",
)
def test_nobody_else_reads_or_writes_it(tmp_path: Path) -> None:
    """Whatever the umask is, and whatever another process has left there."""
    before = os.umask(0)
    try:
        (tmp_path / "state").mkdir(mode=0o700)
        (tmp_path / "state" / "catalogue.json.new").write_text("of a killed one")
        state = StateFile(tmp_path / "state")
        state.save(DESIRED)
        state.save(DESIRED)
    finally:
        os.umask(before)
    for name in ("catalogue.json", "lock"):
        assert stat.S_IMODE((tmp_path / "state" / name).stat().st_mode) == 0o600
    assert sorted(path.name for path in (tmp_path / "state").iterdir()) == ["catalogue.json", "lock"]


def test_a_folder_that_it_makes_is_its_user_s_alone(tmp_path: Path) -> None:
    """With those above it."""
    StateFile(tmp_path / "a" / "state")
    assert stat.S_IMODE((tmp_path / "a" / "state").stat().st_mode) == 0o700


@pytest.mark.security(
    endpoint="files",
    attack="A file of state with other JSON, numbers, names or kinds than Facet writes",
    outcome="Not used, and left as it is",
)
@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "{}",
        "\0" * 100,
        "[" * 100_000,
        text_of(versions=None),
        text_of(versions=[{"name": "iris"}]),
        text_of(defaults={}),
        text_of(defaults={"iris": "2.0"}),
        text_of(canary={"iris": {"2.0": 10}}),
        text_of(canary={"iris": {"1.0": 101}}),
        text_of(canary={"iris": 3}),
        text_of().replace('"onnx"', '"pickle"'),
        text_of().replace('"iris"', '"../iris"'),
        text_of().replace('"1.0"', '"latest"'),
        text_of().replace('"min_workers": 2', '"min_workers": 200'),
        text_of(versions=2 * json.loads(text_of())["versions"]),
    ],
)
def test_a_damaged_file_ends_the_start_and_stays(tmp_path: Path, text: str) -> None:
    """What was acknowledged may be mended; it is never replaced by nothing."""
    (tmp_path / "catalogue.json").write_text(text)
    with pytest.raises(StateUnusable, match="damaged") as caught:
        StateFile(tmp_path).load()
    assert str(tmp_path / "catalogue.json") in str(caught.value)
    assert (tmp_path / "catalogue.json").read_text() == text


def test_the_format_of_another_release_ends_the_start(tmp_path: Path) -> None:
    """Whatever else is in it."""
    (tmp_path / "catalogue.json").write_text(json.dumps({"format": 2, "models": []}))
    with pytest.raises(StateUnusable, match="format 2; accepted: 1"):
        StateFile(tmp_path).load()


def test_a_file_that_cannot_be_read_ends_the_start(tmp_path: Path) -> None:
    """It may hold what was acknowledged."""
    (tmp_path / "catalogue.json").mkdir()
    with pytest.raises(StateUnusable, match="cannot be read"):
        StateFile(tmp_path).load()


def test_two_backends_do_not_write_to_one_folder(tmp_path: Path) -> None:
    """The second serves what it finds; when the first has gone, the next one writes."""
    first = StateFile(tmp_path)
    first.save(DESIRED)
    second = StateFile(tmp_path)
    assert (first.locked, second.locked) == (True, False)
    assert second.load() is not None
    for refused in (second.check_writable, lambda: second.save(Desired())):
        with pytest.raises(StateNotWritable, match="another backend"):
            refused()
    first.close()
    assert StateFile(tmp_path).locked
    assert second.load() is not None


def test_without_a_folder_changes_are_refused(tmp_path: Path) -> None:
    """As where it cannot be made; what can be served is served."""
    nowhere = StateFile(None)
    assert nowhere.load() is None
    with pytest.raises(StateNotWritable, match="FACET_STATE_DIR"):
        nowhere.check_writable()
    (tmp_path / "file").touch()
    with pytest.raises(StateNotWritable, match="names no folder"):
        StateFile(tmp_path / "file" / "state").check_writable()


def test_what_is_saved_is_on_the_disk_before_it_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The whole of the file before it is put in its place, and the folder after that."""
    synced: list[tuple[bool, int]] = []

    def record(descriptor: int) -> None:
        status = os.fstat(descriptor)
        synced.append((stat.S_ISDIR(status.st_mode), 0 if stat.S_ISDIR(status.st_mode) else status.st_size))
        assert (tmp_path / "catalogue.json").exists() == stat.S_ISDIR(status.st_mode)

    monkeypatch.setattr(os, "fsync", record)
    StateFile(tmp_path).save(DESIRED)
    assert synced == [(False, (tmp_path / "catalogue.json").stat().st_size), (True, 0)]


@pytest.mark.parametrize("step", [(os, "fsync"), (os, "open"), (Path, "replace")])
def test_a_failed_write_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: tuple[object, str]
) -> None:
    """And is refused with the system's reason, which names no path."""
    state = StateFile(tmp_path)
    state.save(DESIRED)
    before = (tmp_path / "catalogue.json").read_bytes()

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", str(tmp_path))

    monkeypatch.setattr(*step, full)
    with pytest.raises(StateNotWritable) as caught:
        state.save(Desired())
    assert caught.value.detail.endswith(": No space left on device")
    monkeypatch.undo()
    assert (tmp_path / "catalogue.json").read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["catalogue.json", "lock"]


def test_what_is_not_saved_is_accepted() -> None:
    """Where FACET_MODELS is the whole state at start."""
    Unsaved().check_writable()
    Unsaved().save(DESIRED)


SAVING = """
import sys
from dataclasses import replace
from pathlib import Path
from inference_server.catalogue.desired_state import Desired
from inference_server.catalogue.state_file import StateFile
from tests.unit.test_catalogue_state_file import VERSION

state = StateFile(Path(sys.argv[1]))
number = int(sys.argv[2])
while True:
    number += 1
    version = replace(VERSION, version=str(number), card={"filler": "x" * 200_000})
    state.save(Desired((version,), {"iris": str(number)}))
    print(number, flush=True)
"""


def test_a_kill_at_any_moment_loses_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    """And leaves nothing half: the file is of the last number that was said, or of the one after it."""
    moments = random.Random(1)
    last = 0
    for _ in range(20):
        command = [sys.executable, "-c", SAVING, str(tmp_path), str(last)]
        with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as saving:
            assert saving.stdout is not None
            said = [saving.stdout.readline()]
            time.sleep(moments.uniform(0, 0.02))  # the moment of the kill, not a wait for anything
            saving.send_signal(signal.SIGKILL)
            said += saving.stdout.readlines()
        acknowledged = int([line for line in said if line.endswith("\n")][-1])
        state = StateFile(tmp_path)
        loaded = state.load()
        state.close()
        assert loaded is not None
        last = int(loaded.defaults["iris"])
        assert last in (acknowledged, acknowledged + 1)
        assert loaded.versions[0].version == str(last)
