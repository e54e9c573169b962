"""A worker that detects nothing: it speaks the supervisor's protocol and behaves as a test wants.

`python fake_worker.py FOLDER ...` reads how to behave from FOLDER/behave, which a test may change:

    ok        become ready, stop when told to
    fail      say that it can never boot
    late      write FOLDER/late, and say the same once there is FOLDER/fail
    trip      say that it could not boot this time
    crash     end before it is ready
    slow      never become ready
    stubborn  become ready, then ignore being told to stop
    newer     say what no supervisor of this release knows, then become ready
    deaf      listen only once there is FOLDER/listen, and write down everything
"""

import argparse
import os
import select
import signal
import socket
import sys
import time
from pathlib import Path

from inference_server.supervision.control import (
    BootFailed,
    Ready,
    RetirementRequested,
    Stop,
    WorkerDied,
    WorkerEnd,
    inherited_control,
)
from inference_server.supervision.processes import leave_signals_to_supervisor

_FAILURES = {
    "fail": BootFailed("there is no model", permanent=True),
    "trip": BootFailed("there is no memory", permanent=False),
}


def main() -> None:
    """Behave."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--control-fd", type=int)
    parser.add_argument("--parent", type=int)
    parser.add_argument("--slot", type=int)
    parser.add_argument("--generation", type=int)
    arguments = parser.parse_args()
    behaviour = (arguments.folder / "behave").read_text()
    control = inherited_control(arguments.control_fd)
    leave_signals_to_supervisor()
    if behaviour == "late":
        (arguments.folder / "late").touch()
        _wait_for(arguments.folder / "fail")
        behaviour = "fail"
    if behaviour in _FAILURES:
        control.send(_FAILURES[behaviour])
        sys.exit(3)
    if behaviour == "crash":
        os._exit(9)
    signal.signal(signal.SIGTERM, lambda _signum, _frame: control.send(RetirementRequested()))
    if behaviour == "deaf":
        _wait_for(arguments.folder / "listen")
        _write_down(control, arguments.folder)
        sys.exit(0)
    if behaviour == "newer":
        with socket.socket(fileno=os.dup(control.fileno())) as raw:
            raw.send(b'{"event": "Unheard", "of": 1}')
    if behaviour != "slow":
        control.send(Ready("none"))
    while True:
        select.select([control], [], [])
        message = control.receive()
        assert message is not None
        if isinstance(message, WorkerDied):
            continue
        with (arguments.folder / "told").open("a") as told:
            told.write(f"{os.getpid()} {type(message).__name__}\n")
        if behaviour != "stubborn":
            sys.exit(0)


def _wait_for(path: Path) -> None:
    while not path.exists():
        time.sleep(0.01)


def _write_down(control: WorkerEnd, folder: Path) -> None:
    """Append what it is told to FOLDER/told, until it is told to stop."""
    message = None
    while message != Stop():
        select.select([control], [], [])
        message = control.receive()
        with (folder / "told").open("a") as told:
            told.write(f"{message}\n")


if __name__ == "__main__":
    try:
        main()
    except EOFError:
        sys.exit(0)
