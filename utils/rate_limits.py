"""How many requests a key may make: one count for all processes of a machine, in memory that they share.

By the generic cell rate algorithm: a key has one number, the time at which all that it has made would have
been made by its rate; it may be ahead of now by its burst. The numbers lie in a file in memory, whose lock is
held for microseconds.
"""

import ctypes
import errno
import fcntl
import hashlib
import logging
import math
import mmap
import os
import stat
import struct
import threading
import time
from pathlib import Path
from typing import Final, NamedTuple

from utils.api_keys import MOST_KEYS, ApiKey
from utils.logs import fields

logger = logging.getLogger(__name__)

_FOLDER: Final = Path("/dev/shm")  # noqa: S108 - the name is of the user's own, and so must be the file
_ENTRY: Final = struct.Struct("=8sd")
"""Of a key: the first bytes of its digest, and its number in seconds of the monotonic clock."""
_TIME: Final = struct.Struct("=d")
_LAYOUT: Final = 1
"""Raised whenever a process of a release before this one could misread the file."""
_SIZE: Final = 2 * MOST_KEYS * _ENTRY.size
_NAME: Final = 8
_ROUNDING: Final = 1e-9
_PATIENCE_SECONDS: Final = 0.1
"""What the lock is waited for. Who has it for longer does not wait for a CPU, but is stopped."""
_PAUSE_SECONDS: Final = 0.0002
_BLIND_SECONDS: Final = 1.0

# Unlike fcntl.flock it does not let another thread run in between, which would keep the lock meanwhile.
_flock = ctypes.PyDLL(None).flock
_flock.argtypes = (ctypes.c_int, ctypes.c_int)


class Quota(NamedTuple):
    """What is left of a key's limit.

    Attributes:
        burst: Requests at once of one that has made none for long.
        window: Seconds in which so many more may be made, rounded up.
        remaining: Requests that it may make now.
        reset: Seconds until all of the burst is there again, or until the next request where none is left.
        retry_after: Seconds after which one more may be made; 0 where this one may.
    """

    burst: int
    window: int
    remaining: int
    reset: float
    retry_after: float = 0.0

    def header_fields(self) -> dict[str, str]:
        """It as draft-ietf-httpapi-ratelimit-headers has it, from its eighth version on."""
        return {
            "RateLimit-Policy": f'"key";q={self.burst};w={self.window}',
            "RateLimit": f'"key";r={self.remaining};t={math.ceil(self.reset)}',
        }


def limits_path(keys: Path) -> Path:
    """Where the numbers of the keys of a file are, for all processes of this user on this machine."""
    of = hashlib.sha256(os.fsencode(keys)).hexdigest()[:16]
    return _FOLDER / f"facet-{os.getuid()}-limits{_LAYOUT}-{of}"


class RateLimits:
    """Counts requests. Threads may share it, processes must not: each opens the file itself.

    A lock that was opened before a fork would exclude nobody.

    Args:
        path: Of the file, which is made if need be.

    Raises:
        OSError: It cannot be made, or is another user's.
    """

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        about = os.fstat(self._descriptor)
        if about.st_uid != os.getuid() or not stat.S_ISREG(about.st_mode):
            os.close(self._descriptor)
            raise PermissionError(errno.EPERM, "it is another user's", str(path))
        os.ftruncate(self._descriptor, _SIZE)
        self._memory = mmap.mmap(self._descriptor, _SIZE)
        self._places: dict[bytes, int] = {}
        self._thread = threading.Lock()
        self._blind_until = 0.0

    def take(self, key: ApiKey) -> Quota:
        """Count a request of a key that has a rate, unless that is one too many.

        Where the lock cannot be had in time, the request is not counted, nor is any other for a second, and
        the log says so: a process that is stopped must not hold up all others.
        """
        assert key.rate is not None
        interval = 1 / key.rate
        with self._thread:
            if not self._lock():
                return _quota(key, interval, key.burst, 0.0)
            try:
                now = time.monotonic()
                place = self._place(key.digest[:_NAME]) + _NAME
                [ahead] = _TIME.unpack_from(self._memory, place)
                due = max(ahead, now) + interval - now
                wait = due - key.burst * interval
                if wait <= _ROUNDING:
                    _TIME.pack_into(self._memory, place, now + due)
            finally:
                _flock(self._descriptor, fcntl.LOCK_UN)
        if wait > _ROUNDING:
            return _quota(key, interval, 0, wait, wait)
        return _quota(key, interval, int(key.burst - due / interval + _ROUNDING), due)

    def close(self) -> None:
        """Let go of the file."""
        self._memory.close()
        os.close(self._descriptor)

    def _lock(self) -> bool:
        """Take the lock; gives whether it was to be had."""
        if _flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB) == 0:
            return True
        began = time.monotonic()
        while (now := time.monotonic()) >= self._blind_until:
            if _flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB) == 0:
                return True
            if now - began >= _PATIENCE_SECONDS:
                self._blind_until = now + _BLIND_SECONDS
                logger.warning("requests not counted", extra=fields(seconds=_BLIND_SECONDS))
                return False
            time.sleep(_PAUSE_SECONDS)
        return False

    def _place(self, name: bytes) -> int:
        """Where the entry of a key is; with the lock held."""
        place = self._places.get(name)
        if place is not None and self._memory[place : place + _NAME] == name:
            return place
        entries = list(_ENTRY.iter_unpack(self._memory))
        found = next((index for index, (other, _) in enumerate(entries) if other == name), None)
        if found is None:
            # One that was never used, or whose key has made no request for longest.
            found = min(range(len(entries)), key=lambda index: entries[index][1])
            _ENTRY.pack_into(self._memory, found * _ENTRY.size, name, 0.0)
        self._places[name] = found * _ENTRY.size
        return self._places[name]


def _quota(key: ApiKey, interval: float, remaining: int, reset: float, retry_after: float = 0.0) -> Quota:
    return Quota(key.burst, math.ceil(key.burst * interval), remaining, reset, retry_after)
