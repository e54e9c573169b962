"""What was counted of the models, as Triton's clients read it."""

from collections.abc import Sequence
from typing import Any

from inference_server.api.oip_models import ProtocolModels
from inference_server.catalogue.entries import ModelVersion
from inference_server.catalogue.names import whole_number
from inference_server.dispatch import families
from inference_server.dispatch.counters import Counters
from protos.oip import message_class
from utils.counters import Words


class Statistics:
    """Tells them.

    Args:
        models: Finds the models.
        counters: What all processes have counted.
    """

    def __init__(self, models: ProtocolModels, counters: Counters) -> None:
        self._models = models
        self._counters = counters

    def of(self, name: str, version: str) -> Any:  # noqa: ANN401 - a ModelStatisticsResponse
        """Those of a version, of all versions of a model, or of all models.

        Raises:
            ModelNotFound: There is no such model, or no such version of it.
        """
        told = message_class("ModelStatisticsResponse")()
        for one in self._models.versions(name, version):
            self._add(told.model_stats.add(), one)
        return told

    def _add(self, told: Any, version: ModelVersion) -> None:  # noqa: ANN401 - a ModelStatistics
        series = self._counters.series_of(version.queue)
        received, computed = self._counters.received.sums(series), self._counters.computed.sums(series)
        told.name, told.version = version.name, whole_number(version.version)
        [told.inference_count] = received.of(families.ITEMS)
        told.execution_count = _observed(computed.of(families.BATCH_SIZE))[0]
        counts, times = received.of(families.INFERENCES), received.of(families.INFERENCE_SECONDS)
        stages = {"success": (counts[0], times[0]), "fail": (counts[1], times[1]), **_stages(received)}
        for name, (count, nanoseconds) in stages.items():
            duration = getattr(told.inference_stats, name)
            duration.count, duration.ns = count, nanoseconds


def _stages(received: Words) -> dict[str, tuple[int, int]]:
    return {
        "queue": _observed(received.of(families.QUEUE_DURATION)),
        "compute_input": _observed(received.of(families.DECODE_DURATION)),
        "compute_infer": _observed(received.of(families.PREDICT_DURATION)),
    }


def _observed(histogram: Sequence[int]) -> tuple[int, int]:
    """How many observations a histogram has, and their sum."""
    *buckets, total = histogram
    return sum(buckets), total
