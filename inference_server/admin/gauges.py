"""What the admin process exports beside what was counted in shared memory; docs/metrics.md has the same."""

from typing import Final

from utils.counters import Counter
from utils.exposition import Gauge

_MODEL: Final = ("model", "version")

QUEUE_REQUESTS: Final = Gauge(
    "facet_queue_requests",
    "Inputs that were accepted and are not answered, those in flight included.",
    _MODEL,
)
QUEUE_SECONDS: Final = Gauge(
    "facet_queue_predicted_seconds", "Time that an input that came now is predicted to wait.", _MODEL
)
QUEUE_BYTES: Final = Gauge("facet_queue_bytes", "Bytes of the inputs in all queues.")
IN_FLIGHT: Final = Gauge("facet_in_flight", "Inputs that are computed now.", _MODEL)
POISONED: Final = Gauge(
    "facet_poisoned_payloads",
    "Inputs with which processes have died: suspect (computed alone), refused (WORKER_CRASHED).",
    ("state",),
)
WORKERS: Final = Gauge(
    "facet_workers", "Processes by what they do: starting, ready, stopping.", (*_MODEL, "state")
)
WORKERS_WANTED: Final = Gauge("facet_workers_wanted", "Processes that there should be.", _MODEL)
WORKER_MEMORY: Final = Gauge(
    "facet_worker_memory_bytes", "Memory in RAM of the process in a slot.", ("slot", *_MODEL)
)
MODEL_INFO: Final = Gauge(
    "facet_model_info",
    "1 for each version; engine and instruction_set are what finds faces.",
    (*_MODEL, "kind", "engine", "instruction_set"),
)
MODEL_STATE: Final = Gauge(
    "facet_model_state",
    "1 for the state of each version that is listed: loading, ready, idle, failed; 0 for the others.",
    (*_MODEL, "state"),
)
STATE: Final = Gauge(
    "facet_backend_state",
    "1 for the state of the backend: starting, ready, stopping; 0 for others.",
    ("state",),
)
START_TIME: Final = Gauge(
    "facet_start_time_seconds", "When the supervisor was started, in seconds since 1970."
)
SUPERVISOR_MEMORY: Final = Gauge("facet_supervisor_memory_bytes", "Memory in RAM of the supervisor.")
BUILD_INFO: Final = Gauge("facet_build_info", "1, with the release.", ("version",))
RELOADS: Final = Counter("facet_reloads_total", "Reloads (SIGHUP) since the supervisor was started.")
