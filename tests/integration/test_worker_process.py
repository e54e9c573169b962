"""Rules of one process of the supervisor's, a real one that computes nothing."""

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from inference_server.supervision.control import Stop, WorkerDied
from inference_server.supervision.worker_process import WorkerProcess
from tests.support.processes import ROOT, wait_until
from tests.support.supervision import FAKE


@pytest.fixture(autouse=True)
def _path(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the fake worker finds what it imports."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT))


@contextlib.contextmanager
def started(
    folder: Path, behaviour: str, *, own_session: bool = False, nice: int = 0, card_fd: int | None = None
) -> Iterator[WorkerProcess]:
    """A process that behaves so, killed and closed in the end."""
    (folder / "behave").write_text(behaviour)
    command = [sys.executable, str(FAKE), str(folder)]
    worker = WorkerProcess(
        command, slot=0, generation=1, release=0, own_session=own_session, nice=nice, card_fd=card_fd
    )
    try:
        yield worker
    finally:
        worker.kill()
        wait_until(lambda: worker.poll() is not None, "it is gone")
        worker.close()


def test_what_a_worker_cannot_take_yet_it_is_told_later_and_in_order(
    tmp_path: Path,
) -> None:
    """A death that it never hears of would leave requests with nobody."""
    with started(tmp_path, "deaf") as worker:
        said = 0
        while worker.send(WorkerDied(said, 0, 0)):
            said += 1
            assert said < 100_000
        assert not worker.send(WorkerDied(said + 1, 0, 0))
        assert not worker.send(Stop())
        (tmp_path / "listen").touch()
        wait_until(worker.flush, "it has been told everything")
        wait_until(lambda: worker.poll() is not None, "it has heard everything")
    told = (tmp_path / "told").read_text().splitlines()
    assert told == [*(f"{WorkerDied(slot, 0, 0)}" for slot in range(said + 2)), "Stop()"]


def test_a_process_is_nicer_by_what_it_is_given(tmp_path: Path) -> None:
    """Than this one; so are threads that it starts later."""
    mine = os.getpriority(os.PRIO_PROCESS, 0)
    with started(tmp_path, "ok", nice=3) as worker:
        assert os.getpriority(os.PRIO_PROCESS, worker.pid) == mine + 3
    with started(tmp_path, "ok") as worker:
        assert os.getpriority(os.PRIO_PROCESS, worker.pid) == mine


def test_a_process_with_a_session_of_its_own_gets_no_signal_of_a_terminal(tmp_path: Path) -> None:
    """It leads its session and its process group; others are in this process's."""
    with started(tmp_path, "ok", own_session=True) as worker:
        assert os.getsid(worker.pid) == os.getpgid(worker.pid) == worker.pid
    with started(tmp_path, "ok") as worker:
        assert os.getpgid(worker.pid) == os.getpgid(0)


def test_the_card_of_a_process_is_read_when_it_is_ready_and_closed_with_it(tmp_path: Path) -> None:
    """Though it has ended, its last messages may still be taken in."""
    card = os.memfd_create("card")
    os.write(card, b'{"name": "iris"}')
    with started(tmp_path, "crash", card_fd=card) as worker:
        wait_until(lambda: worker.poll() is not None, "it has ended")
        assert worker.card is None
        worker.became_ready()
        assert worker.card == {"name": "iris"}
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(card)
