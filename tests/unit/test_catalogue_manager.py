"""Rules of the management of models, with groups of processes that are none."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from inference_server.catalogue.commands import (
    DescribeModel,
    ListModels,
    Register,
    Scale,
    SetCanary,
    SetDefault,
    SetTraffic,
    Unregister,
)
from inference_server.catalogue.entries import State
from tests.support.catalogue import Backend, Process
from utils.errors import (
    FacetError,
    InternalError,
    InvalidModel,
    ModelConflict,
    ModelExists,
    ModelLoadFailed,
    ModelNotFound,
    StateNotWritable,
    TooManyModels,
)


@pytest.fixture
def backend(tmp_path: Path) -> Backend:
    """With face detection alone, and a store with some models."""
    return Backend(tmp_path, "iris/1.0", "iris/2.0", "a-b/1.0", "a_b/1.0")


def keys(backend: Backend) -> list[str]:
    """Of what all processes see."""
    return [version.key for version in backend.catalogue.versions]


def remembered(backend: Backend) -> list[str]:
    """Of what the next backend would load."""
    return [version.key for version in backend.remembered().versions]


# --- register ---


def test_a_model_is_answered_for_when_it_is_served_and_saved(backend: Backend) -> None:
    """Neither sooner, nor by a further process."""
    answers = backend.do(Register("iris/1.0", settings={"min_workers": 2}))
    (group,) = backend.groups
    assert (group.version.workers, group.version.queue) == (2, 1)
    assert backend.state_of("iris/1.0") is State.LOADING
    assert (list(answers), remembered(backend)) == ([], [])
    group.becomes_ready(operations=["json"])
    assert backend.state_of("iris/1.0") is State.READY
    assert remembered(backend) == ["face_detection/1.0", "iris/1.0"]
    assert answers.ok()["state"] == "ready"
    published = backend.publication.generation
    group.becomes_ready()
    assert backend.publication.generation == published
    found = backend.catalogue.find("iris")
    assert (found.card, found.queue) == (
        {"name": "iris", "version": "1.0", "fields": {}, "operations": ["json"]},
        1,
    )


def test_the_published_generation_is_the_catalogue_s_own(backend: Backend) -> None:
    """So that a reader can compare them."""
    backend.serve("iris")
    assert backend.catalogue.generation == backend.publication.generation


def test_an_asynchronous_register_is_answered_at_once(backend: Backend) -> None:
    """It is listed as loading, and not saved until it is served."""
    answers = backend.do(Register("iris/1.0", synchronous=False))
    assert answers.ok()["state"] == "loading"
    assert remembered(backend) == []
    backend.groups[0].becomes_ready()
    assert remembered(backend) == ["face_detection/1.0", "iris/1.0"]
    assert len(answers) == 1


@pytest.mark.parametrize("synchronous", [True, False])
def test_nothing_is_left_of_a_model_that_cannot_be_loaded(backend: Backend, synchronous: bool) -> None:
    """Its queue is free when its processes have ended; the reason has no folder in it."""
    answers = backend.do(Register("iris", synchronous=synchronous))
    (group,) = backend.groups
    group.cannot_start("no file '/srv/store/iris/1.0/a.onnx'")
    assert (keys(backend), remembered(backend)) == (["face_detection/1.0"], [])
    assert group.retired
    if synchronous:
        error = answers.error()
        assert isinstance(error, ModelLoadFailed)
        assert error.detail == "The model iris could not be loaded: no file 'a.onnx'"
    assert backend.do(Register("iris", synchronous=False)).ok()["queue"] == 2
    group.ends()
    assert backend.tick() == math.inf
    assert backend.removed == [group]
    assert backend.do(Register("a-b", synchronous=False)).ok()["queue"] == 1


def test_a_name_and_settings_may_be_given(backend: Backend) -> None:
    """Beside those of the model's own."""
    backend.store("digit-model/3.0", "nice = 5")
    answers = backend.do(Register("digit-model.mar", "digitmodel", settings={"max_batch": 8}))
    backend.groups[0].becomes_ready()
    settings = answers.ok()["settings"]
    assert (answers.ok()["name"], settings["nice"], settings["max_batch"]) == ("digitmodel", 5, 8)
    with pytest.raises(ModelNotFound):
        backend.catalogue.find("digit-model")


