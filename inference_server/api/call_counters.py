"""What a worker's event loop counts of the calls that it receives, in words that all processes share."""

from bisect import bisect_left
from collections.abc import Mapping
from typing import Any, Final, Self

from inference_server.catalogue.table import QUEUES
from inference_server.dispatch import families
from inference_server.dispatch.counters import NO_QUEUE, Counters
from inference_server.dispatch.families import KEY_CODES, OUTCOMES, RECEIVED
from utils.counters import SECOND

_OUTCOMES: Final = {reason: RECEIVED.place(families.REQUESTS) + number for reason, number in OUTCOMES.items()}
_SERVICES: Final = {
    name: RECEIVED.place(families.CALLS) + number for number, name in enumerate(families.SERVICES)
}
_QUEUES: Final = {"Inference": 0}
"""Of services whose calls are all for one model."""
_FIRST, _LIMITS, _TOTAL = RECEIVED.buckets(families.REQUEST_DURATION)
_ANSWERED, _FAILED = (RECEIVED.place(families.INFERENCES) + place for place in range(2))
_ANSWERED_TIME, _FAILED_TIME = (RECEIVED.place(families.INFERENCE_SECONDS) + place for place in range(2))
_STAGES: Final = (
    ("queue_ms", *RECEIVED.buckets(families.QUEUE_DURATION)),
    ("decode_ms", *RECEIVED.buckets(families.DECODE_DURATION)),
    ("detect_ms", *RECEIVED.buckets(families.PREDICT_DURATION)),
    ("predict_ms", *RECEIVED.buckets(families.PREDICT_DURATION)),
)
"""By the fields of the log line that have the times."""
_ITEMS: Final = RECEIVED.place(families.ITEMS)
_FACES: Final = RECEIVED.place(families.FACES)
_MILLISECOND: Final = 1_000_000
"""In nanoseconds."""


class CallCounters:
    """The counters of one event loop.

    Attributes:
        all: What all processes have counted.

    Args:
        counters: The same.
        slot: The worker's.
        keyed: Whether callers are known by their keys, for each of which calls are counted, too.
    """

    def __init__(self, counters: Counters, slot: int, *, keyed: bool = False) -> None:
        self.all = counters
        self._slot = counters.receiver(slot)
        self._keys = counters.keys.words(slot) if keyed else None

    @classmethod
    def unshared(cls) -> Self:
        """Some that nobody else reads, for a server without a supervisor."""
        queues = QUEUES + 1
        counters = Counters(memoryview(bytearray(Counters.size(1, 1, queues))), 1, 1, queues)
        counters.start()
        return cls(counters, 0)

    def called(self, service: str, queue: int | None, reason: str, seconds: float, key: str) -> None:
        """Count a call that ends.

        Args:
            service: The full name of its service.
            queue: Of the version that was called; None where there is none.
            reason: Of its failure; empty where there is none.
            seconds: From its arrival until now.
            key: The name of the key that was shown; NO_KEY where none is known.
        """
        words = self._slot.of(_QUEUES.get(service, NO_QUEUE) if queue is None else queue)
        words[_OUTCOMES[reason]] += 1
        place = _SERVICES.get(service)
        if place is not None:
            words[place] += 1
        time = int(seconds * SECOND)
        words[_FIRST + bisect_left(_LIMITS, time)] += 1  # as `observe`, without the call
        words[_TOTAL] += time
        if self._keys is not None:
            self._keys[key][KEY_CODES[reason]] += 1

    def answered(self, queue: int, seconds: float, log_fields: Mapping[str, Any]) -> None:
        """Count an input that a model has answered.

        Args:
            queue: Of the model's version.
            seconds: From its arrival until now.
            log_fields: What the model's process says of it.
        """
        words = self._slot.of(queue)
        words[_ANSWERED] += 1
        words[_ANSWERED_TIME] += int(seconds * SECOND)
        for name, first, limits, total in _STAGES:
            if name in log_fields:
                time = int(log_fields[name] * _MILLISECOND)
                words[first + bisect_left(limits, time)] += 1
                words[total] += time
        words[_ITEMS] += log_fields["items"] if "items" in log_fields else 1  # noqa: SIM401 - `get` takes longer
        if "faces" in log_fields:
            words[_FACES] += log_fields["faces"]

    def failed(self, queue: int, seconds: float) -> None:
        """Count an input that failed, as `answered`."""
        words = self._slot.of(queue)
        words[_FAILED] += 1
        words[_FAILED_TIME] += int(seconds * SECOND)
