"""A worker that detects nothing: it speaks the supervisor's protocol and behaves as a test wants.

`python fake_worker.py FOLDER ...` reads how to behave from FOLDER/behave, which a test may change:

    ok        become ready, stop when told to
    fail      say that it can never boot
    late      write FOLDER/late, and say the same once there is FOLDER/fail
    gate      become ready once there is FOLDER/open
    trip      say that it could not boot this time
    crash     end before it is ready
    slow      never become ready
    stubborn  become ready, then ignore being told to stop
    newer     say what no supervisor of this release knows, then become ready
    deaf      listen only once there is FOLDER/listen, and write down everything
    fork      write the process id of a child into FOLDER/forked, then become ready

What it is told it writes into FOLDER/told, deaths into FOLDER/deaths.
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
    parser.add_argument("--log-level")
    arguments = parser.parse_args()
    behaviour = (arguments.folder / "behave").read_text()
    control = inherited_control(arguments.control_fd)
    leave_signals_to_supervisor()
    _boot(behaviour, control, arguments.folder)
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
            _append(arguments.folder / "deaths", f"{os.getpid()} {message.slot} {message.generation}")
            continue
        _append(arguments.folder / "told", f"{os.getpid()} {type(message).__name__}")
        if behaviour != "stubborn":
            sys.exit(0)


def _boot(behaviour: str, control: WorkerEnd, folder: Path) -> None:
    """End as one that cannot boot, or go on."""
    if behaviour == "late":
        (folder / "late").touch()
        _wait_for(folder / "fail")
        behaviour = "fail"
    if behaviour == "gate":
        _wait_for(folder / "open")
    if behaviour in _FAILURES:
        control.send(_FAILURES[behaviour])
        sys.exit(3)
    if behaviour == "crash":
        os._exit(9)
    if behaviour == "fork":
        _fork(folder)


def _wait_for(path: Path) -> None:
    while not path.exists():
        time.sleep(0.01)


def _append(path: Path, line: str) -> None:
    with path.open("a") as file:
        file.write(f"{line}\n")


def _fork(folder: Path) -> None:
    """Fork a child that does nothing, for a minute at most."""
    child = os.fork()
    if child == 0:
        signal.alarm(60)
        while True:
            signal.pause()
    _append(folder / "forked", f"{child}")


def _write_down(control: WorkerEnd, folder: Path) -> None:
    """Append what it is told to FOLDER/told, until it is told to stop."""
    message = None
    while message != Stop():
        select.select([control], [], [])
        message = control.receive()
        _append(folder / "told", f"{message}")


if __name__ == "__main__":
    try:
        main()
    except EOFError:
        sys.exit(0)
