"""The service benchmark: what it makes of the calls."""

from benchmarks.crowd import Call
from benchmarks.scenarios import service
from benchmarks.scenarios.service import CLIENTS, ENDPOINTS, figures_of


def run_of(name: str, endpoint: str, clients: int, per_second: float) -> dict[str, object]:
    """A run as the scenario keeps it."""
    calls = [Call(float(number), number + 1.0, 0, 1) for number in range(4)]
    cost = {"cpu_ms": {"gateway": 1.0, "backend": 2.0, "client": 0.5}, "busiest": 0.5}
    figures = {**figures_of(calls, 1), "per_second": per_second}
    return {"service": name, "endpoint": endpoint, "clients": clients, **figures, **cost}


def test_images_a_second_are_counted_while_every_client_is_in_the_middle_of_something() -> None:
    """Two clients: the first two answers do not count, nor what comes after the last picture was sent."""
    ends = [1, 2, 5, 6, 7, 10, 30]
    sent = [0, 0, 1, 2, 5, 6, 10]
    calls = [Call(begun, ended, 0, 1) for begun, ended in zip(sent, ends, strict=True)]
    figures = figures_of(calls, 2)
    assert figures["per_second"] == 4 / 8
    assert (figures["latency"]["count"], figures["latency"]["max_ms"]) == (4, 4000)


def test_a_failed_call_is_no_image_and_has_no_latency() -> None:
    """A service that refuses quickly is not a fast one."""
    calls = [Call(0, 1, 0, 3), Call(1, 1.1, 1, None), Call(1.1, 4, 2, 1), Call(5, 6, 3, None)]
    figures = figures_of(calls, 1)
    assert (figures["requests"], figures["failed"], figures["per_second"]) == (4, 2, 0.25)
    assert (figures["latency"]["count"], figures["latency"]["p50_ms"]) == (1, 2900)


def test_faces_are_counted_once_for_each_photograph() -> None:
    """However often it was sent, so that services that sent it differently often can be compared."""
    calls = [Call(float(number), number + 0.5, number % 2, 2 + number % 2) for number in range(10)]
    assert figures_of(calls, 1)["faces"] == 5


def test_the_ratio_is_of_facets_mean_and_is_a_goal_at_each_number_of_clients() -> None:
    """Through /predict; the direct call has a ratio and no goal."""
    runs = [
        run_of(name, endpoint, clients, per_second)
        for endpoint in ENDPOINTS
        for clients in CLIENTS
        for name, per_second in (("facet", 50.0), ("article", 5.0), ("facet", 40.0))
    ]
    parameters = {"pictures": "photographs", "count": 40, "article": "mtcnn 1.0.0"}
    report = service.report({"parameters": parameters, "runs": runs})
    assert [(goal.figure, goal.limit, goal.met) for goal in report.goals] == [(9.0, 10, False)] * len(CLIENTS)
    assert [goal.what.rpartition(", ")[2] for goal in report.goals] == ["1 client", "8 clients", "64 clients"]
    assert [row[:2] for row in report.tables[0].rows] == [
        (name, clients) for name in ENDPOINTS.values() for clients in CLIENTS
    ]
