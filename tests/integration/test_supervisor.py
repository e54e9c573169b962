"""Rules of the supervisor, driven through its queue, with real child processes that detect nothing."""

import json
import logging
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from inference_server.supervision import backoff, recycler
from inference_server.supervision.control import Ready
from inference_server.supervision.recycling import Limits
from tests.support.processes import PATIENCE, ROOT, alive, wait_until
from tests.support.supervision import Service
from utils.logs import JsonFormatter


@pytest.fixture
def service(
    tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Service]:
    """Two workers with a grace of 30 s, or as the test's parameter says; gone after the test."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    workers, grace = getattr(request, "param", (2, 30.0))
    made = Service(tmp_path, workers, grace)
    yield made
    made.end()


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hardly any delay after crashes, which a test has many of."""
    monkeypatch.setattr(backoff, "LONGEST_DELAY_SECONDS", 0.02)
    monkeypatch.setattr(backoff, "FIRST_DELAY_SECONDS", 0.02)


def test_ready_is_announced_when_all_workers_are(service: Service) -> None:
    """And there are as many as wanted, each in a slot of its own."""
    service.start()
    assert len(service.living()) == 2
    assert {worker.slot for worker in service.started} == {0, 1}


def test_what_each_worker_says_when_it_is_ready_is_passed_on(service: Service) -> None:
    """Before all are announced to be ready; the supervisor itself makes nothing of it."""
    service.start()
    assert service.said == [Ready("none")] * 2


def test_what_a_worker_of_another_release_says_beyond_ends_nobody(
    service: Service, caplog: pytest.LogCaptureFixture
) -> None:
    """It is dropped with a line in the log, and the worker serves."""
    service.behave("newer")
    service.start()
    assert caplog.messages.count("control message ignored") == 2


def test_a_killed_worker_is_replaced_in_its_slot(service: Service) -> None:
    """At once, and the others are left alone."""
    service.start()
    victim, other = service.started
    victim.kill()
    service.wait_for_start(3)
    assert service.started[2].slot == victim.slot
    assert other.pid in service.living()


