"""Rules of the supervisor, driven through its queue, with real child processes that detect nothing."""

import json
import logging
import os
import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from inference_server.dispatch.stats import SharedStats
from inference_server.supervision import backoff, supervisor
from inference_server.supervision import pool as pools
from inference_server.supervision.control import Ready, Stop, WorkerDied
from inference_server.supervision.liveness import HangReport, LivenessMonitor
from inference_server.supervision.recycling import Limits
from inference_server.supervision.supervisor import Supervisor
from inference_server.supervision.worker_process import WorkerProcess
from tests.support.processes import PATIENCE, ROOT, alive, wait_until
from utils.logs import JsonFormatter

FAKE = Path(__file__).parent / "fake_worker.py"


class Trusting(LivenessMonitor):
    """A liveness monitor of workers that share no statistics: it believes in all but those named."""

    def __init__(self, stats: SharedStats, hang_seconds: float) -> None:
        super().__init__(stats, hang_seconds)
        self.hung: set[int] = set()

    def hang_report(self, slot: int) -> HangReport | None:
        return HangReport("as the test said", blame_request=True) if slot in self.hung else None


class Pool:
    """A supervisor on a thread of its own, and the workers it has started."""

    def __init__(self, folder: Path, workers: int, grace: float) -> None:
        self.folder = folder
        self.started: list[WorkerProcess] = []
        self.ready = threading.Event()
        self.said: list[Ready] = []
        self.limits: list[Limits] = []
        self.reason: str | None = None
        self.behave("ok")
        self.stats = SharedStats(os.memfd_create("test-stats"), 16)
        self.liveness = Trusting(self.stats, hang_seconds=3600)
        self.pool = pools.Pool(self._spawn, slots=16, liveness=self.liveness, patience=grace)
        self.supervisor = Supervisor(
            self.pool,
            self.liveness,
            workers=workers,
            on_ready=self.ready.set,
            on_worker_ready=self.said.append,
        )
        self.thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        self.reason = self.supervisor.run()

    def _spawn(self, slot: int, generation: int, release: int) -> WorkerProcess:
        command = [sys.executable, str(FAKE), str(self.folder)]
        limits = self.limits.pop(0) if self.limits else Limits()  # of the next that is started
        worker = WorkerProcess(command, slot, generation, release, limits=limits)
        self.started.append(worker)
        return worker

    def behave(self, how: str) -> None:
        """Say how workers started from now on behave."""
        (self.folder / "behave").write_text(how)

    def start(self) -> None:
        self.thread.start()
        assert self.ready.wait(PATIENCE)

    def signal(self, signum: signal.Signals) -> None:
        self.supervisor.notify(signum)

    def living(self) -> list[int]:
        return [worker.pid for worker in self.started if alive(worker.pid)]

    def wait_for_start(self, count: int) -> None:
        wait_until(lambda: len(self.started) >= count, f"{count} workers started")

    def wait_for_living(self, count: int) -> None:
        wait_until(lambda: len(self.living()) == count, f"{count} workers alive")

    def join(self) -> str | None:
        self.thread.join(PATIENCE)
        assert not self.thread.is_alive()
        return self.reason

    def told(self) -> list[str]:
        """What workers were told, `PID event` each."""
        path = self.folder / "told"
        return path.read_text().splitlines() if path.exists() else []


@pytest.fixture
def pool(tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Pool]:
    """A pool of two workers with a grace of 30 s, or as the test's parameter says; gone after the test."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    workers, grace = getattr(request, "param", (2, 30.0))
    made = Pool(tmp_path, workers, grace)
    yield made
    if made.thread.is_alive():
        made.signal(signal.SIGTERM)
        made.signal(signal.SIGTERM)
        made.thread.join(PATIENCE)
    assert made.living() == []


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hardly any delay after crashes, which a test has many of."""
    monkeypatch.setattr(backoff, "LONGEST_DELAY_SECONDS", 0.02)
    monkeypatch.setattr(backoff, "FIRST_DELAY_SECONDS", 0.02)