@pytest.mark.parametrize(
    ("command", "kind", "field"),
    [
        (Register("tulip"), ModelNotFound, "url"),
        (Register("../iris"), InvalidModel, "url"),
        (Register("iris", "no name"), InvalidModel, "name"),
        (Register("iris", version="3.0"), ModelNotFound, "version"),
        (Register("iris", settings={"nice": 99}), InvalidModel, "nice"),
        (Register("iris", "face_detection"), InvalidModel, "name"),
        (Register("face_detection", "faces"), InvalidModel, "name"),
        (Register("face_detection"), ModelExists, "name"),
        (Register("a_b"), InvalidModel, "name"),
        (Register("a-b"), ModelExists, "name"),
        (Register("a-b", settings={"min_workers": 63}), ModelExists, "name"),
        (Register("iris", settings={"min_workers": 63}), TooManyModels, None),
    ],
)
def test_what_cannot_be_registered_starts_no_process(
    backend: Backend, command: Register, kind: type[FacetError], field: str | None
) -> None:
    """Beside `a-b` there is no `a_b`: to typed clients they are the same."""
    backend.serve("a-b")
    error = backend.do(command).error()
    assert (type(error), error.field) == (kind, field)
    assert len(backend.groups) == 1


def test_a_version_that_loads_is_there(backend: Backend) -> None:
    """Nobody can register it a second time."""
    backend.do(Register("iris"))
    assert isinstance(backend.do(Register("iris")).error(), ModelExists)


def test_a_model_without_workers_is_loaded_once_and_then_idle(backend: Backend) -> None:
    """One process says what it is."""
    answers = backend.do(Register("iris", settings={"min_workers": 0}))
    (group,) = backend.groups
    assert group.wanted == 1
    group.becomes_ready()
    assert (answers.ok()["state"], answers.ok()["workers"], group.wanted) == ("idle", 0, 0)
    assert backend.state_of("iris/2.0") is State.IDLE


@pytest.mark.parametrize("card", [{"name": "tulip"}, {"version": "9"}, {"version": 2}, {"name": None}])
def test_a_model_that_is_another_one_is_refused(backend: Backend, card: dict[str, object]) -> None:
    """By what its own code says."""
    answers = backend.do(Register("iris"))
    backend.groups[0].becomes_ready(**card)
    assert isinstance(answers.error(), InvalidModel)
    assert backend.groups[0].retired