@pytest.mark.parametrize("service", [(6, 30.0)], indirect=True)
def test_workers_that_die_together_are_replaced_at_once(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are one crash, not six in a row, after which the next start would be delayed."""
    monkeypatch.setattr(backoff, "FIRST_DELAY_SECONDS", 3600.0)
    monkeypatch.setattr(backoff, "LONGEST_DELAY_SECONDS", 3600.0)
    service.start()
    for worker in list(service.started):
        worker.kill()
    service.wait_for_start(12)
    service.wait_for_living(6)


@pytest.mark.parametrize("service", [(6, 30.0)], indirect=True)
def test_workers_that_cannot_boot_together_are_tried_again(service: Service) -> None:
    """Six that fail for want of memory at the same time are one try of the five."""
    service.behave("slow")
    service.thread.start()
    service.wait_for_start(6)
    service.behave("ok")
    for worker in list(service.started):
        worker.kill()
    assert service.ready.wait(PATIENCE)


def test_a_worker_that_wants_to_leave_is_replaced_before_it_stops(service: Service) -> None:
    """Someone may end a worker by SIGTERM: its replacement is ready before it is told to stop."""
    service.start()
    old = service.living()
    for pid in old:
        os.kill(pid, signal.SIGTERM)
    wait_until(lambda: not set(old) & set(service.living()), "the old workers ended")
    service.wait_for_living(2)
    assert len(service.started) == 4
    assert sorted(service.told()) == sorted(f"{pid} Stop" for pid in old)


def test_sigterm_drains_all_workers_and_ends_without_a_reason(service: Service) -> None:
    """Each is told that the whole backend goes away."""
    service.start()
    service.signal(signal.SIGTERM)
    assert service.join() is None
    assert sorted(service.told()) == sorted(f"{worker.pid} Drain" for worker in service.started)


def test_a_signal_after_the_end_has_no_effect(service: Service) -> None:
    """It may come while the process ends, which still ends with what it had to say."""
    service.start()
    service.signal(signal.SIGTERM)
    assert service.join() is None
    service.signal(signal.SIGCHLD)
    service.signal(signal.SIGTERM)


def test_a_second_signal_ends_workers_that_will_not_stop(service: Service) -> None:
    """One that would not be told to go is killed when the supervisor is told twice."""
    service.behave("stubborn")
    service.start()
    service.signal(signal.SIGINT)
    wait_until(lambda: len(service.told()) == 2, "both were told")
    assert len(service.living()) == 2
    service.signal(signal.SIGINT)
    assert service.join() is None


@pytest.mark.parametrize("service", [(2, 0.2)], indirect=True)
def test_a_worker_that_does_not_stop_within_its_grace_is_killed(service: Service) -> None:
    """The supervisor ends all the same."""
    service.behave("stubborn")
    service.start()
    service.signal(signal.SIGTERM)
    assert service.join() is None


def test_a_worker_that_can_never_boot_stops_the_service_with_its_reason(service: Service) -> None:
    """No endless loop of starts: the first such failure is the last."""
    service.behave("fail")
    service.thread.start()
    assert "there is no model" in str(service.join())
    assert len(service.started) <= 4


@pytest.mark.usefixtures("hasty")
def test_a_failure_to_boot_that_may_pass_is_tried_again(service: Service) -> None:
    """Others may boot: want of memory, or of descriptors, need not last."""
    service.behave("trip")
    service.thread.start()
    service.wait_for_start(3)
    service.behave("ok")
    assert service.ready.wait(PATIENCE)


@pytest.mark.usefixtures("hasty")
def test_a_failure_to_boot_that_does_not_pass_stops_the_service_after_some_tries(service: Service) -> None:
    """With what the last worker said."""
    service.behave("trip")
    service.thread.start()
    assert "there is no memory" in str(service.join())
    assert len(service.started) >= 5


def test_workers_that_crash_before_they_are_ready_stop_the_service_after_some_tries(service: Service) -> None:
    """With back-off between the tries, and how they ended as the reason."""
    service.behave("crash")
    service.thread.start()
    assert "exited with 9" in str(service.join())


def test_a_reload_starts_the_new_before_it_stops_the_old(service: Service) -> None:
    """One at a time: never fewer ready workers than wanted, in the end none of the old ones."""
    service.start()
    old = service.living()
    service.signal(signal.SIGHUP)
    service.wait_for_start(4)
    wait_until(lambda: not set(old) & set(service.living()), "the old workers ended")
    service.wait_for_living(2)
    assert sorted(service.told()) == sorted(f"{pid} Stop" for pid in old)


def test_two_reloads_in_a_row_leave_only_workers_of_the_last(service: Service) -> None:
    """The second is not lost while the first is under way."""
    service.start()
    service.signal(signal.SIGHUP)
    service.wait_for_start(3)
    service.signal(signal.SIGHUP)
    wait_until(
        lambda: (
            sum(w.release == 2 and alive(w.pid) for w in service.started) == 2 and len(service.living()) == 2
        ),
        "two workers of the second reload",
    )


def test_a_reload_whose_code_cannot_boot_leaves_the_old_workers_serving(service: Service) -> None:
    """New code that fails must not end old code that works."""
    service.start()
    old = service.living()
    service.behave("fail")
    service.signal(signal.SIGHUP)
    service.wait_for_start(3)
    wait_until(lambda: not alive(service.started[2].pid), "the new worker failed")
    service.behave("ok")
    service.signal(signal.SIGHUP)
    wait_until(lambda: not set(old) & set(service.living()), "a later reload works")
    assert service.reason is None


def kill_newcomers(service: Service, count: int) -> None:
    """Kill so many in a row that are not ready yet, each when it has been started."""
    for _ in range(count):
        before = len(service.started)
        service.started[-1].kill()
        service.wait_for_start(before + 1)


@pytest.mark.usefixtures("hasty")
def test_who_was_asked_to_leave_is_replaced_in_the_end_though_newcomers_fail(
    service: Service, caplog: pytest.LogCaptureFixture
) -> None:
    """However many do; and there is no word of a reload, which nobody asked for."""
    service.start()
    leaver, other = service.living()
    service.behave("slow")
    os.kill(leaver, signal.SIGTERM)
    service.wait_for_start(3)
    kill_newcomers(service, 5)
    service.behave("ok")
    service.started[-1].kill()
    wait_until(lambda: not alive(leaver), "it was replaced")
    service.wait_for_living(2)
    assert other in service.living()
    assert service.told() == [f"{leaver} Stop"]
    assert "reload" not in caplog.text


@pytest.mark.usefixtures("hasty")
def test_a_reload_after_an_abandoned_one_has_all_its_tries(
    service: Service, caplog: pytest.LogCaptureFixture
) -> None:
    """The failures of the code of before are not held against it."""
    service.start()
    old = service.living()
    service.behave("fail")
    service.signal(signal.SIGHUP)
    wait_until(lambda: "reload abandoned" in caplog.text, "the first reload is abandoned")
    service.behave("slow")
    caplog.clear()
    service.wait_for_living(2)
    tried = len(service.started)
    service.signal(signal.SIGHUP)
    service.wait_for_start(tried + 1)
    kill_newcomers(service, 3)
    service.behave("ok")
    service.started[-1].kill()
    wait_until(lambda: not set(old) & set(service.living()), "the old workers ended")
    service.wait_for_living(2)
    assert "reload abandoned" not in caplog.text


def test_a_newcomer_of_an_earlier_reload_does_not_end_a_later_one(
    service: Service, caplog: pytest.LogCaptureFixture
) -> None:
    """It says that its own code can never boot; meanwhile there is other code."""
    caplog.set_level("INFO")
    service.start()
    old = service.living()
    service.behave("late")
    service.signal(signal.SIGHUP)
    wait_until((service.folder / "late").exists, "the newcomer boots")
    service.behave("ok")
    service.signal(signal.SIGHUP)
    wait_until(lambda: caplog.messages.count("reload") == 2, "the second reload has begun")
    (service.folder / "fail").touch()
    wait_until(lambda: not set(old) & set(service.living()), "the old workers ended")
    service.wait_for_living(2)
    assert "reload abandoned" not in caplog.text


def test_an_abandoned_reload_does_not_keep_who_was_asked_to_leave(
    service: Service, caplog: pytest.LogCaptureFixture
) -> None:
    """That is no matter of the reload; the other old worker goes on."""
    service.start()
    leaver, other = service.living()
    caplog.set_level("INFO")
    service.behave("slow")
    service.signal(signal.SIGHUP)
    service.wait_for_start(3)
    os.kill(leaver, signal.SIGTERM)
    wait_until(lambda: "worker retirement requested" in caplog.text, "it was asked to leave")
    service.behave("fail")
    service.started[-1].kill()
    wait_until(lambda: "reload abandoned" in caplog.text, "the reload is abandoned")
    service.behave("ok")
    wait_until(lambda: not alive(leaver), "it was replaced")
    service.wait_for_living(2)
    assert other in service.living()


def test_a_killed_newcomer_does_not_end_a_reload(service: Service) -> None:
    """It says nothing of the new code; another one is started."""
    service.start()
    old = service.living()
    service.behave("slow")
    service.signal(signal.SIGHUP)
    service.wait_for_start(3)
    service.behave("ok")
    service.started[2].kill()
    wait_until(lambda: not set(old) & set(service.living()), "the old workers ended")
    service.wait_for_living(2)


def test_a_hung_worker_is_killed_and_replaced(service: Service) -> None:
    """Once, by the word of the liveness."""
    service.start()
    victim = service.started[0]
    service.liveness.hung.add(victim.slot)
    wait_until(lambda: not alive(victim.pid), "the hung worker is killed")
    service.liveness.hung.clear()
    service.wait_for_living(2)


def test_a_hung_worker_is_killed_before_anything_is_written_of_it(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who reads the log may have stopped: when the line is out at last, the judgement is an old one."""
    service.start()
    victim = service.started[0]
    killed = []

    def write(record: logging.LogRecord) -> bool:
        if record.getMessage() == "worker hung":
            killed.append(victim.killed)
        return True

    monkeypatch.setattr(recycler.logger, "filters", [write])
    service.liveness.hung.add(victim.slot)
    wait_until(lambda: not alive(victim.pid), "the hung worker is killed")
    service.liveness.hung.clear()
    service.wait_for_living(2)
    assert killed == [True]


def test_workers_that_have_reached_a_limit_are_replaced_one_at_a_time(service: Service) -> None:
    """The new before the old, as in a reload."""
    service.limits += [Limits(seconds=0.001)] * 2
    service.start()
    old = [worker.pid for worker in service.started[:2]]
    wait_until(lambda: not set(old) & set(service.living()), "both were replaced")
    service.wait_for_living(2)
    assert sorted(service.told()) == sorted(f"{pid} Stop" for pid in old)


def test_a_limit_of_memory_below_a_new_worker_is_a_warning_and_replaces_nobody(
    service: Service, caplog: pytest.LogCaptureFixture
) -> None:
    """It is written once, with the limit and what a worker has; other limits hold."""
    service.limits += [Limits(seconds=3600, memory_bytes=1000)] * 2
    service.start()
    for worker in service.started:
        assert worker.limits.memory_bytes == 0
        assert worker.limits.seconds > 0
    (line,) = [record for record in caplog.records if record.msg == "memory limit has no effect"]
    assert line.levelno == logging.WARNING
    said = json.loads(JsonFormatter().format(line))
    assert said["memory"] > said["limit"] == 1000


def test_a_reload_whose_worker_cannot_be_started_leaves_the_old_ones_serving(service: Service) -> None:
    """The program may be gone for a moment, or the system have no room: that ends nobody."""
    service.start()
    old = service.living()
    service.can_spawn = False
    service.spawn_tried.clear()
    service.signal(signal.SIGHUP)
    assert service.spawn_tried.wait(PATIENCE)
    assert service.living() == old
    service.can_spawn = True
    wait_until(lambda: not set(old) & set(service.living()), "the reload went on")
    service.wait_for_living(2)


def test_sigttin_and_sigttou_add_and_take_away_a_worker(service: Service) -> None:
    """Never below one."""
    service.start()
    service.signal(signal.SIGTTIN)
    service.wait_for_living(3)
    for _ in range(5):
        service.signal(signal.SIGTTOU)
    service.wait_for_living(1)
    assert all("Stop" in line for line in service.told())
