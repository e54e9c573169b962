"""A worker that detects nothing: it speaks the supervisor's protocol and behaves as a test wants.

`python fake_worker.py FOLDER ...` reads how to behave from FOLDER/behave, which a test may change:

    ok        become ready, stop when told to
    fail      say that it can never boot
    late      write FOLDER/late, and say the same once there is FOLDER/fail
    trip      say that it could not boot this time
    crash     end before it is ready
    slow      never become ready
    stubborn  become ready, then ignore being told to stop
    briefed   write down what it is told of earlier deaths, then become ready
    deaf      listen only once there is FOLDER/listen, and write down everything
"""

import argparse
import os
import select
import signal
import sys
import time
from pathlib import Path
from typing import Any

from inference_server.supervision.control import Control
from inference_server.supervision.group_signals import leave_to_supervisor

_FAILURES: dict[str, dict[str, Any]] = {
    "fail": {"reason": "there is no model", "final": True},
    "trip": {"reason": "there is no memory", "final": False},
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
    control = Control.inherited(arguments.control_fd)
    leave_to_supervisor()
    if behaviour == "late":
        (arguments.folder / "late").touch()
        _wait_for(arguments.folder / "fail")
        behaviour = "fail"
    if behaviour in _FAILURES:
        control.send("failed", **_FAILURES[behaviour])
        sys.exit(3)
    if behaviour == "crash":
        os._exit(9)
    signal.signal(signal.SIGTERM, lambda _signum, _frame: control.send("leaving"))
    if behaviour == "briefed":
        _write_down(control, arguments.folder, last="heard")
    if behaviour == "deaf":
        _wait_for(arguments.folder / "listen")
        _write_down(control, arguments.folder, last="stop")
        sys.exit(0)
    if behaviour != "slow":
        control.send("ready", engine="none")
    while True:
        select.select([control], [], [])
        message = control.receive()
        assert message is not None
        if message["event"] not in {"drain", "stop"}:
            continue
        with (arguments.folder / "told").open("a") as told:
            told.write(f"{os.getpid()} {message['event']}\n")
        if behaviour != "stubborn":
            sys.exit(0)


def _wait_for(path: Path) -> None:
    while not path.exists():
        time.sleep(0.01)


def _write_down(control: Control, folder: Path, *, last: str) -> None:
    """Append what it is told to FOLDER/told, up to such an event."""
    event = ""
    while event != last:
        select.select([control], [], [])
        message = control.receive()
        assert message is not None
        event = message.pop("event")
        with (folder / "told").open("a") as told:
            told.write(" ".join([event, *map(str, message.values())]) + "\n")


if __name__ == "__main__":
    try:
        main()
    except EOFError:
        sys.exit(0)
