"""Children that nobody here started: the first process of a container is given every orphan in it."""

import os
from collections.abc import Collection


def reap_orphans(own: Collection[int]) -> None:
    """Reap children that have ended and are none of those given, whose exit statuses count elsewhere."""
    while (ended := _ended_child()) is not None and ended not in own:
        os.waitpid(ended, 0)


def _ended_child() -> int | None:
    """The process id of a child that has ended, which it leaves to be reaped."""
    try:
        found = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:  # there is no child at all
        return None
    return None if found is None else found.si_pid
