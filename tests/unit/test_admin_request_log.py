"""Rules of the log lines of requests to the admin process."""

import logging
from typing import Any

import pytest

from inference_server.admin.app import create_app
from inference_server.catalogue.commands import Command
from tests.support.dispatch import shared_stats
from utils.errors import FacetError, InternalError, ModelLoadFailed, ModelNotFound
from utils.guard import Guard
from utils.logs import fields_of


@pytest.mark.parametrize(
    ("method", "failure", "level", "status"),
    [
        ("GET", None, "DEBUG", 200),
        ("GET", ModelNotFound("x"), "INFO", 404),
        ("DELETE", None, "INFO", 200),
        ("DELETE", ModelLoadFailed("x"), "INFO", 500),
        ("DELETE", InternalError(), "ERROR", 500),
        ("DELETE", ZeroDivisionError(), "ERROR", 500),
    ],
)
def test_faults_of_ours_alone_are_errors(
    method: str, failure: Exception | None, level: str, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever status they share with what operators have to mend; what only reads is no line at INFO."""

    def execute(_: Command) -> dict[str, Any]:
        if failure is not None:
            raise failure
        return {"models": []}

    caplog.set_level(logging.DEBUG)
    client = create_app(execute, Guard([], None), shared_stats()).test_client()
    answer = client.open("/models/m", method=method, content_type="application/json")
    record = caplog.records[-1]
    line = fields_of(record)
    assert (record.message, record.levelname) == ("management request", level)
    assert (answer.status_code, line["status"], line["method"], line["path"]) == (
        status,
        status,
        method,
        "/models/m",
    )
    assert line["request_id"] == answer.headers["X-Request-ID"]
    reason = getattr(failure, "reason", None if failure is None else InternalError.reason)
    assert line.get("reason") == reason
    assert isinstance(failure, FacetError | None) or caplog.records[-2].exc_info
