"""`python -m inference_server`: the backend. Settings come from the environment: docs/settings.md."""

import os
import signal
import sys

from utils.streams import open_standard_streams


def main() -> int:
    """Run the backend until it is told to stop; gives the exit status."""
    open_standard_streams()
    # Until the supervisor can act on them: nothing runs yet, so being told to stop is done at once.
    for signum in (signal.SIGTERM, signal.SIGINT):
        signal.signal(signum, lambda _signum, _frame: os._exit(0))
    for signum in (signal.SIGHUP, signal.SIGTTIN, signal.SIGTTOU):
        signal.signal(signum, signal.SIG_IGN)
    from inference_server.backend import run  # noqa: PLC0415 - which takes a moment

    return run()


if __name__ == "__main__":
    sys.exit(main())
