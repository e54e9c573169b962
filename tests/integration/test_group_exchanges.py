"""Rules of the exchange of a group's processes for some that are started otherwise: real child processes."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from inference_server.supervision import backoff
from inference_server.supervision.control import BootFailed, Ready
from inference_server.supervision.worker_process import WorkerProcess
from tests.support.processes import ROOT, alive, wait_until
from tests.support.supervision import Fakes, Service


@pytest.fixture
def service(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Service]:
    """A worker, ended after the test with all models that it has added."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setattr(backoff, "LONGEST_DELAY_SECONDS", 0.02)
    monkeypatch.setattr(backoff, "FIRST_DELAY_SECONDS", 0.02)
    made = Service(tmp_path, 1, patience=30.0)
    yield made
    made.end()


@pytest.fixture
def model(service: Service) -> Fakes:
    """Two processes that serve."""
    model = service.add_model("echo", wanted=2)
    service.start()
    wait_until(lambda: model.group.ready_count == 2, "both serve")
    return model


def test_each_process_is_told_to_stop_when_another_is_ready(service: Service, model: Fakes) -> None:
    """There is one more than wanted at most."""
    old = model.living()
    model.behave("gate")
    service.call(model.exchange)
    model.wait_for_start(3)
    service.go_round()
    assert (len(model.started), model.told(), model.group.is_exchanged) == (3, [], False)
    model.open_gate()
    wait_until(lambda: model.group.is_exchanged, "all are replaced")
    assert not any(map(alive, old))
    assert sorted(model.told()) == sorted(f"{pid} Stop" for pid in old)
    assert len(model.started) == 4


def test_what_cannot_start_may_be_undone(service: Service, model: Fakes) -> None:
    """By whoever is told: the processes of before stay, and their times are those of before."""
    old = model.living()
    told = model.group.on_cannot_start
    times = model.liveness.times

    def undo(error: BootFailed) -> None:
        model.group.undo_exchange()
        told(error)

    model.group.on_cannot_start = undo
    model.behave("slow")
    service.call(lambda: model.exchange(boot_seconds=0.2))
    wait_until(lambda: bool(model.failures), "it has failed")
    service.go_round()
    assert (sorted(model.living()), model.told()) == (sorted(old), [])
    assert (len(model.started), model.liveness.times) == (3, times)
    assert model.group.is_exchanged


def test_what_serves_already_may_be_undone(service: Service, model: Fakes) -> None:
    """Before one of the others was told to stop."""
    old = model.living()

    def undo(_: WorkerProcess, said: Ready) -> None:
        model.said.append(said)
        model.group.undo_exchange()

    model.group._on_ready = undo
    service.call(model.exchange)
    wait_until(lambda: len(model.said) == 3, "a new one serves")
    wait_until(lambda: sorted(model.living()) == sorted(old), "it is gone")
    assert model.told() == [f"{model.started[2].pid} Stop"]


def test_what_was_kept_is_not_undone(service: Service, model: Fakes) -> None:
    """Processes follow that are started in the new way."""
    service.call(model.exchange)
    service.call(model.group.keep_exchange)
    service.call(model.group.undo_exchange)
    wait_until(lambda: model.group.is_exchanged and len(model.started) == 4, "all are replaced")


def test_one_that_starts_is_ended(service: Service) -> None:
    """What it would load is not wanted any more, and counts as no crash."""
    model = service.add_model("echo", "late")
    service.start()
    wait_until((model.folder / "late").exists, "it boots, and has read how to behave")
    model.behave("ok")
    service.call(model.exchange)
    wait_until(lambda: model.group.is_exchanged, "another serves")
    assert len(model.started) == 2
    assert model.failures == []
    assert not alive(model.started[0].pid)
