"""Doing things at given moments, on the event loop and less than a tenth of a millisecond late.

The loop's own timers are up to a millisecond late, and a thread that sleeps has to wait for Python's lock
and then to wake the loop. The kernel's timer (timerfd_create(2)) wakes the loop itself.
"""

import asyncio
import ctypes
import os
import time
from collections.abc import Callable, Sequence

_libc = ctypes.CDLL(None, use_errno=True)
_ABSOLUTE = 1  # TFD_TIMER_ABSTIME of linux/timerfd.h
_NANOSECONDS = 10**9


class _Timespec(ctypes.Structure):
    _fields_ = (("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long))


class _Itimerspec(ctypes.Structure):
    _fields_ = (("interval", _Timespec), ("value", _Timespec))


async def pace(moments: Sequence[float], begin: Callable[[int], None]) -> None:
    """Call `begin` with the number of each moment when it has come.

    Args:
        moments: Of `time.monotonic`, in ascending order.
        begin: Called on the event loop.

    Raises:
        OSError: The system has no timer left.
    """
    loop = asyncio.get_running_loop()
    timer = _check(_libc.timerfd_create(time.CLOCK_MONOTONIC, os.O_NONBLOCK | os.O_CLOEXEC))
    over = loop.create_future()
    number = 0

    def ring() -> None:
        nonlocal number
        while number < len(moments) and moments[number] <= time.monotonic():
            begin(number)
            number += 1
        if number < len(moments):
            _set(timer, moments[number])
        elif not over.done():
            over.set_result(None)

    loop.add_reader(timer, ring)
    try:
        ring()
        await over
    finally:
        loop.remove_reader(timer)
        os.close(timer)


def _set(timer: int, moment: float) -> None:
    """Have the timer ring at a moment; it is silent until then, and rings at once if that is over."""
    seconds, nanoseconds = divmod(max(round(moment * _NANOSECONDS), 1), _NANOSECONDS)
    value = _Itimerspec(value=_Timespec(seconds, nanoseconds))
    _check(_libc.timerfd_settime(timer, _ABSOLUTE, ctypes.byref(value), None))


def _check(result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result
