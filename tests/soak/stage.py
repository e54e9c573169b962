"""Who answers during the soak: the whole of Facet as processes, with hooks in the detectors."""

import contextlib
import os
import random
import signal
import sys
from collections import defaultdict, deque
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

from tests.soak.endpoints import Caller, GrpcCaller, HttpCaller
from tests.soak.load import Load, Tally, Traffic
from tests.soak.photos import Photo
from tests.support.endpoints import answers
from tests.support.facet import PATHS, ROOMY, free_port, procfile
from tests.support.processes import Line, Process, parse, running, wait_until

WORKERS = 3
ENDPOINTS = ("gateway", "gRPC")
_TAIL_LINES = 30
_SETTINGS = {
    **PATHS,
    **ROOMY,
    "FACET_WORKERS": str(WORKERS),
    "FACET_QUEUE_SECONDS": "3",
    "FACET_HANG_SECONDS": "10",
    "TEST_LONGEST_DELAY": "1",
}


class Journal:
    """What a process has logged, by message, each line read once. Lines about requests are left out."""

    def __init__(self, process: Process) -> None:
        self._tail: deque[str] = deque(maxlen=_TAIL_LINES)
        self._process = process
        self._read = 0
        self._lines: dict[str, list[Line]] = defaultdict(list)

    def __getitem__(self, message: str) -> list[Line]:
        self._read_on()
        return self._lines[message]

    def tail(self) -> str:
        """The last lines."""
        self._read_on()
        return "\n".join(self._tail)

    def _read_on(self) -> None:
        lines = self._process.lines
        while self._read < len(lines):
            text = lines[self._read]
            self._read += 1
            if '"message": "request"' not in text:
                self._tail.append(text)
                line = parse(text)
                self._lines[line.get("message", "")].append(line)


class Stage:
    """Backend and gateway, and what an event needs to disturb them."""

    def __init__(self, folder: Path, stack: contextlib.ExitStack) -> None:
        self._stack = stack
        self.token = folder / "die"
        self.http = f"127.0.0.1:{free_port()}"
        self.grpc = f"127.0.0.1:{free_port()}"
        self.journals: list[Journal] = []
        self.start_backend()
        settings = {**_SETTINGS, "FACET_HTTP_ADDRESS": self.http, "FACET_BACKEND": self.grpc}
        self.gateway = stack.enter_context(running(procfile()["web"], **settings))
        wait_until(self.serves, "the gateway is ready")

    def start_backend(self) -> None:
        """Start the backend where it was, or for the first time."""
        settings = {**_SETTINGS, "FACET_GRPC_ADDRESS": self.grpc, "TEST_DIE_BEFORE_CLAIM": str(self.token)}
        command = [sys.executable, "-m", "tests.support.hooked_backend"]
        self.inference = self._stack.enter_context(running(command, **settings))
        self.journal = Journal(self.inference)
        self.journals.append(self.journal)
        self.settle()

    def stop(self) -> tuple[int, int]:
        """Stop both in order; gives their exit statuses."""
        self.gateway.send(signal.SIGTERM)
        status = self.gateway.wait()
        self.inference.send(signal.SIGTERM)
        return status, self.inference.wait()

    def serves(self) -> bool:
        """Whether the gateway says so."""
        return answers(self.http, "/readyz", 200)

    def ready(self) -> list[int]:
        """The process ids of the workers that serve."""
        started = {line["worker"] for line in self.journal["worker ready"]}
        return [pid for pid in self.inference.children() if pid in started]

    def settle(self) -> None:
        """Wait until there are as many workers as there shall be, all of them serving the newest release."""

        def settled() -> bool:
            assert self.inference.alive(), self.inference.log()
            return len(self.inference.children()) == len(self.ready()) == len(self._newest()) == WORKERS

        wait_until(settled, "all workers serve")

    def _newest(self) -> list[int]:
        """Those of them that run what the last reload brought: the others are about to leave."""
        release = max((line["release"] for line in self.journal["reload"]), default=0)
        newest = {line["worker"] for line in self.journal["worker ready"] if line["release"] == release}
        return [pid for pid in self.ready() if pid in newest]

    def kill_one(self) -> None:
        """End a worker that serves, as long as another does."""
        wait_until(lambda: len(self.ready()) > 1, "two workers serve")
        os.kill(self.any_worker(), signal.SIGKILL)

    def any_worker(self) -> int:
        """One of the workers that serve."""
        return random.choice(self.ready())

    @contextlib.contextmanager
    def traffic(
        self, photos: Sequence[Photo], tallies: dict[str, Tally], *, pause: float
    ) -> Iterator[Traffic]:
        """Load on both endpoints."""
        with (
            Load(_callers(HttpCaller, self.http, 2), photos, tallies["gateway"], pause=pause) as http,
            Load(_callers(GrpcCaller, self.grpc, 1), photos, tallies["gRPC"], pause=pause) as grpc,
        ):
            yield Traffic({"gateway": http, "gRPC": grpc})


def _callers(
    kind: type[HttpCaller] | type[GrpcCaller], address: str, each: int
) -> list[Callable[[], Caller]]:
    """So many that name a time, and as many that name none."""
    return [partial(kind, address, patient=patient) for patient in (True, False) * each]


@contextlib.contextmanager
def stage(folder: Path) -> Iterator[Stage]:
    """The whole of Facet, ended whatever happens."""
    with contextlib.ExitStack() as stack:
        yield Stage(folder, stack)
