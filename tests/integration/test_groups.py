"""Rules of a supervisor with groups of model workers beside its workers, all of them real child processes."""

import json
import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from inference_server.supervision import backoff
from tests.support.processes import PATIENCE, ROOT, alive, wait_until
from tests.support.supervision import MODEL_SLOTS, Fakes, Service
from utils.logs import JsonFormatter


@pytest.fixture
def service(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Service]:
    """Two workers, ended after the test with all models that it has added."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setattr(backoff, "LONGEST_DELAY_SECONDS", 0.02)
    monkeypatch.setattr(backoff, "FIRST_DELAY_SECONDS", 0.02)
    made = Service(tmp_path, 2, patience=30.0)
    yield made
    made.end()


def wait_for_ready(fakes: Fakes, count: int) -> None:
    """Wait until so many of a group serve."""
    wait_until(lambda: fakes.group.ready_count == count, f"{count} of {fakes.folder.name} ready")


def test_a_death_in_any_group_is_told_to_the_workers(service: Service) -> None:
    """Because they dispatch; its own group is not told, and replaces it."""
    model = service.add_model("echo", wanted=2)
    service.start()
    wait_for_ready(model, 2)
    victim = model.started[0]
    generation = service.stats.rows[victim.slot].generation
    os.kill(victim.pid, signal.SIGKILL)
    told = sorted(f"{pid} {victim.slot} {generation}" for pid in service.living())
    wait_until(lambda: sorted(service.deaths()) == told, "both workers were told")
    wait_for_ready(model, 2)
    assert model.deaths() == []
    assert len(service.started) == 2


def test_a_model_that_cannot_start_is_reported_and_tried_again_and_ends_nobody(service: Service) -> None:
    """Though it says that it never can, and fails more often than workers may."""
    model = service.add_model("broken", "fail")
    service.start()
    wait_until(lambda: len(model.failures) >= 7, "it was tried again and again")
    assert model.failures[0] == ("there is no model", True)
    model.behave("ok")
    wait_for_ready(model, 1)
    assert len(service.living()) == len(service.started) == 2


def test_failures_to_start_that_may_pass_are_reported_as_pointless_from_the_fifth_in_a_row(
    service: Service,
) -> None:
    """Before, they are told as what may pass."""
    model = service.add_model("tripping", "trip")
    service.start()
    wait_until(lambda: len(model.failures) >= 6, "it was tried again and again")
    assert [permanent for _, permanent in model.failures[:6]] == [False] * 4 + [True] * 2


def test_whoever_is_told_that_a_model_cannot_start_may_give_it_up(service: Service) -> None:
    """Right there: nobody is started any more, and the group can be removed."""
    model = service.add_model("broken", "fail")
    model.group.on_cannot_start = lambda _: model.group.retire()
    service.start()
    wait_until(lambda: model.group.is_empty and len(model.started) == 1, "it has failed")
    service.call(lambda: service.supervisor.remove_group(model.group))
    service.signal(signal.SIGHUP)
    service.wait_for_start(3)
    assert len(model.started) == 1


def test_a_group_is_scaled_to_nothing_and_back(service: Service) -> None:
    """Its processes are told to stop, and others start when some are wanted again."""
    model = service.add_model("echo", wanted=2)
    service.start()
    wait_for_ready(model, 2)
    old = model.living()
    service.call(lambda: model.group.scale(0))
    wait_until(lambda: model.group.is_empty, "nobody is left")
    assert sorted(model.told()) == sorted(f"{pid} Stop" for pid in old)
    service.call(lambda: model.group.scale(1))
    wait_for_ready(model, 1)
    assert len(model.started) == 3


def test_signals_scale_the_workers_alone(service: Service) -> None:
    """The number of a model's is the catalogue's."""
    model = service.add_model("echo")
    service.start()
    service.signal(signal.SIGTTIN)
    service.wait_for_living(3)
    wait_for_ready(model, 1)
    assert len(model.started) == 1


def test_a_reload_replaces_the_processes_of_all_groups(service: Service) -> None:
    """Each when its replacement is ready."""
    model = service.add_model("echo")
    service.start()
    wait_for_ready(model, 1)
    old = service.living() + model.living()
    service.signal(signal.SIGHUP)
    wait_until(lambda: not any(map(alive, old)), "the old ones ended")
    assert {worker.release for worker in service.started[2:] + model.started[1:]} == {1}


def test_a_group_that_is_added_after_a_reload_counts_it(service: Service) -> None:
    """Its processes run the code of now."""
    service.start()
    service.signal(signal.SIGHUP)
    service.wait_for_start(4)
    service.call(lambda: service.add_model("echo"))
    wait_until(lambda: bool(service.models), "it was added")
    wait_for_ready(service.models[0], 1)
    assert service.models[0].started[0].release == 1


def test_a_group_is_retired_within_its_patience(service: Service) -> None:
    """One that does not stop is killed; none is started again, and the service goes on."""
    model = service.add_model("stubborn", "stubborn", wanted=2, patience=0.1)
    service.start()
    wait_for_ready(model, 2)
    service.call(model.group.retire)
    wait_until(lambda: model.group.is_empty, "it is gone")
    assert all("Stop" in line for line in model.told())
    assert len(model.started) == len(service.living()) == 2


@pytest.mark.parametrize("end", ["killed", "crashed", "stopped"])
def test_what_a_model_worker_has_forked_ends_with_it(service: Service, end: str) -> None:
    """However it ends: here by the supervisor, by itself, or as it was told."""
    model = service.add_model("forking", "fork")
    service.start()
    wait_for_ready(model, 1)
    parent = model.started[0]
    child = int((model.folder / "forked").read_text())
    assert alive(child)
    model.behave("ok")
    if end == "killed":
        model.liveness.hung.add(parent.slot)
    elif end == "crashed":
        os.kill(parent.pid, signal.SIGKILL)
    else:
        os.kill(parent.pid, signal.SIGTERM)
    wait_until(lambda: not alive(child), "its child ended")
    model.liveness.hung.clear()
    wait_until(lambda: not alive(parent.pid), "it ended")


def test_at_the_end_model_workers_are_told_to_stop_when_no_worker_is_left(service: Service) -> None:
    """Workers need them until then, so one that crashes meanwhile is replaced."""
    model = service.add_model("echo")
    service.behave("stubborn")
    service.start()
    wait_for_ready(model, 1)
    service.signal(signal.SIGTERM)
    wait_until(lambda: len(service.told()) == 2, "the workers drain")
    os.kill(model.started[0].pid, signal.SIGKILL)
    model.wait_for_start(2)
    wait_for_ready(model, 1)
    assert model.told() == []
    for pid in service.living():
        os.kill(pid, signal.SIGKILL)
    assert service.join() is None
    assert model.told() == [f"{model.started[1].pid} Stop"]


def test_the_group_that_watches_others_is_told_to_stop_when_all_others_have_ended(service: Service) -> None:
    """Model workers among them; one that crashes meanwhile is replaced."""
    model = service.add_model("echo", "stubborn")
    watching = service.add_model("watching", last=True)
    service.start()
    wait_for_ready(model, 1)
    wait_for_ready(watching, 1)
    service.signal(signal.SIGTERM)
    wait_until(lambda: len(model.told()) == 1, "the model worker is told to stop")
    os.kill(watching.started[0].pid, signal.SIGKILL)
    watching.wait_for_start(2)
    wait_for_ready(watching, 1)
    assert watching.told() == []
    os.kill(model.started[0].pid, signal.SIGKILL)
    assert service.join() is None
    assert watching.told() == [f"{watching.started[1].pid} Drain"]


def test_at_the_end_none_is_started_for_one_that_only_asks_to_end(service: Service) -> None:
    """As all do when the whole process group is sent SIGTERM; for one that has ended another is started."""
    model = service.add_model("echo")
    service.behave("stubborn")
    service.start()
    wait_for_ready(model, 1)
    service.signal(signal.SIGTERM)
    wait_until(lambda: len(service.told()) == 2, "the workers drain")
    asking = model.started[0]
    os.kill(asking.pid, signal.SIGTERM)
    wait_until(lambda: asking.retirement_requested, "it asks")
    another_round = threading.Event()
    service.call(another_round.set)
    assert another_round.wait(PATIENCE)
    assert len(model.started) == 1
    os.kill(asking.pid, signal.SIGKILL)
    model.wait_for_start(2)


def test_the_death_of_one_that_takes_no_requests_is_told_to_nobody(service: Service) -> None:
    """Nobody has sent it any."""
    model = service.add_model("echo", queue=3)
    other = service.add_model("watching", queue=None)
    service.start()
    wait_for_ready(model, 1)
    wait_for_ready(other, 1)
    for fakes in (other, model):
        os.kill(fakes.started[0].pid, signal.SIGKILL)
        fakes.wait_for_start(2)
    wait_until(lambda: len(service.deaths()) == 2, "both workers are told of one death")
    slot = model.started[0].slot
    assert {line.split()[1] for line in service.deaths()} == {str(slot)}


def test_a_second_signal_ends_all_groups_at_once(service: Service) -> None:
    """Nobody is told to stop any more."""
    model = service.add_model("echo", "stubborn")
    service.behave("stubborn")
    service.start()
    wait_for_ready(model, 1)
    service.signal(signal.SIGTERM)
    wait_until(lambda: len(service.told()) == 2, "the workers drain")
    service.signal(signal.SIGTERM)
    assert service.join() is None
    assert model.told() == []
    assert model.living() == []


def test_workers_that_can_never_start_end_the_models_too(service: Service) -> None:
    """With the workers' reason."""
    model = service.add_model("echo")
    service.behave("fail")
    service.thread.start()
    assert "no worker can start" in str(service.join())
    assert model.living() == []


