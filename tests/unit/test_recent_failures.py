"""Rules of what operators are told of failures: the supervisor's own warnings and errors, and few of them."""

import logging
from collections.abc import Iterator

import pytest

from inference_server.recent_failures import RecentFailures
from utils.logs import fields

logger = logging.getLogger("inference_server.test_recent_failures")


@pytest.fixture
def failures() -> Iterator[RecentFailures]:
    """One that hears every logger."""
    made = RecentFailures()
    logging.getLogger().addHandler(made)
    yield made
    logging.getLogger().removeHandler(made)


def test_warnings_and_errors_are_kept_with_their_fields(failures: RecentFailures) -> None:
    """The newest first; what is no failure is not."""
    logger.info("ready")
    logger.warning("model not loaded", extra=fields(model="a/1", reason=None))
    logger.error("worker crashed", extra=fields(worker=7))
    assert [(one["level"], one["message"], one["fields"]) for one in failures.latest()] == [
        ("error", "worker crashed", {"worker": "7"}),
        ("warning", "model not loaded", {"model": "a/1"}),
    ]
    assert all(one["time"] > 1.7e9 for one in failures.latest())


def test_only_the_latest_are_kept(failures: RecentFailures) -> None:
    """However long the backend runs."""
    for number in range(100):
        logger.error("worker crashed", extra=fields(worker=number))
    assert [one["fields"]["worker"] for one in failures.latest()] == [str(99 - each) for each in range(20)]


def test_folders_and_tracebacks_are_for_the_log_alone(failures: RecentFailures) -> None:
    """Operators may be programs of others."""
    try:
        raise ValueError("/var/lib/secret")
    except ValueError:
        logger.exception("command failed", extra=fields(reason="'/var/lib/facet/state.json' is full"))
    [kept] = failures.latest()
    assert kept["fields"] == {"reason": "'state.json' is full"}
    assert "secret" not in str(kept)
