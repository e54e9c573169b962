"""Load: what is sent when, and the client processes that send it (benchmarks.client)."""

import contextlib
import itertools
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from tests.support.processes import ROOT

WARM_UP_CALLS = 3
"""What each connection is used for before a run, without sleep."""
_LEAD_SECONDS = 0.3
"""Between telling the clients when to start, and the start."""


class Request(NamedTuple):
    """One call of an open loop: when, over which channel, which picture, seconds to sleep (None: detect)."""

    at: float
    channel: int
    picture: int
    sleep: float | None


class Row(NamedTuple):
    """What came of a call. Times are seconds since the start of the run.

    Attributes:
        at: When it was due: the time that latency counts from.
        sent: When the client came to send it.
        ended: When the client had the answer.
        code: The gRPC status by name.
        worker: The process that detected; 0 where that is not known.
        begun: How many detections that process had begun.
        service: How long the detector had it in hand, decoding included.
    """

    at: float
    sent: float
    ended: float
    code: str
    worker: int
    begun: int
    service: float

    @property
    def latency(self) -> float:
        """Seconds from when it was due until the answer."""
        return self.ended - self.at


def poisson(
    rate: float, count: int, channels: int, sleep: Callable[[random.Random], float | None], seed: int
) -> list[Request]:
    """Arrivals that know nothing of each other: so many a second, each over any of the channels."""
    rng = random.Random(seed)
    now, requests = 0.0, []
    for number in range(count):
        now += rng.expovariate(rate)
        requests.append(Request(now, rng.randrange(channels), number, sleep(rng)))
    return requests


class Clients:
    """Client processes that share a number of channels.

    Args:
        target: The server.
        pictures: What is sent, as the bytes of files; a request's picture is taken modulo their number.
        channels: Connections, of all processes together.
        processes: Client processes.
        timeout: Seconds that a call may take.
    """

    def __init__(
        self,
        target: str,
        pictures: Sequence[bytes],
        channels: int,
        *,
        processes: int = 1,
        timeout: float = 120,
    ) -> None:
        assert channels % processes == 0
        self._target = target
        self._pictures = pictures
        self._channels = channels
        self._processes = processes
        self._timeout = timeout

    @property
    def warm_up_calls(self) -> int:
        """Calls of each run that are not among its rows."""
        return self._channels * WARM_UP_CALLS

    def open_loop(self, requests: Sequence[Request]) -> list[Row]:
        """Send each request at its time; gives what came of them, in order of arrival."""
        each = self._channels // self._processes
        plans: list[dict[str, Any]] = [{"open": []} for _ in range(self._processes)]
        for at, channel, picture, sleep in requests:
            request = Request(at, channel % each, picture % len(self._pictures), sleep)
            plans[channel // each]["open"].append(request)
        return sorted(self._run(plans))

    def closed_loop(
        self, seconds: float, in_flight: int, sleeps: Sequence[float | None] = (None,)
    ) -> list[Row]:
        """Keep so many calls under way in all, for so long; gives what came of them."""
        assert in_flight % self._processes == 0
        closed = {"seconds": seconds, "in_flight": in_flight // self._processes, "sleeps": sleeps}
        return sorted(self._run([{"closed": closed} for _ in range(self._processes)]))

    def _run(self, plans: list[dict[str, Any]]) -> list[Row]:
        with contextlib.ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="facet-bench-")))
            paths = [folder / str(number) for number in range(len(self._pictures))]
            for path, picture in zip(paths, self._pictures, strict=True):
                path.write_bytes(picture)
            common = {
                "target": self._target,
                "timeout": self._timeout,
                "channels": self._channels // self._processes,
                "pictures": list(map(str, paths)),
                "parent": os.getpid(),
            }
            clients = [stack.enter_context(_client({**common, **plan})) for plan in plans]
            for client in clients:
                _tell(client, None)
            start = time.monotonic() + _LEAD_SECONDS
            for client in clients:
                _tell(client, start)
            return list(itertools.chain.from_iterable(map(_rows, clients)))


@contextlib.contextmanager
def _client(plan: dict[str, Any]) -> Iterator["subprocess.Popen[str]"]:
    command = [sys.executable, "-m", "benchmarks.client"]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, cwd=ROOT, stdin=pipe, stdout=pipe, text=True) as process:
        try:
            assert process.stdin is not None
            print(json.dumps(plan), file=process.stdin, flush=True)
            yield process
        finally:
            process.kill()


def _tell(client: "subprocess.Popen[str]", start: float | None) -> None:
    """Wait until a client is ready, or tell it when to start."""
    assert client.stdin is not None
    assert client.stdout is not None
    if start is not None:
        print(start, file=client.stdin, flush=True)
    elif client.stdout.readline() != "ready\n":
        raise RuntimeError("a client process could not start; what it printed is above")


def _rows(client: "subprocess.Popen[str]") -> list[Row]:
    assert client.stdout is not None
    return [Row(*row) for row in json.loads(client.stdout.readline())]
