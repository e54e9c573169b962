"""Rules of the answer to a request that no application has answered."""

import json

import pytest
from gunicorn.http.errors import InvalidResponseHeader

from gateway.connections.connection import Client
from gateway.connections.refusals import Refusals
from utils.logs import JsonFormatter


@pytest.mark.parametrize("fault", [ValueError("secret"), InvalidResponseHeader("secret")])
def test_a_fault_of_ours_tells_the_caller_nothing_of_itself(
    fault: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    """The log has the traceback, under the id that the caller is told."""
    with Client() as client:
        head, _, body = Refusals(None).unreadable(fault, client).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 500 Internal Server Error\r\n")
    assert b"secret" not in body
    problem = json.loads(body)
    assert problem["reason"] == "INTERNAL"
    [record] = [record for record in caplog.records if record.exc_info]
    line = json.loads(JsonFormatter().format(record))
    assert line["request_id"] == problem["request_id"]
    assert "secret" in line["traceback"]
