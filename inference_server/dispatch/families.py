"""What is counted in shared memory, as it is exported; docs/metrics.md has the same.

Those of a receiver are counted by the event loop of the worker that has received a call, those of a consumer
by the thread that computes, those of the supervisor by the supervisor.
"""

import functools
import operator
from enum import StrEnum
from typing import Final

from utils.counters import NANOSECOND, Counter, Histogram, Layout
from utils.errors import error_classes

OK: Final = "OK"

SERVICES: Final = (
    "Inference",
    "Models",
    "model_grpc_service.ModelgRPCService",
    "InferenceServer",
    "Pipeline",
    "inference.GRPCInferenceService",
    "org.pytorch.serve.grpc.inference.InferenceAPIsService",
)
"""The gRPC services whose calls are counted."""


class ExitCause(StrEnum):
    """Why a process has ended."""

    CRASHED = "crashed"
    HUNG = "hung"
    GRACE_OVER = "grace_over"
    BOOT = "boot"
    RECYCLED = "recycled"
    TOLD = "told"


_OUTCOMES = ((OK, ""), *((one.code.name, one.reason) for one in error_classes()))
OUTCOMES: Final = {reason: number for number, (_, reason) in enumerate(_OUTCOMES)}
"""The words of `REQUESTS` by the reasons of failures; an empty one is that of success."""

REQUESTS: Final = Counter(
    "facet_requests_total",
    "Calls that were answered, by the canonical code and the reason of docs/errors.md; without a reason "
    "they succeeded. One for each line `request` of a worker's log.",
    ("code", "reason"),
    _OUTCOMES,
    sparse=True,
)
CALLS: Final = Counter(
    "facet_service_requests_total",
    "The same calls by the gRPC service that was called.",
    ("service",),
    tuple((name,) for name in SERVICES),
    sparse=True,
)
REQUEST_DURATION: Final = Histogram(
    "facet_request_duration_seconds", "Time from the arrival of a call to its answer, whatever that was."
)
INFERENCES: Final = Counter(
    "facet_inferences_total",
    "Inputs for a model, each item of a stream for itself: ok with a result, failed with an error, refused "
    "for want of room or time, or given up by their callers.",
    ("outcome",),
    (("ok",), ("failed",)),
)
ITEMS: Final = Counter(
    "facet_items_total",
    "Items that a model has answered: as many as an input has rows of tensors or pictures, else one.",
)
INFERENCE_SECONDS: Final = Counter(
    "facet_inference_seconds_total",
    "Time from the arrival of these inputs to their answers.",
    ("outcome",),
    (("ok",), ("failed",)),
    unit=NANOSECOND,
)
QUEUE_DURATION: Final = Histogram(
    "facet_queue_duration_seconds", "Time that inputs that were answered had waited for a process."
)
DECODE_DURATION: Final = Histogram(
    "facet_decode_duration_seconds",
    "Time that the decoding of pictures took in which faces were looked for.",
    sparse=True,
)
PREDICT_DURATION: Final = Histogram(
    "facet_predict_duration_seconds",
    "Time that the models took for inputs that were answered, of a batch for each of its inputs.",
)
PAYLOAD_BYTES: Final = Counter("facet_payload_bytes_total", "Bytes of inputs that were put into a queue.")
FACES: Final = Counter("facet_faces_total", "Faces that were found.", sparse=True)
REQUEUED: Final = Counter(
    "facet_requeued_total",
    "Inputs that a process had, or may have had, when it died: they were put into a queue again, or refused.",
)
BATCH_SIZE: Final = Histogram(
    "facet_batch_size", "Inputs that were computed together.", (1, 2, 4, 8, 16, 32, 64), unit=1.0
)
HANDOVERS: Final = Counter(
    "facet_handovers_total",
    "Inputs that were answered by another process than the one that has received them.",
)
ABANDONED: Final = Counter(
    "facet_abandoned_total", "Inputs that were given up, or not begun, because their callers had left."
)
BUSY_SECONDS: Final = Counter(
    "facet_worker_busy_seconds_total",
    "Time in which the process in a slot has computed.",
    unit=NANOSECOND,
    sparse=True,
)
EXITS: Final = Counter(
    "facet_worker_exits_total",
    "Processes that have ended: crashed, hung (killed because they made no progress, or were not ready in "
    "time), grace_over (killed because they did not stop in time), boot (they could not start), recycled (a "
    "FACET_RECYCLE_ limit was reached), told (to stop).",
    ("cause",),
    tuple((cause.value,) for cause in ExitCause),
)

_CODES = tuple(dict.fromkeys(code for code, _ in _OUTCOMES))
KEY_CODES: Final = {reason: _CODES.index(code) for code, reason in _OUTCOMES}
"""The words of `KEY_REQUESTS` by the reasons of failures."""
KEY_REQUESTS: Final = Counter(
    "facet_key_requests_total",
    "The same calls by the name of the key that was shown: of those that a gateway passes on, the gateway's.",
    ("code",),
    tuple((code,) for code in _CODES),
    sparse=True,
)

RECEIVED: Final = Layout(
    REQUESTS,
    CALLS,
    REQUEST_DURATION,
    INFERENCES,
    ITEMS,
    INFERENCE_SECONDS,
    QUEUE_DURATION,
    DECODE_DURATION,
    PREDICT_DURATION,
    PAYLOAD_BYTES,
    FACES,
    REQUEUED,
)
COMPUTED: Final = Layout(BATCH_SIZE, HANDOVERS, ABANDONED, BUSY_SECONDS)
SUPERVISED: Final = Layout(EXITS)

_FINGERPRINTS = (layout.fingerprint for layout in (RECEIVED, COMPUTED, SUPERVISED, Layout(KEY_REQUESTS)))
FINGERPRINT: Final = f"{functools.reduce(operator.xor, _FINGERPRINTS):08x}"
"""Of all words: those of a release that counts something else would mean something else."""