def test_ready_is_announced_when_all_workers_are(pool: Pool) -> None:
    """And there are as many as wanted, each in a slot of its own."""
    pool.start()
    assert len(pool.living()) == 2
    assert {worker.slot for worker in pool.started} == {0, 1}


def test_what_each_worker_says_when_it_is_ready_is_passed_on(pool: Pool) -> None:
    """Before all are announced to be ready; the supervisor itself makes nothing of it."""
    pool.start()
    assert pool.said == [Ready("none")] * 2


def test_what_a_worker_of_another_release_says_beyond_ends_nobody(
    pool: Pool, caplog: pytest.LogCaptureFixture
) -> None:
    """It is dropped with a line in the log, and the worker serves."""
    pool.behave("newer")
    pool.start()
    assert caplog.messages.count("control message ignored") == 2


def test_a_killed_worker_is_replaced_in_its_slot(pool: Pool) -> None:
    """At once, and the others are left alone."""
    pool.start()
    victim, other = pool.started
    victim.kill()
    pool.wait_for_start(3)
    assert pool.started[2].slot == victim.slot
    assert other.pid in pool.living()


@pytest.mark.parametrize("pool", [(6, 30.0)], indirect=True)
def test_workers_that_die_together_are_replaced_at_once(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are one crash, not six in a row, after which the next start would be delayed."""
    monkeypatch.setattr(backoff, "FIRST_DELAY_SECONDS", 3600.0)
    monkeypatch.setattr(backoff, "LONGEST_DELAY_SECONDS", 3600.0)
    pool.start()
    for worker in list(pool.started):
        worker.kill()
    pool.wait_for_start(12)
    pool.wait_for_living(6)


@pytest.mark.parametrize("pool", [(6, 30.0)], indirect=True)
def test_workers_that_cannot_boot_together_are_tried_again(pool: Pool) -> None:
    """Six that fail for want of memory at the same time are one try of the five."""
    pool.behave("slow")
    pool.thread.start()
    pool.wait_for_start(6)
    pool.behave("ok")
    for worker in list(pool.started):
        worker.kill()
    assert pool.ready.wait(PATIENCE)


def test_a_worker_that_wants_to_leave_is_replaced_before_it_stops(pool: Pool) -> None:
    """Someone may end a worker by SIGTERM: its replacement is ready before it is told to stop."""
    pool.start()
    old = pool.living()
    for pid in old:
        os.kill(pid, signal.SIGTERM)
    wait_until(lambda: not set(old) & set(pool.living()), "the old workers ended")
    pool.wait_for_living(2)
    assert len(pool.started) == 4
    assert sorted(pool.told()) == sorted(f"{pid} Stop" for pid in old)


def test_sigterm_drains_all_workers_and_ends_without_a_reason(pool: Pool) -> None:
    """Each is told that the whole backend goes away."""
    pool.start()
    pool.signal(signal.SIGTERM)
    assert pool.join() is None
    assert sorted(pool.told()) == sorted(f"{worker.pid} Drain" for worker in pool.started)


def test_a_signal_after_the_end_has_no_effect(pool: Pool) -> None:
    """It may come while the process ends, which still ends with what it had to say."""
    pool.start()
    pool.signal(signal.SIGTERM)
    assert pool.join() is None
    pool.signal(signal.SIGCHLD)
    pool.signal(signal.SIGTERM)


def test_a_second_signal_ends_workers_that_will_not_stop(pool: Pool) -> None:
    """One that would not be told to go is killed when the supervisor is told twice."""
    pool.behave("stubborn")
    pool.start()
    pool.signal(signal.SIGINT)
    wait_until(lambda: len(pool.told()) == 2, "both were told")
    assert len(pool.living()) == 2
    pool.signal(signal.SIGINT)
    assert pool.join() is None


@pytest.mark.parametrize("pool", [(2, 0.2)], indirect=True)
def test_a_worker_that_does_not_stop_within_its_grace_is_killed(pool: Pool) -> None:
    """The supervisor ends all the same."""
    pool.behave("stubborn")
    pool.start()
    pool.signal(signal.SIGTERM)
    assert pool.join() is None


def test_a_worker_that_can_never_boot_stops_the_service_with_its_reason(pool: Pool) -> None:
    """No endless loop of starts: the first such failure is the last."""
    pool.behave("fail")
    pool.thread.start()
    assert "there is no model" in str(pool.join())
    assert len(pool.started) <= 4


@pytest.mark.usefixtures("hasty")
def test_a_failure_to_boot_that_may_pass_is_tried_again(pool: Pool) -> None:
    """Others may boot: want of memory, or of descriptors, need not last."""
    pool.behave("trip")
    pool.thread.start()
    pool.wait_for_start(3)
    pool.behave("ok")
    assert pool.ready.wait(PATIENCE)


@pytest.mark.usefixtures("hasty")
def test_a_failure_to_boot_that_does_not_pass_stops_the_service_after_some_tries(pool: Pool) -> None:
    """With what the last worker said."""
    pool.behave("trip")
    pool.thread.start()
    assert "there is no memory" in str(pool.join())
    assert len(pool.started) >= 5


def test_workers_that_crash_before_they_are_ready_stop_the_service_after_some_tries(pool: Pool) -> None:
    """With back-off between the tries, and how they ended as the reason."""
    pool.behave("crash")
    pool.thread.start()
    assert "exited with 9" in str(pool.join())


def test_a_reload_starts_the_new_before_it_stops_the_old(pool: Pool) -> None:
    """One at a time: never fewer ready workers than wanted, in the end none of the old ones."""
    pool.start()
    old = pool.living()
    pool.signal(signal.SIGHUP)
    pool.wait_for_start(4)
    wait_until(lambda: not set(old) & set(pool.living()), "the old workers ended")
    pool.wait_for_living(2)
    assert sorted(pool.told()) == sorted(f"{pid} Stop" for pid in old)


def test_two_reloads_in_a_row_leave_only_workers_of_the_last(pool: Pool) -> None:
    """The second is not lost while the first is under way."""
    pool.start()
    pool.signal(signal.SIGHUP)
    pool.wait_for_start(3)
    pool.signal(signal.SIGHUP)
    wait_until(
        lambda: sum(w.release == 2 and alive(w.pid) for w in pool.started) == 2 and len(pool.living()) == 2,
        "two workers of the second reload",
    )


def test_a_reload_whose_code_cannot_boot_leaves_the_old_workers_serving(pool: Pool) -> None:
    """New code that fails must not end old code that works."""
    pool.start()
    old = pool.living()
    pool.behave("fail")
    pool.signal(signal.SIGHUP)
    pool.wait_for_start(3)
    wait_until(lambda: not alive(pool.started[2].pid), "the new worker failed")
    pool.behave("ok")
    pool.signal(signal.SIGHUP)
    wait_until(lambda: not set(old) & set(pool.living()), "a later reload works")
    assert pool.reason is None


def kill_newcomers(pool: Pool, count: int) -> None:
    """Kill so many in a row that are not ready yet, each when it has been started."""
    for _ in range(count):
        before = len(pool.started)
        pool.started[-1].kill()
        pool.wait_for_start(before + 1)


@pytest.mark.usefixtures("hasty")
def test_who_was_asked_to_leave_is_replaced_in_the_end_though_newcomers_fail(
    pool: Pool, caplog: pytest.LogCaptureFixture
) -> None:
    """However many do; and there is no word of a reload, which nobody asked for."""
    pool.start()
    leaver, other = pool.living()
    pool.behave("slow")
    os.kill(leaver, signal.SIGTERM)
    pool.wait_for_start(3)
    kill_newcomers(pool, 5)
    pool.behave("ok")
    pool.started[-1].kill()
    wait_until(lambda: not alive(leaver), "it was replaced")
    pool.wait_for_living(2)
    assert other in pool.living()
    assert pool.told() == [f"{leaver} Stop"]
    assert "reload" not in caplog.text


@pytest.mark.usefixtures("hasty")
def test_a_reload_after_an_abandoned_one_has_all_its_tries(
    pool: Pool, caplog: pytest.LogCaptureFixture
) -> None:
    """The failures of the code of before are not held against it."""
    pool.start()
    old = pool.living()
    pool.behave("fail")
    pool.signal(signal.SIGHUP)
    wait_until(lambda: "reload abandoned" in caplog.text, "the first reload is abandoned")
    pool.behave("slow")
    caplog.clear()
    pool.wait_for_living(2)
    tried = len(pool.started)
    pool.signal(signal.SIGHUP)
    pool.wait_for_start(tried + 1)
    kill_newcomers(pool, 3)
    pool.behave("ok")
    pool.started[-1].kill()
    wait_until(lambda: not set(old) & set(pool.living()), "the old workers ended")
    pool.wait_for_living(2)
    assert "reload abandoned" not in caplog.text


def test_a_newcomer_of_an_earlier_reload_does_not_end_a_later_one(
    pool: Pool, caplog: pytest.LogCaptureFixture
) -> None:
    """It says that its own code can never boot; meanwhile there is other code."""
    caplog.set_level("INFO")
    pool.start()
    old = pool.living()
    pool.behave("late")
    pool.signal(signal.SIGHUP)
    wait_until((pool.folder / "late").exists, "the newcomer boots")
    pool.behave("ok")
    pool.signal(signal.SIGHUP)
    wait_until(lambda: caplog.messages.count("reload") == 2, "the second reload has begun")
    (pool.folder / "fail").touch()
    wait_until(lambda: not set(old) & set(pool.living()), "the old workers ended")
    pool.wait_for_living(2)
    assert "reload abandoned" not in caplog.text


def test_an_abandoned_reload_does_not_keep_who_was_asked_to_leave(
    pool: Pool, caplog: pytest.LogCaptureFixture
) -> None:
    """That is no matter of the reload; the other old worker goes on."""
    pool.start()
    leaver, other = pool.living()
    caplog.set_level("INFO")
    pool.behave("slow")
    pool.signal(signal.SIGHUP)
    pool.wait_for_start(3)
    os.kill(leaver, signal.SIGTERM)
    wait_until(lambda: "worker wants to leave" in caplog.text, "it was asked to leave")
    pool.behave("fail")
    pool.started[-1].kill()
    wait_until(lambda: "reload abandoned" in caplog.text, "the reload is abandoned")
    pool.behave("ok")
    wait_until(lambda: not alive(leaver), "it was replaced")
    pool.wait_for_living(2)
    assert other in pool.living()


def test_a_killed_newcomer_does_not_end_a_reload(pool: Pool) -> None:
    """It says nothing of the new code; another one is started."""
    pool.start()
    old = pool.living()
    pool.behave("slow")
    pool.signal(signal.SIGHUP)
    pool.wait_for_start(3)
    pool.behave("ok")
    pool.started[2].kill()
    wait_until(lambda: not set(old) & set(pool.living()), "the old workers ended")
    pool.wait_for_living(2)


def test_a_hung_worker_is_killed_and_replaced(pool: Pool) -> None:
    """Once, by the word of the liveness."""
    pool.start()
    victim = pool.started[0]
    pool.liveness.hung.add(victim.slot)
    wait_until(lambda: not alive(victim.pid), "the hung worker is killed")
    pool.liveness.hung.clear()
    pool.wait_for_living(2)


def test_a_hung_worker_is_killed_before_anything_is_written_of_it(
    pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who reads the log may have stopped: when the line is out at last, the judgement is an old one."""
    pool.start()
    victim = pool.started[0]
    killed = []

    def write(record: logging.LogRecord) -> bool:
        if record.getMessage() == "worker hung":
            killed.append(victim.killed)
        return True

    monkeypatch.setattr(supervisor.logger, "filters", [write])
    pool.liveness.hung.add(victim.slot)
    wait_until(lambda: not alive(victim.pid), "the hung worker is killed")
    pool.liveness.hung.clear()
    pool.wait_for_living(2)
    assert killed == [True]


def test_workers_that_have_reached_a_limit_are_replaced_one_at_a_time(pool: Pool) -> None:
    """The new before the old, as in a reload."""
    pool.limits += [Limits(seconds=0.001)] * 2
    pool.start()
    old = [worker.pid for worker in pool.started[:2]]
    wait_until(lambda: not set(old) & set(pool.living()), "both were replaced")
    pool.wait_for_living(2)
    assert sorted(pool.told()) == sorted(f"{pid} Stop" for pid in old)


def test_a_limit_of_memory_below_a_new_worker_is_a_warning_and_replaces_nobody(
    pool: Pool, caplog: pytest.LogCaptureFixture
) -> None:
    """It is written once, with the limit and what a worker has; other limits hold."""
    pool.limits += [Limits(seconds=3600, memory_bytes=1000)] * 2
    pool.start()
    for worker in pool.started:
        assert worker.limits.memory_bytes == 0
        assert worker.limits.seconds > 0
    (line,) = [record for record in caplog.records if record.msg == "memory limit has no effect"]
    assert line.levelno == logging.WARNING
    said = json.loads(JsonFormatter().format(line))
    assert said["memory"] > said["limit"] == 1000


def test_a_reload_whose_worker_cannot_be_started_leaves_the_old_ones_serving(
    pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The program may be gone for a moment, or the system have no room: that ends nobody."""
    pool.start()
    old = pool.living()
    tried = threading.Event()

    def fail(*_: int) -> WorkerProcess:
        tried.set()
        raise FileNotFoundError(2, "there is no such program")

    with monkeypatch.context() as patched:
        patched.setattr(pool.pool, "_spawn", fail)
        pool.signal(signal.SIGHUP)
        assert tried.wait(PATIENCE)
        assert pool.living() == old
    wait_until(lambda: not set(old) & set(pool.living()), "the reload went on")
    pool.wait_for_living(2)


def test_sigttin_and_sigttou_add_and_take_away_a_worker(pool: Pool) -> None:
    """Never below one."""
    pool.start()
    pool.signal(signal.SIGTTIN)
    pool.wait_for_living(3)
    for _ in range(5):
        pool.signal(signal.SIGTTOU)
    pool.wait_for_living(1)
    assert all("Stop" in line for line in pool.told())


def test_what_a_worker_cannot_take_yet_it_is_told_later_and_in_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A death that it never hears of would leave requests with nobody."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    (tmp_path / "behave").write_text("deaf")
    worker = WorkerProcess([sys.executable, str(FAKE), str(tmp_path)], slot=0, generation=1, release=0)
    try:
        said = 0
        while worker.send(WorkerDied(said, 0, 0)):
            said += 1
            assert said < 100_000
        assert not worker.send(WorkerDied(said + 1, 0, 0))
        assert not worker.send(Stop())
        (tmp_path / "listen").touch()
        wait_until(worker.flush, "it has been told everything")
        wait_until(lambda: worker.poll() is not None, "it has heard everything")
    finally:
        worker.kill()
        wait_until(lambda: worker.poll() is not None, "it is gone")
        worker.close()
    told = (tmp_path / "told").read_text().splitlines()
    assert told == [*(f"{WorkerDied(slot, 0, 0)}" for slot in range(said + 2)), "Stop()"]
