"""Rules of which models a backend serves from its start."""

import logging
from pathlib import Path

import pytest

from inference_server.catalogue.commands import Register, Scale, SetCanary, SetDefault, Unregister
from inference_server.catalogue.entries import State
from inference_server.catalogue.state_file import StateUnusable
from tests.support.catalogue import Backend
from utils.errors import StateNotWritable, TooManyModels
from utils.settings import InvalidSetting


def keys(backend: Backend) -> list[str]:
    """Of what all processes see."""
    return [version.key for version in backend.catalogue.versions]


def test_without_anything_face_detection_is_served_alone(tmp_path: Path) -> None:
    """And nothing is written until something changes."""
    backend = Backend(tmp_path)
    assert keys(backend) == ["face_detection/1.0"]
    assert backend.is_settled
    assert not (tmp_path / "state" / "catalogue.json").exists()


def test_a_backend_serves_what_the_one_before_it_served(tmp_path: Path) -> None:
    """With numbers of processes, defaults, canaries and names; it is settled when all have been loaded."""
    first = Backend(tmp_path, "iris/1.0", "iris/2.0", "tulip/1.0", "bee/1.0")
    first.do(Unregister("face_detection"))
    first.serve("iris/1.0")
    first.serve("iris/2.0", nice=5)
    first.serve("tulip", min_workers=0)
    first.do(Scale("iris", "2.0", 3))
    first.do(SetDefault("iris", "2.0"))
    first.do(SetCanary("iris", {"1.0": 10}))
    first.do(Register("bee"))
    first.is_killed()

    second = Backend(tmp_path)
    assert keys(second) == ["iris/1.0", "iris/2.0", "tulip/1.0"]
    assert {version.state for version in second.catalogue.versions} == {State.LOADING}
    assert [group.version.workers for group in second.groups] == [1, 3, 1]
    assert [group.version.queue for group in second.groups] == [1, 2, 3]
    assert not second.is_settled
    for group in second.groups:
        group.becomes_ready()
    assert second.is_settled
    assert second.state_of("tulip/1.0") is State.IDLE
    found = second.catalogue.find("iris")
    assert (found.version, found.settings.nice, found.loaded_at_start) == ("2.0", 5, True)
    assert second.catalogue.canary == {"iris": {"1.0": 10}}


def test_a_backend_stays_settled_while_versions_load_that_came_later(tmp_path: Path) -> None:
    """Registered anew, or scaled up from nothing."""
    backend = Backend(tmp_path, "iris/1.0", "tulip/1.0", models=["iris"])
    backend.groups[0].becomes_ready()
    scaled = backend.do(Scale("iris", "", 0))
    backend.tick()
    backend.tick(1)
    assert scaled.ok()
    backend.do(Scale("iris", "", 1))
    backend.do(Register("tulip"))
    assert {version.state for version in backend.catalogue.versions} == {State.LOADING}
    assert backend.is_settled


def test_what_cannot_be_loaded_at_the_start_has_failed_and_stays(tmp_path: Path) -> None:
    """It is tried again by its group, and saved by no load."""
    first = Backend(tmp_path, "iris/1.0")
    first.serve("iris")
    first.is_killed()
    second = Backend(tmp_path)
    second.groups[0].cannot_start("no such file")
    assert (second.state_of("iris/1.0"), second.is_settled) == (State.FAILED, True)
    assert second.groups[0].wanted == 1
    assert len(second.remembered().versions) == 2
    second.groups[0].becomes_ready()
    assert second.state_of("iris/1.0") is State.READY


def test_what_has_become_another_model_is_not_tried_again(tmp_path: Path) -> None:
    """Another process would say the same."""
    first = Backend(tmp_path, "iris/1.0")
    first.serve("iris")
    first.is_killed()
    second = Backend(tmp_path)
    second.groups[0].becomes_ready(name="tulip")
    assert (second.state_of("iris/1.0"), second.groups[0].wanted) == (State.FAILED, 0)


def test_the_card_of_the_last_backend_is_known_to_the_next(tmp_path: Path) -> None:
    """The numbers of a schema's fields may be in it; it is replaced by the new one."""
    first = Backend(tmp_path, "iris/1.0")
    first.do(Register("iris"))
    first.groups[0].becomes_ready(field=7)
    first.is_killed()
    second = Backend(tmp_path)
    assert second.groups[0].version.card == {"name": "iris", "version": "1.0", "fields": {}, "field": 7}
    second.groups[0].becomes_ready(field=8)
    assert second.catalogue.find("iris").card == {"name": "iris", "version": "1.0", "fields": {}, "field": 8}


