"""Rules of how the backend's metrics are put together."""

from typing import Any

from inference_server.admin.metrics import BackendMetrics
from inference_server.dispatch.families import INFERENCES, RECEIVED
from tests.support.control_socket import described
from tests.support.dispatch import shared_stats
from tests.support.metrics import scraped


def status(model: str) -> dict[str, Any]:
    """What the supervisor says where this model has queue 1."""
    return {
        "state": "ready",
        "started": 1.0,
        "memory_bytes": 1,
        "release": 0,
        "engine": "native",
        "instruction_set": "avx2",
        "groups": [{"name": "workers", "wanted": 1, "processes": []}],
        "models": [described(model, "1", queue=1)],
    }


def test_a_queue_that_changes_hands_during_a_scrape_is_told_under_one_name_alone() -> None:
    """What was counted for the version before is never told as that of the next, whose counter would fall."""
    stats = shared_stats(queues=2)
    counters = stats.counters
    counters.assign(1, 2)
    counters.receiver(0).of(1)[RECEIVED.place(INFERENCES)] += 100
    asked = []

    def execute(_: object) -> dict[str, Any]:
        asked.append(1)
        if len(asked) == 1:  # between this answer and the look at the counters
            counters.assign(1, 3)
            return status("before")
        return status("after")

    text = BackendMetrics(execute, stats).exposition("").body.decode()
    found = scraped(text)
    assert len(asked) == 2
    assert found.value("facet_inferences_total", model="after") == 0
    assert found.value("facet_inferences_total", model="before") == 0


def test_models_that_have_no_number_yet_are_in_no_metric_that_is_counted() -> None:
    """They are told of by their state."""
    stats = shared_stats(queues=2)
    said = status("new")
    said["models"] = [described("new", "", queue=1, state="loading")]
    found = scraped(BackendMetrics(lambda _: said, stats).exposition("").body.decode())
    assert found.value("facet_model_state", model="new", state="loading") == 1
    counted = [name for name, labels in found.samples if ("model", "new") in labels]
    assert {*counted} == {"facet_model_state", "facet_model_info"}