def test_each_group_has_its_own_limit_to_boot(service: Service) -> None:
    """A model may take long to load, or little time be left to it."""
    hasty = service.add_model("hasty", "slow", boot_seconds=0.2)
    patient = service.add_model("patient", "slow")
    service.start()
    wait_until(lambda: len(hasty.failures) >= 2, "the hasty one was killed twice")
    assert hasty.failures[0] == ("it was not ready within 0.2 s", False)
    hasty.behave("ok")
    wait_for_ready(hasty, 1)
    assert len(patient.started) == 1
    assert patient.group.ready_count == 0


def test_groups_that_have_the_same_slots_take_each_a_free_one(service: Service) -> None:
    """Where there is none that is reported, once; whoever waits has the next that is free."""
    first = service.add_model("first", slots=MODEL_SLOTS[:2], wanted=2)
    service.start()
    wait_for_ready(first, 2)
    service.call(lambda: service.add_model("second", slots=MODEL_SLOTS[:2]))
    wait_until(lambda: bool(service.models[1:]) and bool(service.models[1].failures), "it cannot start")
    second = service.models[1]
    service.signal(signal.SIGTTIN)
    wait_for_ready(service, 3)  # many rounds later
    assert second.failures == [("all slots are taken", False)]
    service.call(lambda: first.group.scale(1))
    wait_for_ready(second, 1)
    (worker,) = second.started
    assert worker.slot in MODEL_SLOTS[:2]
    assert {worker.slot for worker in first.started} == set(MODEL_SLOTS[:2])


