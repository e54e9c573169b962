"""Who answers during the soak: the whole of Facet as processes, with hooks in the detectors."""

import contextlib
import os
import random
import signal
import sys
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path

from inference_server.catalogue import commands
from inference_server.catalogue.names import FACE_DETECTION
from tests.soak.addresses import Addresses
from tests.soak.endpoints import Caller, GrpcCaller, HttpCaller
from tests.soak.identities import Account, Identities
from tests.soak.kserve import KServe
from tests.soak.load import Load, Tally, Traffic
from tests.soak.model_callers import MODEL, HttpModelCaller, ModelCaller, words
from tests.soak.more_callers import AnnotatedCaller, BatchCaller, StreamCaller
from tests.soak.operators import Operators, ways
from tests.soak.photos import Photo
from tests.soak.scraper import Scraper
from tests.support.collector import collector
from tests.support.endpoints import answers
from tests.support.facet import PATHS, ROOMY, procfile
from tests.support.model_backend import Backend
from tests.support.model_package import ODD_ENTRY_POINTS, ODD_MODELS, installed
from tests.support.model_store import add_version
from tests.support.processes import Line, Process, parse, running, wait_until

WORKERS = 3
MODEL_WORKERS = 2
ENDPOINTS = ("gateway", "batch", "gRPC", "stream", "model")
_TAIL_LINES = 30
_SETTINGS = {
    **PATHS,
    **ROOMY,
    "FACET_WORKERS": str(WORKERS),
    "FACET_QUEUE_SECONDS": "3",
    "FACET_HANG_SECONDS": "10",
    "TEST_LONGEST_DELAY": "1",
    "FACET_TRACES_RATIO": "0.05",
}
GUEST = "guest"
"""A model of the store, the same as MODEL, for what is registered and unregistered."""


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

    def __init__(self, folder: Path, stack: contextlib.ExitStack, kserve: Path | None) -> None:
        self._stack = stack
        self.token = folder / "die"
        self.identities = Identities(folder)
        self.collector = stack.enter_context(collector())
        self.addresses = Addresses.free()
        self.http, self.grpc = self.addresses.http, self.addresses.grpc
        self.journals: list[Journal] = []
        package = folder / "package"
        package.mkdir()
        add_version(folder / "store", f"{GUEST}/1.0", 'kind = "python"\nclass = "odd_models:Upper"\n')
        common = {**_SETTINGS, "FACET_TRACES_ENDPOINT": self.collector.url}
        self._environ = {
            **common,
            **installed(package, "odd_models", ODD_MODELS, ODD_ENTRY_POINTS),
            **self.addresses.backend(),
            **self.identities.backend_settings(),
            "FACET_MODEL_API": "on",
            "FACET_MODEL_STORE": str(folder / "store"),
            "FACET_STATE_DIR": str(folder / "state"),
            "TEST_DIE_BEFORE_CLAIM": str(self.token),
        }
        self.start_backend()
        by_command_line = {"command line": self.models.manage}
        by_others = ways(self.addresses, self.identities.operators)
        self.operators = Operators({**by_command_line, **by_others})
        self.models.register(MODEL, min_workers=MODEL_WORKERS)
        settings = {**common, **self.addresses.gateway(), **self.identities.gateway_settings()}
        self.gateway = stack.enter_context(running(procfile()["web"], **settings))
        self.gateway_journal = Journal(self.gateway)
        wait_until(self.serves, "the gateway is ready")
        metrics = {"backend": self.addresses.admin_http, "gateway": self.addresses.http_metrics}
        self.scraper = stack.enter_context(Scraper(metrics, self.identities.monitoring))
        clients = (("grpc", self.grpc), ("http", self.http))
        self.kserve = [KServe(kserve, *client, self.identities.callers) for client in clients if kserve]
        for each in self.kserve:
            stack.callback(each.end)

    def start_backend(self) -> None:
        """Start the backend where it was, or for the first time."""
        command = [sys.executable, "-m", "tests.support.hooked_backend"]
        self.inference = self._stack.enter_context(running(command, **self._environ))
        state = Path(self._environ["FACET_STATE_DIR"])
        self.models = Backend(self.inference, self.grpc, state, self.identities.visitors)
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
        return self._living(line for line in self._workers_ready() if "model" not in line)

    def admin(self) -> list[int]:
        """The process id of the admin process that serves; none while there is none."""
        return self._living(line for line in self.journal["worker ready"] if "process" in line)

    def model_workers(self) -> list[int]:
        """The process ids of the models' processes that serve."""
        return self._living(line for line in self._workers_ready() if "model" in line)

    def registered(self) -> set[tuple[str, str, bool, int]]:
        """Name, version, whether it is the default, and number of processes of every model."""
        models = self.models.manage(commands.ListModels())["models"]
        return {(one["name"], one["version"], one["default"], one["workers"]) for one in models}

    def settle(self) -> None:
        """Wait until there are as many processes as there shall be, all serving the newest release."""

        def settled() -> bool:
            assert self.inference.alive(), self.inference.log()
            workers, models = len(self.ready()), len(self.model_workers())
            if not workers == WORKERS == len(self._newest()) - models or len(self.admin()) != 1:
                return False
            wanted = sum(count for name, *_, count in self.registered() if name != FACE_DETECTION)
            return models == wanted == len(self.inference.children()) - workers - len(self.admin())

        wait_until(settled, "all workers serve")

    def reload(self) -> None:
        """Have everything replaced, and wait until that begins."""
        reloads = len(self.journal["reload"])
        self.inference.send(signal.SIGHUP)
        wait_until(lambda: len(self.journal["reload"]) > reloads, "the reload begins")

    def _newest(self) -> list[int]:
        """The processes that run what the last reload brought: the others are about to leave."""
        release = max((line["release"] for line in self.journal["reload"]), default=0)
        return self._living(line for line in self._workers_ready() if line["release"] == release)

    def _workers_ready(self) -> Iterable[Line]:
        """What all but the admin process have said when they were ready."""
        return (line for line in self.journal["worker ready"] if "process" not in line)

    def _living(self, ready: Iterable[Line]) -> list[int]:
        """Those of the processes of these lines that still live, in their order."""
        living = set(self.inference.children())
        return [pid for pid in dict.fromkeys(line["worker"] for line in ready) if pid in living]

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
        """Load on all endpoints."""
        http, grpc = (self.http, self.identities.callers), (self.grpc, self.identities.callers)
        callers: dict[str, list[Callable[[], Caller]]] = {
            "gateway": [*_callers(HttpCaller, *http), partial(AnnotatedCaller, *http, patient=True)],
            "batch": [partial(BatchCaller, *http)],
            "gRPC": _callers(GrpcCaller, *grpc),
            "stream": [partial(StreamCaller, self.grpc, self.identities.visitors, patient=True)],
            "model": [partial(HttpModelCaller, *http), partial(ModelCaller, *grpc)],
        }
        asked = {**dict.fromkeys(ENDPOINTS, photos), "model": [words("the load")]}
        with contextlib.ExitStack() as stack:
            yield Traffic(
                {
                    endpoint: stack.enter_context(
                        Load(callers[endpoint], asked[endpoint], tallies[endpoint], pause=pause)
                    )
                    for endpoint in ENDPOINTS
                }
            )


def _callers(
    kind: type[HttpCaller] | type[GrpcCaller], address: str, account: Account
) -> list[Callable[[], Caller]]:
    """One that names a time, and one that names none."""
    return [partial(kind, address, account, patient=patient) for patient in (True, False)]


@contextlib.contextmanager
def stage(folder: Path, kserve: Path | None) -> Iterator[Stage]:
    """The whole of Facet, ended whatever happens; with clients of kserve by this interpreter, if any."""
    with contextlib.ExitStack() as stack:
        yield Stage(folder, stack, kserve)
