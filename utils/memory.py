"""What a process of many threads keeps of the memory that it has freed."""

import ctypes

_M_ARENA_MAX = -8  # malloc.h; not in POSIX
_ARENAS = 2


def share_arenas() -> None:
    """Let the threads of this process, and of its children, share two heaps.

    glibc gives each of many threads a heap of its own, and each keeps what the largest of its requests
    needed: a burst of callers would make a process larger for good. Python's threads run one at a time and
    gain nothing from it. Where the C library has no such heaps, nothing is to be done.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_ARENA_MAX, _ARENAS)