def test_a_model_whose_code_says_its_version_is_served_as_that(
    backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Unless it is there already."""

    class Point:
        name, value = "tulip", "flowers:Tulip"

    monkeypatch.setattr(
        "inference_server.catalogue.store.entry_points",
        lambda *, group, name: [Point] * (name == "tulip" and bool(group)),
    )
    backend.do(Register("tulip"))
    assert isinstance(backend.do(Register("tulip")).error(), ModelExists)
    backend.groups[0].becomes_ready(version="3.1")
    assert keys(backend) == remembered(backend) == ["face_detection/1.0", "tulip/3.1"]
    again = backend.do(Register("tulip"))
    backend.groups[1].becomes_ready(version="3.1")
    assert isinstance(again.error(), ModelExists)
    other = backend.do(Register("tulip"))
    backend.groups[2].becomes_ready(version="v4")
    assert isinstance(other.error(), InvalidModel)
    assert backend.catalogue.find("tulip").version == "3.1"


def test_there_are_32_queues(backend: Backend) -> None:
    """One that is left is given to the next."""
    for number in range(32):
        backend.store(f"m{number}/1")
        group = backend.serve(f"m{number}")
    refused = backend.do(Register("iris"))
    assert isinstance(refused.error(), TooManyModels)
    assert "32" in refused.error().detail
    backend.do(Unregister("m31"))
    backend.tick()
    backend.tick(0.1)
    group.ends()
    backend.tick()
    assert backend.do(Register("iris", synchronous=False)).ok()["queue"] == 32


def test_processes_that_end_still_take_their_places(backend: Backend) -> None:
    """Of 64 one is kept free, for a process that replaces another."""
    group = backend.serve("a-b", min_workers=60)
    backend.do(Unregister("a-b"))
    assert isinstance(backend.do(Register("iris", settings={"min_workers": 4})).error(), TooManyModels)
    backend.do(Register("iris", settings={"min_workers": 3}))
    assert keys(backend) == ["face_detection/1.0", "iris/2.0"]
    assert isinstance(backend.do(Register("iris/1.0")).error(), TooManyModels)
    group.ends()
    assert backend.do(Register("iris/1.0", synchronous=False)).ok()


def test_a_model_that_is_none_is_refused_with_the_member_at_fault(backend: Backend) -> None:
    """As its process says."""
    answers = backend.do(Register("iris"))
    backend.groups[0].cannot_start(InvalidModel("there is no '/srv/iris/a.onnx'", field="file"))
    error = answers.error()
    assert (type(error), error.field) == (InvalidModel, "file")
    assert error.detail == "The model iris could not be loaded: there is no 'a.onnx'"


def test_of_versions_that_load_at_once_none_breaks_what_another_promises(backend: Backend) -> None:
    """Neither could see the other's card when it began."""
    answers = [backend.do(Register(f"iris/{version}")) for version in ("1.0", "2.0")]
    older, newer = backend.groups
    newer.becomes_ready(fields={"iris_input": {"width": [1, "float"]}})
    assert answers[1].ok()
    older.becomes_ready(fields={"iris_input": {"width": [1, "float"], "height": [2, "float"]}})
    error = answers[0].error()
    assert (type(error), error.field) == (InvalidModel, "iris_input.height")
    assert keys(backend) == ["face_detection/1.0", "iris/2.0"]


def test_a_system_without_room_is_a_failed_load(backend: Backend) -> None:
    """Of which nothing is left."""
    backend.no_room = True
    error = backend.do(Register("iris")).error()
    assert isinstance(error, ModelLoadFailed)
    assert "Too many open files" in error.detail
    assert backend.publication.generation == 1


def test_a_fault_of_ours_ends_a_command_alone(backend: Backend, monkeypatch: pytest.MonkeyPatch) -> None:
    """The supervisor goes on."""
    monkeypatch.setattr("inference_server.catalogue.manager.new_version", lambda *_: 1 // 0)
    assert isinstance(backend.do(Register("iris")).error(), InternalError)


# --- the default version and canaries ---


def test_the_first_version_is_the_default_until_another_is_made_it(backend: Backend) -> None:
    """And then it can leave."""
    backend.serve("iris/1.0")
    backend.serve("iris/2.0")
    assert backend.catalogue.find("iris").version == "1.0"
    error = backend.do(Unregister("iris", "1.0")).error()
    assert (type(error), error.field) == (ModelConflict, "version")
    assert type(backend.do(Unregister("iris")).error()) is ModelConflict
    assert backend.do(SetDefault("iris", "2.0")).ok()["default"] is True
    assert backend.catalogue.find("iris").version == backend.remembered().defaults["iris"] == "2.0"
    backend.do(Unregister("iris", "1.0"))
    assert keys(backend) == ["face_detection/1.0", "iris/2.0"]


def test_a_version_that_is_not_loaded_cannot_be_the_default(backend: Backend) -> None:
    """Calls would fail."""
    backend.serve("iris/1.0")
    backend.do(Register("iris/2.0"))
    assert isinstance(backend.do(SetDefault("iris", "2.0")).error(), ModelConflict)
    assert isinstance(backend.do(SetCanary("iris", {"2.0": 1})).error(), ModelConflict)
    assert isinstance(backend.do(SetDefault("iris", "3.0")).error(), ModelNotFound)
    assert isinstance(backend.do(SetDefault("tulip", "1.0")).error(), ModelNotFound)


def test_traffic_becomes_a_canary_without_the_default_version(backend: Backend) -> None:
    """Whose share is what is left: none, where it is not among the weights."""
    backend.serve("iris/1.0")
    backend.serve("iris/2.0")
    backend.do(SetTraffic("iris", {"1.0": 75, "2.0": 25})).ok()
    assert backend.remembered().canary == {"iris": {"2.0": 25}}
    backend.do(SetTraffic("iris", {"2.0": 100})).ok()
    assert backend.catalogue.canary == {"iris": {"2.0": 100}}
    backend.do(SetTraffic("iris", {"1.0": 100})).ok()
    assert backend.catalogue.canary == {}
    for weights in ({}, {"1.0": 99}, {"1.0": 60, "2.0": 50}, {"1.0": 110, "2.0": -10}):
        error = backend.do(SetTraffic("iris", weights)).error()
        assert (type(error), error.field) == (InvalidModel, "weights")
    assert isinstance(backend.do(SetTraffic("iris", {"1.0": 50, "3.0": 50})).error(), ModelNotFound)
    assert isinstance(backend.do(SetTraffic("rose", {"1.0": 100})).error(), ModelNotFound)


def test_canary_weights_are_set_published_and_saved(backend: Backend) -> None:
    """They go with their version."""
    backend.serve("iris/1.0")
    backend.serve("iris/2.0")
    models = backend.do(SetCanary("iris", {"2.0": 100})).ok()["models"]
    assert [one["canary"] for one in models] == [0, 100]
    assert backend.catalogue.find("iris").version == "2.0"
    assert backend.remembered().canary == {"iris": {"2.0": 100}}
    backend.do(Unregister("iris", "2.0"))
    assert backend.catalogue.find("iris").version == "1.0"
    assert (backend.catalogue.canary, backend.remembered().canary) == ({}, {})


@pytest.mark.parametrize(
    ("weights", "kind"),
    [
        ({"1.0": 101}, InvalidModel),
        ({"1.0": -1}, InvalidModel),
        ({"1.0": True}, InvalidModel),
        ({"1.0": 60, "2.0": 60}, InvalidModel),
        ({"3.0": 1}, ModelNotFound),
        ({"": 1}, ModelNotFound),
    ],
)
def test_weights_that_cannot_be_meant_are_refused(
    backend: Backend, weights: dict[str, int], kind: type[FacetError]
) -> None:
    """By their member of the command."""
    backend.serve("iris/1.0")
    error = backend.do(SetCanary("iris", weights)).error()
    assert (type(error), error.field) == (kind, "weights")


# --- unregister ---


def test_a_version_leaves_when_nothing_has_waited_for_it_for_a_while(backend: Backend) -> None:
    """A worker that has read the catalogue before may still send it something; then its queue is free."""
    group = backend.serve("iris")
    backend.waiting[1] = 1
    answers = backend.do(Unregister("iris"))
    assert (keys(backend), remembered(backend)) == (["face_detection/1.0"], ["face_detection/1.0"])
    assert backend.tick(5) < 0.1
    backend.waiting[1] = 0
    backend.tick(1)
    backend.tick(0.05)
    backend.waiting[1] = 1
    backend.tick(0.04)
    backend.waiting[1] = 0
    backend.tick(0.01)
    backend.tick(0.09)
    assert (list(answers), group.retired, group.poison_forgotten) == ([], False, False)
    backend.tick(0.011)
    assert group.retired
    assert group.poison_forgotten
    assert answers.ok() == {"name": "iris", "version": "2.0"}
    assert backend.removed == []
    group.ends()
    assert backend.tick() == math.inf
    assert backend.removed == [group]


def test_a_version_that_leaves_blocks_no_new_one(backend: Backend) -> None:
    """Which has another queue."""
    backend.serve("iris")
    backend.do(Unregister("iris"))
    assert backend.do(Register("iris", synchronous=False)).ok()["queue"] == 2


def test_nobody_waits_for_what_cannot_finish(backend: Backend) -> None:
    """One that leaves, has crashed, and cannot start again."""
    group = backend.serve("iris")
    backend.waiting[1] = 1
    answers = backend.do(Unregister("iris"))
    group.crashes()
    group.cannot_start()
    assert answers.ok()
    assert group.retired


def test_a_version_that_loads_can_be_unregistered(backend: Backend) -> None:
    """Whoever waits for it is told; its processes end at once."""
    registered = backend.do(Register("iris"))
    assert backend.do(Unregister("iris")).ok()
    assert isinstance(registered.error(), ModelConflict)
    assert backend.groups[0].retired
    backend.groups[0].becomes_ready()
    backend.groups[0].cannot_start()
    assert keys(backend) == ["face_detection/1.0"]


@pytest.mark.parametrize(
    ("name", "version", "field"),
    [("tulip", "", "name"), ("tulip", "1.0", "name"), ("iris", "3.0", "version")],
)
def test_what_is_not_there_cannot_be_changed(backend: Backend, name: str, version: str, field: str) -> None:
    """Whatever the command."""
    backend.serve("iris")
    for command in (Unregister(name, version), Scale(name, version), DescribeModel(name, version)):
        error = backend.do(command).error()
        assert (type(error), error.field) == (ModelNotFound, field)


# --- scale ---


def test_a_version_is_scaled_at_once(backend: Backend) -> None:
    """And saved."""
    group = backend.serve("iris")
    answer = backend.do(Scale("iris", "2.0", 3)).ok()
    assert (answer["workers"], answer["settings"]["max_workers"], group.wanted) == (3, 3, 3)
    assert backend.do(Scale("iris", "2.0", 2, 5)).ok()["settings"]["max_workers"] == 5
    assert group.wanted == backend.catalogue.find("iris").workers == 2
    assert backend.remembered().versions[1].settings.min_workers == 2


@pytest.mark.parametrize(
    ("command", "kind"),
    [
        (Scale("iris", "", -1), InvalidModel),
        (Scale("iris", "", 65), InvalidModel),
        (Scale("iris", "", 3, 2), InvalidModel),
        (Scale("iris", "", 64), TooManyModels),
        (Scale("face_detection", "", 2), ModelConflict),
    ],
)
def test_what_cannot_be_scaled_stays(backend: Backend, command: Scale, kind: type[FacetError]) -> None:
    """Faces are found by the workers, whose number is a setting."""
    group = backend.serve("iris")
    error = backend.do(command).error()
    assert type(error) is kind
    assert ("FACET_WORKERS" in error.detail) == (command.name == "face_detection")
    assert group.wanted == backend.catalogue.find("iris").workers == 1


def test_the_last_requests_are_finished_before_a_version_is_idle(backend: Backend) -> None:
    """New ones are refused meanwhile."""
    group = backend.serve("iris")
    backend.waiting[1] = 1
    answers = backend.do(Scale("iris", "", 0))
    backend.tick(1)
    assert (backend.state_of("iris/2.0"), group.wanted, list(answers)) == (State.IDLE, 1, [])
    backend.waiting[1] = 0
    backend.tick()
    backend.tick(0.1)
    assert (group.wanted, answers.ok()["state"]) == (0, "idle")
    assert backend.tick() == math.inf
    assert (backend.removed, group.retired, group.poison_forgotten) == ([], False, False)


def test_an_idle_version_is_loaded_when_it_is_scaled_up(backend: Backend) -> None:
    """Saved and answered when it is served."""
    group = backend.serve("iris", min_workers=0)
    answers = backend.do(Scale("iris", "", 2))
    assert (backend.state_of("iris/2.0"), group.wanted) == (State.LOADING, 2)
    assert (list(answers), backend.remembered().versions[1].settings.min_workers) == ([], 0)
    assert isinstance(backend.do(Scale("iris", "", 3)).error(), ModelConflict)
    group.becomes_ready()
    assert answers.ok()["state"] == "ready"
    assert (backend.state_of("iris/2.0"), backend.remembered().versions[1].settings.min_workers) == (
        State.READY,
        2,
    )


def test_an_idle_version_that_cannot_be_loaded_is_idle_again(backend: Backend) -> None:
    """As it was before."""
    group = backend.serve("iris", min_workers=0)
    answers = backend.do(Scale("iris", "", 2))
    group.cannot_start()
    assert isinstance(answers.error(), ModelLoadFailed)
    assert (backend.state_of("iris/2.0"), group.wanted) == (State.IDLE, 0)
    assert backend.catalogue.versions[1].settings.min_workers == 0
    assert backend.do(Unregister("iris")).ok()


def test_a_version_that_is_about_to_be_idle_can_be_scaled_up_again(backend: Backend) -> None:
    """Its processes have not been told to end yet; both commands are answered."""
    group = backend.serve("iris")
    backend.waiting[1] = 1
    first = backend.do(Scale("iris", "", 0))
    second = backend.do(Scale("iris", "", 2))
    assert first.ok()
    assert second.ok()
    assert (backend.state_of("iris/2.0"), group.wanted) == (State.READY, 2)
    backend.waiting[1] = 0
    backend.tick()
    backend.tick(1)
    assert group.wanted == 2
    assert len(first) == 1


@pytest.mark.parametrize("then", [Scale("iris", "", 0), Unregister("iris")])
def test_what_waits_for_a_version_is_finished_though_it_is_changed_again(
    backend: Backend, then: Scale | Unregister
) -> None:
    """By an operator who has no patience, or no use for it any more."""
    group = backend.serve("iris")
    backend.waiting[1] = 1
    backend.do(Scale("iris", "", 0))
    second = backend.do(then)
    backend.tick()
    backend.tick(1)
    assert (group.wanted, group.retired, len(second)) == (1, False, 0)
    backend.waiting[1] = 0
    backend.tick()
    backend.tick(1)
    assert group.wanted == 0 or group.retired
    assert second.ok()


def test_a_queue_in_which_something_waits_is_no_other_version_s(backend: Backend) -> None:
    """It would be answered by that one."""
    group = backend.serve("iris")
    backend.waiting[1] = 1
    group.crashes()
    group.cannot_start()
    assert backend.do(Unregister("iris")).ok()
    group.ends()
    backend.tick()
    assert backend.removed == []
    backend.waiting[1] = 0
    backend.tick()
    assert backend.removed == [group]


def test_a_version_that_crashes_while_it_becomes_idle_can_be_scaled_up(backend: Backend) -> None:
    """It is loaded again, and not stopped for what was asked before."""
    group = backend.serve("iris")
    backend.waiting[1] = 1
    first = backend.do(Scale("iris", "", 0))
    group.crashes()
    second = backend.do(Scale("iris", "", 2))
    assert first.ok()
    assert backend.state_of("iris/2.0") is State.LOADING
    group.becomes_ready()
    backend.waiting[1] = 0
    backend.tick()
    backend.tick(1)
    assert (second.ok()["state"], group.wanted) == ("ready", 2)


def test_a_version_that_has_just_become_idle_answers_once(backend: Backend) -> None:
    """Though it is scaled again before the next tick."""
    group = backend.serve("iris", min_workers=0)
    first = backend.do(Scale("iris", "", 0))
    backend.do(Scale("iris", "", 1))
    group.becomes_ready()
    assert first.ok()["state"] == "idle"


# --- crashes ---


def test_a_version_whose_processes_crash_stays_ready(backend: Backend) -> None:
    """Requests wait for the next one; it has failed when that cannot start, and is served when it can."""
    group = backend.serve("iris")
    published = backend.publication.generation
    group.crashes()
    assert backend.state_of("iris/2.0") is State.READY
    group.cannot_start("no memory")
    group.cannot_start("no memory")
    assert backend.state_of("iris/2.0") is State.FAILED
    assert backend.catalogue.versions[1].failure == "The model iris could not be loaded: no memory"
    assert backend.publication.generation == published + 1
    assert isinstance(backend.do(SetDefault("iris", "2.0")).error(), ModelConflict)
    group.becomes_ready()
    assert (backend.state_of("iris/2.0"), backend.catalogue.versions[1].failure) == (State.READY, "")


def test_a_version_of_which_some_serve_has_not_failed(backend: Backend) -> None:
    """Though another process of it cannot start."""
    group = backend.serve("iris", min_workers=2)
    group.cannot_start()
    assert backend.state_of("iris/2.0") is State.READY


def test_a_failed_version_that_is_scaled_stays_failed(backend: Backend) -> None:
    """Until a process says otherwise; with none wanted it is not tried again."""
    group = backend.serve("iris")
    group.crashes()
    group.cannot_start()
    assert backend.do(Scale("iris", "", 0)).ok()["state"] == "failed"
    assert group.wanted == 0
    assert backend.do(Scale("iris", "", 1)).ok()["state"] == "failed"
    group.becomes_ready()
    assert backend.state_of("iris/2.0") is State.READY


# --- processes that are started later ---

GROWN = {"iris_input": {"width": [1, "float"]}}


def card_of(backend: Backend, key: str = "iris/2.0") -> Mapping[str, Any]:
    """What all processes see of a version."""
    [card] = [one.card for one in backend.catalogue.versions if one.key == key]
    return card or {}


def test_a_new_card_is_published_and_saved_when_all_processes_have_it(backend: Backend) -> None:
    """Before, whoever knew it might be answered by a process that does not."""
    group = backend.serve("iris", min_workers=2)
    group.becomes_ready()
    group.becomes_ready(fields=GROWN)
    for _ in range(2):
        backend.tick()
        assert card_of(backend)["fields"] == {}
        group.oldest_ends()
    backend.tick()
    assert card_of(backend)["fields"] == GROWN
    assert backend.remembered().versions[1].card == card_of(backend)
    published = backend.publication.generation
    backend.tick()
    assert backend.publication.generation == published


def test_a_process_that_loads_holds_a_new_card_back(backend: Backend) -> None:
    """Nobody knows yet what it will say."""
    group = backend.serve("iris")
    group.becomes_ready(fields=GROWN)
    group.oldest_ends()
    group.processes = [*group.processes, Process(9)]
    backend.tick()
    assert card_of(backend)["fields"] == {}
    group.becomes_ready(fields=GROWN)
    backend.tick()
    assert card_of(backend)["fields"] == GROWN


@pytest.mark.parametrize("obstacle", ["the other version", "the disk"])
def test_a_new_card_that_cannot_be_taken_leaves_the_old_one(
    backend: Backend, monkeypatch: pytest.MonkeyPatch, obstacle: str
) -> None:
    """Whether another version promises otherwise, or it cannot be saved: the failure says so."""
    first = backend.serve("iris/1.0")
    if obstacle == "the disk":
        monkeypatch.setattr(backend.file, "save", _refuse)
        reason = "no room"
    else:
        backend.do(Register("iris/2.0"))
        backend.groups[1].becomes_ready(fields={"iris_input": {"width": [1, "string"]}})
        reason = "width of iris_input is string, and was float"
    first.becomes_ready(fields=GROWN)
    first.oldest_ends()
    backend.tick()
    (told,) = backend.do(DescribeModel("iris", "1.0")).ok()["models"]
    assert (told["state"], told["card"]["fields"]) == ("ready", {})
    assert reason in told["failure"]
    published = backend.publication.generation
    backend.tick()
    assert backend.publication.generation == published


def test_a_version_that_serves_tells_why_its_next_process_could_not(backend: Backend) -> None:
    """Until one can."""
    group = backend.serve("iris")
    group.cannot_start(InvalidModel("iris/2.0 says that it is iris/3.0"))
    (told,) = backend.do(DescribeModel("iris")).ok()["models"]
    assert told["state"] == "ready"
    assert told["failure"] == "The model iris could not be loaded: iris/2.0 says that it is iris/3.0"
    group.becomes_ready()
    assert backend.catalogue.find("iris").failure == ""


# --- face detection, and what operators are told ---


def test_face_detection_is_hidden_and_listed(backend: Backend) -> None:
    """It has queue 0 and no processes of its own."""
    assert backend.catalogue.find("face_detection").queue == 0
    assert backend.do(Unregister("face_detection")).ok()
    assert keys(backend) == remembered(backend) == []
    answer = backend.do(Register("face_detection")).ok()
    assert (answer["state"], answer["queue"], answer["ready_workers"]) == ("ready", 0, 2)
    assert keys(backend) == remembered(backend) == ["face_detection/1.0"]
    assert backend.groups == []
    assert backend.tick() == math.inf


def test_face_detection_has_no_settings(backend: Backend) -> None:
    """Those of the workers are in the environment."""
    backend.do(Unregister("face_detection"))
    error = backend.do(Register("face_detection", settings={"nice": 5})).error()
    assert (type(error), error.field) == (InvalidModel, "settings")


def test_versions_are_described(backend: Backend) -> None:
    """With their cards where somebody asks for one; without the paths of files."""
    backend.serve("iris/1.0", min_workers=2)
    listed = backend.do(ListModels()).ok()["models"]
    assert [one["name"] for one in listed] == ["face_detection", "iris"]
    (described,) = backend.do(DescribeModel("iris")).ok()["models"]
    told = {
        name: described[name] for name in ("state", "default", "canary", "url", "kind", "queue", "workers")
    }
    assert told == {
        "state": "ready",
        "default": True,
        "canary": 0,
        "url": "iris/1.0",
        "kind": "echo",
        "queue": 1,
        "workers": 2,
    }
    assert described["card"]["name"] == "iris"
    assert "card" not in listed[1]
    assert listed[1] == {key: value for key, value in described.items() if key != "card"}
    assert (described["ready_workers"], described["processes"]) == (1, [{"pid": 0}, {"pid": 1}])
    assert str(backend.store_folder) not in str(described)
    assert len(backend.do(DescribeModel("iris", "1.0")).ok()["models"]) == 1


# --- what cannot be written ---


def _refuse(*_: object) -> None:
    raise StateNotWritable("no room")


def test_nothing_is_changed_that_cannot_be_saved(backend: Backend, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the command; what was is served."""
    group = backend.serve("iris/1.0")
    backend.serve("iris/2.0", min_workers=0)
    loading = backend.do(Register("a-b"))
    published = backend.publication.generation
    monkeypatch.setattr(backend.file, "save", _refuse)
    for command in (
        Scale("iris", "1.0", 2),
        Scale("iris", "1.0", 0),
        SetDefault("iris", "2.0"),
        SetCanary("iris", {"2.0": 10}),
        Unregister("iris", "2.0"),
        Unregister("face_detection"),
    ):
        assert isinstance(backend.do(command).error(), StateNotWritable), command
    assert (group.wanted, group.retired, backend.publication.generation) == (1, False, published)
    backend.groups[-1].becomes_ready()
    assert isinstance(loading.error(), StateNotWritable)
    assert keys(backend) == ["face_detection/1.0", "iris/1.0", "iris/2.0"]
    assert backend.catalogue.find("iris").version == "1.0"


def test_no_process_is_started_for_what_cannot_be_saved(
    backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor is an idle version loaded."""
    group = backend.serve("iris", min_workers=0)
    monkeypatch.setattr(backend.file, "refusal", "read-only")
    assert isinstance(backend.do(Register("a-b")).error(), StateNotWritable)
    assert isinstance(backend.do(Scale("iris", "", 1)).error(), StateNotWritable)
    assert (len(backend.groups), group.wanted, backend.state_of("iris/2.0")) == (1, 0, State.IDLE)