def test_models_of_the_environment_are_the_whole_state(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The file is neither read nor written; changes last until the end, which is said once."""
    first = Backend(tmp_path, "iris/1.0", "iris/2.0", "digit-model/1.0")
    first.serve("iris")
    first.is_killed()
    before = (tmp_path / "state" / "catalogue.json").read_bytes()
    caplog.set_level(logging.INFO)
    second = Backend(tmp_path, models=["digitmodel=digit-model.mar", "iris/1.0", "iris/2.0", "echo"])
    assert keys(second) == ["digitmodel/1.0", "iris/1.0", "iris/2.0", "echo/1.0"]
    assert second.catalogue.defaults == {"digitmodel": "1.0", "iris": "1.0", "echo": "1.0"}
    for group in second.groups:
        group.becomes_ready()
    second.do(Unregister("echo"))
    assert second.do(Register("face_detection")).ok()
    assert (tmp_path / "state" / "catalogue.json").read_bytes() == before
    said = [record.getMessage() for record in caplog.records]
    assert said.count("changes of the models will not be remembered") == 1


@pytest.mark.parametrize(
    ("models", "why"),
    [
        (["tulip"], "FACET_MODELS has 'tulip': There is no model 'tulip'"),
        (["iris/2.0"], r"it has 1\.0"),
        (["iris", "iris/1.0"], "registered already"),
        (["=iris"], "name is ''"),
        (["flower="], "url is ''"),
        (["face_detection=iris"], "built-in"),
        (["a-b=iris", "a_b=iris"], "both are a_b"),
        (["bad"], "no such file"),
    ],
)
def test_an_entry_that_is_no_model_ends_the_start(tmp_path: Path, models: list[str], why: str) -> None:
    """With the entry and its reason."""
    (tmp_path / "store" / "bad" / "1.0").mkdir(parents=True)
    (tmp_path / "store" / "bad" / "1.0" / "model.toml").write_text('kind = "onnx"\nfile = "a.onnx"')
    with pytest.raises(InvalidSetting, match=why):
        Backend(tmp_path, "iris/1.0", models=models)


def test_a_model_whose_code_says_its_version_is_served_from_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its version is the default one when it is known."""

    class Point:
        name, value = "tulip", "flowers:Tulip"

    monkeypatch.setattr("inference_server.catalogue.store.entry_points", lambda **_: [Point])
    backend = Backend(tmp_path, models=["tulip"])
    assert (keys(backend), backend.catalogue.defaults) == (["tulip/"], {})
    backend.groups[0].becomes_ready(version="2.1")
    assert keys(backend) == ["tulip/2.1"]
    assert backend.catalogue.find("tulip").version == "2.1"
    backend.do(Unregister("tulip"))
    assert keys(backend) == []


@pytest.mark.parametrize("text", ["min_workers = 40", ""])
def test_more_models_than_there_is_room_for_end_the_start(tmp_path: Path, text: str) -> None:
    """Be it of processes or of queues."""
    for name in ("big", "bigger"):
        (tmp_path / "store" / name / "1").mkdir(parents=True)
        (tmp_path / "store" / name / "1" / "model.toml").write_text(f'kind = "echo"\n{text}')
    models = ["big", "bigger"] + ([] if text else [f"echo{number}=echo" for number in range(31)])
    with pytest.raises(TooManyModels, match="accepted: at most"):
        Backend(tmp_path, models=models)


def test_a_damaged_file_ends_the_start(tmp_path: Path) -> None:
    """But not where the environment says what to serve."""
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "catalogue.json").write_text("{")
    with pytest.raises(StateUnusable):
        Backend(tmp_path)
    assert keys(Backend(tmp_path, models=["echo"])) == ["echo/1.0"]


def test_a_second_backend_serves_and_changes_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Of the same folder; that is said once. Where the environment names the models, it changes them."""
    first = Backend(tmp_path, "iris/1.0")
    first.serve("iris")
    second = Backend(tmp_path)
    second.groups[0].becomes_ready()
    assert keys(second) == ["face_detection/1.0", "iris/1.0"]
    for command in (Unregister("iris"), Scale("iris", "", 2), Register("echo")):
        assert isinstance(second.do(command).error(), StateNotWritable)
    assert second.state_of("iris/1.0") is State.READY
    said = [
        (one.getMessage(), one.__dict__["facet_fields"])
        for one in caplog.records
        if one.levelname == "WARNING"
    ]
    assert said == [("state folder not usable", {"reason": "another backend has the folder"})]
    third = Backend(tmp_path, models=["echo"])
    third.groups[0].becomes_ready()
    assert third.do(Scale("echo", "", 2)).ok()["workers"] == 2
