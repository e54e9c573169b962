"""Rules of the log line that says which engine computes the networks."""

import logging
from dataclasses import asdict

import pytest

from inference_server.detector.choice import Choice
from inference_server.supervision.engine_log import EngineLog

NATIVE = asdict(Choice("native", "avx2", "it is the fastest that runs here"))
ONNX = asdict(Choice("onnx", "", "there is no compiler", second_best=True))


def logged(caplog: pytest.LogCaptureFixture, *reports: dict[str, object]) -> list[tuple[int, object]]:
    """Level and fields of the lines that these `ready` messages make."""
    log = EngineLog()
    with caplog.at_level(logging.INFO):
        for report in reports:
            log.heard({"event": "ready", **report})
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
    """The supervisor is not reloaded with its workers, and must not end over it."""
    assert logged(caplog, {}, {"engine": "onnx"}) == [(logging.INFO, {}), (logging.INFO, {"engine": "onnx"})]
