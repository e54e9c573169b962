"""What processes keep of freed memory, each in a process of its own: the C library is told once for all."""

import ctypes
import os
import subprocess
import sys

import pytest

from tests.support.processes import ROOT

_COUNT_HEAPS = """
import ctypes, sys, threading
from utils.memory import tune_heap

if {tuned}:
    tune_heap()
together = threading.Barrier(9)
def hold():
    kept = bytearray(5000)
    together.wait()
threads = [threading.Thread(target=hold) for _ in range(8)]
for thread in threads:
    thread.start()
together.wait()
libc = ctypes.CDLL(None)
libc.fdopen.restype = ctypes.c_void_p
stream = ctypes.c_void_p(libc.fdopen(1, b"w"))
libc.malloc_info(0, stream)
libc.fflush(stream)
"""

_COUNT_FAULTS = """
import ctypes, resource
from utils.memory import tune_heap

ctypes.CDLL(None).prctl(41, 1, 0, 0, 0)  # PR_SET_THP_DISABLE: pages of one size, to be counted
def buffers():
    kept = [bytearray(3_000_000) for _ in range(4)]
    for buffer in kept:
        buffer[::4096] = b"x" * len(buffer[::4096])
if {tuned}:
    tune_heap()
buffers()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
buffers()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""
_TRIM = """
import re
from pathlib import Path
from utils.memory import trim_heap, tune_heap

def resident():
    return int(re.search(r"VmRSS:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) * 1024
if {tuned}:
    tune_heap()
buffers = [bytearray(b"x" * 50_000) for _ in range(1000)]
last = bytearray(b"x" * 50_000)
buffers.clear()
before = resident()
trim_heap()
print(before - resident())
"""
_TRIM_SECOND_HEAP = """
import ctypes, re, threading
from pathlib import Path
from utils.memory import trim_heap, tune_heap

def resident():
    return int(re.search(r"VmRSS:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) * 1024
libc = ctypes.CDLL(None)
libc.malloc.restype, libc.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
libc.free.argtypes = [ctypes.c_void_p]
def run():
    resident()  # what it allocates lies below the pieces, at whose end the heap is cut
    pieces = (ctypes.c_void_p * 900)()
    for number in range(900):
        pieces[number] = libc.malloc(65536)
    for piece in pieces:
        ctypes.memset(piece, 1, 65536)
    before = resident()
    for piece in pieces:
        libc.free(piece)
    trim_heap()
    print(before - resident())
if {tuned}:
    tune_heap()
thread = threading.Thread(target=run)
thread.start()
thread.join()
"""
_PAGES = 4 * 3_000_000 // 4096

pytestmark = pytest.mark.skipif(
    not hasattr(ctypes.CDLL(None), "mallopt"), reason="this C library has no heaps by thread (mallopt)"
)


def test_threads_of_a_tuned_process_have_two_heaps_between_them() -> None:
    """By the C library's own account."""
    assert _heaps(tuned=True) <= 2


def test_threads_of_an_untuned_process_have_more_heaps() -> None:
    """So the test above would show if it had no effect."""
    assert _heaps(tuned=False) > 2


def test_what_one_request_has_freed_is_there_for_the_next() -> None:
    """Buffers of megabytes, too: no page of them is taken anew from the system."""
    assert int(_run(_COUNT_FAULTS, tuned=True)) < _PAGES / 10


def test_an_untuned_process_takes_every_page_anew() -> None:
    """So the test above would show if it had no effect."""
    assert int(_run(_COUNT_FAULTS, tuned=False)) > 0.9 * _PAGES


def test_what_is_free_is_given_back_when_the_heap_is_trimmed() -> None:
    """Though a tuned process would keep it."""
    assert int(_run(_TRIM, tuned=True)) > 40_000_000


def test_a_heap_of_other_threads_is_trimmed_too() -> None:
    """It has 64 MiB at most, and must not be allowed to keep as many."""
    assert int(_run(_TRIM_SECOND_HEAP, tuned=True)) > 20_000_000


def _heaps(*, tuned: bool) -> int:
    return _run(_COUNT_HEAPS, tuned=tuned).count("<heap nr=")


def _run(code: str, *, tuned: bool) -> str:
    command = [sys.executable, "-c", code.format(tuned=tuned)]
    # What the C library was told from outside would win over what is tested.
    untold = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("MALLOC_") and name != "GLIBC_TUNABLES"
    }
    return subprocess.run(command, cwd=ROOT, env=untold, stdout=subprocess.PIPE, text=True, check=True).stdout
