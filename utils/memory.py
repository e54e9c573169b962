"""What a process keeps of the memory that it has freed: enough for the next request, once."""

import ctypes

_MIB = 1024**2

# The names of mallopt(3), the numbers of malloc.h.
_M_TRIM_THRESHOLD = -1
_M_MMAP_THRESHOLD = -3
_M_ARENA_MAX = -8
_ARENAS = 2
_KEPT = 32 * _MIB
"""Of each heap. The second one grows to 64 MiB at most, so with more it would never be trimmed."""
_LARGEST_IN_HEAP = 32 * _MIB  # glibc takes no larger value


def tune_heap() -> None:
    """Let this process, and its children, keep what a request has freed, in two heaps for all threads.

    glibc gives the memory of large buffers back to the system at once, and takes it anew, page by page, for
    the next request. And it gives each of many threads a heap of its own, which keeps what the largest of
    its requests needed: a burst of callers would make a process larger for good. Python's threads run one at
    a time and gain nothing from it. Where the C library has no such settings, nothing is to be done.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_ARENA_MAX, _ARENAS)
        mallopt(_M_MMAP_THRESHOLD, _LARGEST_IN_HEAP)
        mallopt(_M_TRIM_THRESHOLD, _KEPT)


def trim_heap() -> None:
    """Give all that is free back to the system, after an event that needed far more than a request does."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
