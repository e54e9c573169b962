"""Rules of the limits of keys: what one process counts, all do."""

import contextlib
import fcntl
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.support.processes import PATIENCE, ROOT, wait_until
from utils.api_keys import MOST_KEYS, ApiKey, digest_of
from utils.rate_limits import RateLimits, limits_path


def key(name: str = "shop", rate: float = 100.0, burst: int = 20) -> ApiKey:
    """A key with a limit."""
    return ApiKey(name, digest_of(name), frozenset({"predict"}), rate, burst)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where requests are counted."""
    return tmp_path / "limits"


@pytest.fixture
def limits(path: Path) -> Iterator[RateLimits]:
    """What one process counts by."""
    made = RateLimits(path)
    yield made
    made.close()


def admitted(limits: RateLimits, one: ApiKey, count: int) -> int:
    """How many of so many requests at once are let in."""
    return sum(not limits.take(one).retry_after for _ in range(count))


def test_a_burst_is_let_in_and_what_follows_waits_for_the_rate(limits: RateLimits) -> None:
    """Each refusal says for how long, and then one more is let in."""
    slow = key(rate=0.5, burst=3)
    quotas = [limits.take(slow) for _ in range(3)]
    assert [(quota.remaining, quota.retry_after) for quota in quotas] == [(2, 0), (1, 0), (0, 0)]
    refused = limits.take(slow)
    assert refused.remaining == 0
    assert 1.5 < refused.retry_after <= 2
    assert limits.take(slow).retry_after == pytest.approx(refused.retry_after, abs=0.2)  # costs nothing
    fast = key("fast", rate=50, burst=1)
    assert limits.take(fast).retry_after == 0
    wait = limits.take(fast).retry_after
    assert 0 < wait <= 0.02
    time.sleep(wait)
    assert limits.take(fast).retry_after == 0


def test_header_fields_say_what_is_left(limits: RateLimits) -> None:
    """As draft-ietf-httpapi-ratelimit-headers-10 has them: whole numbers, seconds rounded up."""
    slow = key(rate=0.4, burst=2)
    expected = [
        {"RateLimit-Policy": '"key";q=2;w=5', "RateLimit": '"key";r=1;t=3'},
        {"RateLimit-Policy": '"key";q=2;w=5', "RateLimit": '"key";r=0;t=5'},
        {"RateLimit-Policy": '"key";q=2;w=5', "RateLimit": '"key";r=0;t=3'},
    ]
    assert [limits.take(slow).header_fields() for _ in range(3)] == expected


def test_keys_do_not_count_for_each_other(limits: RateLimits) -> None:
    """However many there are, and also when there were more before: those that are idle for longest go."""
    busy = key("busy", rate=0.001, burst=5)
    assert admitted(limits, busy, 9) == 5
    for number in range(2 * MOST_KEYS + 10):
        assert admitted(limits, key(f"key-{number}", rate=1000, burst=1), 1) == 1
    assert admitted(limits, busy, 9) == 0


def test_threads_share_the_limit(limits: RateLimits) -> None:
    """Of a process."""
    slow = key(rate=0.01, burst=50)
    with ThreadPoolExecutor(8) as threads:
        counts = list(threads.map(lambda _: admitted(limits, slow, 25), range(8)))
    assert sum(counts) == 50


def _count(path: Path, one: ApiKey, counts: "multiprocessing.SimpleQueue[int]") -> None:
    counts.put(admitted(RateLimits(path), one, 200))


def test_processes_share_the_limit(path: Path) -> None:
    """All that count at the same place."""
    context = multiprocessing.get_context("spawn")
    counts: multiprocessing.SimpleQueue[int] = context.SimpleQueue()
    slow = key(rate=0.01, burst=100)
    processes = [context.Process(target=_count, args=(path, slow, counts)) for _ in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(PATIENCE)
        assert process.exitcode == 0
    assert sum(counts.get() for _ in processes) == 100


HOLDER = (
    "import fcntl, os, sys, time; held = os.open(sys.argv[1], os.O_RDWR);"
    "fcntl.flock(held, fcntl.LOCK_EX); print('held', flush=True); time.sleep(600)"
)


@contextlib.contextmanager
def held(path: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that has the lock, and does not let go of it."""
    command = [sys.executable, "-c", HOLDER, str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_who_is_killed_with_the_lock_takes_nothing_along(path: Path, limits: RateLimits) -> None:
    """Not the lock, and not what was counted."""
    slow = key(rate=0.01, burst=10)
    assert admitted(limits, slow, 4) == 4
    with held(path) as process:
        os.kill(process.pid, signal.SIGKILL)
        process.wait(PATIENCE)
        assert admitted(limits, slow, 20) == 6


@pytest.mark.security(
    endpoint="keys",
    attack="A process that is stopped while it holds the lock of the counts",
    outcome="Others are let in uncounted meanwhile, and the log says so",
)
def test_who_is_stopped_with_the_lock_holds_up_nobody(
    path: Path, limits: RateLimits, caplog: pytest.LogCaptureFixture
) -> None:
    """Requests are let in uncounted meanwhile, and the log says so; then they are counted as before."""
    slow = key(rate=0.01, burst=10)
    assert admitted(limits, slow, 10) == 10
    with held(path) as process:
        os.kill(process.pid, signal.SIGSTOP)
        began = time.monotonic()
        assert admitted(limits, slow, 200) == 200
        assert time.monotonic() - began < 10  # and not until the process goes on
        assert [record.message for record in caplog.records] == ["requests not counted"]
    assert limits.take(slow).retry_after > 0


def test_a_lock_that_was_opened_before_a_fork_would_exclude_nobody(path: Path, limits: RateLimits) -> None:
    """So each process opens the file itself: two descriptors exclude each other in one process, too."""
    slow = key()
    other = RateLimits(path)
    with path.open("r+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        waiting = threading.Thread(target=other.take, args=(slow,))
        waiting.start()
        waiting.join(PATIENCE)
        assert other._blind_until > 0  # it has not had it
    assert limits.take(slow).remaining == slow.burst - 1
    other.close()


def test_the_place_is_one_for_each_file_of_keys_and_user() -> None:
    """Wherever processes were started."""
    here, there = (limits_path(Path(f"/etc/{name}/keys.json")) for name in ("here", "there"))
    assert here == limits_path(Path("/etc/here/keys.json")) != there
    assert str(os.getuid()) in here.name


@pytest.mark.security(
    endpoint="keys",
    attack=("A file of the counts that another user has made before, or a link or a folder in its place"),
    outcome="Not used",
)
def test_a_place_that_somebody_else_has_made_is_not_used(tmp_path: Path) -> None:
    """A link leads nowhere, and a folder is none."""
    (tmp_path / "target").write_text("")
    (tmp_path / "link").symlink_to(tmp_path / "target")
    for path in (tmp_path / "link", tmp_path):
        with pytest.raises(OSError, match=r"Too many levels|Is a directory"):
            RateLimits(path)
    assert (tmp_path / "target").read_text() == ""
    if os.getuid() == 0:  # who alone can give a file away
        path = tmp_path / "limits"
        path.touch()
        os.chown(path, 65534, 65534)
        with pytest.raises(PermissionError, match="another user's"):
            RateLimits(path)


def test_what_is_waited_for_ends(limits: RateLimits) -> None:
    """A key that has made no request for its window has all of its burst again."""
    fast = key(rate=200, burst=4)
    assert admitted(limits, fast, 9) >= 4
    wait_until(lambda: limits.take(fast).remaining == 3, "all of it but the one that asks")
