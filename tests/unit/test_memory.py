"""What threads keep of freed memory, in processes of their own: the C library is told once for all."""

import ctypes
import subprocess
import sys

import pytest

from tests.processes import ROOT

_COUNT_HEAPS = """
import ctypes, sys, threading
from utils.memory import share_arenas

if {shared}:
    share_arenas()
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

pytestmark = pytest.mark.skipif(
    not hasattr(ctypes.CDLL(None), "mallopt"), reason="this C library has no heaps by thread (mallopt)"
)


def test_many_threads_have_two_heaps_between_them() -> None:
    """By the C library's own account."""
    assert _heaps(shared=True) <= 2


def test_without_it_they_have_more() -> None:
    """So the test above would show if it had no effect."""
    assert _heaps(shared=False) > 2


def _heaps(*, shared: bool) -> int:
    command = [sys.executable, "-c", _COUNT_HEAPS.format(shared=shared)]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
    return done.stdout.count("<heap nr=")
