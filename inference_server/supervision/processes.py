"""Signals and kinship of the backend's processes: what a process group is sent, and who dies with whom."""

import contextlib
import ctypes
import fcntl
import os
import queue
import signal
from collections.abc import Collection, Iterator
from typing import NoReturn

_PR_SET_PDEATHSIG = 1  # linux/prctl.h

_SUPERVISOR_SIGNALS = (signal.SIGINT, signal.SIGHUP, signal.SIGTTIN, signal.SIGTTOU)
_GROUP_SIGNALS = (*_SUPERVISOR_SIGNALS, signal.SIGTERM)


class Orphaned(Exception):
    """The parent was gone before this process could ask to die with it."""


class SignalQueue:
    """Signals that wait for a loop, which a descriptor wakes."""

    def __init__(self) -> None:
        self._signals: queue.SimpleQueue[int] = queue.SimpleQueue()
        self._wake_read, self._wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)

    def put(self, signum: int, _frame: object = None) -> None:
        """Remember a signal and wake the loop. Safe in a signal handler, also after `close`."""
        self._signals.put(signum)
        # Full: the loop will wake. Closed: it has ended, and there is nothing to be told.
        with contextlib.suppress(OSError):
            os.write(self._wake_write, b"\0")

    def fileno(self) -> int:
        """The descriptor that can be read when there may be signals."""
        return self._wake_read

    def take(self) -> Iterator[int]:
        """All signals that came since the last time."""
        with contextlib.suppress(BlockingIOError):  # something else woke the loop
            os.read(self._wake_read, 4096)
        while not self._signals.empty():
            yield self._signals.get()

    def close(self) -> None:
        """Wake nobody any more."""
        # Forgotten first: a signal may come when they are closed, and their numbers be other files'.
        ends, self._wake_read, self._wake_write = (self._wake_read, self._wake_write), -1, -1
        for end in ends:
            os.close(end)


@contextlib.contextmanager
def signals_held_back() -> Iterator[None]:
    """Block the group's signals in this thread, and in processes started meanwhile until they unblock them.

    A worker takes a second to import what it needs, and cannot say before its first line what it does with a
    signal. So it is started with them blocked, and unblocks them by `leave_signals_to_supervisor`.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _GROUP_SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def leave_signals_to_supervisor() -> None:
    """In a worker: ignore what is the supervisor's, and end at once on SIGTERM, with nothing to finish."""
    for signum in _SUPERVISOR_SIGNALS:
        signal.signal(signum, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _exit_at_once)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _GROUP_SIGNALS)


def _exit_at_once(_signum: int, _frame: object) -> NoReturn:
    os._exit(0)


def die_with_parent(parent: int) -> None:
    """Have the kernel kill this process when its parent ends, however that ended.

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


def kill_group_when_closed(reader: int) -> None:
    """Have the kernel kill the process group that this process leads when a pipe has no writer any more.

    This is for what a process has forked: `die_with_parent` is not inherited. It needs no thread of this
    process, which may be stuck. A process that ends closes its files before the kernel kills its children
    by `die_with_parent`, so whoever is to be killed is still there.

    Args:
        reader: The end of the pipe to read from, which is closed. Nothing is ever written to the pipe.

    Raises:
        OSError: This process leads no group, or the kernel refused.
    """
    # Opened anew: who is told of an open file, and how, is the same in all processes that have inherited it.
    own = os.open(f"/proc/self/fd/{reader}", os.O_RDONLY | os.O_NONBLOCK)
    os.close(reader)
    fcntl.fcntl(own, fcntl.F_SETOWN, -os.getpid())
    fcntl.fcntl(own, fcntl.F_SETSIG, signal.SIGKILL)
    fcntl.fcntl(own, fcntl.F_SETFL, os.O_NONBLOCK | os.O_ASYNC)


def reap_orphans(own: Collection[int]) -> None:
    """Reap children that have ended and are none of those given, whose exit statuses count elsewhere.

    The first process of a container is given every orphan in it.
    """
    while (ended := _ended_child(os.P_ALL, 0)) is not None and ended not in own:
        os.waitpid(ended, 0)


def has_ended(child: int) -> bool:
    """Whether a child has ended and is not reaped: until it is, no other process gets its id."""
    return _ended_child(os.P_PID, child) is not None


def _ended_child(kind: int, child: int) -> int | None:
    """The process id of a child that has ended, which it leaves to be reaped."""
    try:
        found = os.waitid(kind, child, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:  # there is no such child
        return None
    return None if found is None else found.si_pid
