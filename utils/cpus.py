"""How many CPUs this process may use: a quota of its control group first, then its affinity."""

import contextlib
import math
import os
from collections.abc import Iterator
from pathlib import Path

_ROOT = Path("/")


def usable_cpus(root: Path = _ROOT) -> int:
    """CPUs that this process may keep busy, at least 1.

    A quota below the affinity wins, rounded up: 1.5 CPUs keep two workers busy, not quite all the time.

    Args:
        root: The folder in which `proc` and `sys` are.
    """
    affinity = len(os.sched_getaffinity(0))
    return max(1, math.ceil(min(affinity, _quota(root))))


def _quota(root: Path) -> float:
    """CPUs granted by the least quota of this process's control groups and all above them."""
    groups = root / "sys/fs/cgroup"
    quotas = [_quota_v2(folder) for folder in _folders(groups, _path(root, ""))]
    quotas += [_quota_v1(folder) for folder in _folders(groups / "cpu", _path(root, "cpu"))]
    return min(quotas)


def _path(root: Path, controller: str) -> Path:
    """The control group of this process, below the folder where such groups are; "" is that of version 2."""
    with contextlib.suppress(OSError):
        for line in (root / "proc/self/cgroup").read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            # Above what a container sees there is nothing to be read: /../other.
            if controller in controllers.split(",") and ".." not in path.split("/"):
                return Path(path.lstrip("/"))
    return Path()


def _folders(top: Path, path: Path) -> Iterator[Path]:
    """The folder of a control group, and those of all above it. A container may have none but the top one."""
    for group in (path, *path.parents):
        yield top / group


def _quota_v2(folder: Path) -> float:
    try:
        quota, period = (folder / "cpu.max").read_text().split()
        return math.inf if quota == "max" else int(quota) / int(period)
    except (OSError, ValueError):
        return math.inf


def _quota_v1(folder: Path) -> float:
    try:
        quota = int((folder / "cpu.cfs_quota_us").read_text())
        return math.inf if quota < 0 else quota / int((folder / "cpu.cfs_period_us").read_text())
    except (OSError, ValueError):
        return math.inf
