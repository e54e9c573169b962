"""The standard streams of a process, which its parent may have closed."""

import os
import sys

_NUMBERS = range(3)


def open_standard_streams() -> None:
    """Put the null device where standard input, output or error is closed.

    Else Python has no `sys.stderr`, and the next file that is opened gets the stream's number, into which
    libraries and child processes would write. To be called before anything is opened.
    """
    for number in _NUMBERS:
        try:
            os.fstat(number)
        except OSError:
            null = os.open(os.devnull, os.O_RDWR)
            assert null == number, "the lowest free number is given out"
            os.set_inheritable(number, True)
    sys.stdin = sys.stdin or os.fdopen(0, closefd=False)
    sys.stdout = sys.stdout or os.fdopen(1, "w", closefd=False)
    sys.stderr = sys.stderr or os.fdopen(2, "w", buffering=1, errors="backslashreplace", closefd=False)
