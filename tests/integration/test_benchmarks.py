"""Rules of the benchmarks as a process."""

import signal
import sys

import pytest

from tests.support.processes import alive, children, running, wait_until


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_told_to_end_once_and_again_they_end_what_they_have_started(signum: signal.Signals) -> None:
    """As `timeout` tells: the process, and then its group. A backend with its workers is not left."""
    with running([sys.executable, "-m", "benchmarks", "hop"]) as process:
        wait_until(lambda: any(map(children, process.children())), "a backend has workers")
        started = process.children()
        started += [pid for each in started for pid in children(each)]
        process.send(signum)
        while process.alive():
            process.send(signum)
        process.wait()
        wait_until(lambda: not any(map(alive, started)), "all have ended")
