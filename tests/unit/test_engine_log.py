"""Rules of the log line that says which engine computes the networks."""

import logging

import pytest

from inference_server.supervision.control import Ready
from inference_server.supervision.engine_log import EngineLog

NATIVE = Ready("native", "avx2", "it is the fastest that runs here")
ONNX = Ready("onnx", "", "there is no compiler", degraded=True)


def logged(caplog: pytest.LogCaptureFixture, *reports: Ready) -> list[tuple[int, object]]:
    """Level and fields of the lines that these messages make."""
    log = EngineLog()
    with caplog.at_level(logging.INFO):
        for report in reports:
            log.record(report)
    assert {record.getMessage() for record in caplog.records} == {"engine"}
    return [(record.levelno, record.__dict__["facet_fields"]) for record in caplog.records]


def test_workers_that_agree_make_one_line(caplog: pytest.LogCaptureFixture) -> None:
    """With the engine, its instruction set and why."""
    fields = {"engine": "native", "instruction_set": "avx2", "reason": "it is the fastest that runs here"}
    assert logged(caplog, NATIVE, NATIVE, NATIVE) == [(logging.INFO, fields)]


def test_that_a_faster_engine_was_passed_over_is_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    """It says why, and has no instruction set where the engine has none."""
    fields = {"engine": "onnx", "reason": "there is no compiler"}
    assert logged(caplog, ONNX, ONNX) == [(logging.WARNING, fields)]


def test_a_worker_that_chose_otherwise_makes_another_line(caplog: pytest.LogCaptureFixture) -> None:
    """As after a reload, before which an engine was compiled."""
    levels = [level for level, _ in logged(caplog, ONNX, NATIVE, NATIVE, ONNX)]
    assert levels == [logging.WARNING, logging.INFO, logging.WARNING]


def test_a_worker_of_another_release_may_say_less(caplog: pytest.LogCaptureFixture) -> None:
    """What it leaves out is not in the line."""
    assert logged(caplog, Ready(), Ready("onnx")) == [(logging.INFO, {}), (logging.INFO, {"engine": "onnx"})]
