"""When a healthy worker is replaced all the same: after so many requests, so long, or grown so large."""

import os
import random
from dataclasses import dataclass
from pathlib import Path

_JITTER = 0.1


@dataclass(frozen=True, slots=True)
class Limits:
    """What a worker may reach before it is replaced; 0 is no limit."""

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
        if self.memory_bytes and resident_bytes(pid) >= self.memory_bytes:
            return f"{resident_bytes(pid)} bytes of memory"
        return None


def resident_bytes(pid: int) -> int:
    """Memory that a process has in RAM; 0 once it is gone."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except OSError:
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")
