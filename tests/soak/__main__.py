"""`make soak`: everything that can happen, again and again for SOAK_SECONDS, and a table of what it cost."""

import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from tests.soak.report import MOST_GROWTH
from tests.soak.run import soak
from tests.soak.sudden_ends import sudden_ends
from tests.support.client_environment import NotInstalled, environment

_FIRST_REQUESTS = 2000
_SUDDEN_ENDS = 20


def _kserve(say: Callable[[str], None]) -> Path | None:
    """The interpreter of kserve's clients."""
    try:
        return environment("kserve")
    except NotInstalled as error:
        say(f"without clients of kserve: {error}")
        return None


def main() -> int:
    """Run it; gives 1 where anything is wrong."""
    seconds = float(os.environ.get("SOAK_SECONDS", "600"))
    started = time.monotonic()

    def say(what: str) -> None:
        print(f"{time.monotonic() - started:6.0f} s  {what}", flush=True)

    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory() as other:
        report, faults = soak(Path(folder), seconds, calm=_FIRST_REQUESTS, say=say, kserve=_kserve(say))
        faults += sudden_ends(Path(other), _SUDDEN_ENDS, say)
    faults += [
        f"memory of the {role} has grown by {report.growth(role):.1%}"
        for role in ("worker", "model worker", "gateway")
        if report.growth(role) > MOST_GROWTH
    ]
    print(f"\n{report.table()}\n\n{report.memory()}")
    print("\n".join(["", "WRONG:", *faults]) if faults else "\nNothing was lost, and nothing is left.")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
