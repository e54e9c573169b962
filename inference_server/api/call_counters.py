"""What a worker's event loop counts of the calls that it receives, in words that all processes share."""

from collections.abc import Mapping
from typing import Any, Final, NamedTuple, Self

from inference_server.dispatch import families
from inference_server.dispatch.counters import NO_QUEUE, Counters, SlotCounters
from inference_server.dispatch.families import OUTCOMES, RECEIVED
from utils.counters import NANOSECOND, Histogram


class _Timed(NamedTuple):
    """Where a duration is counted: its first word, and the limits of its buckets in nanoseconds."""

    place: int
    limits: tuple[int, ...]

    @classmethod
    def of(cls, family: Histogram) -> Self:
        return cls(RECEIVED.place(family), family.limits)


_REQUESTS: Final = RECEIVED.place(families.REQUESTS)
_SERVICES: Final = {
    name: RECEIVED.place(families.CALLS) + number for number, name in enumerate(families.SERVICES)
}
_QUEUES: Final = {"Inference": 0}
"""Of services whose calls are all for one model."""
_REQUEST: Final = _Timed.of(families.REQUEST_DURATION)
_ANSWERED, _FAILED = (RECEIVED.place(families.INFERENCES) + number for number in range(2))
_ANSWERED_SECONDS, _FAILED_SECONDS = (
    RECEIVED.place(families.INFERENCE_SECONDS) + number for number in range(2)
)
_STAGES: Final = {
    "queue_ms": _Timed.of(families.QUEUE_DURATION),
    "decode_ms": _Timed.of(families.DECODE_DURATION),
    "detect_ms": _Timed.of(families.PREDICT_DURATION),
    "predict_ms": _Timed.of(families.PREDICT_DURATION),
}
"""By the fields of the log line that have the times."""
_FACES: Final = RECEIVED.place(families.FACES)
_MILLISECOND: Final = 1_000_000
"""In nanoseconds."""


class CallCounters:
    """The counters of one event loop.

    Args:
        slot: Those of its worker's slot.
    """

    def __init__(self, slot: SlotCounters) -> None:
        self._slot = slot

    @classmethod
    def unshared(cls) -> Self:
        """Some that nobody else reads, for a server without a supervisor."""
        counters = Counters(memoryview(bytearray(Counters.size(1, 1, 1))), 1, 1, 1)
        counters.start()
        return cls(counters.receiver(0))

    def called(self, service: str, queue: int | None, reason: str, seconds: float) -> None:
        """Count a call that ends.

        Args:
            service: The full name of its service.
            queue: Of the version that was called; None where there is none.
            reason: Of its failure; empty where there is none.
            seconds: From its arrival until now.
        """
        block = self._slot.of(_QUEUES.get(service, NO_QUEUE) if queue is None else queue)
        block.add(_REQUESTS + OUTCOMES[reason])
        if service in _SERVICES:
            block.add(_SERVICES[service])
        block.observe(*_REQUEST, int(seconds / NANOSECOND))

    def answered(self, queue: int, seconds: float, log_fields: Mapping[str, Any]) -> None:
        """Count an input that a model has answered.

        Args:
            queue: Of the model's version.
            seconds: From its arrival until now.
            log_fields: What the model's process says of it.
        """
        block = self._slot.of(queue)
        block.add(_ANSWERED)
        block.add(_ANSWERED_SECONDS, int(seconds / NANOSECOND))
        for name, stage in _STAGES.items():
            if name in log_fields:
                block.observe(*stage, int(log_fields[name] * _MILLISECOND))
        if "faces" in log_fields:
            block.add(_FACES, log_fields["faces"])

    def failed(self, queue: int, seconds: float) -> None:
        """Count an input that failed, as `answered`."""
        block = self._slot.of(queue)
        block.add(_FAILED)
        block.add(_FAILED_SECONDS, int(seconds / NANOSECOND))
