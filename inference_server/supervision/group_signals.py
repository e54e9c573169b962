"""Signals that may reach a whole process group, of which the supervisor alone makes something.

A worker takes a second to import what it needs, and cannot say before its first line what it does with a
signal. So it is born with them held back, and lets them go when it has said so.
"""

import contextlib
import os
import signal
from collections.abc import Iterator
from typing import NoReturn

_THE_SUPERVISORS = (signal.SIGINT, signal.SIGHUP, signal.SIGTTIN, signal.SIGTTOU)
_ALL = (*_THE_SUPERVISORS, signal.SIGTERM)


@contextlib.contextmanager
def held_back() -> Iterator[None]:
    """Hold them back from this thread, and for good from processes that it starts meanwhile."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _ALL)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def leave_to_supervisor() -> None:
    """In a worker: pass over what is the supervisor's, and end at once on SIGTERM, with nothing to finish."""
    for signum in _THE_SUPERVISORS:
        signal.signal(signum, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _exit_at_once)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _ALL)


def _exit_at_once(_signum: int, _frame: object) -> NoReturn:
    os._exit(0)
