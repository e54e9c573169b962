"""How many CPUs this process may use: a container's quota first, then its affinity."""

import math
import os
from pathlib import Path

_CGROUP = Path("/sys/fs/cgroup")


def usable_cpus(cgroup: Path = _CGROUP) -> int:
    """CPUs that this process may keep busy, at least 1.

    A quota below the affinity wins, rounded up: 1.5 CPUs keep two workers busy, not quite all the time.
    """
    affinity = len(os.sched_getaffinity(0))
    quota = _quota(cgroup)
    return affinity if quota is None else max(1, min(affinity, math.ceil(quota)))


def _quota(cgroup: Path) -> float | None:
    """CPUs granted by cgroup v2 (cpu.max) or v1 (cfs_quota over cfs_period); None where unlimited."""
    try:
        quota, period = (cgroup / "cpu.max").read_text().split()
    except (OSError, ValueError):
        try:
            quota = (cgroup / "cpu/cpu.cfs_quota_us").read_text().strip()
            period = (cgroup / "cpu/cpu.cfs_period_us").read_text().strip()
        except OSError:
            return None
    if quota in {"max", "-1"}:
        return None
    return int(quota) / int(period)
