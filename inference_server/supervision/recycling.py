"""When a healthy worker is replaced all the same: after so many requests, so long, or grown so large."""

import os
import random
from dataclasses import dataclass, replace
from pathlib import Path

_JITTER = 0.1
_YOUNG_SECONDS = 60.0
"""Below this age no memory is too much: a limit near what a worker needs would else replace for ever."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What a worker may reach before it is replaced; 0 is no limit.

    Memory counts once a worker has had its first request and is a minute old.
    """

    requests: int = 0
    seconds: float = 0.0
    memory_bytes: int = 0

    def jittered(self) -> "Limits":
        """Limits of one worker: a little less or more, so that not all are due in the same moment."""
        factor = random.uniform(1 - _JITTER, 1 + _JITTER)  # noqa: S311 - no secret depends on it
        return Limits(round(self.requests * factor), self.seconds * factor, self.memory_bytes)

    def reached(self, pid: int, requests: int, seconds: float) -> str | None:
        """Which limit a worker has reached, in words; None where it has reached none."""
        if 0 < self.requests <= requests:
            return f"{requests} requests"
        if 0 < self.seconds <= seconds:
            return f"{seconds:.0f} s"
        if requests and seconds >= _YOUNG_SECONDS and (memory := self.too_large(pid)):
            return f"{memory} bytes of memory"
        return None

    def too_large(self, pid: int) -> int:
        """The memory that a process has in RAM, in bytes, where that is over the limit; else 0."""
        memory = resident_bytes(pid) if self.memory_bytes else 0
        return memory if memory >= self.memory_bytes else 0

    def without_memory(self) -> "Limits":
        """These limits, but for that of memory."""
        return replace(self, memory_bytes=0)


def resident_bytes(pid: int) -> int:
    """Memory that a process has in RAM; 0 once it is gone."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except OSError:
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")
