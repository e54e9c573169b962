"""A child process that dies with its parent, however the parent died."""

import ctypes
import os
import signal

_PR_SET_PDEATHSIG = 1  # linux/prctl.h


class Orphaned(Exception):
    """The parent was gone before this process could ask to die with it."""


def die_with_parent(parent: int) -> None:
    """Have the kernel kill this process when its parent ends.

    The kernel means the parent's thread that started this process: start children from the main thread.

    Args:
        parent: The parent's process id as the parent told it.

    Raises:
        Orphaned: The parent has ended already.
        OSError: The kernel refused.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG) failed")
    if os.getppid() != parent:
        raise Orphaned(f"process {parent} is gone")