def test_no_more_processes_boot_at_once_than_there_are_places(service: Service) -> None:
    """The next is started when one is ready; each group has its first before any has its second."""
    first, second, third = models = [
        service.add_model(name, "gate", wanted=wanted) for name, wanted in (("a", 2), ("b", 1), ("c", 1))
    ]
    service.start()
    second.wait_for_start(1)
    service.go_round()
    assert [len(model.started) for model in models] == [1, 1, 0]
    second.open_gate()
    third.wait_for_start(1)
    service.go_round()
    assert [len(model.started) for model in models] == [1, 1, 1]
    third.open_gate()
    first.wait_for_start(2)
    first.open_gate()
    wait_for_ready(first, 2)


def test_workers_boot_before_models_do(service: Service) -> None:
    """While all of them boot, no model does."""
    model = service.add_model("echo")
    service.behave("gate")
    service.thread.start()
    service.wait_for_start(2)
    service.go_round()
    assert model.started == []
    service.open_gate()
    wait_for_ready(model, 1)


def test_models_that_hang_while_they_load_do_not_keep_others_out(service: Service) -> None:
    """Though they take all places again and again: who has waited longest has the next."""
    hanging = [service.add_model(name, "slow", boot_seconds=0.3) for name in ("a", "b")]
    others = [service.add_model(name) for name in ("c", "d", "e")]
    service.start()
    for model in others:
        wait_for_ready(model, 1)
    for model in hanging:
        model.wait_for_start(2)
    first_of_others = [model.started[0].started for model in others]
    assert max(first_of_others) < min(model.started[1].started for model in hanging)


def test_a_model_that_somebody_waits_for_has_a_place_of_its_own(service: Service) -> None:
    """For its first process; there is one such place for all of them."""
    for name in ("a", "b"):
        service.add_model(name, "slow")
    service.start()
    for model in service.models:
        model.wait_for_start(1)
    service.call(lambda: service.add_model("c", "gate", wanted=2, is_urgent=True))
    service.call(lambda: service.add_model("d", is_urgent=True))
    wait_until(lambda: len(service.models) == 4, "they were added")
    awaited, next_one = service.models[2:]
    awaited.wait_for_start(1)
    service.go_round()
    assert (len(awaited.started), len(next_one.started)) == (1, 0)
    awaited.open_gate()
    wait_for_ready(next_one, 1)
    service.go_round()
    assert len(awaited.started) == 1


def test_lines_about_model_workers_name_the_model(service: Service, caplog: pytest.LogCaptureFixture) -> None:
    """Those about workers name none."""
    caplog.set_level("INFO")
    model = service.add_model("echo")
    service.start()
    wait_for_ready(model, 1)
    lines = [json.loads(JsonFormatter().format(record)) for record in caplog.records]
    named = {line["worker"]: line.get("model") for line in lines if line["message"] == "worker ready"}
    assert named == {model.started[0].pid: "echo/1.0", **dict.fromkeys(service.living())}


def test_what_is_watched_is_handled(service: Service) -> None:
    """By the thread of the supervisor."""
    service.start()
    handled: list[int | None] = []
    service.call(lambda: handled.append(threading.get_native_id()))
    wait_until(lambda: len(handled) == 1, "it was handled")
    assert handled == [service.thread.native_id]
