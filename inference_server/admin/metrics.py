"""The backend's metrics: what all of its processes have counted, and how it is now."""

from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

from prometheus_client.core import CounterMetricFamily, Metric

from inference_server.admin import gauges
from inference_server.admin.supervisor_client import Execute
from inference_server.catalogue.commands import Status
from inference_server.catalogue.entries import State
from inference_server.catalogue.names import FACE_DETECTION
from inference_server.catalogue.store import BUILT_IN_VERSION
from inference_server.dispatch.admission import QueueLoad
from inference_server.dispatch.counters import NO_QUEUE
from inference_server.dispatch.families import BUSY_SECONDS, COMPUTED, KEY_REQUESTS, RECEIVED, SUPERVISED
from inference_server.dispatch.stats import SharedStats
from utils.counters import Table
from utils.exposition import Exposition, metric, write
from utils.version import VERSION

_LABELS: Final = ("model", "version")
_FACES: Final = (FACE_DETECTION, BUILT_IN_VERSION)
_NONE: Final = ("", "")

Label = tuple[str, ...]


class _Now(NamedTuple):
    """The backend at one moment.

    Attributes:
        status: As the supervisor tells it.
        queues: Those of the versions that have a number, by name and version.
        counted: Families with their words by name and version.
    """

    status: Mapping[str, Any]
    queues: Mapping[Label, int]
    counted: list[Metric]


class BackendMetrics:
    """Reads them.

    Args:
        execute: Asks the supervisor.
        stats: What all processes share.
    """

    def __init__(self, execute: Execute, stats: SharedStats) -> None:
        self._execute = execute
        self._stats = stats

    def exposition(self, accept: str) -> Exposition:
        """All of them as text, in the form that a request asks for.

        Raises:
            FacetError: The supervisor does not answer.
        """
        return write(self.metrics(), accept)

    def metrics(self) -> Iterator[Metric]:
        """All of them.

        Raises:
            FacetError: The supervisor does not answer.
        """
        now = self._now()
        yield from now.counted
        yield from self._of_queues(now.queues)
        yield from _of_processes(now.status["groups"])
        yield from _of_models(now.status)
        yield from _of_backend(now.status)

    def _now(self) -> _Now:
        """Counters by the names that they had all the while."""
        counters = self._stats.counters
        while True:
            mapping = counters.mapping()
            status = self._execute(Status())
            models: dict[Label, int] = {
                (model["name"], model["version"]): model["queue"]
                for model in status["models"]
                if model["queue"] and model["version"]
            }
            queues = {_FACES: 0, **models}
            series = {key: mapping[queue] for key, queue in queues.items()}
            counted = list(self._counted({**series, _NONE: mapping[NO_QUEUE]}))
            if counters.mapping() == mapping:  # else a queue was given to another version meanwhile
                return _Now(status, queues, counted)

    def _counted(self, series: Mapping[Label, int]) -> Iterator[Metric]:
        counters = self._stats.counters
        for table, layout in (
            (counters.received, RECEIVED),
            (counters.computed, COMPUTED),
            (counters.supervised, SUPERVISED),
        ):
            words = {key: table.sums(number) for key, number in series.items()}
            for family in layout.families:
                if family is not BUSY_SECONDS:
                    counted = [(key, one.of(family)) for key, one in words.items()]
                    # What is for no version counts few of them.
                    counted = [(key, own) for key, own in counted if key != _NONE or any(own)]
                    yield metric(family, _LABELS, counted)
        yield _busy(counters.computed, series)
        yield metric(KEY_REQUESTS, ("key",), counters.keys.sums())

    def _of_queues(self, queues: Mapping[Label, int]) -> Iterator[Metric]:
        stats = self._stats
        loads = {key: QueueLoad.snapshot(stats, queue) for key, queue in queues.items()}
        computing = {key: float(stats.computing(queue)) for key, queue in queues.items()}
        yield gauges.QUEUE_REQUESTS.metric({key: load.waiting.count for key, load in loads.items()})
        yield gauges.QUEUE_SECONDS.metric({key: load.wait for key, load in loads.items()})
        yield gauges.IN_FLIGHT.metric(computing)
        yield gauges.QUEUE_BYTES.metric({(): loads[_FACES].waiting.size})  # of all queues
        suspects, refused = stats.poison.counts()
        yield gauges.POISONED.metric({("suspect",): suspects, ("refused",): refused})


def _busy(table: Table, series: Mapping[Label, int]) -> Metric:
    """How long each slot has computed for each version."""
    of_slots = (
        ((str(slot), *key), words.of(BUSY_SECONDS))
        for key, number in series.items()
        for slot, words in table.rows(number)
    )
    return metric(BUSY_SECONDS, ("slot", *_LABELS), of_slots)


def _of_processes(groups: list[Mapping[str, Any]]) -> Iterator[Metric]:
    states: dict[Label, float] = {}
    memory: dict[Label, float] = {}
    wanted: dict[Label, float] = {}
    for group in groups:
        key = _key(group["name"])
        wanted[key] = group["wanted"]
        for state in ("starting", "ready", "stopping"):
            states[*key, state] = sum(process["state"] == state for process in group["processes"])
        for process in group["processes"]:
            memory[str(process["slot"]), *key] = process["memory_bytes"]
    yield gauges.WORKERS.metric(states)
    yield gauges.WORKERS_WANTED.metric(wanted)
    yield gauges.WORKER_MEMORY.metric(memory)


def _key(group: str) -> Label:
    """Model and version of a group's processes; both empty for the admin process."""
    if group == "workers":
        return _FACES
    name, _, version = group.partition("/")
    return (name, version) if version or name != "admin" else _NONE


def _of_models(status: Mapping[str, Any]) -> Iterator[Metric]:
    info: dict[Label, float] = {
        (model["name"], model["version"], model["kind"], "", ""): 1.0
        for model in status["models"]
        if model["queue"]
    }
    info[*_FACES, FACE_DETECTION, status["engine"], status["instruction_set"]] = 1.0
    yield gauges.MODEL_INFO.metric(info)
    yield gauges.MODEL_STATE.metric(
        {
            (model["name"], model["version"], state.value): float(model["state"] == state.value)
            for model in status["models"]
            for state in State
        }
    )


def _of_backend(status: Mapping[str, Any]) -> Iterator[Metric]:
    states = ("starting", "ready", "stopping")
    yield gauges.STATE.metric({(state,): float(status["state"] == state) for state in states})
    yield gauges.START_TIME.metric({(): status["started"]})
    yield gauges.SUPERVISOR_MEMORY.metric({(): status["memory_bytes"]})
    yield gauges.BUILD_INFO.metric({(VERSION,): 1.0})
    reloads = CounterMetricFamily(gauges.RELOADS.name, gauges.RELOADS.about)
    reloads.add_metric((), status["release"])
    yield reloads
