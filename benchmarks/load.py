"""Load: what is sent when, and the client processes that send it (benchmarks.client)."""

import contextlib
import os
import random
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.processes import started

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
        service: How long the detector had it in flight, decoding included.
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
            clients = [stack.enter_context(started("benchmarks.client")) for _ in plans]
            for client, plan in zip(clients, plans, strict=True):
                client.send({**common, **plan})
            for client in clients:
                assert client.receive() == "ready"
            start = time.monotonic() + _LEAD_SECONDS
            for client in clients:
                client.send(start)
            return [Row(*row) for client in clients for row in client.receive()]


def rate(rows: Sequence[Row], settling: float, seconds: float) -> float:
    """Answers a second between these two moments of a run, those that failed left out."""
    return sum(row.code == "OK" and settling <= row.ended < seconds for row in rows) / (seconds - settling)
